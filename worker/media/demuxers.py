"""The containers that ffmpeg and ffprobe may open, and the options that hold them to that."""

from worker.sandbox.limits import JobLimits

DEMUXERS = ("mov", "mp4", "matroska", "webm", "mpegts", "mpeg", "avi", "flv", "ogg", "asf", "mxf")
"""Accepted containers, as ffprobe names demuxers. None of them is a playlist, so none refers to another file or URL."""

SOUND_DEMUXERS = (*DEMUXERS, "wav", "mp3", "flac", "aac")
"""Accepted containers of jobs for sound alone: those of films, and files that hold nothing but sound."""

LATE_OPTIONS = ("-analyzeduration", "300M", "-probesize", "256M")
"""Options for a file whose tracks begin after the 5 s or 5 MB that ffmpeg looks at: 300 s, 256 MB."""


def input_options(limits: JobLimits, *, is_late: bool = False) -> tuple[str, ...]:
    """Options for ffmpeg and ffprobe before an input: whatever is in the file, they open no other file or URL.

    The decoder gets the limit on pixels too, because a stream can change its picture size after the first frame.
    """
    return (
        *("-protocol_whitelist", "file", "-format_whitelist", ",".join(DEMUXERS)),
        *("-max_pixels", str(limits.pixels), "-max_streams", str(limits.streams + 1)),
        *(LATE_OPTIONS if is_late else ()),
    )


def sound_options(limits: JobLimits) -> tuple[str, ...]:
    """Options as `input_options` gives, for jobs for sound alone: they accept SOUND_DEMUXERS."""
    return (*input_options(limits, is_late=True), "-format_whitelist", ",".join(SOUND_DEMUXERS))
