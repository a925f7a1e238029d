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

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import dist
from operator import sub
from statistics import correlation, fmean
from typing import NamedTuple

from worker.errors import Hopeless
from worker.media.probe import Video

THUMB = (32, 18)
"""Width and height of the small copies, grey."""
WINDOW = 24
"""Copies are kept of so many frames in a row."""
_COPIES = 10_000
_REACH = 6
"""How many frames the pictures are searched to and fro."""
_LONG, _SHORT = 12, (3, 5, 8)
"""Frames in a row that are judged together."""

_RATE_TOLERANCE = 0.0005
_FEW = 2
_FEW_OF = 1000
_LAG = 0.65
"""Shifts up to this, in frames, are taken for coarse encoding, which makes pictures lag behind."""
_MOTION = 0.2
_NOISE = 0.05
_SURE, _LIKELY = 0.6, 0.85
"""What is left of the difference at another shift where frames surely, or likely, belong there."""
_TIE = 1.05
_ALIKE = 0.95
_ASPECT_TOLERANCE = 0.05
_MORE_DETAIL, _SOME_MORE_DETAIL = 0.005, 0.0005


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
    pairing = _framed(_turned(pairing, origin.video, made.video), origin.video, made.video)
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
    flags = f"The origin is flagged to be turned by {origin.rotation} degrees, the input by {made.rotation}"
    if _lies(origin.upright) == _lies(made.upright):
        square = len({origin.width, origin.height}) == 1 and origin.rotation % 180 != made.rotation % 180
        return pairing.warned(f"{flags}.") if square or origin.mirrored != made.mirrored else pairing
    coded = (video._replace(rotation=0) for video in (origin, made))
    if origin.rotation == made.rotation or len({_lies(video.upright) for video in coded}) > 1:
        shown = f"The origin is shown as {_size(origin)}, the input as {_size(made)}: one lies on its side."
        raise Hopeless("shape-mismatch", shown)
    return pairing._replace(as_coded=True).warned(f"{flags}; pictures are compared as they are coded, not as shown.")


