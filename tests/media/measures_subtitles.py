"""Measures of tags, chapters, subtitles and pictures, from the files."""

import json
import re
import subprocess
from pathlib import Path

from tests.media.case import FFMPEG, FFPROBE, Made
from tests.media.measures import report, streams
from worker.media.images import webvtt

_CONTAINERS_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER", "DURATION"}
_TRACKS_OWN = {"handler_name", "vendor_id", "language"}


def file_tags(made: Made) -> object:
    """Tags of the whole output, but those that its muxer writes."""
    tags = report(made.target)["format"].get("tags", {})
    return sorted(f"{name}={value}" for name, value in tags.items() if name not in _CONTAINERS_OWN)


def track_tags(made: Made) -> object:
    """Tags of the output's tracks, but languages and those that its muxer writes."""
    names = {name for stream in report(made.target)["streams"] for name in stream.get("tags", {})}
    return sorted(names - _CONTAINERS_OWN - _TRACKS_OWN)


def secrets(made: Made) -> object:
    """Times that the output's bytes hold `SECRET` or a place's coordinates."""
    body = made.target.read_bytes()
    return body.count(b"SECRET") + body.count(b"+50.82")


def chapters(made: Made) -> object:
    """Chapters of the output: start, end and title."""
    return [
        f"{float(one['start_time']):g}-{float(one['end_time']):g} {one.get('tags', {}).get('title', '')}".strip()
        for one in report(made.target)["chapters"]
    ]


def chapter_count(made: Made) -> object:
    """Number of the output's chapters."""
    return len(report(made.target)["chapters"])


def _pixels(path: Path, filters: str) -> list[bytes]:
    """The mean RGB of parts of a picture, as `filters` leaves them: one pixel a part."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-vf", filters, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return [raw[n : n + 3] for n in range(0, len(raw), 3)]


def _poster(made: Made) -> Path:
    assert made.stills
    assert made.stills.poster
    return made.stills.poster


def poster_size(made: Made) -> object:
    """Width and height of the poster."""
    picture = streams(_poster(made), "video")[0]
    return f"{picture['width']}x{picture['height']}"


def poster_is_black(made: Made) -> object:
    """Whether the poster's mean is darker than a tenth."""
    return max(_pixels(_poster(made), "scale=1:1:flags=area")[0]) < 26


def poster_colours(made: Made) -> object:
    """RGB in the middle of the poster's four quarters, as browsers read JPEG."""
    crops = [f"crop=8:8:iw*{x}/4:ih*{y}/4,scale=1:1:flags=area" for y in (1, 3) for x in (1, 3)]
    return [list(_pixels(_poster(made), crop)[0]) for crop in crops]


def sheets(made: Made) -> object:
    """Width and height of the sprites."""
    assert made.stills
    sizes = [streams(path, "video")[0] for path in made.stills.sprites]
    return ", ".join(f"{size['width']}x{size['height']}" for size in sizes)


def thumbnail_times(made: Made) -> object:
    """The second that each picture of the sprites shows, by its luma: that of second n is 16 + 20n."""
    assert made.stills
    cues = re.findall(r"sprite-(\d+)\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", webvtt(made.stills, "s3://b/x.mp4"))
    greys = [
        _pixels(made.stills.sprites[int(sheet)], f"crop={w}:{h}:{x}:{y},scale=1:1:flags=area")[0][0]
        for sheet, x, y, w, h in cues
    ]
    return [round(grey * 219 / 255 / 20) for grey in greys]


def text_tracks(made: Made) -> object:
    """The output's text tracks: codec, language and marks."""
    return [
        " ".join(
            (
                stream["codec_name"],
                stream.get("tags", {}).get("language", "und"),
                *(mark for mark in ("forced", "hearing_impaired") if stream["disposition"][mark]),
            )
        )
        for stream in streams(made.target, "subtitle")
    ]


def cues(made: Made) -> object:
    """The cues of the WebVTT file of the first text track: start, end and text."""
    text = (made.target.parent / "text-0.vtt").read_text()
    found = re.findall(r"([\d:.]+) --> ([\d:.]+)\n(.*)", text)
    return [f"{_of_clock(start):g}-{_of_clock(end):g} {words}" for start, end, words in found]


def vtt_words(made: Made) -> object:
    """The text of each cue of the WebVTT file of the first text track, as the file has it; none without a file."""
    file = made.target.parent / "text-0.vtt"
    blocks = file.read_text().split("\n\n")[1:] if file.exists() else []
    return [" | ".join(block.strip().splitlines()[1:]) for block in blocks]


def words_inside(made: Made) -> object:
    """The text of each cue of the first track of mov_text in the output: what players show."""
    command = [FFMPEG, "-v", "error", "-i", str(made.target), "-map", "0:s:0?", "-c", "copy", "-f", "data", "-"]
    raw, texts, place = subprocess.run(command, check=True, capture_output=True).stdout, list[str](), 0
    while place < len(raw):
        if raw[place + 4 : place + 8] == b"styl":
            place += int.from_bytes(raw[place : place + 4])
            continue
        end = place + 2 + int.from_bytes(raw[place : place + 2])
        texts.append(raw[place + 2 : end].decode().replace("\n", " | "))
        place = end
    return [text for text in texts if text]


def _of_clock(clock: str) -> float:
    return sum(float(part) * 60.0**power for power, part in enumerate(reversed(clock.split(":"))))


def cues_inside(made: Made) -> object:
    """The times of the cues of the output's first text track."""
    shown = ["-select_streams", "s:0", "-show_entries", "packet=pts_time,duration_time,size", "-of", "json"]
    run = subprocess.run([FFPROBE, "-v", "error", *shown, str(made.target)], capture_output=True, check=True)
    packets = [one for one in json.loads(run.stdout)["packets"] if int(one["size"]) > 2]
    return [f"{float(one['pts_time']):g}-{float(one['pts_time']) + float(one['duration_time']):g}" for one in packets]


def lit_seconds(made: Made) -> object:
    """Seconds from the first to the last frame in which something white stands on the black picture."""
    picture = streams(made.target, "video")[0]
    area = picture["width"] * picture["height"]
    command = [FFMPEG, "-v", "error", "-i", str(made.target), "-map", "0:v"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True).stdout
    lit = [n / 25 for n in range(len(raw) // area) if max(raw[n * area : n * area + area]) > 120]
    return [lit[0], lit[-1]] if lit else []
