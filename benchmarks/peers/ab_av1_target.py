"""ab-av1's search for the CRF that meets a VMAF (alexheretic/ab-av1, `src/command/crf_search.rs` and its README).

It encodes samples of 20 s, one for every 12 minutes; a film shorter than that is a sample as a whole. It begins in the
middle of the range, cuts at 20 or 80 % of it in the second run, and interpolates linearly after that. A run ends the
search where the score is above the target by less than a tolerance that doubles each run. The whole is encoded again.
"""

import math
from collections.abc import Callable

_RANGES = {"h264": (10.0, 46.0, 0.1), "h265": (10.0, 46.0, 0.1), "av1": (5.0, 70.0, 0.25)}
"""Least and most CRF, and the step; here the most is at the encoder's own bound."""
_MOST_AV1 = 63.0
_LEAST_TOLERANCE = 0.1
_RUNS = 20
_SAMPLE_SECONDS = 20.0
_MOST_SHARE = 0.85
"""Samples that are more of the film than this are the whole of it."""


def sample(seconds: float) -> tuple[float, float] | None:
    """The start and the length of the sample of a film of at most 12 minutes; None where that is the film."""
    if seconds * _MOST_SHARE <= _SAMPLE_SECONDS:
        return None
    return (seconds - _SAMPLE_SECONDS) / 2, _SAMPLE_SECONDS


def search(codec: str, target: float, probe: Callable[[float], float]) -> float | None:
    """The CRF for a mean VMAF of at least `target`; None where none reaches it. `probe` scores an encode at a CRF."""
    least, most, step = _RANGES[codec]
    low, high = round(least / step), round(min(most, _MOST_AV1) / step)
    at, seen = (low + high) // 2, dict[int, float]()
    for run in range(1, _RUNS + 1):
        seen[at] = score = probe(at * step)
        tolerance = max(_LEAST_TOLERANCE, step * 2.0 ** (run - 1) * 0.1)
        is_good = score >= target
        if is_good and (score < target + tolerance or at == high):
            return at * step
        if not is_good and at == low:
            return None
        others = [other for other in seen if (other > at if is_good else other < at)]
        if not others:
            end = high if is_good else low
            at = round(at * 0.4 + end * 0.6) if run == 1 else end
            continue
        other = min(others, key=lambda one: abs(one - at))
        better, worse = (at, other) if is_good else (other, at)
        if worse - better <= 1:
            return better * step
        at = _interpolated(target, (better, seen[better]), (worse, seen[worse]))
    return max(other for other in seen if seen[other] >= target) * step


def _interpolated(target: float, better: tuple[int, float], worse: tuple[int, float]) -> int:
    share = (target - worse[1]) / (better[1] - worse[1]) if better[1] > worse[1] else 0.5
    at = math.floor(worse[0] + (better[0] - worse[0]) * share + 0.5)
    return min(max(at, better[0] + 1), worse[0] - 1)
