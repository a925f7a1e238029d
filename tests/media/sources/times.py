"""Sources whose clocks, rates or lengths are odd."""

from pathlib import Path

from tests.media.case import BUNNY, Case, about, ffmpeg
from tests.media.measures import failure, frames, seconds, sound_seconds, warnings

SMALL = {"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}}


def _sound_outlasts(folder: Path) -> Path:
    part = ffmpeg(folder, "x.mkv", "-t", 2, "-i", BUNNY, "-i", BUNNY, "-map", "0:v", "-map", "1:a", "-c", "copy")
    return part.rename(folder / "x.webm")


CASES = (
    Case(
        "WebM without track lengths, whose sound lasts longer than the picture",
        _sound_outlasts,
        SMALL,
        {failure: "", frames: 50, seconds: about(2.0, 0.001), sound_seconds: about(5.31, 0.05), warnings: []},
    ),
)
