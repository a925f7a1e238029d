"""The report of a package's scores: a JSON document, and one self-contained HTML page with the curve. Pure.

Every rung is scored as it is shown: scaled up to the size of the largest, beside the source at that size.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Struct

from elasticrecode.jobs.events import Quality, VmafScore
from elasticrecode.media.profiles import Vmaf
from worker.quality.html_report import ENVIRONMENT

_MOST_RATES = 8
_STEP = 20
"""Points of VMAF from one line of the curve's grid to the next."""
_MARGIN = 1.15
"""The axis of bitrates begins and ends this factor beyond those of the rungs."""


class RungScore(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The score of one rung. `bitrate` is that of its track in the package, in bits per second."""

    name: str
    uri: str
    width: int
    height: int
    codec: str
    dynamicRange: str
    frameRate: float
    bitrate: int
    vmaf: VmafScore
    passed: bool | None = None
    warnings: list[str] = []

    @property
    def series(self) -> str:
        """The codec and, unless it is SDR, the dynamic range: rungs with one of these form one line."""
        return self.codec if self.dynamicRange == "sdr" else f"{self.codec} {self.dynamicRange}"


class _Dot(NamedTuple):
    """A rung on the curve, in percent from the left and from the top. `low` is its 5th percentile."""

    x: float
    y: float
    low: float
    label: str


class _Line(NamedTuple):
    label: str
    points: list[_Dot]
    path: str


class _Graph(NamedTuple):
    """The curve in percent of its box: lines by codec, and ticks with their scores and bits per second."""

    lines: list[_Line]
    scores: list[tuple[float, int]]
    rates: list[tuple[float, float]]
    minimum: float | None


def json_report(source: str, package: str, profile: Vmaf, quality: Quality, rungs: Sequence[RungScore]) -> bytes:
    """The report as JSON: how it was measured, the score of the largest rung, and that of every rung."""
    head = {"input": source, "package": package, "profile": profile, "quality": quality}
    return msgspec.json.encode({**head, "rungs": rungs})


def render(source: str, package: str, profile: Vmaf, quality: Quality, rungs: Sequence[RungScore]) -> str:
    """The report as HTML. `source` and `package` are URIs; `quality` is that of the largest rung, which is the first.

    There is at least one rung.
    """
    every = f", one frame in {profile.subsample}" if profile.subsample and profile.subsample > 1 else ""
    minimum = profile.min if profile.min is not UNSET else None
    return _TEMPLATE.render(
        name=source.rstrip("/").rpartition("/")[2] or source,
        input=source,
        package=package,
        passed=quality.passed,
        minimum=minimum,
        warnings=list(dict.fromkeys(text for rung in rungs for text in rung.warnings)),
        rungs=rungs,
        curve=_curve(rungs, minimum),
        measured={
            "Model": quality.vmaf.model,
            "Frames scored": f"{quality.vmaf.frames} of the largest rung{every}",
            "Scale": f"all at {profile.scale}, the size of the largest rung",
            "Required minimum": "none" if minimum is None else f"VMAF mean {minimum:g}, of the largest rung",
        },
    )


def _curve(rungs: Sequence[RungScore], minimum: float | None) -> _Graph:
    first = math.log(max(1, min(rung.bitrate for rung in rungs)) / _MARGIN)
    last = math.log(max(1, *(rung.bitrate for rung in rungs)) * _MARGIN)
    bottom = max(0, math.floor(min(rung.vmaf.p5 for rung in rungs) / _STEP) * _STEP)
    top = max(100, math.ceil(max(rung.vmaf.mean for rung in rungs) / _STEP) * _STEP)
    bottom = min(bottom, top - _STEP)

    def across(bits: float) -> float:
        return 100 * (math.log(max(1.0, bits)) - first) / (last - first)

    def down(score: float) -> float:
        return 100 * (top - min(top, max(bottom, score))) / (top - bottom)

    lines = []
    for label, members in groupby(
        sorted(rungs, key=lambda rung: (rung.series, rung.bitrate)), lambda rung: rung.series
    ):
        points = [
            _Dot(across(rung.bitrate), down(rung.vmaf.mean), down(rung.vmaf.p5), f"{min(rung.width, rung.height)}p")
            for rung in members
        ]
        lines.append(_Line(label, points, "M" + " ".join(f"{point.x:.3f},{point.y:.3f}" for point in points)))
    return _Graph(
        lines,
        [(down(score), score) for score in range(bottom, top + 1, _STEP)],
        [(across(bits), bits) for bits in _rates(math.exp(first), math.exp(last))],
        down(minimum) if minimum is not None and minimum >= bottom else None,
    )


def _rates(first: float, last: float) -> list[float]:
    """Round bitrates between two: 1, 2 and 5 times powers of 10, thinned where they are many."""
    powers = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    rates = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [bits for bits in rates if first <= bits <= last]
    return inside[:: max(1, math.ceil(len(inside) / _MOST_RATES))]


def _rate(bits: float) -> str:
    """A bitrate with three figures, such as `5.98 Mbit/s`."""
    return f"{bits / 1e6:.3g} Mbit/s" if round(bits) >= 1_000_000 else f"{bits / 1000:.3g} kbit/s"


ENVIRONMENT.filters["rate"] = _rate
_TEMPLATE = ENVIRONMENT.get_template("ladder_report.html")
