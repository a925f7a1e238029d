"""VMAF of a film by the constant rate factor (CRF) of its encode. Pure.

What VMAF lacks to 100 grows by a nearly constant factor with each step of the CRF, so its logarithm, the **loss**, is
close to a line. Between measured factors a monotone cubic joins the losses; outside of them, and from a single one, a
line goes on with the slope that was measured, kept near to that which is usual for the encoder.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.media.rates import Span

_LEAST_LOSS = 0.5
"""What a score lacks to 100 at least: above, scores tell little, as they end at 100."""
_SLOPES = (0.35, 4.0)
"""Least and most slope by the usual one."""


class Scale(NamedTuple):
    """What an encoder's factors mean.

    `middle` is that of VMAF 93 in a usual film, and `slope` the growth of the logarithm of what VMAF lacks to 100 with
    each step; `halving` are the steps that halve the size. `least` and `most` bound what is used.
    """

    middle: float
    slope: float
    halving: float
    least: float
    most: float
    grain: float

    def near(self, crf: float) -> float:
        """The factor within the bounds that is nearest to another and that the encoder knows."""
        return round(round(min(max(crf, self.least), self.most) / self.grain) * self.grain, 3)


_SCALES: Mapping[str, Scale] = {
    "h264": Scale(25.0, 0.145, 6.0, 6.0, 49.0, 0.05),
    "hevc": Scale(25.0, 0.135, 6.0, 6.0, 49.0, 0.05),
    "av1": Scale(40.0, 0.065, 9.0, 6.0, 62.0, 0.25),
}


class Curve(Struct, frozen=True):
    """The VMAF and the bits of a film by the factor, as its probes have them.

    `crf` meets the aim, or is the bound nearest to it. `points` are factor, VMAF and bits of the film, by factor.
    `slope` is that of the logarithm of what VMAF lacks to 100, by the factor, and `steepness` that of the logarithm of
    the bits, near `crf`. `lean` is the slope of the first logarithm by that of the coded bytes of a second of the
    source, whose mean is `middle`. `spread` is the deviation of VMAF among windows, of which a full round has
    `windows`. `usual` is the slope that is usual for the encoder.
    """

    crf: float
    points: list[tuple[float, float, float]]
    slope: float
    steepness: float
    lean: float = 0.0
    middle: float = 0.0
    spread: float = 0.0
    least: float = 0.0
    most: float = 63.0
    grain: float = 0.05
    usual: float = 0.0
    windows: int = 12

    def vmaf(self, crf: float) -> float:
        """The film's predicted mean VMAF at a factor."""
        return vmaf_of(curved([(at, loss_of(vmaf)) for at, vmaf, _ in self.points], crf, self.slope))

    def bits(self, crf: float) -> float:
        """The film's predicted bits at a factor."""
        return math.exp(curved([(at, math.log(max(1.0, bits))) for at, _, bits in self.points], crf, -self.steepness))

    def chunk_vmaf(self, crf: float, span: Span) -> float:
        """The predicted VMAF of a part of the film at a factor."""
        return vmaf_of(loss_of(self.vmaf(crf)) + self.tilt(span))

    def tilt(self, span: Span) -> float:
        """How much more VMAF lacks to 100 in a part than in the film: the logarithm of the ratio."""
        return self.lean * (weight_of(span) - self.middle) if self.lean and span.weight > 0 else 0.0

    def near(self, crf: float) -> float:
        """The factor within the bounds that is nearest to another and that the encoder knows."""
        return round(round(min(max(crf, self.least), self.most) / self.grain) * self.grain, 3)


def weight_of(span: Span) -> float:
    """The logarithm of the coded bytes of a second of a part of the source."""
    return math.log(max(span.weight, 1.0) / span.seconds)


def loss_of(vmaf: float) -> float:
    """The logarithm of what a score lacks to 100."""
    return math.log(max(100.0 - vmaf, _LEAST_LOSS))


def vmaf_of(loss: float) -> float:
    """The score of a loss, from 0 to 100."""
    return min(max(100.0 - math.exp(min(loss, 5.0)), 0.0), 100.0)


def slope_around(points: Sequence[tuple[float, float]], value: float, usual: float) -> float:
    """The slope of the curve around a value: between the two points that are nearest to it, kept near to the usual."""
    near = sorted(points, key=lambda point: abs(point[1] - value))[:2]
    if len(near) < 2:
        return usual
    (one, first), (other, second) = near
    return min(max((second - first) / (other - one), _SLOPES[0] * usual), _SLOPES[1] * usual)


def solved(points: Sequence[tuple[float, float]], value: float, slope: float) -> float:
    """Where the curve through points has a value."""
    (first, low), (last, high) = points[0], points[-1]
    if value <= low:
        return first + (value - low) / slope
    if value >= high:
        return last + (value - high) / slope
    return bisected(lambda x: -curved(points, x, slope), -value, first, last)


def curved(points: Sequence[tuple[float, float]], x: float, slope: float) -> float:
    """The value at `x` of the monotone cubic through points, by Fritsch and Carlson; beyond its ends a line goes on."""
    (first, low), (last, high) = points[0], points[-1]
    if x <= first:
        return low + slope * (x - first)
    if x >= last:
        return high + slope * (x - last)
    secants = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    inner = [2 * a * b / (a + b) if a * b > 0 else 0.0 for a, b in pairwise(secants)]
    slopes = [secants[0], *inner, secants[-1]]
    at = max(n for n, point in enumerate(points[:-1]) if point[0] <= x)
    (left, start), (right, end) = points[at], points[at + 1]
    width, t = right - left, (x - left) / (right - left)
    return (
        (1 + 2 * t) * (1 - t) ** 2 * start
        + t * (1 - t) ** 2 * width * slopes[at]
        + t * t * (3 - 2 * t) * end
        + t * t * (t - 1) * width * slopes[at + 1]
    )


def bisected(falling: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Where a function that falls has a value between two bounds, or the bound that is nearer to it."""
    if falling(low) <= value:
        return low
    if falling(high) >= value:
        return high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return (low + high) / 2


def scale_of(encode: Ffmpeg) -> Scale:
    """The scale of an encode's encoder."""
    return _SCALES[encoder_of(encode.codec)[0].stream]
