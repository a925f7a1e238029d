"""A package is divided where one worker would need longer than the bound, and the record says why."""

from fractions import Fraction

import pytest
from msgspec import UNSET

from elasticrecode.media import ladders
from elasticrecode.media.profiles import Package, Profile, Vmaf
from worker.division import choose
from worker.media.ladder import Ends, Ladder, plan_ladder
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan
from worker.media.video import Video

_HOUR = 3600.0
_VIDEO = Video("mov,mp4", 0, "h264", 1920, 1080, _HOUR, None, None, rate=25.0, pixel_format="yuv420p")


def _ladder(package: Package) -> Ladder:
    encodes = ladders.rungs(package, 1920, 1080, Fraction(25), is_hdr=False)
    return plan_ladder(Source(_VIDEO), Profile(package=package), encodes, SubtitlePlan(), Ends(0.0, 0.0))


def test_a_long_film_is_divided_and_a_short_one_is_not() -> None:
    ladder = _ladder(Package())
    long, short = (choose(ladder, Profile(), seconds, 2, 120.0) for seconds in (_HOUR, 2.0))
    assert (long.is_divided, short.is_divided) == (True, False)
    assert long.reason == f"One worker needs about {long.seconds:g} s, more than 120 s."
    assert short.reason == f"One worker needs about {short.seconds:g} s, not more than 120 s."


def test_costs_grow_with_pixels_frames_and_slower_speeds() -> None:
    ladder = _ladder(Package())
    costs = choose(ladder, Profile(), _HOUR, 2, 120.0).costs
    assert costs[0] == max(costs)
    assert costs[-1] == min(costs)
    assert choose(ladder, Profile(), 2 * _HOUR, 2, 120.0).costs[0] == pytest.approx(2 * costs[0])
    assert choose(_ladder(Package(speed="slow")), Profile(), _HOUR, 2, 120.0).costs[0] > costs[0]


def test_a_score_counts() -> None:
    ladder = _ladder(Package())
    scored = Profile(vmaf=Vmaf(scale="1920x1080"))
    assert (
        choose(ladder, scored, _HOUR, 2, 120.0).seconds > choose(ladder, Profile(vmaf=UNSET), _HOUR, 2, 120.0).seconds
    )


def test_more_cores_need_less_time() -> None:
    ladder = _ladder(Package())
    two, eight = (choose(ladder, Profile(), _HOUR, cores, 120.0).seconds for cores in (2, 8))
    assert two == pytest.approx(4 * eight, rel=0.01)


def test_one_rung_stays_whole() -> None:
    choice = choose(_ladder(Package())._replace(rungs=_ladder(Package()).rungs[:1]), Profile(), _HOUR, 2, 0.0)
    assert (choice.is_divided, choice.reason) == (False, "It has one rung.")
