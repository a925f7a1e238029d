"""The size of the output picture, and the filters that bring the source's pictures to it. Pure."""

from typing import NamedTuple

from elasticrecode.media.profiles import SOURCE, Ffmpeg
from worker.media.steps import Step
from worker.media.video import Video


class Raster(NamedTuple):
    """Width and height of the output in square pixels."""

    width: int
    height: int


def raster(video: Video, encode: Ffmpeg) -> Raster:
    """The size of the output, by the encode's `scale` and `fit`."""
    if encode.scale == SOURCE:
        width, height = video.upright
    else:
        width, height = map(int, encode.scale.split(":"))
    return Raster(width // 2 * 2, height // 2 * 2)


def normalise(video: Video) -> Step:
    """Bring pictures whose size changes on the way to the size of the first."""
    return Step((f"scale={video.width}:{video.height}",))


def orient(video: Video) -> Step:
    """Turn the picture as its rotation flag says."""
    turns = {90: ("transpose=cclock",), 180: ("hflip", "vflip"), 270: ("transpose=clock",)}
    return Step(turns.get(video.rotation, ()))


def fit(video: Video, encode: Ffmpeg, size: Raster) -> Step:
    """Scale, crop and pad upright pictures to the output's size, in square pixels."""
    return Step((f"scale={size.width}:{size.height}", "setsar=1"))
