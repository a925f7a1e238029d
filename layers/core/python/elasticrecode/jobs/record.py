"""A job's record, as GET /v1/jobs/{jobID}/status answers it."""

from msgspec import Raw, Struct

from elasticrecode.jobs.events import Failure, Progress
from elasticrecode.jobs.lifecycle import State


class JobRecord(Struct, kw_only=True):
    """The record of a job. Times are in Unix seconds; a field without a value is null.

    `replaces` names the jobs with outputs that this one has overwritten, and `replacedBy` the one that has overwritten
    an output of this job.
    """

    jobID: str
    userID: str
    kind: str
    state: State
    attempt: int
    priority: int
    queue: str | None = None
    queueReason: str | None = None
    input: str
    origin: str | None = None
    output: str
    profile: Raw
    batchID: str | None = None
    createdAt: float
    queuedAt: float | None = None
    startedAt: float | None = None
    endedAt: float | None = None
    progress: Progress | None = None
    outputs: Raw | None = None
    quality: Raw | None = None
    warnings: Raw | None = None
    error: Failure | None = None
    replaces: list[str] | None = None
    replacedBy: str | None = None
