"""How far a batch is, counted from its strips, as routes and events tell it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from elasticrecode.batches.counting import Strip
from elasticrecode.batches.request import Batch
from elasticrecode.batches.survey import Findings, LineFault
from elasticrecode.jobs.events import Failure
from elasticrecode.jobs.lifecycle import ENDED, STATES
from elasticrecode.media.profiles import Profile

_SHORTEST_RATE_MS = 30_000
_SAMPLES = 12
_SAMPLE_MS = 10_000
"""How often it is noted how many jobs have ended."""

BatchState = Literal["expanding", "running", "finished", "cancelled", "failed"]


class Sample(NamedTuple):
    """How many jobs had ended by a time, in milliseconds."""

    at_ms: int
    ended: int


class Standing(Struct, kw_only=True):
    """How far a batch is.

    `run` names the look through its inputs that counts, and `found` what it brought. Of its pages `settled` have been
    made jobs, or will not be; `unmade` are the inputs that a cancellation came before. Times are in milliseconds.
    `round` counts how often all of its jobs have ended, and `moves` are those they had made when they last had.
    """

    batch: Batch
    run: str = ""
    found: Findings | None = None
    settled: int = 0
    unmade: int = 0
    cancelledMs: int | None = None
    endedMs: int | None = None
    failure: Failure | None = None
    round: int = 0
    moves: int = 0
    samples: tuple[Sample, ...] = ()

    @property
    def total(self) -> int | None:
        """How many jobs there are or will be; None while that is not known."""
        if self.found:
            return self.found.total - self.unmade
        return 0 if self.failure or self.cancelledMs else None

    @property
    def is_expanded(self) -> bool:
        """Whether no more jobs will be made."""
        return bool(self.failure) or (self.settled == self.found.pages if self.found else bool(self.cancelledMs))

    @property
    def state(self) -> BatchState:
        """The state, as it is shown."""
        if self.failure:
            return "failed"
        if self.cancelledMs:
            return "cancelled"
        if self.endedMs:
            return "finished"
        return "running" if self.is_expanded else "expanding"


class BatchProgress(Struct):
    """Percent of the jobs that have ended; how many end a second, lately; seconds that the rest will take by that."""

    percent: float
    jobsPerSecond: float | None = None
    etaSeconds: float | None = None


class BatchTaken(Struct):
    """A batch that was taken in; how many jobs it has is not known before its inputs were looked through."""

    batchID: str
    userID: str
    state: BatchState = "expanding"
    total: int | None = None


class BatchRecord(Struct, kw_only=True):
    """A batch, as GET /v1/batches/{batchID} answers it. Times are Unix seconds; what has nothing to say is null."""

    batchID: str
    userID: str
    state: BatchState
    total: int | None
    accepted: int
    queued: int
    running: int
    finished: int
    failed: int
    cancelled: int
    progress: BatchProgress
    failures: dict[str, int]
    manifest: str | None
    prefix: str | None
    suffixes: tuple[str, ...] | None
    output: str
    priority: int
    profile: Profile
    createdAt: float
    endedAt: float | None
    faultCount: int
    faults: list[LineFault]
    warnings: list[str]
    error: Failure | None


class Counts(NamedTuple):
    """What the strips of a batch come to; `moves` are those of all jobs together, which never get fewer."""

    states: Mapping[str, int]
    failures: Mapping[str, int]
    moves: int

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return sum(self.states[state] for state in ENDED)


def counted(strips: Iterable[Strip]) -> Counts:
    """The jobs of all strips together."""
    states: dict[str, int] = dict.fromkeys(STATES, 0)
    failures: Counter[str] = Counter()
    moves = 0
    for strip in strips:
        for state, count in strip.counts().items():
            states[state] += count
        failures += strip.failures()
        moves += strip.moves
    return Counts(states, dict(failures.most_common()), moves)


def has_ended(standing: Standing, counts: Counts) -> bool:
    """Whether there is no job left that may still end, or be made."""
    return standing.is_expanded and counts.ended == standing.total


def is_sample_due(standing: Standing, now_ms: int) -> bool:
    """Whether it is to be noted how many jobs have ended."""
    return not standing.endedMs and (not standing.samples or now_ms >= standing.samples[-1].at_ms + _SAMPLE_MS)


def sampled(standing: Standing, counts: Counts, now_ms: int) -> tuple[Sample, ...]:
    """The latest samples, with one of now."""
    return (*standing.samples[1 - _SAMPLES :], Sample(now_ms, counts.ended))


def progress(standing: Standing, counts: Counts, now_ms: int) -> BatchProgress:
    """How far a batch is, and how fast it has been since the oldest sample."""
    if standing.endedMs or not standing.total:
        return BatchProgress(100.0 if standing.endedMs else 0.0)
    done = BatchProgress(round(100 * counts.ended / standing.total, 1))
    since = next(iter(standing.samples), None)
    if since and now_ms - since.at_ms >= _SHORTEST_RATE_MS and counts.ended > since.ended:
        rate = (counts.ended - since.ended) * 1000 / (now_ms - since.at_ms)
        done.jobsPerSecond = round(rate, 3)
        done.etaSeconds = round((standing.total - counts.ended) / rate, 1)
    return done


def record(standing: Standing, counts: Counts, now_ms: int) -> BatchRecord:
    """How a batch stands, for its user."""
    batch, found = standing.batch, standing.found or Findings()
    return BatchRecord(
        batchID=batch.batchID,
        userID=batch.userID,
        state=standing.state,
        total=standing.total,
        **counts.states,
        progress=progress(standing, counts, now_ms),
        failures=dict(counts.failures),
        manifest=batch.manifest or None,
        prefix=batch.prefix or None,
        suffixes=batch.suffixes or None,
        output=batch.output,
        priority=batch.priority,
        profile=batch.profile,
        createdAt=batch.createdMs / 1000,
        endedAt=standing.endedMs / 1000 if standing.endedMs else None,
        faultCount=found.faultCount,
        faults=found.faults,
        warnings=list(_warnings(standing, found)),
        error=standing.failure,
    )


def _warnings(standing: Standing, found: Findings) -> Iterator[str]:
    if found.repeated:
        yield f"{_many(found.repeated, 'input')} named again: each is a job all the same"
    if found.faultCount:
        yield f"{_many(found.faultCount, 'line')} left out: faults says why, of the first {len(found.faults)}"
    if standing.unmade:
        yield f"{_many(standing.unmade, 'input')} without a job: the batch was cancelled before"


def _many(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def summary(standing: Standing, counts: Counts) -> dict[str, Any]:
    """What BatchFinished says of a batch."""
    said: dict[str, Any] = {"state": standing.state, "total": standing.total, **counts.states}
    return said | {"failures": dict(counts.failures)} if counts.failures else said
