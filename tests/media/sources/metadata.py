"""Sources with tags, chapters, timecodes, data and attachments."""

from collections.abc import Callable
from pathlib import Path

from tests.media.case import BUNNY, Case, about, ffmpeg
from tests.media.measures import failure, frames, sound_seconds, tracks, warnings
from tests.media.measures_subtitles import chapter_count, chapters, file_tags, secrets, track_tags

SMALL = {"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}}
CUT = {"ffmpeg": {**SMALL["ffmpeg"], "start": 1.0, "end": 3.0}}
_TWO = ("-map", "0:v", "-map", "0:a", "-c", "copy")
_PLACE = ("-metadata", "location=+50.8278-000.1413/", "-metadata", "location-eng=+50.8278-000.1413/")
_CHAPTERS = """;FFMETADATA1
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=Opening
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=5280
title=A \\= b\\; c
"""


def _with_tags(folder: Path) -> Path:
    tags = {"com.apple.quicktime.location.ISO6709": "+50.8278-000.1413/", "com.apple.quicktime.make": "SECRET"}
    options = [part for name, value in tags.items() for part in ("-metadata", f"{name}={value}")]
    more = ("-metadata", "comment=SECRET", "-metadata", "title=The Bunny", "-metadata", "creation_time=2020-02-02")
    flags = ("-movflags", "use_metadata_tags")
    return ffmpeg(folder, "x.mov", "-i", BUNNY, *_TWO, *_PLACE, *options, *more, *flags, "-t", 2)


def _with_udta(folder: Path) -> Path:
    more = ("-metadata", "comment=SECRET", "-metadata", "artist=SECRET", "-metadata", "synopsis=SECRET")
    return ffmpeg(folder, "x.mp4", "-i", BUNNY, *_TWO, *_PLACE, *more, "-t", 2)


def _with_track_tags(folder: Path) -> Path:
    more = ("-metadata:s:v", "handler_name=SECRET", "-metadata:s:a", "title=SECRET", "-metadata:s:v", "comment=SECRET")
    return ffmpeg(folder, "x.mkv", "-i", BUNNY, *_TWO, *more, "-metadata", "COMMENT=SECRET", "-t", 2)


def _with_timecode(folder: Path) -> Path:
    return ffmpeg(folder, "x.mov", "-i", BUNNY, *_TWO, "-timecode", "01:00:00:00")


def _with_chapters(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "chapters").write_text(_CHAPTERS)
        return ffmpeg(folder, name, "-i", BUNNY, "-f", "ffmetadata", "-i", "chapters", *_TWO, "-map_chapters", 1)

    return write


def _with_many_chapters(count: int, milliseconds: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        spans = ((n * milliseconds, (n + 1) * milliseconds) for n in range(count))
        text = "".join(
            f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle=a \\= {start} | b\n" for start, end in spans
        )
        (folder / "chapters").write_text(f";FFMETADATA1\n{text}")
        inputs = ("-i", BUNNY, "-f", "ffmetadata", "-i", "chapters")
        return ffmpeg(folder, "x.mkv", *inputs, *_TWO, "-map_chapters", 1)

    return write


def _with_long_titles(folder: Path) -> Path:
    """A title, and a name of a track, of 3 MB each."""
    (folder / "titles").write_text(f";FFMETADATA1\ntitle={'T' * 3_000_000}\n[STREAM]\ntitle={'S' * 3_000_000}\n")
    inputs = ("-i", BUNNY, "-f", "ffmetadata", "-i", "titles")
    return ffmpeg(folder, "x.mkv", *inputs, *_TWO, "-map_metadata", 1, "-map_metadata:s:v", "1:s:0", "-t", 2)


def _with_attachments(folder: Path) -> Path:
    cover = ffmpeg(folder, "cover.jpg", "-i", BUNNY, "-frames:v", 1, "-update", 1)
    (folder / "font.ttf").write_bytes(bytes(64))
    attached = [
        part
        for file, kind in ((cover, "image/jpeg"), (folder / "font.ttf", "application/x-truetype-font"))
        for part in ("-attach", file)
    ]
    kinds = ("-metadata:s:2", "mimetype=image/jpeg", "-metadata:s:3", "mimetype=application/x-truetype-font")
    return ffmpeg(folder, "x.mkv", "-i", BUNNY, *_TWO, "-t", 2, *attached, *kinds)


def _with_cover(folder: Path) -> Path:
    cover = ffmpeg(folder, "cover.jpg", "-i", BUNNY, "-frames:v", 1, "-update", 1)
    marks = ("-map", 1, "-disposition:v:1", "attached_pic")
    return ffmpeg(folder, "x.mp4", "-t", 2, "-i", BUNNY, "-i", cover, *_TWO, *marks)


_CLEAN = {failure: "", secrets: 0, file_tags: [], track_tags: [], warnings: []}
_KEPT = ["0-2 Opening", "2-5.28 A = b; c"]

CASES = (
    Case(
        "QuickTime of a phone: place, device, date, comment and title",
        _with_tags,
        SMALL,
        {**_CLEAN, file_tags: ["title=The Bunny"], frames: 50},
    ),
    Case("MP4 with a place, an artist, a synopsis and a comment", _with_udta, SMALL, {**_CLEAN, frames: 50}),
    Case("Matroska whose tracks have names and comments", _with_track_tags, SMALL, {**_CLEAN, frames: 50}),
    Case(
        "QuickTime with a timecode track",
        _with_timecode,
        SMALL,
        {failure: "", tracks: "video audio", track_tags: [], frames: 132, warnings: ["data-left-out"]},
    ),
    Case("MP4 with chapters", _with_chapters("x.mp4"), SMALL, {failure: "", chapters: _KEPT, warnings: []}),
    Case("Matroska with chapters", _with_chapters("x.mkv"), SMALL, {failure: "", chapters: _KEPT, warnings: []}),
    Case("QuickTime with chapters", _with_chapters("x.mov"), SMALL, {failure: "", chapters: _KEPT, warnings: []}),
    Case(
        "Matroska with chapters, of which a part is wanted",
        _with_chapters("cut.mkv"),
        CUT,
        {failure: "", chapters: ["0-1 Opening", "1-2 A = b; c"], warnings: []},
    ),
    Case(
        "Matroska with an attached font and a cover",
        _with_attachments,
        SMALL,
        {failure: "", tracks: "video audio", frames: 50, warnings: ["attachments-left-out", "pictures-left-out"]},
    ),
    Case(
        "MP4 with a cover",
        _with_cover,
        SMALL,
        {
            failure: "",
            tracks: "video audio",
            frames: 50,
            sound_seconds: about(2.0, 0.05),
            warnings: ["pictures-left-out"],
        },
    ),
    Case(
        "Matroska with 40000 chapters, of which a part is wanted",
        _with_many_chapters(40_000, 1),
        {"ffmpeg": {**SMALL["ffmpeg"], "start": 3.0, "end": 3.003}},
        {failure: "", chapters: ["0-0.001 a = 3000 | b", "0.001-0.002 a = 3001 | b", "0.002-0.003 a = 3002 | b"]},
    ),
    Case(
        "Matroska with 3000 chapters",
        _with_many_chapters(3000, 1),
        SMALL,
        {failure: "", chapter_count: 1000, frames: 132, warnings: ["chapters-left-out"]},
    ),
    Case(
        "Matroska with titles of megabytes",
        _with_long_titles,
        SMALL,
        {failure: "", frames: 50, file_tags: [f"title={'T' * 200}"], warnings: []},
    ),
)
