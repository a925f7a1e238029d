"""Sources with subtitles."""

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.media.case import Case, about, ffmpeg
from tests.media.measures import failure, frames, tracks, warnings
from tests.media.measures_subtitles import cues, cues_inside, lit_seconds, text_tracks, vtt_words, words_inside

_ENCODE = {"codec": "h264", "scale": "240p", "bitrate": "1M", "speed": "fast"}
SMALL = {"ffmpeg": _ENCODE}
_SRT = "1\n00:00:00,500 --> 00:00:02,000\nHello\n\n2\n00:00:03,000 --> 00:00:04,500\nBye\n\n"
_ALL = ["0.5-2 Hello", "3-4.5 Bye"]
_BLACK = ("-f", "lavfi", "-i", "color=black:s=320x180:r=25:d=5")
_X264 = ("-c:v", "libx264", "-preset", "ultrafast")


def profile(*, burn: str = "", kept: object = "all", **encode: object) -> Mapping[str, Any]:
    """A small encode with these subtitles."""
    subtitles = {**({"tracks": kept} if kept else {}), **({"burn": burn} if burn else {})}
    return {"ffmpeg": {**_ENCODE, **encode}, "subtitles": subtitles}


def _with(name: str, codec: str, *options: object) -> Callable[[Path], Path]:
    """Black pictures with an English and a forced French track, and Spanish for those who cannot hear."""

    def write(folder: Path) -> Path:
        (folder / "s.srt").write_text(_SRT)
        inputs = [*_BLACK, *(part for _ in range(3) for part in ("-i", "s.srt"))]
        maps = [part for n in range(4) for part in ("-map", n)]
        marks = ("-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=fra", "-disposition:s:1", "forced")
        more = ("-metadata:s:s:2", "language=spa", "-disposition:s:2", "hearing_impaired")
        return ffmpeg(folder, name, *inputs, *maps, *_X264, "-c:s", codec, *marks, *more, *options)

    return write


def _unread(folder: Path) -> Path:
    """Matroska with a text track of a codec that nobody decodes."""
    whole = _with("whole.mkv", "subrip")(folder)
    target = folder / "x.mkv"
    target.write_bytes(whole.read_bytes().replace(b"S_TEXT/UTF8", b"S_TEXT/XYZ8", 1))
    return target


def _empty(folder: Path) -> Path:
    (folder / "s.srt").write_text("1\n00:00:04,000 --> 00:00:04,500\nLate\n\n")
    return ffmpeg(folder, "x.mkv", *_BLACK, "-i", "s.srt", "-map", 0, "-map", 1, *_X264, "-c:s", "subrip")


_LONG = "3\n00:00:04,800 --> 00:00:20,000\nLong\n\n4\n00:01:00,000 --> 00:01:01,000\nNo\n\n"


def _beyond(folder: Path) -> Path:
    """Cues that last, and begin, long after the film's end."""
    (folder / "s.srt").write_text(_SRT + _LONG)
    return ffmpeg(folder, "x.mp4", *_BLACK, "-i", "s.srt", "-map", 0, "-map", 1, *_X264, "-c:s", "mov_text")


def _late(folder: Path) -> Path:
    """A file whose tracks all begin at 10 s."""
    return ffmpeg(
        folder, "x.mkv", "-i", _with("whole.mkv", "subrip")(folder), "-map", 0, "-c", "copy", "-output_ts_offset", 10
    )


def _segment(seconds: float, kind: int, body: bytes) -> bytes:
    return b"PG" + struct.pack(">IIBH", round(seconds * 90000), 0, kind, len(body)) + body


def pgs(spans: Sequence[tuple[float, float]], width: int, height: int) -> bytes:
    """Blu-ray subtitles: a white bar in the middle of the lower half, from the first to the second of each time."""
    across, down = width // 2, height // 8
    left, top = width // 4, height * 3 // 4
    row = bytes((0, 0xC0 | across >> 8, across & 255, 1, 0, 0))
    window = struct.pack(">BBHHHH", 1, 0, left, top, across, down)
    stream = b""
    for number, (start, end) in enumerate(spans):
        head = struct.pack(">HHBHBBBB", width, height, 0x10, 2 * number, 0x80, 0, 0, 1)
        stream += _segment(start, 0x16, head + struct.pack(">HBBHH", 0, 0, 0, left, top))
        stream += _segment(start, 0x17, window)
        stream += _segment(start, 0x14, bytes((0, 0, 1, 235, 128, 128, 255)))
        data = row * down
        size = (len(data) + 4).to_bytes(3, "big")
        stream += _segment(
            start, 0x15, struct.pack(">HBB", 0, 0, 0xC0) + size + struct.pack(">HH", across, down) + data
        )
        stream += _segment(start, 0x80, b"")
        stream += _segment(end, 0x16, struct.pack(">HHBHBBBB", width, height, 0x10, 2 * number + 1, 0, 0, 0, 0))
        stream += _segment(end, 0x17, window) + _segment(end, 0x80, b"")
    return stream


