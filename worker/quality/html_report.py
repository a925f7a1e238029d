"""The HTML page of a VMAF job: one file that asks for nothing else. Pure."""

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_STEPS = 1000
_TICKS = 8
_TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_FLAG_GAP = 6.5


class Moment(NamedTuple):
    """One frame, as it looks in both versions. `seconds` from the start; pictures are JPEG bytes."""

    frame: int
    seconds: float
    score: float
    origin: bytes
    input: bytes


class _Graph(NamedTuple):
    """What is drawn: `end` and `step` in seconds, `worst` a time and its score, paths in a box of 1000 by 100.

    `mean` and `band` are empty where every frame is drawn. Ticks are percent from the left and seconds; marks percent
    from the left, from the top, and from the left where their number stands.
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
    """The page. `points` are seconds and VMAF in order of time; `passed` is None where no minimum was asked for."""
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
    apart = next((gap for gap in _TICK_SECONDS if end / gap <= _TICKS), 3600 * math.ceil(end / 3600 / _TICKS))
    return _Graph(
        end=end,
        step=end / _STEPS,
        worst=min(lows, key=lambda point: point[1]),
        lowest="M" + " ".join(low),
        mean="M" + " ".join(mean) if thinned else "",
        band=f"M{' '.join(mean)} {' '.join(reversed(low))}Z" if thinned else "",
        ticks=[(100 * at / end, at) for at in range(0, int(end) + 1, apart)],
        marks=_marks(moments, end),
    )


def _thin(points: Iterable[tuple[float, float]], end: float) -> tuple[list[tuple[float, float]], ...]:
    """The lowest point of every stretch of equal length, so that a dip of one frame stays, and beside it the mean."""
    stretches = groupby(points, key=lambda point: min(int(point[0] / end * _STEPS), _STEPS - 1))
    kept = [list(stretch) for _, stretch in stretches]
    lows = [min(stretch, key=lambda point: point[1]) for stretch in kept]
    means = (sum(score for _, score in stretch) / len(stretch) for stretch in kept)
    return lows, [(low[0], mean) for low, mean in zip(lows, means, strict=True)]


def _line(points: Sequence[tuple[float, float]], end: float) -> list[str]:
    """Coordinates of a line; a lone point becomes one across the graph."""
    across = [(0.0, points[0][1]), (end, points[0][1])] if len(points) == 1 else points
    return [f"{1000 * seconds / end:.2f},{_down(score):.2f}" for seconds, score in across]


def _down(score: float) -> float:
    return 100 - min(100.0, max(0.0, score))


def _marks(moments: Sequence[Moment], end: float) -> list[tuple[float, float, float]]:
    """In the order of the moments. Numbers that would cover each other are moved apart."""
    xs = [min(100.0, 100 * moment.seconds / end) for moment in moments]
    numbers, last = dict.fromkeys(range(len(xs)), 0.0), -_FLAG_GAP
    for rank, n in enumerate(sorted(numbers, key=xs.__getitem__)):
        last = numbers[n] = max(last + _FLAG_GAP, min(xs[n], 100 - _FLAG_GAP * (len(xs) - 1 - rank)))
    return [(xs[n], _down(moment.score), numbers[n]) for n, moment in enumerate(moments)]


def _clock(seconds: float, places: int = 0) -> str:
    """`m:ss`, from an hour on `h:mm:ss`, with so many decimal places."""
    minutes, rest = divmod(round(seconds * 10**places), 60 * 10**places)
    text = f"{rest / 10**places:0{places + 3 if places else 2}.{places}f}"
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if minutes >= 60 else f"{minutes}:{text}"


def _figure(value: float | None, label: str = "") -> str:
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{4 if 'SSIM' in label else 2}f}"


def _data(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + b64encode(jpeg).decode()


_ENVIRONMENT = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    loader=FileSystemLoader(Path(__file__).parent),
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"clock": _clock, "figure": _figure, "data": _data}
_TEMPLATE = _ENVIRONMENT.get_template("report.html")
