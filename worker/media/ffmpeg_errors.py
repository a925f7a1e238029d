"""The meaning of ffmpeg's and ffprobe's log lines and exit status, as errors of a job."""

import re
from collections.abc import Iterable, Sequence

from worker.errors import JobError, PermanentError
from worker.host_faults import disk_full, host_failed
from worker.sandbox.limits import JobLimits

_NO_DECODER = re.compile(r"vist#([01]):.{,99}no decoder found for|Decoder .{,99} not found for input stream #([01]):")
"""The wording of current ffmpeg, and of versions up to 6."""
_SOUND_FAILED = re.compile(
    r"aist#(\d+):.{,99}(?:no decoder found for|Decode error rate)|aost#\d+:.{,99}Could not open encoder before EOF"
)
_TOO_MANY_PIXELS = re.compile(r"size ([1-9]\d*x[1-9]\d*) (?:exceeds specified max pixel count|is invalid)")


_LEVEL = re.compile(r"\[(?:warning|error|fatal|panic)\] ")


def grave(lines: Iterable[str]) -> list[str]:
    """The warnings and errors in a log whose lines tell their level, without it."""
    return [_LEVEL.sub("", line, count=1) for line in lines if _LEVEL.search(line)]


def encoder_error(lines: list[str], status: int, sides: Sequence[str] = ("input",)) -> JobError:
    """The error of an ffmpeg run that failed, from its last log lines and its exit status.

    `sides` names its input files in their order, for the error code.
    """
    text = "\n".join(lines)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return disk_full(lines)
    if "Read-only file system" in text:
        return host_failed("its disk is read-only", lines)
    if match := _NO_DECODER.search(text):
        side = sides[int(match[1] or match[2])]
        return PermanentError(f"{side}-no-video", f"This worker has no decoder for the {side}'s video codec.", lines)
    if match := _SOUND_FAILED.search(text):
        side = sides[int(match[1] or 0)]
        message = f"The {side}'s sound cannot be decoded or encoded. Ask for audio.codec none to leave it out."
        return PermanentError(f"{side}-sound-corrupt", message, lines)
    if "Invalid data found" in text or "moov atom not found" in text:
        return PermanentError("input-corrupt", "The input is damaged: its data cannot be decoded.", lines)
    if "Could not open encoder before EOF" in text:
        return PermanentError("input-corrupt", "No frame could be decoded.", lines)
    return PermanentError("encoder-failed", f"The encoder ended with status {status}.", lines)


def limit_error(limits: JobLimits, side: str, lines: Iterable[str]) -> PermanentError | None:
    """The limit that stopped ffmpeg or ffprobe reading a file, from its log lines; None if no limit did."""
    for line in lines:
        if size := _TOO_MANY_PIXELS.search(line):
            message = f"The {side} has pictures of {size[1]}; the limit is {limits.pixels} pixels."
            return PermanentError(f"{side}-too-many-pixels", message)
        if "exceeds max_streams" in line:
            message = f"The {side} has more than {limits.streams} streams, the limit."
            return PermanentError(f"{side}-too-many-streams", message)
    return None