def _pictures(folder: Path, *, width: int = 320, height: int = 180) -> Path:
    """Black pictures with English subtitles as on Blu-ray discs, of a size that may be another than the film's."""
    (folder / "s.sup").write_bytes(pgs([(0.52, 2.0), (3.0, 4.48)], width, height))
    marks = ("-c:s", "copy", "-metadata:s:s:0", "language=eng")
    return ffmpeg(folder, "x.mkv", *_BLACK, "-itsoffset", 0.52, "-i", "s.sup", "-map", 0, "-map", 1, *_X264, *marks)


def _wide_pictures(folder: Path) -> Path:
    return _pictures(folder, width=1920, height=1080)


def _of_script(kind: str, text: str, name: str = "x.mkv") -> Callable[[Path], Path]:
    """Black pictures with one English text track, in Matroska for every name but MP4's."""

    def write(folder: Path) -> Path:
        (folder / f"s.{kind}").write_text(text)
        marks = ("-metadata:s:s:0", "language=eng")
        kept = ("-c:s", "mov_text") if name.endswith("mp4") else ("-c:s", "copy", "-f", "matroska")
        return ffmpeg(folder, name, *_BLACK, "-i", f"s.{kind}", "-map", 0, "-map", 1, *_X264, *kept, *marks)

    return write


_SPECIAL = r"""1
00:00:00,500 --> 00:00:01,000
A & B < C, I <3 <B>you</B>

2
00:00:01,000 --> 00:00:02,000
foo --> bar
{\an8}<font color="red">red</font>\hand <i>two
lines</i>

"""
_SCRIPT = r"""[Script Info]
ScriptType: v4.00+
PlayResX: 320
PlayResY: 180

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Underline, BorderStyle, Outline, Alignment
Style: Default,Arial,20,&H00FFFFFF,0,0,0,1,1,2
Style: Sign,Arial,20,&H00FFFFFF,0,-1,0,1,1,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_DRAWING = r"Dialogue: 0,0:00:00.50,0:00:01.00,Default,,0,0,0,,{\an7\p1}m 0 0 l 320 0 320 180 0 180{\p0}" + "\n"
_SIGNS = (
    _SCRIPT
    + _DRAWING
    + r"""Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,A\hB & {a note}{\b1}C{\b0} <i>\N{\pos(9,9)\bord2}D
