"""A batch's progress: its state and counts, as routes answer and events report them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from elasticrecode.batches.counting import Strip
from elasticrecode.batches.request import Batch
from elasticrecode.batches.survey import LineFault, SurveyResult
from elasticrecode.jobs.events import Failure
from elasticrecode.jobs.lifecycle import ENDED, STATES
from elasticrecode.media.profiles import Profile

_MIN_RATE_MS = 30_000
_SAMPLES = 12
_SAMPLE_MS = 10_000
"""Time between two samples of how many jobs have ended."""

BatchState = Literal["expanding", "running", "finished", "cancelled", "failed"]


class Sample(NamedTuple):
    """How many jobs had ended by a time, in Unix milliseconds."""

    at_ms: int
    ended: int


class JobCounts(NamedTuple):
    """The jobs of a batch by state, the failed ones by code, and the moves of all, which never get fewer."""

    states: Mapping[str, int]
    failures: Mapping[str, int]
    moves: int

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return sum(self.states[state] for state in ENDED)


class StoredBatch(Struct, kw_only=True):
    """A batch as its table holds it, with its progress. Times are in Unix milliseconds.

    `run` names the survey that counts, and `survey` is its result, None before it is complete. `settled` counts the
    pages that `expand` is done with, `skipped` the inputs that a cancellation kept from becoming jobs. `round` counts
    how often all jobs have ended, `moves` is how many moves they had made when they last did, `counts` the jobs by
    state at that time, and `retries` counts the times that retried jobs were counted.
    """

    batch: Batch
    run: str = ""
    survey: SurveyResult | None = None
    settled: int = 0
    skipped: int = 0
    cancelledMs: int | None = None
    endedMs: int | None = None
    failure: Failure | None = None
    round: int = 0
    retries: int = 0
    moves: int = 0
    counts: JobCounts | None = None
    samples: tuple[Sample, ...] = ()

    @property
    def total(self) -> int | None:
        """How many jobs the batch has or will have; None before the survey."""
        if self.survey:
            return self.survey.total - self.skipped
        return 0 if self.failure or self.cancelledMs else None

    @property
    def is_expanded(self) -> bool:
        """Whether no more jobs will be created."""
        return bool(self.failure) or (self.settled == self.survey.pages if self.survey else bool(self.cancelledMs))

    @property
    def state(self) -> BatchState:
        """The state that a client sees."""
        if self.failure:
            return "failed"
        if self.cancelledMs:
            return "cancelled"
        if self.endedMs:
            return "finished"
        return "running" if self.is_expanded else "expanding"


class BatchProgress(Struct):
    """Percent of the jobs that have ended, the recent rate of jobs that end, and the seconds left at that rate."""

    percent: float
    jobsPerSecond: float | None = None
    etaSeconds: float | None = None


class BatchTaken(Struct):
    """The answer to an accepted batch. The survey finds out `total` later."""

    batchID: str
    userID: str
    state: BatchState = "expanding"
    total: int | None = None


class BatchRecord(Struct, kw_only=True):
    """The answer of GET /v1/batches/{batchID}. Times are in Unix seconds; a field without a value is null."""

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


def count_jobs(strips: Iterable[Strip]) -> JobCounts:
    """The counts of all strips of a batch together. `states` has every state; `failures` the most frequent first."""
    states: dict[str, int] = dict.fromkeys(STATES, 0)
    failures: Counter[str] = Counter()
    moves = 0
    for strip in strips:
        for state, count in strip.counts().items():
            states[state] += count
        failures += strip.failures()
        moves += strip.moves
    return JobCounts(states, dict(failures.most_common()), moves)


def has_ended(stored: StoredBatch, counts: JobCounts) -> bool:
    """Whether all jobs of a batch have ended, and no more will be created."""
    return stored.is_expanded and counts.ended == stored.total


def is_sample_due(stored: StoredBatch, now_ms: int) -> bool:
    """Whether it is time to note again how many jobs have ended."""
    return not stored.endedMs and (not stored.samples or now_ms >= stored.samples[-1].at_ms + _SAMPLE_MS)


def add_sample(stored: StoredBatch, counts: JobCounts, now_ms: int) -> tuple[Sample, ...]:
    """The latest samples of a batch, at most 12, with a new one."""
    return (*stored.samples[1 - _SAMPLES :], Sample(now_ms, counts.ended))


def batch_progress(stored: StoredBatch, counts: JobCounts, now_ms: int) -> BatchProgress:
    """The progress of a batch. Its rate is measured since the oldest sample, once that is 30 s old."""
    if stored.endedMs or not stored.total:
        return BatchProgress(100.0 if stored.endedMs else 0.0)
    progress = BatchProgress(round(100 * counts.ended / stored.total, 1))
    since = next(iter(stored.samples), None)
    if since and now_ms - since.at_ms >= _MIN_RATE_MS and counts.ended > since.ended:
        rate = (counts.ended - since.ended) * 1000 / (now_ms - since.at_ms)
        progress.jobsPerSecond = round(rate, 3)
        progress.etaSeconds = round((stored.total - counts.ended) / rate, 1)
    return progress


def batch_record(stored: StoredBatch, counts: JobCounts, now_ms: int) -> BatchRecord:
    """A batch and its progress, for its user."""
    batch, survey = stored.batch, stored.survey or SurveyResult()
    return BatchRecord(
        batchID=batch.batchID,
        userID=batch.userID,
        state=stored.state,
        total=stored.total,
        **counts.states,
        progress=batch_progress(stored, counts, now_ms),
        failures=dict(counts.failures),
        manifest=batch.manifest or None,
        prefix=batch.prefix or None,
        suffixes=batch.suffixes or None,
        output=batch.output,
        priority=batch.priority,
        profile=batch.profile,
        createdAt=batch.createdMs / 1000,
        endedAt=stored.endedMs / 1000 if stored.endedMs else None,
        faultCount=survey.faultCount,
        faults=survey.faults,
        warnings=list(_warnings(stored, survey)),
        error=stored.failure,
    )


def _warnings(stored: StoredBatch, survey: SurveyResult) -> Iterator[str]:
    if survey.repeated:
        yield f"{_count(survey.repeated, 'input')} named again: each became a job all the same"
    if survey.faultCount:
        yield f"{_count(survey.faultCount, 'line')} left out: faults has the reasons of the first {len(survey.faults)}"
    if stored.skipped:
        yield f"{_count(stored.skipped, 'input')} without a job: the batch was cancelled before"


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def batch_summary(stored: StoredBatch, counts: JobCounts) -> dict[str, Any]:
    """The field `batch` of the event BatchFinished."""
    summary: dict[str, Any] = {"state": stored.state, "total": stored.total, **counts.states}
    return summary | {"failures": dict(counts.failures)} if counts.failures else summary
