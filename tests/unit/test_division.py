"""A job is divided where one worker would need longer than the bound, into chunks that are worth it, with a reason."""

import itertools
import math
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from elasticrecode.media import ladders
from elasticrecode.media.profiles import Ffmpeg, Package, Profile, Vmaf
from elasticrecode.parts.part import MOST_PARTS
from worker.division import Estimate, choose, chunk_costs, estimate, plan_chunks, span_name, with_short_start
from worker.media.ladder import Ends, Ladder, plan_ladder
from worker.media.plan import Picture, make_plan
from worker.media.source import Source
from worker.media.subtitles import SubtitlePlan
from worker.media.video import Video

_HOUR = 3600.0
_VIDEO = Video("mov,mp4", 0, "h264", 1920, 1080, _HOUR, None, None, rate=25.0, pixel_format="yuv420p")
_CORE_SECONDS = 2.12
"""CPU seconds for a second of 1080p25 in H.264 at the medium speed."""
_GRID = Fraction(2)


def _ladder(package: Package) -> Ladder:
    encodes = ladders.rungs(package, 1920, 1080, Fraction(25), is_hdr=False)
    return plan_ladder(Source(_VIDEO), Profile(package=package), encodes, SubtitlePlan(), Ends(0.0, 0.0))


def _file(scale: str = "1920:1080", speed: Literal["fast", "medium", "slow"] = "medium") -> Picture:
    encode = Ffmpeg("libx264", scale, "5M", speed=speed)
    return make_plan(Source(_VIDEO), Profile(ffmpeg=encode), encode, "mp4").picture


def _lengths(chunks: list[tuple[Fraction, Fraction]]) -> list[Fraction]:
    return [end - start for start, end in chunks]


def test_a_long_job_is_divided_and_a_short_one_is_not() -> None:
    long, short = (choose(estimate(Profile(), seconds, None, _ladder(Package())), 2, 120.0) for seconds in (_HOUR, 2.0))
    assert (long.kind, short.kind) == ("chunk", None)
    assert long.reason == f"One worker needs about {long.seconds:g} s, more than 120 s."
    assert short.reason == f"One worker needs about {short.seconds:g} s, not more than 120 s."


def test_a_bound_of_zero_divides_the_shortest_film() -> None:
    assert choose(Estimate(0.04), 2, 0.0).kind == "chunk"
    assert choose(estimate(Profile(), 0.04, _file("16:16", speed="fast"), None), 64, 0.0).kind == "chunk"


def test_a_film_that_cannot_be_cut_is_divided_by_rungs_and_says_why() -> None:
    choice = choose(Estimate(0.0, (400.0, 100.0)), 2, 120.0, "An AVI has no index of times.")
    assert choice.kind == "rung"
    assert choice.reason == "One worker needs about 250 s, more than 120 s. An AVI has no index of times."


@pytest.mark.parametrize(
    ("work", "reason"),
    [(Estimate(900.0), "It jumps."), (Estimate(0.0, (900.0,)), "It jumps. It has one rung.")],
)
def test_one_output_that_cannot_be_cut_stays_whole(work: Estimate, reason: str) -> None:
    assert choose(work, 2, 120.0, "It jumps.") == (None, 450.0, reason)


def test_a_profile_that_refuses_division_is_obeyed() -> None:
    choice = choose(Estimate(1e6, (1e6, 1e6)), 1, 0.0, never=True)
    assert (choice.kind, choice.reason) == (None, 'The profile says "split": "never".')


def test_costs_grow_with_pixels_frames_and_slower_speeds() -> None:
    work = estimate(Profile(), _HOUR, None, _ladder(Package()))
    assert work.rungs[0] == max(work.rungs)
    assert work.rungs[-1] == min(work.rungs)
    assert estimate(Profile(), 2 * _HOUR, None, _ladder(Package())).total == pytest.approx(2 * work.total)
    assert estimate(Profile(), _HOUR, None, _ladder(Package(speed="slow"))).total > work.total
    large, small, slow = (
        estimate(Profile(), _HOUR, file, None).total for file in (_file(), _file("640:360"), _file(speed="slow"))
    )
    assert small < large < slow
    assert large == pytest.approx(_CORE_SECONDS * _HOUR, rel=0.02)


def test_a_job_of_a_file_and_a_package_needs_the_time_of_both() -> None:
    both = estimate(Profile(), _HOUR, _file(), _ladder(Package()))
    assert both.total == pytest.approx(both.file + sum(both.rungs))
    assert both.file == estimate(Profile(), _HOUR, _file(), None).total


def test_a_score_counts() -> None:
    scored = Profile(vmaf=Vmaf(scale="1920x1080"))
    for file, ladder in ((_file(), None), (None, _ladder(Package()))):
        plain = estimate(Profile(vmaf=UNSET), _HOUR, file, ladder).total
        assert estimate(scored, _HOUR, file, ladder).total > plain


def test_more_cores_need_less_time() -> None:
    work = Estimate(960.0)
    assert choose(work, 2, 120.0).seconds == 4 * choose(work, 8, 120.0).seconds
    assert (choose(work, 2, 120.0).kind, choose(work, 8, 120.0).kind) == ("chunk", None)


