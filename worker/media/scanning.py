"""Interlaced and telecined sources: the filters that make whole pictures of fields. Pure."""

from elasticrecode.media.profiles import Ffmpeg
from worker.media.steps import Step
from worker.media.video import Video


def deinterlace(video: Video, encode: Ffmpeg) -> Step:
    """The filters that remove interlacing, where the source has any and the encode does not leave it."""
    return Step()
