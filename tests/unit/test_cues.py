"""Subtitle texts are cut as the film is."""

import pytest

from worker.media.cues import cut_ass, cut_srt

SRT = """1
00:00:01,000 --> 00:00:02,500
One

2
00:00:03,000 --> 00:00:04,000
Two
in 2 lines

3
01:00:00,000 --> 01:00:01,000

"""
ASS = """[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,One, and a comma
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,Two
"""


def test_a_whole_text_keeps_its_cues_but_for_empty_ones() -> None:
    text, count = cut_srt(SRT, 0.0, float("inf"))
    assert (text, count) == (SRT.partition("\n3\n")[0], 2)


@pytest.mark.parametrize(
    ("start", "end", "times"),
    [
        (2.0, 3.5, ["00:00:00,000 --> 00:00:00,500", "00:00:01,000 --> 00:00:01,500"]),
        (2.5, 3.0, []),
        (0.9996, 9.0, ["00:00:00,000 --> 00:00:01,500", "00:00:02,000 --> 00:00:03,000"]),
        (50.0, 60.0, []),
    ],
)
def test_cues_are_cut_at_the_bounds_and_counted_from_the_start(start: float, end: float, times: list[str]) -> None:
    text, count = cut_srt(SRT, start, end)
    assert ([line for line in text.splitlines() if "-->" in line], count) == (times, len(times))


def test_what_an_ass_script_says_beside_its_cues_stays() -> None:
    text, count = cut_ass(ASS, 2.0, 3.5)
    assert count == 2
    assert text.splitlines() == [
        *ASS.splitlines()[:2],
        "Dialogue: 0,0:00:00.00,0:00:00.50,Default,,0,0,0,,One, and a comma",
        "Dialogue: 0,0:00:01.00,0:00:01.50,Default,,0,0,0,,Two",
    ]


@pytest.mark.parametrize("text", ["", "x", "1\n00:00:01,000 --> no\nOne\n", "\0" * 99, "Dialogue: 0,1,2,3\n" * 9])
def test_a_text_without_cues_has_none(text: str) -> None:
    assert cut_srt(text, 0.0, 9.0)[1] == 0
    assert cut_ass(text, 0.0, 9.0)[1] == 0
