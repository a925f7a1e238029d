"""Where a part of a source is entered, so that no frame of the part lacks the key frame before it."""

from pathlib import Path

from elasticrecode.media.profiles import Ffmpeg
from worker.errors import PermanentError
from worker.media import timing
from worker.media.probe import picture_clock
from worker.media.source import Source
from worker.media.video import Video
from worker.sandbox.runner import Runner

_SPANS = (timing.GUARD_SECONDS, 80.0, 320.0)
"""Seconds before `start` at which a file with an index is entered: the first that has a key frame before `start`."""
_LEAD_SECONDS = 2.0
"""A stream with a free clock is entered this long before a key frame: its seek goes by time, and ends anywhere."""
_LOOK_SECONDS = 60
_COARSE_TICKS = 1000
"""Ticks a second below which a file is entered at the time of a frame: between two, ffmpeg shifts the picture."""


def enter(ffprobe: str, runner: Runner, path: Path, source: Source, encode: Ffmpeg) -> Video:
    """The source's video with the `entry` of its part.

    Streams with a free clock are read whole, without decoding: one whose clock jumps cannot be entered by time, and
    gets its joined length. Other files are entered where a look at their packets sees a key frame. What cannot be read
    is entered at 0. Raises Interrupted.
    """
    video, start = source.video, encode.start or 0.0
    length = video.clock.file_duration
    is_free = video.demuxer in timing.FREE_CLOCKS
    is_beyond = is_free and encode.end and length and encode.end > length
    if start <= timing.GUARD_SECONDS and not is_beyond:
        return video
    starts = [time for time in (video.start, *(track.start for track in source.audio)) if time is not None]
    origin = min(starts, default=0.0)
    try:
        return (
            _free(ffprobe, runner, path, video, origin, start)
            if is_free
            else _looked(ffprobe, runner, path, video, origin, start)
        )
    except PermanentError:
        return video._replace(entry=0.0)


def _free(ffprobe: str, runner: Runner, path: Path, video: Video, origin: float, start: float) -> Video:
    seen = picture_clock(ffprobe, runner, path, video)
    if seen.jumps:
        length = seen.length
        clock = video.clock._replace(duration=length, file_duration=length, frames=seen.frames)
        return video._replace(entry=0.0, clock=clock, duration=length, frames=seen.frames)
    key = seen.key_before(origin + start)
    entry = 0.0 if key is None else min(start - timing.GUARD_SECONDS, key - origin - _LEAD_SECONDS)
    return video._replace(entry=max(0.0, entry))


def _looked(ffprobe: str, runner: Runner, path: Path, video: Video, origin: float, start: float) -> Video:
    for span in _SPANS:
        if span >= start:
            break
        interval = f"{origin + start - span:.6f}%{origin + start:.6f}"
        seen = picture_clock(ffprobe, runner, path, video, interval, seconds=_LOOK_SECONDS)
        if seen.key_before(origin + start) is not None:
            entry = seen.keys[0] - origin if video.clock.ticks < _COARSE_TICKS else start - span
            return video._replace(entry=max(0.0, entry))
    return video._replace(entry=0.0)
