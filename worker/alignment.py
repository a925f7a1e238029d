"""Whether the frames of two videos belong to each other, and how they are paired. Pure.

libvmaf compares whatever frames it is given. What is told here before, from what is in the files, and found after, from
small copies of the pictures, is whether those are the same moments of the same film.

What can be put right exactly is: where the two start, rotation, the container's clock, scale, bit depth and colour
range. What cannot ends the job with a code, or with `align: nearest` is paired by time and said in a warning:

    frame-rate-mismatch        another frame rate, or frames at other times
    frame-count-mismatch       more frames missing than can be explained
    frames-missing             the pictures do not match: frames are missing or repeated somewhere
    dynamic-range-mismatch     HDR against SDR
    interlacing-mismatch       interlaced against progressive
    shape-mismatch             one is upright, the other lies on its side
    inputs-swapped             the input has more detail than its origin: they are the wrong way round
    origin-still, input-still  one picture against a film
    origin-no-frames, input-no-frames
"""

from collections.abc import Iterable, Sequence
from math import dist
from operator import sub
from typing import NamedTuple

from worker.failures import Hopeless
from worker.probe import Video

THUMB = (32, 18)
"""Width and height of the small copies, grey."""
WINDOW = 24
"""Copies are kept of so many frames in a row."""
_WINDOWS = 64
_REACH = 6
"""How many frames the pictures are searched to and fro."""

_RATE_TOLERANCE = 0.0005
_FEW = 2
_FEW_OF = 1000
_LAG = 0.65
"""Shifts up to this, in frames, are taken for coarse encoding, which makes pictures lag behind."""
_MOTION = 0.2
_NOISE = 0.05
_MORE_DETAIL = 0.005


class Film(NamedTuple):
    """A video and when its frames are shown, in seconds."""

    video: Video
    times: Sequence[float]


class Pairing(NamedTuple):
    """How frames are paired: by count behind those skipped, or each of the input with the nearest in time."""

    frames: int
    by_time: bool = False
    skip_origin: int = 0
    skip_input: int = 0
    as_coded: bool = False
    bits: int = 8
    warnings: tuple[str, ...] = ()

    def warned(self, warning: str) -> "Pairing":
        """The same with a warning."""
        return self._replace(warnings=(*self.warnings, warning))


def pair(origin: Film, made: Film, *, nearest: bool) -> Pairing:
    """How to pair the frames, from what is known of the files. Hopeless when it can't be done exactly and must be."""
    _refuse_stills(origin, made)
    frames = min(len(origin.times), len(made.times))
    pairing = Pairing(frames, bits=10 if max(origin.video.bits, made.video.bits) > 8 else 8)
    pairing = _turned(pairing, origin.video, made.video)
    for code, what, theirs, ours in _pictures(origin.video, made.video):
        _refuse_unless(nearest, code, f"The origin is {theirs}, the input {ours}: {what}.")
        pairing = pairing.warned(f"{what} (origin {theirs}, input {ours})")
    amiss = _amiss(origin, made)
    if amiss:
        _refuse_unless(nearest, *amiss)
        return pairing._replace(by_time=True, frames=len(made.times)).warned(f"{amiss[1]} Frames are paired by time.")
    missing = len(origin.times) - len(made.times)
    if missing:
        who, count = ("input", missing) if missing > 0 else ("origin", -missing)
        pairing = pairing.warned(f"The {who} has {count} {'frame' if count == 1 else 'frames'} less.")
    return pairing


def _refuse_stills(origin: Film, made: Film) -> None:
    counts = {"origin": len(origin.times), "input": len(made.times)}
    for side, count in counts.items():
        other = next(value for name, value in counts.items() if name != side)
        if not count:
            raise Hopeless(f"{side}-no-frames", f"The {side} has a video stream without a single frame.")
        if count == 1 and other > 1 + _FEW:
            raise Hopeless(f"{side}-still", f"The {side} is one picture, and the other has {other} frames.")


def _turned(pairing: Pairing, origin: Video, made: Video) -> Pairing:
    """Players turn pictures by a flag, and so does ffmpeg. A flag that only one has may lie."""
    if _lies(origin.upright) == _lies(made.upright):
        return pairing
    if origin.rotation == made.rotation or _lies((origin.width, origin.height)) != _lies((made.width, made.height)):
        raise Hopeless(
            "shape-mismatch",
            f"The origin is shown as {_size(origin)}, the input as {_size(made)}: one lies on its side.",
        )
    flags = f"The origin is flagged to be turned by {origin.rotation} degrees, the input by {made.rotation}"
    return pairing._replace(as_coded=True).warned(f"{flags}; pictures are compared as they are coded, not as shown.")


def _lies(size: tuple[int, int]) -> bool:
    return size[0] >= size[1]


def _size(video: Video) -> str:
    return "{}x{}".format(*video.upright)


def _pictures(origin: Video, made: Video) -> Iterable[tuple[str, str, str, str]]:
    """What makes pictures incomparable: a code, what follows, and what each side is."""
    if origin.hdr != made.hdr:
        words = {True: "HDR", False: "SDR"}
        yield "dynamic-range-mismatch", "their brightness can't be compared", words[origin.hdr], words[made.hdr]
    if origin.interlaced != made.interlaced:
        words = {True: "interlaced", False: "progressive"}
        yield (
            "interlacing-mismatch",
            "their lines are of different moments",
            words[origin.interlaced],
            words[made.interlaced],
        )


