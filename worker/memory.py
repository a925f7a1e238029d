"""What a worker knows from earlier jobs of the same user, and the facts on which that depends."""

import hashlib
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import elasticrecode
from elasticrecode.jobs.memory import Memory
from worker.certificate.programs import digest_of
from worker.settings import Settings
from worker.storage import Stored

_CODE = (Path(__file__).parent, Path(*elasticrecode.__path__))


class Knowledge(NamedTuple):
    """What is remembered of one source. `facts` identify its content and all that works on it."""

    memory: Memory
    facts: tuple[str, ...] = ()

    def of(self, *further: object) -> tuple[object, ...]:
        """The facts of something about the source that depends on further ones."""
        return (*self.facts, *further)


UNKNOWN = Knowledge(Memory("", ""))
"""Nothing is known, and nothing is kept."""


def knowledge_of(memory: Memory, settings: Settings, *sources: Stored) -> Knowledge:
    """What is remembered of sources: by their content, not by their names, and by the programs and code of this worker.

    S3's ETag stands for the content: it is a digest of it, or of one object alone where S3 encrypts with KMS.
    """
    contents = [f"{stored.size} {stored.etag}" for stored in sources]
    return Knowledge(memory, (*contents, _engine(settings.ffmpeg, settings.ffprobe, settings.packager)))


@cache
def _engine(*paths: str) -> str:
    """A digest of programs and of the worker's code: another version may make another output."""
    digest = hashlib.sha256()
    for path in paths:
        if file := shutil.which(path):
            digest.update(digest_of(Path(file).resolve()).encode())
    for source in sorted(source for folder in _CODE for source in folder.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
