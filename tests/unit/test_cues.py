"""Subtitle texts are cut as the film is."""

import pytest

from worker.media.cues import cut_ass, cut_srt, webvtt_of_ass, webvtt_of_srt, without_drawings

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


def _cue(text: str, style: str = "Default") -> str:
    return f"Dialogue: 0,0:00:01.00,0:00:02.50,{style},,0,0,0,,{text}"


@pytest.mark.parametrize(
    ("text", "kept", "drawn"),
    [
        (r"{\p1}m 0 0 l 9 9{\p0}word", r"{\p1}{\p0}word", 1),
        (r"{\an7\p2\bord0}m 0 0{\r}l 9 9", None, 1),
        (r"{\pos(1,2)\pbo3}word{\p0}", r"{\pos(1,2)\pbo3}word{\p0}", 0),
        (r"a\hb\nc{a note}\Nd", r"a b c\Nd", 0),
        (r"{\k20}\N\h", None, 0),
        (r"\{a\}, b", r"\{a\}, b", 0),
    ],
)
def test_formats_of_text_get_no_drawings_notes_or_hard_spaces(text: str, kept: str | None, drawn: int) -> None:
    expected = "" if kept is None else f"{_cue(kept)}\n"
    assert without_drawings(_cue(text)) == (expected, int(kept is not None), drawn)


def test_soft_line_breaks_break_where_the_script_does_not_wrap() -> None:
    assert r"a\Nb" in without_drawings("WrapStyle: 2\n" + _cue(r"a\nb"))[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<i> & --> \\N\\N{b", "&lt;i&gt; &amp; --&gt; \n{b"),
        (r"{\b1}a{\i1}b{\b0}c", "<b>a</b><b><i>b</i></b><i>c</i>"),
        (r"{\b700\bord3\blur2\be1}a{\b100}b{\u1\c&HFF&}c{\r}d", "<b>a</b>b<u>c</u>d"),
        (r"\{a\}", "{a}"),
    ],
)
def test_ass_becomes_webvtt_with_its_simple_styles(text: str, words: str) -> None:
    assert webvtt_of_ass(_cue(text)) == f"WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n{words}\n"


def test_webvtt_has_the_styles_of_the_script_and_the_order_of_time() -> None:
    styles = "Format: Name, Fontsize, Bold, Italic\nStyle: Sign,20,0,-1\n"
    later = _cue("Late").replace("0:00:01.00", "0:00:02.00")
    script = "\n".join((styles, later, _cue(r"a{\i0}b{\i}c{\r}, d", "Sign"), ""))
    assert [line for line in webvtt_of_ass(script).splitlines() if line][1:] == [
        *("00:00:01.000 --> 00:00:02.500", "<i>a</i>b<i>c, d</i>"),
        *("00:00:02.000 --> 00:00:02.500", "Late"),
    ]


def test_subrip_becomes_webvtt_without_the_signs_of_its_syntax() -> None:
    words = '<B>a</B> <font color="x">b</font> <s>c</s> {\\an8}<3 & <v> -->\n\nd {e}'
    expected = "<b>a</b> b c &lt;3 &amp; &lt;v&gt; --&gt;\nd {e}"
    text = webvtt_of_srt(f"1\n00:00:01,000 --> 00:00:02,500\n{words}\n")
    assert text == f"WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n{expected}\n"
