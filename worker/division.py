"""Whether the rungs of a package are divided among workers: the time that one would need, against a bound. Pure.

The CPU seconds are measured, on a processor core of a cloud's common machines, and rounded. They differ with pictures
and processors; a choice between one worker and several needs no better than a factor of two.
"""

from collections.abc import Mapping
from typing import NamedTuple

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Profile
from worker.media.ladder import Ladder

_CPU_SECONDS: Mapping[str, Mapping[str, float]] = {
    "h264": {"fast": 0.017, "medium": 0.041, "slow": 0.07},
    "hevc": {"fast": 0.06, "medium": 0.084, "slow": 0.19},
    "av1": {"fast": 0.033, "medium": 0.09, "slow": 0.16},
}
"""Codec and speed → CPU seconds of an encoder for a million pixels."""
_SCORE_SECONDS = 0.022
"""CPU seconds of a score for a million pixels, at the size of the largest rung."""
_UNKNOWN_SECONDS = 3600.0


class Choice(NamedTuple):
    """Whether to divide: the CPU seconds of each rung, the seconds of one worker, and the reason in words."""

    is_divided: bool
    costs: list[float]
    seconds: float
    reason: str


def choose(ladder: Ladder, profile: Profile, length: float | None, cores: int, bound: float) -> Choice:
    """Whether a package is divided among workers with so many cores.

    `length` is that of the film in seconds, None where unknown: such a film counts as one of an hour. One worker may
    be busy for `bound` seconds.
    """
    frames = float((length or _UNKNOWN_SECONDS) * ladder.rate)
    top = ladder.rungs[0].picture.size
    score = _SCORE_SECONDS * top.width * top.height if profile.vmaf else 0.0
    costs = []
    for plan in ladder.rungs:
        encode, size = plan.picture.encode, plan.picture.size
        speeds = _CPU_SECONDS[encoder_of(encode.codec)[0].stream]
        own = frames * plan.picture.gop / ladder.gop
        costs.append(round(own * (speeds[encode.speed or "medium"] * size.width * size.height + score) / 1e6, 2))
    seconds = round(sum(costs) / max(1, cores), 1)
    if len(costs) == 1:
        return Choice(False, costs, seconds, "It has one rung.")
    fits = seconds <= bound
    verdict = "not more than" if fits else "more than"
    return Choice(not fits, costs, seconds, f"One worker needs about {seconds:g} s, {verdict} {bound:g} s.")
