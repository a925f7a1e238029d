"""The product on one host without AWS: jobs are divided, encoded, scored and joined by the worker's own code."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
from msgspec import Raw

from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Profile, resolve
from elasticrecode.parts.part import Part, PartJob, PartResult, StoredPart
from local.place import TOOLS
from worker.assembling import assemble
from worker.chunks import Place
from worker.dividing import Divided, find_division
from worker.holding import Encoded
from worker.parts import Parts
from worker.produced import Produced
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

FFMPEG, FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "n", "p", FFMPEG, FFPROBE)
_PREFIX = "s3://bench/parts/"


class Disk(Storage):
    """One file as an object, and small objects in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._small = path, dict[str, bytes]()

    def opened(self, uri: str, side: str = "input", *, anew: bool = False) -> tuple[int, str]:
        """As `Storage.opened`."""
        return self._path.stat().st_size, "etag"

    def read_range(self, uri: str, etag: str, offset: int, size: int, side: str = "input") -> bytes:
        """As `Storage.read_range`."""
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def read_small(self, uri: str, most_bytes: int, unless: str) -> tuple[int, bytes]:
        """As `Storage.read_small`."""
        content = self._small.get(uri, b"")
        return len(content), content

    def write_small(self, uri: str, content: bytes) -> None:
        """As `Storage.write_small`."""
        self._small[uri] = content


class _Parts:
    """The parts of a job that this host encodes one after the other, each by what it learnt from those before."""

    division = None
    attempt = 1

    def __init__(self, job: Job) -> None:
        self._job, self._names, self._costs = job, list[str](), list[float]()
        self.stored: list[StoredPart] = []
        self.sound_seconds = 0.0

    def start(self, attempt: int) -> str:
        return f"{_PREFIX}{attempt}/"

    def divide(self, kind: str, names: Sequence[str], costs: Sequence[float], seconds: float, reason: str) -> None:
        self._names, self._costs = list(names), list(costs)

    def undivided(self, seconds: float, reason: str) -> None:
        raise ValueError(reason)

    def read(self) -> list[StoredPart]:
        return self.stored

    def report(self, progress: Progress) -> None:
        pass

    def run(self, encode: Callable[[Sequence[int]], Mapping[int, Encoded]], folder: Path) -> Mapping[int, Encoded]:
        done: dict[int, Encoded] = {}
        for number in sorted(range(len(self._names)), key=lambda each: (-self._costs[each], each)):
            done |= encode([number])
            result = PartResult([], Raw(msgspec.json.encode(done[number].figures)))
            part = Part(number=number, kind="chunk", name=self._names[number], cost=self._costs[number], prefix=_PREFIX)
            fields = {field: getattr(self._job, field) for field in Job.__struct_fields__}
            job = PartJob(**fields, part=part)
            self.stored.append(StoredPart(job, "finished", 1, "n", None, 0, 0, 0, None, result, None))
        return done


class Run(NamedTuple):
    """A job that ran: its film as it was divided, its outputs, and the CPU seconds of all programs."""

    film: Divided
    produced: Produced
    cpu_seconds: float


def place(source: Path, profile: Profile, folder: Path, runner: Runner) -> Place:
    """A worker at a job of the file `source` by a profile, as requested, in an empty folder."""
    job = Job(userid="u", jobid="j", input="s3://bench/in.mp4", output="s3://bench/out/", profile=resolve(profile))
    return Place(job, SETTINGS, Disk(source), runner, folder, lambda _: None)


def run(source: Path, profile: Profile, folder: Path) -> Run:
    """Run a job of the file `source`. Raises ValueError with the reason for one that is not divided."""
    runner = Runner()
    at = place(source, profile, folder, runner)
    parts = cast(Parts, _Parts(at.job))
    film = find_division(at, parts)
    if isinstance(film, str):
        raise ValueError(film)
    produced = assemble(at, film, parts, "v")
    return Run(film, produced, runner.cpu_seconds)
