"""The ladder of one title: the convex hull of rate and quality over sizes, by few probes, and its rungs. Pure.

**Hull.** Each size has a curve of VMAF by rate, at the size at which the film is shown. The upper convex hull of all
curves is the best that the title gets at each rate, with the size that gets there.

**Probes.** A size matters only where it is on the hull: from where it passes the next larger size to where a smaller
one passes it. `next_probe` follows the hull down from the top and encodes each size near those two places alone, as
between them its curve is smooth. Where curves cross, either size is nearly as good, so a place that is only nearly
right costs little.

**Rungs.** Players switch between rungs, so each must be worth a switch: `rungs` goes down the hull in steps of at
least 6 VMAF, which is about what half of the viewers notice, and of at least 1.5 in bitrate, below which Apple's
specification wants no neighbours. The steps are then spread evenly between the top and the bottom.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from worker.quality.curve import Scale, bisected, curved, loss_of, vmaf_of

NOTICEABLE = 6.0
"""VMAF from one rung to the next, at least."""
_RATIO = 1.5
"""Bitrate from one rung to the next, at least."""
_LEAST_VMAF = 20.0
"""No rung is worse: nobody watches it."""
_BOTTOM_RATIO = 2.0
"""Bitrate from the bottom rung to the one above, at least, where they look alike."""
_GRAIN = 0.25
"""The step of the factor between neighbouring points of a curve."""
_BEYOND = 3.0
"""Steps of the factor, of an encoder whose size halves in 6, by which a curve goes on beyond its probes."""
_STEEPEST = 1.3
"""How fast the size falls behind the coarsest probe, at most, by what is usual. Grain makes it fall faster before."""
_TOP_CLOSE, _TOP_BRACKETED = 1.0, 5.0
"""How near a probe is to the top, in steps of the factor: alone, or with another on the other side of the top."""
_TOP_TRIES = 3
"""Probes of the largest size that look for the top."""
_WIDE, _NARROW = 7.0, 5.0
"""Steps of the factor from the fine probe to the coarse one of the largest size, and of the others."""
_BACK = 4.0
"""Steps of the factor from the coarse probe of a size to the fine one of the size with half of the pixels."""
_MOST_STRETCH = 20.0
"""How often the least step fits into the largest, at most."""
_MOST_OF_SIZE = 3
"""Probes of a size, on average over all sizes, at most."""
_CLOSE = 0.5
"""VMAF below the hull at which a point counts as on it."""
_WELL_BELOW = 0.7
"""The share of the bottom at which the probes of a size end so low that smaller ones do not matter."""
_BEHIND = 1.5
"""A size that is no more VMAF behind at its coarse probe, and gains, passes the larger ones a little below."""
_FAR = 2.0
"""A probe that is so many VMAF better than larger sizes lies far below the place where its size passes them."""


class Point(Struct, frozen=True, array_like=True):
    """A size encoded at one factor: the number of its box, 0 for the largest, and bit/s and VMAF of the film."""

    box: int
    crf: float
    bitrate: float
    vmaf: float


class Bounds(NamedTuple):
    """The ends of a ladder: the VMAF of the top, and the averages of the top and of the bottom at most, in bit/s."""

    top: float
    most: float
    bottom: float


class _Curve:
    """VMAF and rate of one size by the factor, through its probes."""

    def __init__(self, points: Sequence[Point], scale: Scale) -> None:
        self.points = sorted(points, key=lambda point: point.crf)
        self.box, self._unit = self.points[0].box, scale.halving / 6
        self._losses = [(point.crf, loss_of(point.vmaf)) for point in self.points]
        self._rates = [(point.crf, math.log(point.bitrate)) for point in self.points]
        usual = -math.log(2) / scale.halving
        steep = _end_slopes(self._rates, usual)
        self._slopes = _end_slopes(self._losses, scale.slope), (steep[0], max(steep[1], _STEEPEST * usual))

    def vmaf(self, crf: float) -> float:
        return vmaf_of(_extended(self._losses, crf, self._slopes[0]))

    def rate(self, crf: float) -> float:
        return math.exp(_extended(self._rates, crf, self._slopes[1]))

    def crf(self, rate: float) -> float:
        """The factor of a rate."""
        return bisected(self.rate, rate, 0.0, 63.0)

    def top(self, bounds: Bounds) -> float:
        """The factor at the top of the ladder."""
        wanted = bisected(self.vmaf, bounds.top, 0.0, 63.0)
        return max(wanted, self.crf(bounds.most))

    def dense(self) -> list[Point]:
        """Points from beyond the finest probe to beyond the coarsest; of a single probe that alone."""
        if len(self.points) == 1:
            return self.points
        first, last = (self.points[n].crf + sign * _BEYOND * self._unit for n, sign in ((0, -1), (-1, 1)))
        count = math.ceil((last - first) / _GRAIN)
        factors = [first + (last - first) * n / count for n in range(count + 1)]
        return [Point(self.box, crf, self.rate(crf), self.vmaf(crf)) for crf in factors]


def _end_slopes(points: Sequence[tuple[float, float]], usual: float) -> tuple[float, float]:
    """The slopes in front of the first point and behind the last."""
    if len(points) < 2:
        return usual, usual
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    return slopes[0], slopes[-1]


def _extended(points: Sequence[tuple[float, float]], x: float, slopes: tuple[float, float]) -> float:
    return curved(points, x, slopes[x > points[0][0]])


class _Search:
    """The state of the search: what the probes say, from the largest size down."""

    def __init__(self, scale: Scale, bounds: Bounds, areas: Sequence[int], points: Sequence[Point]) -> None:
        self.scale, self.bounds, self.areas = scale, bounds, areas
        self.unit = scale.halving / 6
        self.own: list[list[Point]] = [[] for _ in areas]
        for point in points:
            self.own[point.box].append(point)
        self.useful: list[_Curve] = []

    def next_probe(self) -> tuple[int, float] | None:
        """The box and the factor to encode next."""
        if (crf := self._top()) is not None:
            return 0, crf
        self.useful = [_Curve(self.own[0], self.scale)]
        for box in range(1, len(self.areas)):
            if self._is_below(self.useful[-1], _WELL_BELOW):
                return None
            probe = self._lower(box)
            if probe:
                return probe
        return self._bottom()

    def _top(self) -> float | None:
        """The factor of the next probe of the largest size: one near the top of the ladder, one where it ends."""
        own, scale = self.own[0], self.scale
        if not own:
            return scale.middle + (loss_of(self.bounds.top) - loss_of(93.0)) / scale.slope
        if len(own) == 1:
            return own[0].crf + _WIDE * self.unit
        curve = _Curve(own, scale)
        if curve.points[-1].bitrate > self.bounds.most and len(self.areas) > 1:
            return None  # smaller sizes have the top
        top = curve.top(self.bounds)
        high = curve.points[-1].crf
        nearest = min(abs(point.crf - top) for point in own)
        is_between = curve.points[0].crf <= top <= high
        if len(own) < _TOP_TRIES + 1 and nearest > (_TOP_BRACKETED if is_between else _TOP_CLOSE) * self.unit:
            return top
        return None if high >= top + _BEYOND * self.unit else top + _WIDE * self.unit

    def _lower(self, box: int) -> tuple[int, float] | None:
        """The next probe on account of a smaller size; None when enough is known of it."""
        own, above = self.own[box], self.useful[-1]
        end = above.points[-1].crf
        if not own:
            return box, end - _BACK * self.unit * math.log2(self.areas[above.box] / self.areas[box])
        leads = {point.crf: point.vmaf - self._best(point.bitrate) for point in own}
        finest, coarsest = min(leads), max(leads)
        curve = _Curve(own, self.scale)
        finer = max(finest - _NARROW * self.unit, curve.top(self.bounds))
        if leads[finest] > _FAR and len(own) < _MOST_OF_SIZE and finer < finest - _TOP_CLOSE * self.unit:
            return box, finer
        if len(own) == 1 and not self._is_below(curve):
            return box, finest + _NARROW * self.unit
        if max(leads.values()) > 0 or leads[coarsest] > max(-_BEHIND, leads[finest]):  # gains: ahead a little below
            self.useful.append(curve)
            return None
        if above.rate(end + _BEYOND * self.unit) > self.bounds.bottom:  # the larger size goes on
            return above.box, end + _WIDE * self.unit
        return None

    def _bottom(self) -> tuple[int, float] | None:
        """The probe with which the last size reaches the bottom; None where it does, or cannot."""
        curve = self.useful[-1]
        crf = curve.crf(self.bounds.bottom)
        end = curve.points[-1].crf
        if self._is_below(curve) or crf <= end + _BEYOND * self.unit or end >= self.scale.most - self.unit:
            return None
        return curve.box, min(crf, end + 2 * _WIDE * self.unit)

    def _best(self, rate: float) -> float:
        """The VMAF of the larger sizes at a rate: of those whose probes reach so far, and of the last."""
        reaching = [curve for curve in self.useful[:-1] if curve.points[-1].bitrate <= rate]
        return max(curve.vmaf(curve.crf(rate)) for curve in (*reaching, self.useful[-1]))

    def _is_below(self, curve: _Curve, share: float = 1.0) -> bool:
        """Whether the probes of a size end so low that no rung lies below them."""
        first, last = curve.points[0], curve.points[-1]
        return last.bitrate <= share * self.bounds.bottom or first.vmaf < _LEAST_VMAF


def next_probe(scale: Scale, bounds: Bounds, areas: Sequence[int], points: Sequence[Point]) -> tuple[int, float] | None:
    """The box and the factor of the next probe; None when `points` are enough. `areas` are the pixels of each size."""
    probe = _Search(scale, bounds, areas, points).next_probe()
    if not probe:
        return None
    box, crf = probe[0], scale.near(probe[1])
    is_known = any(point.box == box and abs(point.crf - crf) < scale.grain for point in points)
    return None if is_known or len(points) >= _MOST_OF_SIZE * len(areas) else (box, crf)


def hull(scale: Scale, points: Sequence[Point]) -> list[Point]:
    """The points of all curves on the upper convex hull of rate and VMAF, or close to it.

    Rate and VMAF rise from each to the next. A hull is straight from one size to another: points close to it fill that
    gap.
    """
    boxes: dict[int, list[Point]] = {}
    for point in points:
        boxes.setdefault(point.box, []).append(point)
    every = [point for own in boxes.values() for point in _Curve(own, scale).dense()]
    best: list[Point] = []
    for point in sorted(every, key=lambda one: (one.bitrate, -one.vmaf)):
        if not best or point.vmaf > best[-1].vmaf:
            best.append(point)
    corners: list[Point] = []
    for point in best:
        while len(corners) > 1 and _slope(corners[-2], point) >= _slope(corners[-2], corners[-1]):
            corners.pop()
        corners.append(point)
    edges = iter(pairwise([corners[0], *corners]))
    left, right = next(edges)
    close = []
    for point in best:
        while point.bitrate > right.bitrate:
            left, right = next(edges)
        line = right.vmaf - _slope(left, right) * (right.bitrate - point.bitrate)
        if point.vmaf >= line - _CLOSE:
            close.append(point)
    return close


def _slope(one: Point, other: Point) -> float:
    return (other.vmaf - one.vmaf) / max(1e-9, other.bitrate - one.bitrate)


def rungs(best: Sequence[Point], bounds: Bounds, limit: int) -> list[Point]:
    """The rungs of a ladder from the points of `hull`, the largest first: at least one, at most `limit`."""
    allowed = [point for point in best if point.bitrate <= bounds.most] or [best[0]]
    top = next((point for point in allowed if point.vmaf >= bounds.top), allowed[-1])
    below = [point for point in allowed if point.bitrate <= top.bitrate]
    seen = [point for point in below if point.vmaf >= _LEAST_VMAF] or [top]
    bottom = next((point for point in reversed(seen) if point.bitrate <= bounds.bottom), seen[0])
    between = [point for point in below if point.bitrate >= bottom.bitrate][::-1]
    count = min(len(_steps(between, 1.0)), limit)
    narrow, wide = 1.0, _MOST_STRETCH
    for _ in range(30):
        middle = (narrow + wide) / 2
        narrow, wide = (middle, wide) if len(_steps(between, middle)) >= count else (narrow, middle)
    chosen = _steps(between, narrow)[:limit]
    if chosen[-1].bitrate >= _BOTTOM_RATIO * bottom.bitrate:
        chosen = [*chosen[: limit - 1], bottom]
    return chosen


def _steps(points: Sequence[Point], stretch: float) -> list[Point]:
    """The points, from the first down, each a step below the one before: steps are the least ones, stretched."""
    chosen = [points[0]]
    for point in points:
        last = chosen[-1]
        if last.vmaf - point.vmaf >= stretch * NOTICEABLE and last.bitrate >= _RATIO**stretch * point.bitrate:
            chosen.append(point)
    return chosen
