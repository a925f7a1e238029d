"""Pairing of frames, from metadata and from thumbnails."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from worker.errors import PermanentError
from worker.media.video import Video
from worker.quality import alignment
from worker.quality.alignment import THUMB, WINDOW
from worker.quality.pairing import Film, Pairing, pair


def film(frames: int = 100, rate: float = 25.0, start: float = 0.0, **changes: Any) -> Film:
    video = Video("mov", 0, "h264", 1280, 720, frames / rate, 1_000_000, frames, rate)._replace(**changes)
    return Film(video, [start + n / rate for n in range(frames)])


def refused(origin: Film, encoded: Film) -> str:
    """The code of the error that pairing raises without `nearest`."""
    with pytest.raises(PermanentError) as caught:
        pair(origin, encoded, nearest=False)
    assert (
        "nearest" in str(caught.value)
        or "still" in caught.value.failure.code
        or "no-frames" in caught.value.failure.code
    )
    return caught.value.failure.code


@pytest.mark.parametrize(
    "encoded",
    [
        film(start=0.04),
        film(width=480, height=270),
        film(demuxer="matroska"),
        film(full_range=True),
        film(rate=25.001),
    ],
)
def test_differences_that_can_be_compensated_need_no_warning(encoded: Film) -> None:
    assert pair(film(), encoded, nearest=False) == Pairing(100)


def test_10_bit_samples_are_compared_at_10_bits() -> None:
    assert pair(film(), film(bits=10), nearest=False).bits == 10


@pytest.mark.parametrize(
    ("origin", "encoded", "code"),
    [
        (film(100, 25), film(50, 12.5), "frame-rate-mismatch"),
        (film(100, 30), film(100, 29.97), "frame-rate-mismatch"),
        (film(100), film(90), "frame-count-mismatch"),
        (film(hdr=True), film(), "dynamic-range-mismatch"),
        (film(), film(interlaced=True), "interlacing-mismatch"),
    ],
)
def test_other_differences_are_errors_or_with_nearest_warnings(origin: Film, encoded: Film, code: str) -> None:
    assert refused(origin, encoded) == code
    pairing = pair(origin, encoded, nearest=True)
    assert pairing.warnings
    assert pairing.by_time is code.startswith("frame-")


def test_the_message_has_both_values() -> None:
    with pytest.raises(PermanentError, match=r"25\.000.*12\.500"):
        pair(film(100, 25), film(50, 12.5), nearest=False)
    with pytest.raises(PermanentError, match=r"100 frames.*90"):
        pair(film(100), film(90), nearest=False)


def test_frames_at_other_times_are_a_frame_rate_mismatch() -> None:
    uneven = film()
    jumpy = [time + 0.03 * (n % 7 == 0) for n, time in enumerate(uneven.times)]
    assert refused(film(), Film(uneven.video, jumpy)) == "frame-rate-mismatch"
    same = Film(uneven.video, jumpy), Film(uneven.video, [time + 0.5 for time in jumpy])
    assert pair(*same, nearest=False) == Pairing(100)


def test_a_clock_that_is_joined_elsewhere_does_not_part_frames() -> None:
    joined = film()
    later = [time + 0.032 * (n >= 50) for n, time in enumerate(joined.times)]
    assert pair(film(), Film(joined.video, later), nearest=False) == Pairing(100)
    leaping = [time + 36_000 * (n >= 50) for n, time in enumerate(joined.times)]
    assert pair(Film(joined.video, leaping), film(), nearest=False) == Pairing(100)
    restarted = [time - 2 * (n >= 50) for n, time in enumerate(joined.times)]
    assert pair(Film(joined.video, restarted), film(), nearest=False) == Pairing(100)


def test_a_declared_rate_that_no_frame_confirms_is_not_believed() -> None:
    assert pair(Film(film().video._replace(rate=600.0), film().times), film(), nearest=False) == Pairing(100)


def test_hdr_of_two_curves_is_a_mismatch_and_of_one_a_warning() -> None:
    pq, hlg = film(hdr=True, transfer="smpte2084", bits=10), film(hdr=True, transfer="arib-std-b67", bits=10)
    with pytest.raises(PermanentError, match="The origin is PQ, the input HLG"):
        pair(pq, hlg, nearest=False)
    assert "made for SDR" in pair(pq, pq, nearest=False).warnings[0]


def test_an_aspect_that_is_wrong_by_more_than_rounding_is_a_warning() -> None:
    assert pair(film(), film(width=854, height=480), nearest=False) == Pairing(100)
    assert "framing" in pair(film(), film(width=1296), nearest=False).warnings[0]


def test_stills_and_streams_without_frames_have_their_own_codes() -> None:
    one, none, many = film(1), Film(film().video, []), film()
    assert refused(many, one) == "input-still"
    assert refused(one, many) == "origin-still"
    assert refused(many, none) == "input-no-frames"
    assert refused(none, many) == "origin-no-frames"


def test_a_missing_frame_is_a_warning() -> None:
    assert pair(film(100), film(99), nearest=False).warnings == (
        "The origin has 100 frames, the input 99: 99 of them are compared.",
    )


def test_a_rotation_flag_of_one_side_is_ignored_with_a_warning() -> None:
    pairing = pair(film(), film(rotation=90), nearest=False)
    assert pairing.as_coded
    assert "90" in pairing.warnings[0]
    upright = film(width=720, height=1280)
    assert not pair(film(rotation=270), upright, nearest=False).as_coded
    assert refused_shape(film(), upright) == "shape-mismatch"


def refused_shape(origin: Film, encoded: Film) -> str:
    with pytest.raises(PermanentError) as caught:
        pair(origin, encoded, nearest=True)
    return caught.value.failure.code


# Thumbnails: a bright bar that moves over noise.


def thumbnails(frames: Sequence[int], noise: int = 4, seed: int = 1) -> bytes:
    rng, width = random.Random(seed), THUMB[0] * THUMB[1]
    data = bytearray()
    for n in frames:
        picture = [100 + 60 * ((x + 2 * n) % 32 < 8) + rng.randint(-noise, noise) for x in range(width)]
        data += bytes(picture)
    return bytes(data)


def confirmed(origin: Sequence[int], encoded: Sequence[int], *, nearest: bool = False) -> Pairing:
    pairing = Pairing(min(len(origin), len(encoded)))
    films = {"origin": film(), "input": film()}
    return alignment.confirm(pairing, films, thumbnails(origin), thumbnails(encoded, seed=2), nearest=nearest)


def test_matching_pictures_confirm_the_pairing() -> None:
    assert confirmed(range(72), range(72)) == Pairing(72)


def test_missing_first_frames_are_skipped_with_a_warning() -> None:
    late = confirmed(range(72), range(1, 73))
    assert (late.skip_origin, late.skip_input) == (1, 0)
    assert "lacks the first frame" in late.warnings[0]
    assert confirmed(range(2, 74), range(72)).skip_input == 2


def test_pictures_that_stop_matching_are_an_error() -> None:
    gap = [*range(30), *range(31, 73)]
    with pytest.raises(PermanentError) as caught:
        confirmed(range(72), gap)
    assert caught.value.failure.code == "frames-missing"
    assert confirmed(range(72), gap, nearest=True).by_time


def test_a_start_4_frames_late_is_an_error() -> None:
    with pytest.raises(PermanentError, match="starts 4 frames after"):
        confirmed(range(72), range(4, 76))


def test_a_still_scene_confirms_the_pairing() -> None:
    still = [5] * (3 * WINDOW)
    assert confirmed(still, still) == Pairing(3 * WINDOW)


def test_a_short_film_is_aligned() -> None:
    assert confirmed(range(9), range(1, 10)).skip_origin == 1
    assert confirmed(range(2), range(2)) == Pairing(2)


def test_all_frames_get_thumbnails_unless_the_film_is_long() -> None:
    assert alignment.thumbnail_period(10_000) == WINDOW
    assert 200_000 * WINDOW / alignment.thumbnail_period(200_000) <= 10_000


def test_an_input_with_more_detail_looks_swapped() -> None:
    assert alignment.check_swapped(0.80, 0.85, nearest=False) == ""
    with pytest.raises(PermanentError) as caught:
        alignment.check_swapped(0.85, 0.80, nearest=False)
    assert caught.value.failure.code == "inputs-swapped"
    assert alignment.check_swapped(0.85, 0.80, nearest=True)


@pytest.mark.parametrize("late", [6, 8, 10])
def test_pictures_that_match_at_no_shift_are_an_error(late: int) -> None:
    with pytest.raises(PermanentError) as caught:
        confirmed(range(72), range(late, 72 + late))
    assert caught.value.failure.code == "frames-missing"


@pytest.mark.parametrize("at", [3, 20, 50, 66])
def test_a_few_frames_of_other_moments_are_a_warning(at: int) -> None:
    encoded = [*range(at), *range(at + 1, at + 6), at + 5, *range(at + 6, 72)]
    assert len(encoded) == 72
    assert confirmed(range(72), encoded, nearest=True).warnings


def test_a_mismatch_at_the_end_of_a_short_film_is_an_error() -> None:
    with pytest.raises(PermanentError):
        confirmed(range(47), [*range(28), *range(31, 50)])


def test_repeating_pictures_match_without_a_shift() -> None:
    loop = [0, 5] * 40
    assert confirmed(loop, loop) == Pairing(80)


def test_another_framing_is_a_warning() -> None:
    assert "framing" in pair(film(), film(width=960), nearest=False).warnings[0]
    squeezed = film(width=960, pixel_aspect=4 / 3)
    assert pair(film(), squeezed, nearest=False) == Pairing(100)
    assert "alike" in confirmed_against_other_pictures().warnings[0]


def confirmed_against_other_pictures() -> Pairing:
    films = {"origin": film(), "input": film()}
    flat = thumbnails([5] * 48)
    other = bytes(255 - value for value in flat)
    return alignment.confirm(Pairing(48), films, flat, other, nearest=False)


def test_pixel_aspect_decides_which_way_a_picture_is_shown() -> None:
    phone = film(width=640, height=360, rotation=90)
    encoded = film(width=480, height=270, pixel_aspect=270 * 270 / 480 / 480)
    assert not pair(phone, encoded, nearest=False).as_coded


def test_a_wrong_180_degree_flag_is_ignored_with_a_warning() -> None:
    films = {"origin": film(), "input": film(rotation=180)}
    shown = thumbnails(range(48))
    size = THUMB[0] * THUMB[1]
    turned = b"".join(shown[at : at + size][::-1] for at in range(0, len(shown), size))
    pairing = alignment.confirm(Pairing(48), films, shown, turned, nearest=False)
    assert pairing.as_coded
    assert "upside down" in pairing.warnings[0]
    assert not alignment.confirm(Pairing(48), films, shown, shown, nearest=False).as_coded


def test_slightly_more_detail_is_a_warning() -> None:
    assert "swapped" in alignment.check_swapped(0.802, 0.8, nearest=False)
