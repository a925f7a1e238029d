"""Exit statuses of the command. Pure."""

from enum import IntEnum


class Exit(IntEnum):
    """What the exit status says. docs/reference/command.md has the table."""

    DONE = 0
    JOB_FAILED = 1
    REFUSED = 2
    BELOW_BAR = 3
    FORBIDDEN = 4
    UNREACHABLE = 5
    TIMEOUT = 6
    INTERNAL = 70
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done: every job has finished, every score is high enough",
    Exit.JOB_FAILED: "a job failed or was cancelled, or the two files of `compare` cannot be compared",
    Exit.REFUSED: "wrong usage, or the request was refused: nothing was stored",
    Exit.BELOW_BAR: "the quality is below the bar: `--min-vmaf`, or `min` of a profile",
    Exit.FORBIDDEN: "not signed in, or not allowed",
    Exit.UNREACHABLE: "the service, or S3, cannot be reached or is out of order: try again",
    Exit.TIMEOUT: "`--timeout` has passed before the jobs ended; they go on",
    Exit.INTERNAL: "a fault of the command itself: please report it",
    Exit.INTERRUPTED: "interrupted by Ctrl-C; jobs that were not cancelled go on",
}
"""Exit status → what it says."""
