"""Measures that many cases share. Each reads the files, never the job's own words, but for `failure` and `warnings`."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.media.case import FFPROBE, Made


@cache
def probed(path: Path, changed: int) -> Any:
    """ffprobe's report on a file, with its packets counted. `changed` is the file's time of change."""
    shown = ["-count_packets", "-show_streams", "-show_format", "-show_chapters", "-of", "json"]
    return json.loads(subprocess.run([FFPROBE, "-v", "error", *shown, str(path)], capture_output=True).stdout)


def report(path: Path) -> Any:
    """ffprobe's report on a file."""
    return probed(path, path.stat().st_mtime_ns)


def streams(path: Path, kind: str) -> list[Any]:
    """The streams of a kind, such as `video`."""
    return [stream for stream in report(path)["streams"] if stream["codec_type"] == kind]


def film(made: Made) -> Any:
    """ffprobe's report on the output's video stream."""
    return streams(made.target, "video")[0]


def failure(made: Made) -> object:
    """The code of the job's error; empty for a success."""
    return made.failure


def warnings(made: Made) -> object:
    """The codes of the warnings, sorted."""
    return sorted(notice.code for notice in made.notices)


def frames(made: Made) -> object:
    """Frames of the output."""
    return int(film(made)["nb_read_packets"])


def seconds(made: Made) -> object:
    """Length of the output's picture."""
    return float(film(made)["duration"])


def sound_seconds(made: Made) -> object:
    """Length of the output's first audio track; 0 without one."""
    found = streams(made.target, "audio")
    return float(found[0]["duration"]) if found else 0.0


def size(made: Made) -> object:
    """Width and height of the output's pictures."""
    return f"{film(made)['width']}x{film(made)['height']}"


def pixel_aspect(made: Made) -> object:
    """Shape of the output's pixels."""
    return film(made).get("sample_aspect_ratio", "1:1")


def codec(made: Made) -> object:
    """The output's video codec."""
    return film(made)["codec_name"]


def tracks(made: Made) -> object:
    """Kinds of the output's tracks, in their order."""
    return " ".join(stream["codec_type"] for stream in report(made.target)["streams"])
