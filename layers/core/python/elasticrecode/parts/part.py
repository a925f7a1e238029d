"""Parts as their records hold them, as workers encode them, and as clients see them."""

from typing import Literal, NamedTuple

from msgspec import Raw, Struct

from elasticrecode.ids import PART
from elasticrecode.jobs.events import Failure, Progress
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import ENDED, State
from elasticrecode.jobs.record import Division

PartKind = Literal["rung", "chunk"]
MOST_PARTS = 400
"""Parts of one job: as many as a two-hour film needs on a hundred workers, and few enough to read every 10 s."""


class Part(Struct, frozen=True, kw_only=True):
    """One part: its number from 0, its name, and its cost beside that of the others, in CPU seconds.

    `prefix` is the start of the URIs of the objects that workers put in between. Of chunks, those of a higher `urgency`
    are claimed first, and of equal ones the costliest.
    """

    number: int
    kind: PartKind
    name: str
    cost: float
    prefix: str
    urgency: int = 0

    @property
    def turn(self) -> tuple[int, float, int]:
        """Its place among the parts of its job: those with lower values are sent, and claimed, first."""
        return -self.urgency, -self.cost, self.number


class PartJob(Job, frozen=True, kw_only=True):
    """The job of a part: that of the whole job with the part's own id."""

    part: Part


class PartFile(Struct, frozen=True):
    """An object that holds a part's result: its size, and the SHA-256 of its bytes in hex."""

    uri: str
    bytes: int
    sha256: str


class PartResult(Struct, frozen=True):
    """The result of a finished part: its objects, and the figures that its encoder measured, as JSON."""

    files: list[PartFile]
    figures: Raw = Raw(b"{}")


class PartRecord(Struct, kw_only=True):
    """A part as GET /v1/jobs/{jobID}/parts answers it. `seconds` is for how long its last attempt ran, or runs."""

    part: int
    name: str
    kind: PartKind
    state: State
    attempt: int
    progress: Progress | None = None
    seconds: float | None = None
    worker: str | None = None


class StoredPart(NamedTuple):
    """The record of a part, as workers read it. Times are in Unix milliseconds."""

    job: PartJob
    state: State
    attempt: int
    worker: str
    lease: int | None
    queued_ms: int
    started_ms: int | None
    ended_ms: int | None
    progress: Progress | None
    result: PartResult | None
    failure: Failure | None

    @property
    def part(self) -> Part:
        """The part itself."""
        return self.job.part

    def is_held(self, now: int) -> bool:
        """Whether a worker holds it at `now`, in milliseconds."""
        return self.state == "running" and self.lease is not None and self.lease >= now

    def is_lost(self, now: int) -> bool:
        """Whether the worker that held it has vanished."""
        return self.state == "running" and not self.is_held(now)

    def shown(self, now: int) -> PartRecord:
        """The part as clients see it at `now`, in milliseconds."""
        is_lost = self.is_lost(now)
        end = self.ended_ms or now
        return PartRecord(
            part=self.part.number,
            name=self.part.name,
            kind=self.part.kind,
            state="queued" if is_lost else self.state,
            attempt=self.attempt,
            progress=None if is_lost else Progress(percent=100.0) if self.state == "finished" else self.progress,
            seconds=None if is_lost or self.started_ms is None else max(0, end - self.started_ms) / 1000,
            worker=None if is_lost else self.worker or None,
        )


class Whole(NamedTuple):
    """The state of a divided job, `forgotten` without a record, the worker that holds it, if any, and its division."""

    state: str
    worker: str
    division: Division | None

    def wants(self, division: Division) -> bool:
        """Whether the job still needs the parts of a division."""
        return self.state not in (*ENDED, "forgotten") and self.division == division


def whole_of(part: str) -> tuple[str, int, int]:
    """The id of the job that a part belongs to, the attempt that divided it, and the part's number.

    Raises ValueError for an id that is not a part's.
    """
    match = PART.fullmatch(part)
    if not match:
        raise ValueError(part)
    return match[1], int(match[2]), int(match[3])