@given(
    st.fractions(Fraction(1, 100), 40_000),
    st.sampled_from([Fraction(2), Fraction(1001, 500), Fraction(48, 25), Fraction(1, 2)]),
    st.floats(0.001, 500),
    st.floats(1, 600),
    st.none() | st.lists(st.floats(0, 1e9), min_size=1, max_size=200),
)
def test_chunks_cover_the_film_on_the_grid_and_are_not_too_many(
    length: Fraction, grid: Fraction, cost: float, longest: float, pattern: list[float] | None
) -> None:
    steps = math.ceil(length / grid)
    weights = [pattern[step % len(pattern)] for step in range(steps)] if pattern else None
    chunks = plan_chunks(length, grid, cost, longest, weights)
    assert chunks[0][0] == 0
    assert chunks[-1][1] == length
    assert all(before[1] == after[0] for before, after in itertools.pairwise(chunks))
    assert all(start < end and (start / grid).denominator == 1 for start, end in chunks)
    assert len(chunks) <= MOST_PARTS
    bound = max(Fraction(longest), grid, grid * math.ceil(Fraction(steps, MOST_PARTS)))
    assert max(_lengths(chunks)) <= bound
    costs = chunk_costs(chunks, grid, 100.0, weights)
    assert len(costs) == len(chunks)
    assert min(costs) > 0
    assert sum(costs) == pytest.approx(100.0, abs=0.02 * len(costs))


def test_a_short_bound_makes_all_chunks_that_long_and_the_last_may_be_one_frame() -> None:
    chunks = plan_chunks(Fraction(301, 25), _GRID, 0.01, 2.0)
    assert _lengths(chunks) == [Fraction(2)] * 6 + [Fraction(1, 25)]


def test_a_two_hour_film_has_enough_chunks_for_a_hundred_workers_the_longest_first() -> None:
    lengths = _lengths(plan_chunks(Fraction(7200), _GRID, _CORE_SECONDS))
    assert 350 <= len(lengths) <= MOST_PARTS
    assert sum(lengths) / len(lengths) < 22
    assert lengths[:-1] == sorted(lengths[:-1], reverse=True)
    assert lengths[0] > 3 * lengths[-2]


@pytest.mark.parametrize("cost", [0.5, 2.12, 40.0])
def test_chunks_are_worth_their_constant_cost(cost: float) -> None:
    """A chunk costs about a CPU second more than its encode, and its rate control begins anew."""
    lengths = _lengths(plan_chunks(Fraction(3600), _GRID, cost))
    mean = sum(lengths) / len(lengths)
    assert mean * cost > 35 or mean > 55
    assert mean > 14


def test_a_film_too_cheap_to_divide_has_one_chunk() -> None:
    assert plan_chunks(Fraction(50), _GRID, 0.5) == [(Fraction(0), Fraction(50))]


def test_a_film_of_any_length_is_planned_at_once() -> None:
    """A length comes from a file, and may be a lie."""
    assert len(plan_chunks(Fraction(10**15), Fraction(1, 60), 1.0, 2.0)) <= MOST_PARTS


def test_many_coded_bytes_make_chunks_shorter_and_costs_equal() -> None:
    weights = [1e6] * 900 + [16e6] * 900
    chunks = plan_chunks(Fraction(3600), _GRID, _CORE_SECONDS, weights=weights)
    even = plan_chunks(Fraction(3600), _GRID, _CORE_SECONDS)
    assert sum(start >= 1800 for start, _ in chunks) > sum(start >= 1800 for start, _ in even)
    costs = chunk_costs([(Fraction(0), Fraction(1800)), (Fraction(1800), Fraction(3600))], _GRID, 300.0, weights)
    assert costs[1] == pytest.approx(16**0.3 * costs[0], rel=0.01)


@pytest.mark.parametrize("weights", [[], [0.0] * 1800, [1.0], [math.nan] * 1800])
def test_weights_that_say_nothing_count_as_equal(weights: list[float]) -> None:
    assert plan_chunks(Fraction(3600), _GRID, 2.0, weights=weights) == plan_chunks(Fraction(3600), _GRID, 2.0)


def test_the_name_of_a_chunk_is_its_place_in_the_film() -> None:
    assert span_name(Fraction(720), Fraction(780)) == "00:12:00-00:13:00"
    assert span_name(Fraction(3601001, 1000), Fraction(36000)) == "01:00:01.001-10:00:00"


def test_a_film_that_plays_early_begins_with_short_chunks_that_grow() -> None:
    planned = plan_chunks(Fraction(7200), _GRID, _CORE_SECONDS)
    chunks = with_short_start(planned, _GRID)
    lengths = [float(end - start) for start, end in chunks]
    assert lengths[:3] == [2, 4, 8]
    assert all(one <= 3 * before for before, one in itertools.pairwise(lengths[:6]))
    assert max(lengths) <= max(float(end - start) for start, end in planned)
    assert len(chunks) <= len(planned) + 5
    assert chunks[-10:] == planned[-10:]


@pytest.mark.parametrize("seconds", [Fraction(1, 25), 2, 5, 61, 3599, 100_000, 10**7])
@pytest.mark.parametrize("longest", [2.0, 60.0])
def test_short_chunks_in_front_cover_the_film_on_the_grid_and_are_not_too_many(
    seconds: Fraction | int, longest: float
) -> None:
    planned = plan_chunks(Fraction(seconds), _GRID, _CORE_SECONDS, longest)
    chunks = with_short_start(planned, _GRID)
    assert (chunks[0][0], chunks[-1][1]) == (Fraction(0), Fraction(seconds))
    assert all(one[1] == other[0] for one, other in itertools.pairwise(chunks))
    assert all(start < end for start, end in chunks)
    assert all(start % _GRID == 0 for start, _ in chunks)
    assert len(chunks) <= MOST_PARTS
    assert chunks[0][1] <= max(_GRID, planned[0][1]) or len(planned) == 1
