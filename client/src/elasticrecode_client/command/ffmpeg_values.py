"""Values as ffmpeg writes them, in the words of a profile: rates, times, sizes, frames per second. Pure."""

import math
import re
from contextlib import suppress
from fractions import Fraction

_NUMBER = re.compile(r"(\d{1,12}(?:\.\d+)?)([kKmMgG]?)(i?)", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}
_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)", re.ASCII)
_SECONDS = re.compile(r"(\d{1,12}(?:\.\d+)?)(s|ms|us)?", re.ASCII)
_UNITS = {None: 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_FRAME_RATES = {
    "ntsc": "30000/1001",
    "pal": "25",
    "qntsc": "30000/1001",
    "qpal": "25",
    "sntsc": "30000/1001",
    "spal": "25",
    "film": "24",
    "ntsc-film": "24000/1001",
}
_NTSC = {"23.976", "23.98", "29.97", "47.952", "59.94", "119.88"}
"""Decimal rates that everybody writes for those with 1001 below the line."""
SIZES = {
    "qcif": (176, 144), "cif": (352, 288), "ntsc": (720, 480), "pal": (720, 576), "vga": (640, 480), "svga": (800, 600),
    "xga": (1024, 768), "hd480": (852, 480), "hd720": (1280, 720), "hd1080": (1920, 1080), "2k": (2048, 1080),
    "4k": (4096, 2160), "uhd2160": (3840, 2160), "wvga": (852, 480), "qhd": (960, 540), "nhd": (640, 360),
}  # fmt: skip
"""ffmpeg's names of sizes, as for `-s hd720`."""
WORDS = {
    (3840, 2160): "2160p",
    (2560, 1440): "1440p",
    (1920, 1080): "1080p",
    (1280, 720): "720p",
    (960, 540): "540p",
    (640, 360): "360p",
}
"""Sizes of 16:9 → the word of a profile for the same box."""


class Unsayable(Exception):
    """A profile cannot say it. `reason` says why, and `instead` what comes nearest; empty where nothing does."""

    def __init__(self, reason: str, instead: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.instead = instead


def bits(text: str) -> int:
    """The bits per second of a rate such as `3M`, `1500k` or `3000000`. Raises Unsayable."""
    match = _NUMBER.fullmatch(text)
    if not match:
        raise Unsayable(f"{text!r} is no rate", "a number with k or M, such as 3M")
    bits_per_second: int = round(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])
    return bits_per_second


def rate(text: str) -> str:
    """A rate as a profile writes it, such as `3M` or `1500K`. Raises Unsayable."""
    return rate_of(bits(text))


def rate_of(bits_per_second: float) -> str:
    """The shortest text for a rate: 2000000 → `2M`."""
    unit, size = ("M", 1_000_000) if bits_per_second % 1_000_000 == 0 else ("K", 1000)
    return f"{bits_per_second / size:.12g}{unit}"


def number(text: str) -> float:
    """A finite number. Raises Unsayable."""
    with suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise Unsayable(f"{text!r} is no number")


def seconds(text: str) -> float:
    """A time such as `90`, `1:30`, `00:01:30.5` or `500ms`, in seconds. Raises Unsayable."""
    if clock := _CLOCK.fullmatch(text):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if plain := _SECONDS.fullmatch(text):
        return float(f"{float(plain[1]) * _UNITS[plain[2]]:.9g}")
    instead = "-ss with the time from the beginning" if text.startswith("-") else "seconds, or 00:01:30.5"
    raise Unsayable(f"{text!r} is no time from the beginning", instead)


def frame_rate(text: str) -> str:
    """Frames per second as a profile writes them: `30`, or `30000/1001` for 29.97. Raises Unsayable."""
    if text in _FRAME_RATES:
        return _FRAME_RATES[text]
    if text in _NTSC:
        return f"{round(float(text) * 1.001) * 1000}/1001"
    try:
        exact = Fraction(text).limit_denominator(1001)
    except (ValueError, ZeroDivisionError):
        raise Unsayable(f"{text!r} is no frame rate", "a number such as 30 or 30000/1001") from None
    if not 1 <= exact <= 240:
        raise Unsayable(f"{text} frames per second are out of range", "1 to 240")
    return str(exact)


def size(text: str) -> tuple[int, int]:
    """Width and height of `1280x720`, `1280:720` or a name such as `hd720`. Raises Unsayable."""
    if text in SIZES:
        return SIZES[text]
    match = re.fullmatch(r"(\d+)[x:](\d+)", text, re.ASCII)
    if not match:
        raise Unsayable(f"{text!r} is no size", "WIDTHxHEIGHT, such as 1280x720")
    return even(int(match[1]), int(match[2]))


def even(width: int, height: int) -> tuple[int, int]:
    """The size, if both sides are even and within 16 to 8192. Raises Unsayable."""
    nearest = tuple(min(max(side - side % 2, 16), 8192) for side in (width, height))
    if nearest != (width, height):
        raise Unsayable(f"{width}x{height} does not have even sides from 16 to 8192", "{}x{}".format(*nearest))
    return width, height


def box(*, width: int = 0, height: int = 0) -> tuple[int, int]:
    """The box of 16:9 with a width or a height: what `-2` leaves to the source's shape. Raises Unsayable."""
    if width:
        return even(width, 2 * round(width * 9 / 32))
    return even(2 * round(height * 8 / 9), height)
