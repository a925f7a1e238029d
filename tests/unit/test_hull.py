"""The ladder of a title: the hull over sizes from few probes, and rungs that differ, for many made-up titles."""

import math
import random
from itertools import pairwise
from typing import NamedTuple

import pytest

from elasticrecode.media.profiles import Ffmpeg
from worker.quality import hull
from worker.quality.curve import Scale, scale_of
from worker.quality.hull import Bounds, Point

SIZES = ((1920, 1080), (1280, 720), (960, 540), (768, 432), (640, 360), (416, 234))
AREAS = [width * height for width, height in SIZES]
H264 = scale_of(Ffmpeg(codec="libx264", scale="720p"))
AV1 = scale_of(Ffmpeg(codec="libsvtav1", scale="720p"))
BOUNDS = Bounds(95.0, 7_800_000.0, 145_000.0)


class Title(NamedTuple):
    """A made-up title: its bits at a middling factor, its detail, which small sizes lose, and how fast it worsens."""

    bits: float
    detail: float
    slope: float
    power: float
    scale: Scale

    def encode(self, box: int, crf: float) -> Point:
        """What an encode of a size has."""
        area = AREAS[box] / AREAS[0]
        rate = self.bits * area**self.power * 2 ** (-(crf - self.scale.middle) / self.scale.halving)
        blur = self.detail * (area**-0.5 - 1)
        harm = 7.0 * math.exp(self.slope * self.scale.slope * (crf - self.scale.middle))
        both = blur + harm * (1 + 0.1 * blur)
        return Point(box, crf, rate, 100.0 * math.exp(-both / 100.0))


def title(dice: random.Random, scale: Scale = H264) -> Title:
    return Title(
        bits=math.exp(dice.uniform(math.log(600_000), math.log(12_000_000))),
        detail=dice.uniform(3.0, 14.0),
        slope=dice.uniform(0.8, 1.2),
        power=dice.uniform(0.7, 0.95),
        scale=scale,
    )


def probed(film: Title, bounds: Bounds = BOUNDS) -> list[Point]:
    points: list[Point] = []
    while following := hull.next_probe(film.scale, bounds, AREAS, points):
        points.append(film.encode(*following))
    return points


def exhaustive(film: Title) -> list[Point]:
    step = film.scale.halving / 2
    factors = [film.scale.least + step * n for n in range(int((film.scale.most - film.scale.least) / step) + 1)]
    return [film.encode(box, crf) for box in range(len(AREAS)) for crf in factors]


def rate_of(corners: list[tuple[float, float]], vmaf: float) -> float:
    """The logarithm of the rate of a hull of VMAF and rate at a VMAF."""
    for (low, start), (high, end) in pairwise(corners):
        if low <= vmaf <= high:
            return start + (end - start) * (vmaf - low) / max(1e-9, high - low)
    raise ValueError(vmaf)


def loss(film: Title, points: list[Point], bottom: float, top: float) -> float:
    """How much more rate than the best the sizes need that were chosen at each rate, as a share: BD-rate."""
    chosen = []
    for corner in hull.hull(film.scale, points):
        full = film.encode(corner.box, 0.0).bitrate
        real = film.encode(corner.box, film.scale.halving * math.log2(full / corner.bitrate))
        chosen.append((real.vmaf, math.log(corner.bitrate)))
    best = [(point.vmaf, math.log(point.bitrate)) for point in hull.hull(film.scale, exhaustive(film))]
    chosen.sort()
    low, high = max(bottom, chosen[0][0], best[0][0]), min(top, chosen[-1][0], best[-1][0])
    steps = [low + (high - low) * (n + 0.5) / 100 for n in range(100)]
    return math.exp(sum(rate_of(chosen, one) - rate_of(best, one) for one in steps) / 100) - 1