def _amiss(origin: Film, made: Film) -> tuple[str, str] | None:
    """Why frames can't be paired by count: a code and a sentence with both values."""
    theirs, ours = origin.video.rate, made.video.rate
    counts = len(origin.times), len(made.times)
    regular = _is_regular(origin.times) and _is_regular(made.times)
    if regular and abs(theirs - ours) > _RATE_TOLERANCE * theirs:
        return "frame-rate-mismatch", f"The origin has {theirs:.3f} frames a second, the input {ours:.3f}."
    if abs(counts[0] - counts[1]) > max(_FEW, max(counts) // _FEW_OF):
        return "frame-count-mismatch", "The origin has {} frames, the input {}.".format(*counts)
    if counts[0] == counts[1] and not regular and not _same_times(origin, made):
        return "frame-rate-mismatch", "The frame rate varies, and frames are shown at other times than the origin's."
    return None


def _same_times(origin: Film, made: Film) -> bool:
    """Whether as many frames are shown at the same times, but for where the two start and a container's clock."""
    if len(origin.times) != len(made.times):
        return False
    gaps: list[float] = list(map(sub, made.times, origin.times))
    step = (origin.times[-1] - origin.times[0]) / max(1, len(origin.times) - 1)
    return max(gaps) - min(gaps) <= max(0.0021, 0.05 * step)


def _is_regular(times: Sequence[float]) -> bool:
    """Whether the frame rate is constant, but for the rounding of a container's clock."""
    steps = list(map(sub, times[1:], times))
    return len(steps) > 0 and max(steps) - min(steps) <= max(0.0021, 0.2 * (sum(steps) / len(steps)))


def _refuse_unless(allowed: bool, code: str, told: str) -> None:
    if not allowed:
        raise Hopeless(code, f'{told} Ask with "align": "nearest" to pair frames by time all the same.')


# What the pictures say


def period(frames: int) -> int:
    """Small copies are kept of a window of frames in every so many."""
    return max(WINDOW, frames // _WINDOWS)


def checked(pairing: Pairing, origin: bytes, made: bytes, *, nearest: bool) -> Pairing:
    """The pairing that the pictures confirm: the same, or another that skips frames where one side starts late.

    Takes the small copies of both sides in the order they were paired. Hopeless when frames do not match somewhere.
    """
    if pairing.by_time:
        return pairing
    windows = list(zip(_windows(origin), _windows(made), strict=False))
    found = [_shift(_distances([window])) for window in windows]
    centre = _shift(_distances(windows)) or 0.0
    whole = round(centre) if abs(centre) > _LAG else 0
    odd = next((n for n, shift in enumerate(found) if shift is not None and abs(shift - whole) > _LAG), None)
    told = ""
    if odd is not None:
        told = f"The pictures stop matching near frame {odd * period(pairing.frames)}: frames are missing or repeated."
    elif whole and abs(whole) > _FEW:
        told = f"The input starts {abs(whole)} frames {'after' if whole > 0 else 'before'} its origin."
    if told:
        _refuse_unless(nearest, "frames-missing", told)
        return pairing._replace(by_time=True).warned(f"{told} Frames are paired by time.")
    if not whole:
        return pairing
    who, count = ("input", whole) if whole > 0 else ("origin", -whole)
    late = f"The {who} lacks the first {'frame' if count == 1 else f'{count} frames'}; frames are paired from there."
    return pairing._replace(skip_origin=max(0, whole), skip_input=max(0, -whole)).warned(late)


def _windows(copies: bytes) -> list[list[bytes]]:
    size = THUMB[0] * THUMB[1]
    frames = [copies[start : start + size] for start in range(0, len(copies) - size + 1, size)]
    return [frames[n : n + WINDOW] for n in range(0, len(frames) - WINDOW + 1, WINDOW)] or [frames]


def _distances(windows: Iterable[tuple[list[bytes], list[bytes]]]) -> dict[int, float]:
    """Shift → mean squared difference of the input's frames from those so many later in the origin."""
    sums: dict[int, list[float]] = {shift: [] for shift in range(-_REACH, _REACH + 1)}
    for origin, made in windows:
        length = min(len(origin), len(made))
        inner = range(min(_REACH, length // 3), max(length - _REACH, length - length // 3))
        for shift, kept in sums.items():
            pairs = ((origin[n + shift], made[n]) for n in inner if 0 <= n + shift < length)
            kept += (dist(*both) ** 2 / len(both[0]) for both in pairs)
    return {shift: sum(kept) / len(kept) for shift, kept in sums.items() if kept}


def _shift(distances: dict[int, float]) -> float | None:
    """The shift at which pictures match best, between whole frames; None when too little moves to tell.

    What differs is what was lost, which is the same at every shift, and motion, which grows with the square of it.
    """
    best = min(distances, key=lambda shift: (distances[shift], abs(shift)), default=None)
    if best is None or not {best - 1, best + 1} <= distances.keys():
        return None
    before, here, after = (distances[best + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    if bend < _MOTION * here + _NOISE:
        return None
    return best + (before - after) / (2 * bend)


def refuse_swapped(detail: float, reversed_detail: float, *, nearest: bool) -> str:
    """A warning, or nothing, or Hopeless: compression takes detail away, so an input with more of it is the origin.

    Takes the part of the origin's detail that the input has, and the other way round, both 0 to about 1.
    """
    if detail - reversed_detail <= _MORE_DETAIL:
        return ""
    told = (
        f"The input has more detail than its origin ({detail:.3f} of it against {reversed_detail:.3f} the other way):"
        " they look swapped."
    )
    _refuse_unless(nearest, "inputs-swapped", told)
    return told
