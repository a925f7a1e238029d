"""The HTML report of a score: one self-contained file that loads nothing else. Pure."""

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_STEPS = 1000
"""Columns of the graph. A longer film is drawn as the mean and lowest score of each column."""
_MAX_TICKS = 8
_TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_DATA = "data:image/jpeg;base64,"
_FLAG_GAP = 6.5
"""Least distance between the numbers of two moments, in percent of the width."""


class Moment(NamedTuple):
    """One frame and its pictures from both sides, as JPEG. `seconds` counts from the start; `score` is its VMAF."""

    frame: int
    seconds: float
    score: float
    origin: bytes
    input: bytes


class _Graph(NamedTuple):
    """The graph: `end` and `step` in seconds, `worst` as time and score, paths in a box of 1000 by 100.

    `mean` and `band` are empty if every frame is drawn. A tick is its percent from the left and its seconds. A mark is
    its percent from the left, its percent from the top, and the percent from the left of its number.
    """

    end: float
    step: float
    worst: tuple[float, float]
    lowest: str
    mean: str
    band: str
    ticks: Sequence[tuple[float, int]]
    marks: Sequence[tuple[float, float, float]]


def render(
    *,
    input: str,  # noqa: A002
    origin: str,
    figures: Mapping[str, float | None],
    points: Sequence[tuple[float, float]],
    moments: Sequence[Moment],
    measured: Mapping[str, str],
    warnings: Sequence[str],
    passed: bool | None,
) -> str:
    """The report as HTML.

    `input` and `origin` are URIs, `figures` scores by label, `points` seconds and VMAF in ascending order of time,
    `measured` the measurement by label. `passed` is None if the job has no minimum.
    """
    return _TEMPLATE.render(
        name=input.rstrip("/").rpartition("/")[2] or input,
        input=input,
        origin=origin,
        figures=figures,
        graph=_graph(points, moments) if points else None,
        moments=moments,
        measured=measured,
        warnings=warnings,
        passed=passed,
    )


def _graph(points: Sequence[tuple[float, float]], moments: Sequence[Moment]) -> _Graph:
    end = max(points[-1][0], 0.0) or 1.0
    thinned = len(points) > _STEPS
    lows, means = _thin(points, end) if thinned else (points, ())
    low, mean = _line(lows, end), _line(means, end)
    interval = next(
        (gap for gap in _TICK_SECONDS if end / gap <= _MAX_TICKS), 3600 * math.ceil(end / 3600 / _MAX_TICKS)
    )
    return _Graph(
        end=end,
        step=end / _STEPS,
        worst=min(lows, key=lambda point: point[1]),
        lowest="M" + " ".join(low),
        mean="M" + " ".join(mean) if thinned else "",
        band=f"M{' '.join(mean)} {' '.join(reversed(low))}Z" if thinned else "",
        ticks=[(100 * at / end, at) for at in range(0, int(end) + 1, interval)],
        marks=_marks(moments, end),
    )


def _thin(points: Iterable[tuple[float, float]], end: float) -> tuple[list[tuple[float, float]], ...]:
    """The lowest point and the mean of each column. The lowest point keeps a dip of a single frame visible."""
    columns = groupby(points, key=lambda point: min(int(point[0] / end * _STEPS), _STEPS - 1))
    filled = [list(column) for _, column in columns]
    lows = [min(column, key=lambda point: point[1]) for column in filled]
    means = (sum(score for _, score in column) / len(column) for column in filled)
    return lows, [(low[0], mean) for low, mean in zip(lows, means, strict=True)]


def _line(points: Sequence[tuple[float, float]], end: float) -> list[str]:
    """Coordinates of a line. A single point becomes a line across the graph."""
    ends = [(0.0, points[0][1]), (end, points[0][1])] if len(points) == 1 else points
    return [f"{1000 * seconds / end:.2f},{_from_top(score):.2f}" for seconds, score in ends]


def _from_top(score: float) -> float:
    """Percent from the top of the graph, for a score clamped to 0 to 100."""
    return 100 - min(100.0, max(0.0, score))


def _marks(moments: Sequence[Moment], end: float) -> list[tuple[float, float, float]]:
    """Marks in the order of the moments. Numbers that would overlap are moved apart."""
    xs = [min(100.0, 100 * moment.seconds / end) for moment in moments]
    numbers, last = dict.fromkeys(range(len(xs)), 0.0), -_FLAG_GAP
    for rank, n in enumerate(sorted(numbers, key=xs.__getitem__)):
        last = numbers[n] = max(last + _FLAG_GAP, min(xs[n], 100 - _FLAG_GAP * (len(xs) - 1 - rank)))
    return [(xs[n], _from_top(moment.score), numbers[n]) for n, moment in enumerate(moments)]


def clock(seconds: float, places: int = 0) -> str:
    """A time as `m:ss`, or `h:mm:ss` from one hour, with so many decimal places."""
    minutes, rest = divmod(round(seconds * 10**places), 60 * 10**places)
    text = f"{rest / 10**places:0{places + 3 if places else 2}.{places}f}"
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if minutes >= 60 else f"{minutes}:{text}"


def _figure(value: float | None, label: str = "") -> str:
    """A score with 2 decimal places, or 4 for SSIM; a dash where it is undefined."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{4 if 'SSIM' in label else 2}f}"


def moments_of(page: str) -> list[Moment]:
    """The moments of a page that includes `moments.html`, with their pictures; scores and seconds as it shows them."""
    pictures = [b64decode(text) for text in re.findall(rf'src="{_DATA}([\w+/=]+)"', page)]
    heads = re.findall(r"</span>VMAF ([\d.]+) at ([\d:.]+)</h3>\s*<small>frame (\d+)</small>", page)
    return [
        Moment(int(frame), _seconds(at), float(score), *sides)
        for (score, at, frame), *sides in zip(heads, pictures[::2], pictures[1::2], strict=True)
    ]


def _seconds(clock_: str) -> float:
    """The seconds of a time as `clock` writes it."""
    return sum(60.0**place * float(part) for place, part in enumerate(reversed(clock_.split(":"))))


def _data(jpeg: bytes) -> str:
    """The data URL of a picture."""
    return _DATA + b64encode(jpeg).decode()


ENVIRONMENT = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    loader=FileSystemLoader(Path(__file__).parent),
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"clock": clock, "figure": _figure, "data": _data}
_TEMPLATE = ENVIRONMENT.get_template("report.html")