@pytest.mark.parametrize("scale", [H264, AV1])
def test_few_probes_find_nearly_the_best_size_at_each_rate(scale: Scale) -> None:
    dice, losses, counts = random.Random(20), [], []
    for _ in range(15):
        film = title(dice, scale)
        points = probed(film)
        rungs = hull.rungs(hull.hull(scale, points), BOUNDS, 12)
        if len(rungs) > 1:
            losses.append(loss(film, points, max(20.0, rungs[-1].vmaf), rungs[0].vmaf))
        counts.append(len(points))
    assert max(counts) <= 3 * len(AREAS)
    assert sum(counts) / len(counts) < 12
    assert sum(losses) / len(losses) < 0.01
    assert sorted(losses)[len(losses) * 9 // 10] < 0.03


def test_a_size_that_the_hull_does_not_touch_costs_one_probe_or_two() -> None:
    sharp = Title(2_000_000.0, 40.0, 1.0, 0.95, H264)  # so detailed that smaller sizes lose at once
    points = probed(sharp, BOUNDS._replace(bottom=1_000_000.0))
    assert {point.box for point in hull.hull(H264, points) if point.vmaf > 50} == {0}
    assert all(sum(point.box == box for point in points) <= 2 for box in range(1, len(AREAS)))


def test_each_rung_of_hundreds_of_titles_is_worth_a_switch() -> None:
    dice = random.Random(6)
    for _ in range(120):
        film = title(dice)
        limit, most = dice.randint(1, 12), math.exp(dice.uniform(math.log(500_000), math.log(20_000_000)))
        bounds = Bounds(dice.uniform(60, 99), most, dice.uniform(50_000, 500_000))
        crfs = sorted(dice.uniform(8, 45) for _ in range(3))
        points = [film.encode(box, crf) for box in range(len(AREAS)) for crf in crfs]
        best = hull.hull(H264, points)
        rungs = hull.rungs(best, bounds, limit)
        case = (film, limit, bounds, rungs)
        assert 1 <= len(rungs) <= limit, case
        assert rungs[0].bitrate <= bounds.most or len(rungs) == 1, case
        for one, other in pairwise(rungs[:-1]):
            assert one.vmaf - other.vmaf >= hull.NOTICEABLE, case
            assert one.bitrate >= 1.5 * other.bitrate, case
        if len(rungs) > 1:
            last, bottom = rungs[-2:]
            apart = last.vmaf - bottom.vmaf >= hull.NOTICEABLE and last.bitrate >= 1.5 * bottom.bitrate
            assert apart or last.bitrate >= 2 * bottom.bitrate, case


def test_the_top_is_the_smallest_rung_that_looks_as_wanted_and_the_bottom_fits_a_slow_line() -> None:
    film = Title(3_000_000.0, 3.0, 1.0, 0.85, H264)
    rungs = hull.rungs(hull.hull(H264, probed(film)), BOUNDS, 12)
    assert rungs[0].vmaf == pytest.approx(95.0, abs=0.3)
    assert film.encode(rungs[0].box, rungs[0].crf).vmaf == pytest.approx(95.0, abs=0.5)
    assert BOUNDS.bottom * 0.8 <= rungs[-1].bitrate <= BOUNDS.bottom
    assert [SIZES[rung.box] for rung in rungs] == sorted((SIZES[rung.box] for rung in rungs), reverse=True)


def test_no_rung_has_more_than_the_most_where_the_top_is_out_of_reach() -> None:
    bounds = BOUNDS._replace(most=1_000_000.0)
    film = Title(12_000_000.0, 6.0, 1.2, 0.85, H264)
    rungs = hull.rungs(hull.hull(H264, probed(film, bounds)), bounds, 12)
    assert 800_000 <= rungs[0].bitrate <= 1_000_000
    assert rungs[0].vmaf < 95


def test_a_title_that_looks_right_at_the_bottom_has_one_rung() -> None:
    still = Title(60_000.0, 14.0, 1.0, 0.8, H264)
    rungs = hull.rungs(hull.hull(H264, probed(still)), BOUNDS, 12)
    assert len(rungs) == 1
    assert rungs[0].vmaf >= 95


def test_the_rungs_lie_on_an_upper_convex_hull() -> None:
    dice = random.Random(7)
    for _ in range(40):
        film = title(dice)
        best = hull.hull(H264, exhaustive(film))
        assert all(one.bitrate < other.bitrate and one.vmaf < other.vmaf for one, other in pairwise(best))
        for left, middle, right in zip(best, best[1:], best[2:], strict=False):
            share = (middle.bitrate - left.bitrate) / (right.bitrate - left.bitrate)
            assert middle.vmaf >= left.vmaf + share * (right.vmaf - left.vmaf) - 0.6
