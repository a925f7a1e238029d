"""What can go wrong with a job, and whether another attempt can help.

    JobError                    carries a code, a sentence, and the program's last log lines where there are any
    ├── PermanentError          no attempt can succeed: the worker sends JobFailed and deletes the message
    └── TransientError          a later attempt may succeed: JobReturned, and the message comes back after a delay
    Interrupted                 the work must stop, through no fault of the job
    ├── ClaimLost               the job was cancelled, or another worker holds it
    └── ShuttingDown            this worker was asked to terminate

Codes of permanent errors: input-not-found, input-access-denied, input-empty, input-not-video (not one of the accepted
containers), input-no-video (audio only, or a codec without a decoder), input-corrupt, encoder-failed, output-invalid,
output-access-denied, worker-cannot (the job is for another kind of worker), quality-below-minimum, and those listed in
`sandbox.limits`, `quality.pairing` and `quality.alignment`. Errors of a score's origin start with `origin-` instead of
`input-`.
Codes of transient errors: storage-unavailable, disk-full, worker-error.
"""

from elasticrecode.jobs.events import Failure, Result

_MAX_LINES = 20
_MAX_LINE_LENGTH = 500


class JobError(Exception):
    """A failed job: `failure` holds the code, the message, and up to 20 lines of `log`, each up to 500 characters."""

    def __init__(self, code: str, message: str, log: list[str] | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(code, message, [line[:_MAX_LINE_LENGTH] for line in (log or [])[-_MAX_LINES:]])


class PermanentError(JobError):
    """No attempt can succeed. `result` holds what was published despite the error, else None."""

    result: Result | None = None


class TransientError(JobError):
    """A later attempt may succeed."""


class Interrupted(Exception):
    """The work on a job was stopped from outside."""


class ClaimLost(Interrupted):
    """The job was cancelled, another worker holds it, or AWS could not be reached to find out."""

    def __init__(self, message: str, *, cancelled: bool = False) -> None:
        super().__init__(message)
        self.cancelled = cancelled


class ShuttingDown(Interrupted):
    """This worker was asked to terminate."""
