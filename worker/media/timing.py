"""The clock of the output: which frames it gets, at which times, and the rate the encoder is told. Pure."""

from elasticrecode.media.profiles import Ffmpeg
from worker.media.steps import Step
from worker.media.video import Video

TIME_BASE = "1/90000"
"""The encoder's clock: fine enough for every frame to keep its time."""


def trim(video: Video, encode: Ffmpeg) -> Step:
    """The filters that leave out what lies outside `start` and `end`."""
    return Step()


def pace(video: Video, encode: Ffmpeg) -> Step:
    """The filters that bring the frames to the rate that the encode wants. By default every frame keeps its time."""
    return Step()


def mean_rate(video: Video, encode: Ffmpeg) -> float:
    """Mean frames per second of the output, which the encoder spreads its bits by; 0 where unknown."""
    return video.rate


def length(video: Video, encode: Ffmpeg) -> float | None:
    """Seconds of the output; None where unknown."""
    if video.duration is None and not encode.end:
        return None
    end = min(encode.end or float("inf"), video.duration or float("inf"))
    return max(0.0, end - (encode.start or 0.0)) or None
