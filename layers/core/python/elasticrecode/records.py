"""A job's record, as GET /v1/jobs/{jobID}/status answers it."""

from msgspec import Raw, Struct

from elasticrecode.events import Failure, Progress
from elasticrecode.lifecycle import State


class JobRecord(Struct, kw_only=True):
    """Where a job stands. Times are Unix seconds; what has nothing to say is null."""

    jobID: str  # noqa: N815
    userID: str  # noqa: N815
    kind: str
    state: State
    attempt: int
    priority: int
    queue: str
    input: str
    origin: str | None = None
    output: str
    profile: Raw
    batchID: str | None = None  # noqa: N815
    createdAt: float  # noqa: N815
    queuedAt: float | None = None  # noqa: N815
    startedAt: float | None = None  # noqa: N815
    endedAt: float | None = None  # noqa: N815
    progress: Progress | None = None
    outputs: Raw | None = None
    quality: Raw | None = None
    error: Failure | None = None