Dialogue: 0,0:00:02.00,0:00:03.00,Sign,,0,0,0,,{\p1}m 0 0 l 9 9{\p0}{\k20}ka{\k30}ra{\i0}\nok{\r} --> up
"""
)
_AS_VTT = ["A B &amp; <b>C</b> &lt;i&gt; | D", "<i>kara</i> ok<i> --&gt; up</i>"]
_AS_TEXT = ["A B & C <i> | D", "kara ok --> up"]

_TEXTS = ["eng", "fra forced", "spa hearing_impaired"]
_IN_MKV, _IN_MP4 = [f"subrip {text}" for text in _TEXTS], [f"mov_text {text}" for text in _TEXTS]

CASES = (
    Case(
        "Matroska with SubRip in three languages, one forced, one for the deaf",
        _with("x.mkv", "subrip"),
        profile(),
        {failure: "", text_tracks: _IN_MKV, cues: _ALL, cues_inside: ["0.5-2", "3-4.5"], warnings: []},
    ),
    Case(
        "MP4 with text tracks in three languages, one forced, one for the deaf",
        _with("x.mp4", "mov_text"),
        profile(),
        {failure: "", text_tracks: _IN_MP4, cues: _ALL, cues_inside: ["0.5-2", "3-4.5"], warnings: []},
    ),
    Case(
        "Matroska with ASS",
        _with("x.mkv", "ass"),
        profile(),
        {failure: "", text_tracks: [f"ass {text}" for text in _TEXTS], cues: _ALL, warnings: []},
    ),
    Case(
        "WebM with WebVTT",
        _with("x.webm", "webvtt", "-c:v", "libvpx", "-b:v", "500k", "-deadline", "realtime", "-cpu-used", 8),
        profile(kept=["fr"]),
        {failure: "", text_tracks: ["mov_text fra forced"], cues: _ALL, warnings: []},
    ),
    Case(
        "Matroska with subtitles, where the profile wants none",
        _with("x.mkv", "subrip"),
        SMALL,
        {failure: "", tracks: "video", warnings: ["subtitles-left-out"]},
    ),
    Case(
        "Matroska with subtitles, of which one language is wanted, and one that is not there",
        _with("x.mkv", "subrip"),
        profile(kept=["es", "de"]),
        {failure: "", text_tracks: ["subrip spa hearing_impaired"], warnings: ["subtitles-language-missing"]},
    ),
    Case(
        "Subtitles of a part of a film",
        _with("cut.mkv", "subrip"),
        profile(start=1.0, end=4.0),
        {failure: "", cues: ["0-1 Hello", "2-3 Bye"], cues_inside: ["0-1", "2-3"]},
    ),
    Case(
        "ASS of a part of a film",
        _with("cut.mkv", "ass"),
        profile(start=1.0, end=4.0),
        {failure: "", cues: ["0-1 Hello", "2-3 Bye"]},
    ),
    Case(
        "A text track without a cue in the part that is wanted",
        _empty,
        profile(end=2.0),
        {failure: "", text_tracks: [], warnings: ["subtitles-empty"]},
    ),
    Case(
        "A text track of a codec that nobody decodes",
        _unread,
        profile(),
        {failure: "", text_tracks: _IN_MKV[1:], warnings: ["subtitles-undecodable"]},
    ),
    Case("A file whose clock begins at 10 s", _late, profile(), {failure: "", frames: 125, cues: _ALL}),
    Case(
        "Blu-ray subtitles, which are pictures",
        _pictures,
        profile(),
        {failure: "", tracks: "video", warnings: ["subtitles-are-pictures"]},
    ),
    Case(
        "Subtitles that are burnt in",
        _with("x.mp4", "mov_text"),
        profile(burn="en", kept=None),
        {failure: "", tracks: "video", frames: 125, lit_seconds: [about(0.5, 0.04), about(4.46, 0.04)], warnings: []},
    ),
    Case(
        "ASS that is burnt in and kept",
        _with("x.mkv", "ass"),
        profile(burn="fr", kept=["fr"]),
        {failure: "", text_tracks: ["ass fra forced"], lit_seconds: [about(0.5, 0.04), about(4.46, 0.04)]},
    ),
    Case(
        "A language to burn in that is not there",
        _with("x.mkv", "subrip"),
        profile(burn="de", kept=None),
        {failure: "", lit_seconds: [], warnings: ["subtitles-language-missing"]},
    ),
    Case(
        "Blu-ray subtitles that are burnt in",
        _pictures,
        profile(burn="en", kept=None),
        {failure: "", tracks: "video", frames: 125, lit_seconds: [about(0.52, 0.04), about(4.46, 0.04)], warnings: []},
    ),
    Case(
        "Blu-ray subtitles of another size than the film, burnt into a part of it",
        _wide_pictures,
        profile(burn="en", kept=None, start=1.0, end=4.0),
        {failure: "", frames: 75, lit_seconds: [about(0.0, 0.04), about(2.96, 0.04)], warnings: []},
    ),
    Case(
        "Cues that last beyond the end of the film",
        _beyond,
        profile(),
        {failure: "", frames: 125, cues: [*_ALL, "4.8-5 Long"], warnings: ["subtitles-beyond-film"]},
    ),
    Case(
        "SubRip with the signs of WebVTT's own syntax",
        _of_script("srt", _SPECIAL),
        profile(),
        {
            failure: "",
            vtt_words: ["A &amp; B &lt; C, I &lt;3 <b>you</b>", "foo --&gt; bar | red and <i>two | lines</i>"],
            warnings: [],
        },
    ),
    Case(
        "SubRip with the signs of WebVTT's own syntax, in MP4",
        _of_script("srt", _SPECIAL, "x.mp4"),
        profile(),
        {
            failure: "",
            vtt_words: ["A &amp; B &lt; C, I &lt;3 <b>you</b>", "foo --&gt; bar | red and <i>two | lines</i>"],
            words_inside: ["A & B < C, I <3 you", "foo --> bar | red and two | lines"],
            warnings: [],
        },
    ),
    Case(
        "ASS with drawings, notes, karaoke and hard spaces",
        _of_script("ass", _SIGNS),
        profile(),
        {failure: "", text_tracks: ["ass eng"], vtt_words: _AS_VTT, warnings: ["subtitles-drawings-left-out"]},
    ),
    Case(
        "ASS with drawings, notes, karaoke and hard spaces, into MP4",
        _of_script("ass", _SIGNS, "x.webm"),
        profile(),
        {
            failure: "",
            text_tracks: ["mov_text eng"],
            vtt_words: _AS_VTT,
            words_inside: _AS_TEXT,
            warnings: ["subtitles-drawings-left-out"],
        },
    ),
    Case(
        "ASS that only draws",
        _of_script("ass", _SCRIPT + _DRAWING),
        profile(),
        {failure: "", text_tracks: ["ass eng"], vtt_words: [], warnings: ["subtitles-drawings-left-out"]},
    ),
    Case(
        "ASS that only draws, into MP4",
        _of_script("ass", _SCRIPT + _DRAWING, "x.webm"),
        profile(),
        {failure: "", text_tracks: [], vtt_words: [], warnings: ["subtitles-drawings-left-out"]},
    ),
)
