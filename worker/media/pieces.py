"""Chunks of a film: where they may begin, and the steps that an encode of one takes beside those of the whole. Pure."""

import math
from fractions import Fraction
from typing import NamedTuple

from elasticrecode.media.profiles import Ffmpeg
from worker.media import encoders
from worker.media.plan import Span
from worker.media.steps import Step
from worker.media.video import Video

_FOREVER = "tpad=stop_mode=clone:stop=-1"
"""The filter that repeats the last frame until the chunk ends, where a paced film has frames without a source."""
_LEAD_SECONDS = 0.5
EARLY = Fraction(6, 1_000_000)
"""Seconds by which a frame may come before a keyframe's time and still be that keyframe, as encoders are told."""


class Chunk(NamedTuple):
    """A span of an output, in seconds of it. `end` is None for the last one, which goes to the end of the film."""

    start: Fraction
    end: Fraction | None


class Piece(NamedTuple):
    """A chunk, and the filters that bring the pictures of its cut to the clock of the source."""

    chunk: Chunk
    clock: tuple[str, ...]

    def span(self, units: Fraction, *, is_paced: bool) -> Span:
        """The steps for frames whose clock behind the pacing has so many ticks a second (paced: frames)."""
        begin, end = self.bounds(units)
        bounds = f"trim=start_pts={begin}" + ("" if end is None else f":end_pts={end}")
        hold = (_FOREVER,) if is_paced and end is not None else ()
        return Span(Step(self.clock), Step((*hold, bounds)), Step((f"setpts=PTS-{begin}",)))

    def late(self, units: Fraction) -> float:
        """Seconds from the start of the chunk to its first tick."""
        return float(max(Fraction(0), self.bounds(units)[0] / units - self.chunk.start))

    def bounds(self, units: Fraction) -> tuple[int, int | None]:
        """The first tick of the chunk, and the first one behind it."""
        start, end = self.chunk
        return _tick(start, units), None if end is None else _tick(end, units)


def _tick(time: Fraction, units: Fraction) -> int:
    return max(0, math.ceil((time - EARLY) * units))


def lead(video: Video) -> float:
    """Seconds that a cut has before its chunk and behind it, for filters that look at the pictures around each."""
    return _LEAD_SECONDS if video.interlaced or video.scan.combed else 0.0


def grid(encode: Ffmpeg) -> Fraction:
    """Seconds between the times at which chunks of an encode can begin: those of its keyframes."""
    return Fraction(f"{encode.keyframeSeconds or encoders.KEYFRAME_SECONDS:g}")
