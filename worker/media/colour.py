"""Colour: what the output's samples mean, and the filters that convert the source's samples to that. Pure."""

from typing import NamedTuple

from elasticrecode.media.profiles import Ffmpeg
from worker.media.steps import Step
from worker.media.video import Video


class Signal(NamedTuple):
    """What the samples of a video mean: ffmpeg's names of the pixel format, primaries, transfer, matrix and range.

    `dynamic_range` is `sdr`, `hdr10` or `hlg`.
    """

    pixel_format: str
    primaries: str
    transfer: str
    matrix: str
    range: str = "tv"
    dynamic_range: str = "sdr"


def signal(video: Video, encode: Ffmpeg) -> Signal:
    """The signal of the output."""
    return Signal("yuv420p", "bt709", "bt709", "bt709")


def convert(video: Video, target: Signal) -> Step:
    """The filters that convert pictures to a signal, behind those that scale them."""
    return Step((f"format={target.pixel_format}",))
