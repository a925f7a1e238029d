"""Everything that can go wrong with a job, and whether trying again can help.

    JobError                    has a code, a sentence, and the encoder's last lines where there are any
    ├── Hopeless                the job can never succeed: JobFailed, the message is deleted
    └── Passing                 it may succeed later: JobReturned, the message comes back after a growing delay
    Interrupted                 the work must stop, for no fault of the job
    ├── ClaimLost               the job was cancelled or is another worker's now
    └── Stopping                this worker was told to terminate

Codes of hopeless failures: input-not-found, input-access-denied, input-empty, input-not-video (no container that is
allowed), input-no-video (audio only, or a codec without a decoder), input-corrupt, encoder-failed, output-invalid,
output-access-denied, worker-cannot (a profile of another kind of worker), quality-below-minimum, and those of `limits`
and `alignment`. A score's origin has the codes of an input with `origin-` before them.
Codes of passing ones: storage-unavailable, disk-full, worker-error.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from elasticrecode.jobs.events import Failure, Result

_LINES = 20
_LINE_LENGTH = 500
LOG_BYTES = 65_536
_NO_DECODER = re.compile(r"vist#([01]):.{,99}no decoder found for|Decoder .{,99} not found for input stream #([01]):")
"""Of ffmpeg as it is, and up to 6."""


class JobError(Exception):
    """A failed job. `log` holds the encoder's own last lines."""

    def __init__(self, code: str, message: str, log: list[str] | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(code, message, [line[:_LINE_LENGTH] for line in (log or [])[-_LINES:]])


class Hopeless(JobError):
    """Trying again can't help. `result` is what the job has brought all the same."""

    result: Result | None = None


class Passing(JobError):
    """Trying again later may help."""


class Interrupted(Exception):
    """The work on a job was stopped from outside."""


class ClaimLost(Interrupted):
    """The job was cancelled, or another worker has it, or nobody can tell."""

    def __init__(self, message: str, *, cancelled: bool = False) -> None:
        super().__init__(message)
        self.cancelled = cancelled


class Stopping(Interrupted):
    """This worker must terminate."""


def encoder_error(lines: list[str], status: int, sides: Sequence[str] = ("input",)) -> JobError:
    """What ffmpeg's last lines and its exit status mean. `sides` are the files it read, in their order."""
    text = "\n".join(lines)
    if "No space left on device" in text:
        return Passing("disk-full", "The worker's disk is full.", lines)
    if unread := _NO_DECODER.search(text):
        side = sides[int(unread[1] or unread[2])]
        return Hopeless(f"{side}-no-video", f"The {side}'s video is of a codec that this worker can't decode.", lines)
    if "Invalid data found" in text or "moov atom not found" in text:
        return Hopeless("input-corrupt", "The input is damaged; its own data can't be decoded.", lines)
    if "Could not open encoder before EOF" in text:
        return Hopeless("input-corrupt", "Not one frame could be decoded.", lines)
    return Hopeless("encoder-failed", f"The encoder ended with status {status}.", lines)


def last_lines(log: Path, folder: Path) -> list[str]:
    """The end of a program's log, without the path of the job's folder."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        end = file.read().decode(errors="replace")
    return end.replace(str(folder), "").splitlines()
