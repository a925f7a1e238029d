"""Av1an's search for the quantizer that meets a VMAF (rust-av/Av1an, `av1an-core/src/target_quality.rs` and its site).

Each chunk, here the whole of a short clip, is encoded up to four times by a faster preset: in the middle of the range,
in the middle of the half that is left, at a linear interpolation, and at a cubic spline through three points. A score
within the range of the target ends the search. The last quantizer is used by the slower preset, without another score.
"""

from collections.abc import Callable, Sequence

_RANGES = {"h264": (15.0, 35.0), "h265": (15.0, 35.0), "av1": (15.0, 50.0)}
_STEP = 0.25
_PROBES = 4


def search(codec: str, target: float, tolerance: float, probe: Callable[[float], float]) -> float:
    """The quantizer for a VMAF within `tolerance` of the target. `probe` scores a fast encode at a quantizer."""
    low, high = _RANGES[codec]
    seen: list[tuple[float, float]] = []
    while len(seen) < _PROBES and low <= high:
        at = min(max(_predicted(target, seen, low, high), low), high)
        if any(abs(at - other) < _STEP / 2 for other, _ in seen):
            break
        score = probe(at)
        seen.append((at, score))
        if abs(score - target) <= tolerance:
            return at
        low, high = (at + _STEP, high) if score > target else (low, at - _STEP)
    return min(seen, key=lambda one: abs(one[1] - target))[0]


def _predicted(target: float, seen: Sequence[tuple[float, float]], low: float, high: float) -> float:
    points = sorted((score, at) for at, score in seen)
    if len(points) < 2 or len({score for score, _ in points}) < len(points):
        return _stepped((low + high) / 2)
    return _stepped(_line(target, points) if len(points) == 2 else _spline(target, points))


def _line(target: float, points: Sequence[tuple[float, float]]) -> float:
    (x1, y1), (x2, y2) = points
    return y1 + (target - x1) * (y2 - y1) / (x2 - x1)


def _spline(target: float, points: Sequence[tuple[float, float]]) -> float:
    """The natural cubic spline through three points."""
    (x0, y0), (x1, y1), (x2, y2) = points
    left, right = x1 - x0, x2 - x1
    bend = 3 * ((y2 - y1) / right - (y1 - y0) / left) / (2 * (left + right))
    if target <= x1:
        at, slope = target - x0, (y1 - y0) / left - bend * left / 3
        return y0 + slope * at + bend / (3 * left) * at**3
    at = target - x1
    slope = (y2 - y1) / right - 2 * bend * right / 3
    return y1 + slope * at + bend * at * at - bend / (3 * right) * at**3


def _stepped(at: float) -> float:
    return round(at / _STEP) * _STEP