def _framed(pairing: Pairing, origin: Video, made: Video) -> Pairing:
    """Another shape of picture is either another framing or a flag that lies; both are scaled alike."""
    if pairing.as_coded:
        return pairing
    shapes = [video.upright[0] / video.upright[1] for video in (origin, made)]
    if abs(shapes[0] / shapes[1] - 1) <= _ASPECT_TOLERANCE:
        return pairing
    told = (
        f"The origin is shown as {_size(origin)}, the input as {_size(made)}: its framing or pixel aspect is another."
    )
    return pairing.warned(told)


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
    if regular and theirs and ours and abs(theirs - ours) > _RATE_TOLERANCE * theirs:
        return "frame-rate-mismatch", f"The origin has {theirs:.3f} frames a second, the input {ours:.3f}."
    if abs(counts[0] - counts[1]) > max(_FEW, max(counts) // _FEW_OF):
        return "frame-count-mismatch", "The origin has {} frames, the input {}.".format(*counts)
    if counts[0] == counts[1] and not regular and not _same_times(origin, made):
        return "frame-rate-mismatch", "The frame rate varies, and frames are shown at other times than the origin's."
    return None


def _same_times(origin: Film, made: Film) -> bool:
    """Whether as many frames are shown at the same times, but for where the two start and for their clocks."""
    if len(origin.times) != len(made.times):
        return False
    gaps: array[float] = array("d", map(sub, made.times, origin.times))
    step = (origin.times[-1] - origin.times[0]) / max(1, len(origin.times) - 1)
    return max(gaps) - min(gaps) <= max(0.0021, 0.45 * step)


def _is_regular(times: Sequence[float]) -> bool:
    """Whether the frame rate is constant, but for the rounding of a container's clock."""
    steps: array[float] = array("d", map(sub, islice(times, 1, None), times))
    return len(steps) > 0 and max(steps) - min(steps) <= max(0.0021, 0.2 * (sum(steps) / len(steps)))


def _refuse_unless(allowed: bool, code: str, told: str) -> None:
    if not allowed:
        raise Hopeless(code, f'{told} Ask with "align": "nearest" to pair frames by time all the same.')


# What the pictures say


def period(frames: int) -> int:
    """Small copies are kept of a window of frames in every so many: of all frames of a film that is not long."""
    return WINDOW * max(1, math.ceil(frames / _COPIES))


def checked(pairing: Pairing, films: Mapping[str, Film], origin: bytes, made: bytes, *, nearest: bool) -> Pairing:
    """The pairing that the pictures confirm: the same, or another that skips frames where one side starts late.

    Takes the small copies of both sides in the order they were paired. Hopeless when frames do not match somewhere.
    """
    if pairing.by_time:
        return pairing
    runs = _runs(pairing.frames, origin, made)
    turned = _half_turned(pairing, films, runs)
    if turned:
        return turned
    tables = [(start, _table(*both)) for start, *both in runs]
    centre = _shift(_mean([row for _, table in tables for row in table])) or 0.0
    whole = round(centre) if abs(centre) > _LAG else 0
    told = ""
    sure = _elsewhere(tables, whole, _LONG, _SURE)
    likely = next((n for length in _SHORT if (n := _elsewhere(tables, whole, length, _LIKELY)) is not None), None)
    if sure is not None:
        told = f"The pictures stop matching near frame {sure}: frames are missing or repeated."
    elif abs(whole) >= _REACH:
        told = f"The pictures do not match, not even {_REACH} frames apart."
    elif abs(whole) > _FEW:
        told = f"The input starts {abs(whole)} frames {'after' if whole > 0 else 'before'} its origin."
    if told:
        _refuse_unless(nearest, "frames-missing", told)
        return pairing._replace(by_time=True).warned(f"{told} Frames are paired by time.")
    if likely is not None:
        pairing = pairing.warned(f"Near frame {likely} the pictures may not be of the same moments.")
    alike = _alike(runs, whole)
    if alike < _ALIKE:
        pairing = pairing.warned(
            f"The pictures differ in more than quality, perhaps in framing: {alike:.2f} of 1 alike."
        )
    if not whole:
        return pairing
    who, count = ("input", whole) if whole > 0 else ("origin", -whole)
    late = f"The {who} lacks the first {'frame' if count == 1 else f'{count} frames'}; frames are paired from there."
    return pairing._replace(skip_origin=max(0, whole), skip_input=max(0, -whole)).warned(late)


Run = tuple[int, list[bytes], list[bytes]]
"""The number of the first frame, and copies of frames in a row of both sides, origin first."""


def _runs(frames: int, origin: bytes, made: bytes) -> list[Run]:
    size, step = THUMB[0] * THUMB[1], period(frames)
    sides = [[copies[at : at + size] for at in range(0, len(copies) - size + 1, size)] for copies in (origin, made)]
    length = min(map(len, sides))
    if step == WINDOW:
        return [(0, sides[0][:length], sides[1][:length])]
    parts = [(at, slice(at, min(at + WINDOW, length))) for at in range(0, length, WINDOW)]
    return [(at // WINDOW * step, sides[0][part], sides[1][part]) for at, part in parts]


def _half_turned(pairing: Pairing, films: Mapping[str, Film], runs: Sequence[Run]) -> Pairing | None:
    """Where only one side is flagged to be shown upside down: the pairing without flags, if pictures match so."""
    flags = [films[side].video.rotation for side in ("origin", "input")]
    if pairing.as_coded or abs(flags[0] - flags[1]) != 180:
        return None
    upside_down = [(start, [copy[::-1] for copy in origin], made) for start, origin, made in runs]
    if _alike(upside_down, 0) <= _alike(runs, 0):
        return None
    told = (
        "Only one of the two is flagged to be shown upside down; pictures are compared as they are coded, not as shown."
    )
    return pairing._replace(as_coded=True).warned(told)


def _alike(runs: Sequence[Run], whole: int) -> float:
    """How much alike pictures are in what is where, 1 for the same; plain ones say nothing."""
    pairs = [
        (origin[n + whole], made[n])
        for _, origin, made in runs
        for n in range(0, len(made), WINDOW // 3)
        if 0 <= n + whole < len(origin) and min(map(len, map(set, (origin[n + whole], made[n])))) > 1
    ]
    return fmean(correlation(*pair) for pair in pairs) if pairs else 1.0


Row = dict[int, float]
"""Shift → the mean squared difference of a frame of the input from the one so many later in the origin."""


def _table(origin: list[bytes], made: list[bytes]) -> list[Row]:
    return [
        {
            shift: dist(origin[n + shift], copy) ** 2 / len(copy)
            for shift in range(-_REACH, _REACH + 1)
            if 0 <= n + shift < len(origin)
        }
        for n, copy in enumerate(made)
    ]


def _mean(rows: Sequence[Row]) -> Row:
    """The rows together, at the shifts that most of them have."""
    sums: dict[int, list[float]] = {}
    for row in rows:
        for shift, value in row.items():
            sums.setdefault(shift, []).append(value)
    return {shift: fmean(values) for shift, values in sorted(sums.items()) if 2 * len(values) >= len(rows)}


def _elsewhere(tables: Iterable[tuple[int, list[Row]]], whole: int, length: int, left: float) -> int | None:
    """The first frame from which so many in a row match better at another shift than the whole."""
    for start, table in tables:
        for n in range(0, max(1, len(table) - length + 1), 2):
            means = _mean(table[n : n + length])
            shift = _shift(means)
            if shift is None or whole not in means or abs(shift - whole) <= _LAG:
                continue
            if min(means.values()) < left * means[whole]:
                return start + n
    return None


def _shift(distances: Row) -> float | None:
    """The shift at which pictures match best, between whole frames; None when too little moves to tell.

    What differs is what was lost, which is the same at every shift, and motion, which grows with the square of it.
    """
    best = min(distances, key=lambda shift: (distances[shift], abs(shift)), default=None)
    if best is None:
        return None
    if distances.get(0, math.inf) <= _TIE * distances[best] + _NOISE:
        best = 0  # pictures that come again every few frames match elsewhere as well
    if not {best - 1, best + 1} <= distances.keys():
        beside = min(abs(best) - 1, _REACH) * (1 if best > 0 else -1)
        further = distances.get(beside, 0.0) - distances[best]
        return float(best) if best and further > _MOTION * distances[best] + _NOISE else None
    before, here, after = (distances[best + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    if bend < _MOTION * here + _NOISE:
        return None
    return best + (before - after) / (2 * bend)


def refuse_swapped(detail: float, reversed_detail: float, *, nearest: bool) -> str:
    """A warning, or nothing, or Hopeless: compression takes detail away, so an input with more of it is the origin.

    Takes the part of the origin's detail that the input has, and the other way round, both 0 to about 1.
    """
    if detail - reversed_detail <= _SOME_MORE_DETAIL:
        return ""
    told = (
        f"The input has more detail than its origin ({detail:.3f} of it against {reversed_detail:.3f} the other way):"
        " they look swapped."
    )
    _refuse_unless(nearest or detail - reversed_detail <= _MORE_DETAIL, "inputs-swapped", told)
    return told
