"""Measures of how the picture is coded: rate, peaks, keyframes, profile and level, from packets and NAL units."""

import re
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.media.case import FFMPEG, FFPROBE, Made
from tests.media.measures import film

_NAL = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_NAL_TYPES = {"h264": lambda byte: byte & 31, "hevc": lambda byte: byte >> 1 & 63}
_INTRA = {"h264": (5,), "hevc": range(16, 24)}
"""Types of NAL units with which decoding may start."""


class Packet(NamedTuple):
    """A coded picture: seconds at which it is shown and decoded, bits, and whether the container calls it key."""

    shown: float
    decoded: float
    bits: int
    is_key: bool


def packets(made: Made) -> list[Packet]:
    """The output's coded pictures, in the order of the file."""
    entries = ["-select_streams", "v:0", "-show_entries", "packet=pts_time,dts_time,size,flags", "-of", "csv=p=0"]
    text = subprocess.run([FFPROBE, "-v", "error", *entries, str(made.target)], capture_output=True, text=True).stdout
    lines = [line.split(",") for line in text.split()]
    return [
        Packet(float(shown), float(shown if decoded == "N/A" else decoded), int(size) * 8, "K" in flags)
        for shown, decoded, size, flags, *_ in lines
    ]


def keyframe_seconds(made: Made) -> object:
    """Times of the keyframes behind the first picture."""
    coded = packets(made)
    first = min(packet.shown for packet in coded)
    return " ".join(f"{packet.shown - first:.3f}" for packet in coded if packet.is_key)


def open_groups(made: Made) -> object:
    """Pictures that follow a keyframe in the file and are shown before it."""
    count, key = 0, -1e9
    for packet in packets(made):
        key = packet.shown if packet.is_key else key
        count += packet.shown < key
    return count


def keyframe_units(made: Made) -> object:
    """Types of the NAL units in which the keyframes are coded, such as 5 for an IDR picture of H.264."""
    codec = film(made)["codec_name"]
    raw = ["-map", "0:v:0", "-c", "copy", "-f", codec, "-"]
    stream = subprocess.run([FFMPEG, "-v", "error", "-i", str(made.target), *raw], capture_output=True).stdout
    types = {_NAL_TYPES[codec](match[1][0]) for match in _NAL.finditer(stream)}
    return " ".join(map(str, sorted(types & set(_INTRA[codec]))))


def bitrate(made: Made) -> object:
    """Mean bits per second of the picture."""
    coded = packets(made)
    seconds = max(packet.shown for packet in coded) - min(packet.shown for packet in coded)
    return round(sum(packet.bits for packet in coded) / (seconds * len(coded) / (len(coded) - 1)))


def buffered(rate: int) -> Callable[[Made], object]:
    """Seconds of a buffer, filled at `rate` bits per second, from which a decoder never starves."""

    def measure(made: Made) -> object:
        fullest = level = 0.0
        before = 0.0
        for packet in packets(made):
            level = max(0.0, level - rate * (packet.decoded - before)) + packet.bits
            fullest, before = max(fullest, level), packet.decoded
        return round(fullest / rate, 3)

    measure.__name__ = f"buffer_at_{rate}_bit/s"
    return measure


def level(made: Made) -> object:
    """The level as the bitstream codes it."""
    return film(made)["level"]


def coded_as(made: Made) -> object:
    """Profile, pixel format and codec tag; the tag of MP4 and MOV only."""
    stream: Any = film(made)
    tag = stream["codec_tag_string"] if stream["codec_tag_string"].isalnum() else ""
    return " ".join(filter(None, (stream["profile"], stream["pix_fmt"], tag)))


def reordered(made: Made) -> object:
    """Pictures that a decoder holds back to bring them in order."""
    return film(made)["has_b_frames"]


def index_first(made: Made) -> object:
    """Whether an MP4 file has its index before its data, so that players start at once."""
    data = made.target.read_bytes()
    return data.index(b"moov") < data.index(b"mdat")
