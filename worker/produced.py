"""What a job has produced in its folder, before it is published."""

from pathlib import Path
from typing import NamedTuple

from elasticrecode.jobs.events import Notice, Output, Quality
from worker.publication import Version


class Produced(NamedTuple):
    """Each local file with its output, the summary of a score, and warnings.

    `version` has the files of a package that are not listed.
    """

    files: list[tuple[Path, Output]]
    quality: Quality | None
    notices: list[Notice]
    version: Version = Version()
