"""What can go wrong with a job, and whether another attempt can help.

    JobError                    carries a code, a sentence, and the program's last log lines where there are any
    ├── PermanentError          no attempt can succeed: the worker sends JobFailed and deletes the message
    ├── TransientError          AWS did not serve it: JobReturned, and the message comes back after a growing delay
    ├── HostError               this worker's host did not: JobReturned, and the message comes back at once
    └── WorkerError             the worker itself failed: JobReturned, and a strike against the job
    Interrupted                 the work must stop, through no fault of the job
    ├── ClaimLost               the job was cancelled, or another worker holds it
    └── ShuttingDown            this worker was asked to terminate

`aws_faults` sorts the errors of AWS into these, `host_faults` those of the operating system. docs/reference/codes.md
lists every code.
"""

from msgspec import UNSET, UnsetType

from elasticrecode.jobs.events import Failure, FaultOf

_MAX_LINES = 20
_MAX_LINE_LENGTH = 500


class JobError(Exception):
    """A failed job: `failure` holds the code, the message, and up to 20 lines of `log`, each up to 500 characters.

    `fault` says whose fault it is when it is not the job's own.
    """

    fault: FaultOf | UnsetType = UNSET

    def __init__(self, code: str, message: str, log: list[str] | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(code, message, [line[:_MAX_LINE_LENGTH] for line in (log or [])[-_MAX_LINES:]])


class PermanentError(JobError):
    """No attempt can succeed."""


class TransientError(JobError):
    """AWS could not serve the job now. A later attempt may succeed; the failed one is no strike against the job."""

    fault = "service"


class ObjectReplaced(TransientError):
    """An object in S3 is another by now than the one that was looked at."""


class HostError(JobError):
    """The worker's host could not do the job. Another host may; the failed attempt is no strike against the job."""

    fault = "host"


class WorkerError(JobError):
    """An error that the worker does not expect. It may be of the job's making, so the attempt is a strike."""


class Interrupted(Exception):
    """The work on a job was stopped from outside."""


class ClaimLost(Interrupted):
    """The job was cancelled, another worker holds it, or AWS could not be reached to find out."""


class ShuttingDown(Interrupted):
    """This worker was asked to terminate."""
