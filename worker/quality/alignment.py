"""Checks after a measurement, from small copies of the pictures, that paired frames show the same moments. Pure.

The measurement writes thumbnails of some frames of both sides. Thumbnails of one side are compared with those of the
other at shifts of up to 6 frames; where another shift than 0 fits better, frames are missing or repeated:

    frames-missing     the pictures stop matching, or start too late; `align: nearest` pairs by time
    inputs-swapped     the input has more detail than its origin; `align: nearest` makes it a warning
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from math import dist
from statistics import correlation, fmean

from worker.quality.pairing import MAX_MISSING, Film, Pairing, require

THUMB = (32, 18)
"""Width and height of a thumbnail in pixels, one byte of grey each."""
WINDOW = 24
"""Consecutive frames that get thumbnails."""
_MAX_THUMBS = 10_000
_MAX_SHIFT = 6
"""Frames in either direction that the search for the best match covers."""
_LONG, _SHORT = 12, (3, 5, 8)
"""Lengths of runs of frames that are judged together: for a certain mismatch, and for a likely one."""

_LAG = 0.65
"""Shifts up to this many frames are put down to coarse encoding, which makes pictures lag behind."""
_MOTION = 0.2
_NOISE = 0.05
_CERTAIN, _LIKELY = 0.6, 0.85
"""A mismatch is certain, or likely, if another shift leaves less than this share of the difference."""
_TIE = 1.05
_ALIKE = 0.95
_MORE_DETAIL, _SLIGHTLY_MORE_DETAIL = 0.005, 0.0005

Run = tuple[int, list[bytes], list[bytes]]
"""The number of the first frame, and thumbnails of consecutive frames of the origin and of the input."""
Row = dict[int, float]
"""Shift → the mean squared difference of a frame of the input from the origin's frame that many later."""


def thumbnail_period(frames: int) -> int:
    """Frames from the start of one window of thumbnails to the next: WINDOW, so all frames, unless the film is long."""
    return WINDOW * max(1, math.ceil(frames / _MAX_THUMBS))


def confirm(
    pairing: Pairing, films: Mapping[str, Film], origin: bytes, encoded: bytes, *, nearest: bool, step: int = WINDOW
) -> Pairing:
    """The pairing that the thumbnails support: the same, or another that skips frames at the start of one side.

    `origin` and `encoded` hold the thumbnails of both sides in paired order, a window every `step` frames. Raises
    PermanentError if frames do not match and `nearest` is false.
    """
    if pairing.by_time:
        return pairing
    runs = _runs(step, origin, encoded)
    upside_down = _upside_down(pairing, films, runs)
    if upside_down:
        return upside_down
    tables = [(start, _table(*both)) for start, *both in runs]
    centre = _best_shift(_mean([row for _, table in tables for row in table])) or 0.0
    shift = round(centre) if abs(centre) > _LAG else 0
    problem = _mismatch(tables, shift)
    if problem:
        require(nearest, "frames-missing", problem)
        return pairing._replace(by_time=True).with_warning(f"{problem} Frames are paired by time.")
    likely = (_first_mismatch(tables, shift, length, _LIKELY) for length in _SHORT)
    frame = next((frame for frame in likely if frame is not None), None)
    if frame is not None:
        pairing = pairing.with_warning(f"Near frame {frame} the pictures may show different moments.")
    alike = _likeness(runs, shift)
    if alike < _ALIKE:
        message = f"The pictures differ in more than quality, perhaps in framing: {alike:.2f} of 1 alike."
        pairing = pairing.with_warning(message)
    if not shift:
        return pairing
    side, count = ("input", shift) if shift > 0 else ("origin", -shift)
    late = f"The {side} lacks the first {'frame' if count == 1 else f'{count} frames'}; frames are paired from there."
    total = pairing.skip_origin - pairing.skip_input + shift
    return pairing._replace(skip_origin=max(0, total), skip_input=max(0, -total)).with_warning(late)


def check_numbers(pairing: Pairing, origin: bytes, encoded: bytes, *, step: int = WINDOW) -> Pairing:
    """The same pairing by frame numbers, with a warning where the thumbnails contradict it."""
    tables = [(start, _table(*both)) for start, *both in _runs(step, origin, encoded)]
    frame = _first_mismatch(tables, 0, _LONG, _CERTAIN)
    if frame is None:
        return pairing
    return pairing.with_warning(f"Near frame {frame} the pictures show different moments than those they were made of.")


def check_swapped(detail: float, reversed_detail: float, *, nearest: bool) -> str:
    """A warning if origin and input look swapped, else an empty text: compression removes detail and adds none.

    Takes the share of the origin's detail that the input has, and of the input's that the origin has, 0 to about 1.
    Raises PermanentError if the input has clearly more and `nearest` is false.
    """
    if detail - reversed_detail <= _SLIGHTLY_MORE_DETAIL:
        return ""
    shares = f"{detail:.3f} of it against {reversed_detail:.3f} the other way"
    message = f"The input has more detail than its origin ({shares}): they look swapped."
    require(nearest or detail - reversed_detail <= _MORE_DETAIL, "inputs-swapped", message)
    return message


