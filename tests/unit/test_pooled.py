"""Scores and pictures of a divided film, without ffmpeg: which frames count, and how chunks become one film."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.media.profiles import Images, Sprite, Vmaf
from worker.media.geometry import Raster
from worker.media.images import plan_images
from worker.quality import filters
from worker.quality.html_report import Moment
from worker.quality.pooled import Measured, load, pool, write_reports
from worker.quality.results import Scores

SIZE = Raster(640, 360)


def measured(start: float, *scores: float, warnings: tuple[str, ...] = ()) -> Measured:
    """A chunk of 25 frames per second, with moments of its five worst frames."""
    frames = [(number, {"vmaf": score}) for number, score in enumerate(scores)]
    worst = sorted(range(len(scores)), key=scores.__getitem__)[:5]
    moments = [Moment(number, number / 25, scores[number], b"o", b"i") for number in worst]
    points = [(number / 25, score) for number, score in enumerate(scores)]
    return Measured(
        Scores("3", frames), len(scores), len(scores), points, moments, list(warnings), (640, 360), "graph", start
    )


@given(st.integers(2, 400), st.integers(0, 10_000), st.integers(1, 100))
def test_a_chunk_scores_the_frames_that_the_whole_film_would_score(frames: int, first: int, every: int) -> None:
    lead = filters.lead(frames, first, every)
    counted = [number - lead for number in range(0, lead + frames, every) if number >= lead]
    wanted = [number for number in range(frames) if (first + number) % every == 0]
    assert counted == (wanted or list(range(0, frames, every)))
    assert lead >= 1 or not wanted


def test_a_single_frame_has_no_frame_behind_it_to_take_motion_from() -> None:
    assert filters.lead(1, 100, 1) == 0


def test_chunks_become_one_film_in_their_order() -> None:
    film = pool([measured(4.0, 70, 80), measured(0.0, *[90] * 100)])
    assert [number for number, _ in film.scores.frames] == list(range(102))
    assert film.points[-2:] == [(4.0, 70), (4.04, 80)]
    assert (film.frames, film.pairs, film.start) == (102, 102, 0.0)
    assert film.moments[0] == Moment(100, 4.0, 70, b"o", b"i")


def test_the_worst_moments_are_apart_across_a_seam() -> None:
    film = pool([measured(0.0, *[90] * 299, 10), measured(12.0, 11, *[90] * 299), measured(24.0, *[90] * 299, 50)])
    chosen = sorted(moment.frame for moment in film.moments)
    assert {299, 899} < set(chosen)
    assert 300 not in chosen
    assert all(after - before >= 25 for before, after in pairwise(chosen))


def test_a_warning_of_one_chunk_names_its_time_and_one_of_all_stands_once() -> None:
    chunks = [measured(60.0, 90, warnings=("HDR", "Near frame 3")), measured(0.0, 90, warnings=("HDR",))]
    assert pool(chunks).warnings == ["HDR", "From 1:00 on: Near frame 3"]


def test_a_measurement_comes_back_from_its_file(tmp_path: Path) -> None:
    chunk = measured(4.0, 70.5, 80.25, warnings=("odd",))
    chunk.save(tmp_path / "score")
    assert load(tmp_path / "score") == chunk
    quality = write_reports(load(tmp_path / "score"), Vmaf(scale="640x360", min=76), "s3://b/i", "s3://b/o", tmp_path)
    assert (quality.quality.vmaf.mean, quality.quality.passed) == (75.375, False)


@given(
    st.floats(1, 100),
    st.integers(1, 1000),
    st.lists(st.integers(1, 4000), max_size=8, unique=True),
)
def test_each_picture_of_a_film_lies_in_one_chunk(step: float, seconds: int, cuts: list[int]) -> None:
    plan = plan_images(Images(poster=True, sprite=Sprite(everySeconds=step)), SIZE, float(seconds))
    bounds = [Fraction(0), *(Fraction(cut) for cut in sorted(cuts)), None]
    chunks = [plan.of_chunk(start, end) for start, end in pairwise(bounds) if start is not None]
    assert [n for chunk in chunks for n in chunk.candidates] == list(plan.candidates) == list(range(16))
    assert [n for chunk in chunks for n in chunk.thumbs] == list(plan.thumbs)


@pytest.mark.parametrize(("end", "thumbs"), [(Fraction(8), range(4, 7)), (Fraction(79, 10), range(4, 7)), (None, None)])
def test_a_picture_at_a_seam_is_that_of_the_chunk_that_begins_there(end: Fraction | None, thumbs: range | None) -> None:
    plan = plan_images(Images(sprite=Sprite(everySeconds=1.3)), SIZE, 12.0)
    assert plan.of_chunk(Fraction(26, 5), end).thumbs == (thumbs or range(4, plan.thumbs.stop))
    assert plan.of_chunk(Fraction(26, 5), Fraction(13, 2)).thumbs == range(4, 5)
    assert not plan.of_chunk(Fraction(531, 100), Fraction(6)).branches
