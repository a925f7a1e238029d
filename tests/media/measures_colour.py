"""Measures of the metadata of HDR, and of flat pictures."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.media.case import FFMPEG, FFPROBE, Made
from tests.media.measures import film


def mastering_nits(made: Made) -> object:
    """Least and greatest luminance of the mastering display, from the container."""
    data = _of(film(made), "Mastering display metadata")
    return [_value(data["min_luminance"]), _value(data["max_luminance"])]


def content_light(made: Made) -> object:
    """MaxCLL and MaxFALL, from the container."""
    data = _of(film(made), "Content light level metadata")
    return [data["max_content"], data["max_average"]]


def metadata_in_bitstream(made: Made) -> object:
    """The kinds of HDR metadata that the first frame holds, sorted."""
    kinds = {str(data["side_data_type"]) for data in _first_frame(made.target).get("side_data_list", [])}
    return ", ".join(sorted(kind for kind in kinds if "SEI" not in kind)) or "none"


def chroma_location(made: Made) -> object:
    """Where the samples of chroma lie."""
    return film(made).get("chroma_location", "unspecified")


def signal_in_bitstream(made: Made) -> object:
    """Primaries, transfer, matrix and range that the bitstream tells by itself."""
    suffix = {"h264": "h264", "hevc": "hevc", "av1": "obu"}[film(made)["codec_name"]]
    bare = made.target.with_name(f"bare.{suffix}")
    copy = ["-i", str(made.target), "-map", "0:v:0", "-c", "copy", "-f", suffix, "-y", str(bare)]
    subprocess.run([FFMPEG, "-v", "error", *copy], check=True)
    shown = ["-show_entries", "stream=color_primaries,color_transfer,color_space,color_range", "-of", "json"]
    report = subprocess.run([FFPROBE, "-v", "error", *shown, str(bare)], check=True, capture_output=True).stdout
    stream = json.loads(report)["streams"][0]
    return " ".join(stream[name] for name in ("color_primaries", "color_transfer", "color_space", "color_range"))


def signal_in_container(made: Made) -> object:
    """H.273's numbers of primaries, transfer and matrix in the `colr` box, and its flag of full range."""
    data = made.target.read_bytes()
    start = data.index(b"colrnclx") + 8
    numbers = [int.from_bytes(data[at : at + 2], "big") for at in range(start, start + 6, 2)]
    return [*numbers, data[start + 6] >> 7]


def luma(made: Made) -> object:
    """The sample of brightness in the middle of the first frame, of 8 bits."""
    middle = ["-vf", "crop=2:2", "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    command = [FFMPEG, "-v", "error", "-i", str(made.target), "-vf", "crop=2:2,extractplanes=y", *middle[2:]]
    return subprocess.run(command, check=True, capture_output=True).stdout[0]


def _of(report: Any, kind: str) -> Any:
    return next(data for data in report["side_data_list"] if data["side_data_type"] == kind)


def _value(fraction: str) -> float:
    above, below = map(int, fraction.split("/"))
    return above / below


def _first_frame(path: Path) -> Any:
    shown = ["-select_streams", "v:0", "-read_intervals", "%+#1", "-show_frames", "-of", "json"]
    report = subprocess.run([FFPROBE, "-v", "error", *shown, str(path)], check=True, capture_output=True).stdout
    return json.loads(report)["frames"][0]
