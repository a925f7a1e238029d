"""Sources whose sound has fewer channels, or less time, than the output."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import Case, about, ffmpeg
from tests.media.measures import failure, frames, tracks, warnings
from tests.media.measures_audio import layouts, level

_FILM = {"codec": "h264", "scale": "240p", "bitrate": "500K", "speed": "fast"}
_PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-c:v", "libx264", "-preset", "ultrafast")


def _mono(folder: Path) -> Path:
    """A tone of -20 dBFS in RMS."""
    tone = ("-f", "lavfi", "-i", "aevalsrc='0.1414*sin(600*2*PI*t)':d=2:s=48000")
    return ffmpeg(folder, "mono.mp4", *tone, *_PICTURE, "-c:a", "aac", "-b:a", "128k")


def _short(name: str) -> Callable[[Path], Path]:
    """Sound of a fifth of a second."""
    tone = ("-f", "lavfi", "-i", "sine=d=0.2:r=48000")
    return lambda folder: ffmpeg(folder, name, *tone, *_PICTURE, "-c:a", "aac")


_GONE: Mapping[Any, object] = {failure: "", frames: 25, tracks: "video", warnings: ["audio-empty"]}

CASES = (
    Case(
        "Sound in mono, for an output in stereo",
        _mono,
        {"ffmpeg": _FILM, "audio": {"channels": "stereo"}},
        {failure: "", layouts: ["stereo"], level(0): about(-20, 1), level(1): about(-20, 1), warnings: []},
    ),
    Case(
        "MP4 whose sound ends before the part that is wanted", _short("s.mp4"), {"ffmpeg": {**_FILM, "start": 1}}, _GONE
    ),
    Case(
        "Matroska whose sound ends before the part that is wanted",
        _short("s.mkv"),
        {"ffmpeg": {**_FILM, "start": 1}},
        _GONE,
    ),
)
