"""Bit rates of segments, groups of sounds and headers of WebVTT, without Packager."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.packaging.groups import unique_names
from worker.packaging.hls import quoted
from worker.packaging.segments import Segment, average, peak, target
from worker.packaging.texts import timed
from worker.packaging.tracks import Track


def parts(*sizes_and_seconds: tuple[int, float]) -> list[Segment]:
    return [Segment(0, size, Fraction(seconds)) for size, seconds in sizes_and_seconds]


def test_a_peak_is_that_of_segments_of_half_a_target_or_more() -> None:
    assert peak(parts((600, 6), (1200, 6), (500, 2)), 6) == 1700
    # The last alone is too short; with the one before it, 8 s hold 1700 bytes.


def test_a_short_segment_counts_with_its_neighbours() -> None:
    assert peak(parts((600, 6), (900, 1)), 6) == 1715
    assert peak(parts((100, 1)), 6) == 800


def test_an_average_is_over_the_whole_length() -> None:
    assert average(parts((600, 6), (600, 2))) == 1200


def test_no_rounded_segment_is_longer_than_the_target() -> None:
    assert [target(parts((1, seconds))) for seconds in (0.2, 5.28, 6.006, 6.5)] == [1, 5, 6, 7]


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 60)), min_size=1, max_size=20))
def test_a_peak_is_never_below_the_largest_whole_segment(sizes: list[tuple[int, int]]) -> None:
    segments = [Segment(0, size, Fraction(ticks, 10)) for size, ticks in sizes]
    goal = target(segments)
    whole = [one.size * 8 / one.seconds for one in segments if 2 * one.seconds >= goal]
    assert peak(segments, goal) >= max(whole, default=Fraction(0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n", b"WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:01"),
        (
            b"\xef\xbb\xbfWEBVTT - x\r\n\r\nNOTE\r\n",
            b"WEBVTT - x\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\r\nNOTE",
        ),
        (b"WEBVTT", b"WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n"),
    ],
)
def test_subtitles_are_mapped_to_the_film(before: bytes, after: bytes) -> None:
    assert timed(before).startswith(after)
    assert timed(timed(before)) == timed(before)


def test_what_is_no_webvtt_is_refused() -> None:
    with pytest.raises(ValueError, match="WebVTT"):
        timed(b"1\n00:00:01,000 --> 00:00:02,000\nHi\n")


@given(st.text())
def test_a_quoted_string_ends_where_it_should(value: str) -> None:
    text = quoted(value)
    assert len(text.splitlines()) == 1
    assert text.count('"') == 2


@given(st.lists(st.tuples(st.sampled_from(["", "English", "English 2"]), st.sampled_from(["en", "und"]))))
def test_names_in_a_group_differ(tracks: list[tuple[str, str]]) -> None:
    names = unique_names([Track(Path("x"), "x", "audio", language, label) for label, language in tracks], "Audio")
    assert len(set(names)) == len(tracks)
