"""A job's record, as GET /v1/jobs/{jobID}/status answers it."""

from typing import Literal

from msgspec import Raw, Struct

from elasticrecode.jobs.events import Failure, Progress
from elasticrecode.jobs.job import Budget
from elasticrecode.jobs.lifecycle import State


class Division(Struct, kw_only=True):
    """The number of parts that a job is divided into, their kind, and why: 0 and null for a job that stays whole.

    `estimatedSeconds` is how long one worker would need for the whole, and `attempt` the one that divided the job.
    """

    parts: int
    kind: Literal["rung", "chunk"] | None = "rung"
    estimatedSeconds: float
    reason: str
    attempt: int


class JobRecord(Struct, kw_only=True):
    """The record of a job. Times are in Unix seconds; a field without a value is null.

    `replaces` names the jobs with outputs that this one has overwritten, and `replacedBy` the one that has overwritten
    an output of this job. `copyOf` names the job that made the outputs, if they are copies. `division` is None until a
    worker has decided whether the job gets parts. `plan` is the id of the plan that the job carries out. `dollars` is
    what the workers of the latest attempt have cost by now, at the deployment's price of a worker hour; lists leave it
    null.
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
    copyOf: str | None = None
    quality: Raw | None = None
    ladder: Raw | None = None
    warnings: Raw | None = None
    division: Division | None = None
    plan: str | None = None
    budget: Budget | None = None
    dollars: float | None = None
    error: Failure | None = None
    replaces: list[str] | None = None
    replacedBy: str | None = None