def _mismatch(tables: Sequence[tuple[int, list[Row]]], shift: int) -> str:
    """The reason why frames cannot be paired by count; empty if they can."""
    frame = _first_mismatch(tables, shift, _LONG, _CERTAIN)
    if frame is not None:
        return f"The pictures stop matching near frame {frame}: frames are missing or repeated."
    if abs(shift) >= _MAX_SHIFT:
        return f"The pictures do not match, not even {_MAX_SHIFT} frames apart."
    if abs(shift) > MAX_MISSING:
        return f"The input starts {abs(shift)} frames {'after' if shift > 0 else 'before'} its origin."
    return ""


def _runs(step: int, origin: bytes, encoded: bytes) -> list[Run]:
    size = THUMB[0] * THUMB[1]
    sides = [[thumbs[at : at + size] for at in range(0, len(thumbs) - size + 1, size)] for thumbs in (origin, encoded)]
    length = min(map(len, sides))
    if step == WINDOW:
        return [(0, sides[0][:length], sides[1][:length])]
    parts = [(at, slice(at, min(at + WINDOW, length))) for at in range(0, length, WINDOW)]
    return [(at // WINDOW * step, sides[0][part], sides[1][part]) for at, part in parts]


def _upside_down(pairing: Pairing, films: Mapping[str, Film], runs: Sequence[Run]) -> Pairing | None:
    """The pairing without rotation flags, if only one side has a flag of 180 degrees and pictures match without it."""
    flags = [films[side].video.rotation for side in ("origin", "input")]
    if pairing.as_coded or abs(flags[0] - flags[1]) != 180:
        return None
    turned = [(start, [thumb[::-1] for thumb in origin], encoded) for start, origin, encoded in runs]
    if _likeness(turned, 0) <= _likeness(runs, 0):
        return None
    message = "Only one side has a flag to be shown upside down; pictures are compared as coded, not as shown."
    return pairing._replace(as_coded=True).with_warning(message)


def _likeness(runs: Sequence[Run], shift: int) -> float:
    """Mean correlation of the pictures at a shift, 1 for the same content. Plain pictures are left out."""
    pairs = [
        (origin[n + shift], encoded[n])
        for _, origin, encoded in runs
        for n in range(0, len(encoded), WINDOW // 3)
        if 0 <= n + shift < len(origin) and min(map(len, map(set, (origin[n + shift], encoded[n])))) > 1
    ]
    return fmean(correlation(*pair) for pair in pairs) if pairs else 1.0


def _table(origin: list[bytes], encoded: list[bytes]) -> list[Row]:
    return [
        {
            shift: dist(origin[n + shift], thumb) ** 2 / len(thumb)
            for shift in range(-_MAX_SHIFT, _MAX_SHIFT + 1)
            if 0 <= n + shift < len(origin)
        }
        for n, thumb in enumerate(encoded)
    ]


def _mean(rows: Sequence[Row]) -> Row:
    """The mean of rows, at the shifts that at least half of them have."""
    values_by_shift: dict[int, list[float]] = {}
    for row in rows:
        for shift, value in row.items():
            values_by_shift.setdefault(shift, []).append(value)
    return {shift: fmean(values) for shift, values in sorted(values_by_shift.items()) if 2 * len(values) >= len(rows)}


def _first_mismatch(tables: Iterable[tuple[int, list[Row]]], shift: int, length: int, share: float) -> int | None:
    """The first frame of a run of `length` that matches better at another shift, leaving less than `share`."""
    for start, table in tables:
        for n in range(0, max(1, len(table) - length + 1), 2):
            means = _mean(table[n : n + length])
            best = _best_shift(means)
            if best is None or shift not in means or abs(best - shift) <= _LAG:
                continue
            if min(means.values()) < share * means[shift]:
                return start + n
    return None


def _best_shift(distances: Row) -> float | None:
    """The shift at which pictures match best, with a fraction; None if too little moves to tell.

    Differences come from lost quality, which is the same at every shift, and from motion, which grows with the square
    of the shift.
    """
    best = min(distances, key=lambda shift: (distances[shift], abs(shift)), default=None)
    if best is None:
        return None
    if distances.get(0, math.inf) <= _TIE * distances[best] + _NOISE:
        best = 0  # a picture that repeats every few frames also matches at other shifts
    if not {best - 1, best + 1} <= distances.keys():
        beside = min(abs(best) - 1, _MAX_SHIFT) * (1 if best > 0 else -1)
        further = distances.get(beside, 0.0) - distances[best]
        return float(best) if best and further > _MOTION * distances[best] + _NOISE else None
    before, here, after = (distances[best + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    if bend < _MOTION * here + _NOISE:
        return None
    return best + (before - after) / (2 * bend)
