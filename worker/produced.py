"""What a job has produced in its folder, before it is published."""

from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from elasticrecode.jobs.events import Notice, Output, Quality, TargetReached
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.title_ladder import TitleLadder
from elasticrecode.jobs.uris import SCORE_FILES, name
from elasticrecode.media.profiles import Vmaf, VmafModel
from worker.certificate.evidence import Evidence
from worker.publication import Version
from worker.quality import results
from worker.quality.pooled import Measured, Scored, write_reports


class Produced(NamedTuple):
    """Each local file with its output, the summary of a score, and warnings.

    `version` has the files of a package that are not listed, `evidence` what the certificate tells, and `ladder` is the
    one that was found for the title. `copy_of` is the job whose outputs these are copies of.
    """

    files: list[tuple[Path, Output]]
    quality: Quality | None
    notices: list[Notice]
    version: Version = Version()
    evidence: Evidence = Evidence()
    ladder: TitleLadder | None = None
    copy_of: str = ""


def of_score(measured: Measured, target: TargetReached | None, job: Job, uri: str, folder: Path) -> Produced:
    """The score of the output `uri`, which has a target or the job wants: its reports, its summary."""
    if scoring := job.profile.vmaf:
        scored = write_reports(measured, scoring, uri, job.input, folder)
        return Produced(reports(scored, job), structs.replace(scored.quality, target=target), [])
    if not target:
        raise ValueError("nobody wants the score")
    model, size = msgspec.convert(target.model, VmafModel), f"{target.width}x{target.height}"
    scoring = Vmaf(scale=size, model=model, subsample=target.subsample)
    quality = results.summarize(measured.scores, scoring, measured.warnings, measured.pairs)
    return Produced([], structs.replace(quality, target=target), [])


def reports(scored: Scored, job: Job) -> list[tuple[Path, Output]]:
    """The reports of a score, and where they are published."""
    return [
        (file, Output(uri=job.output + name(job.input) + suffix, bytes=file.stat().st_size, role="report"))
        for file, suffix in zip((scored.report, scored.html), SCORE_FILES, strict=True)
    ]
