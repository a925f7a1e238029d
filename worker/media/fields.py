"""What idet sees in decoded pictures: fields of two moments, whole pictures, or film stretched by pulldown. Pure.

idet is ffmpeg's filter that compares the lines of a picture with each other and with those of the picture before.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_PULLDOWN = 5
"""Pictures after which 3:2 pulldown repeats: in each five, one repeats a top field and one a bottom field."""
_LEAST_REPEATS = 5
_REGULAR_SHARE = 0.8
IDET = "idet=intl_thres=1.2"
"""The filter. At its own threshold of 1.04 it takes sharp whole pictures for interlaced ones."""
_KEY = "lavfi.idet."


class Scan(NamedTuple):
    """How many of the pictures that idet saw are interlaced with the top or the bottom field first, or progressive.

    Pictures without movement count nowhere but in `pictures`. `is_telecined`: every place has 3:2 pulldown.
    """

    pictures: int = 0
    top_first: int = 0
    bottom_first: int = 0
    progressive: int = 0
    is_telecined: bool = False

    @property
    def combed(self) -> int:
        """Pictures that are interlaced."""
        return self.top_first + self.bottom_first

    def joined(self, other: "Scan") -> "Scan":
        """The sum of what was seen at two places."""
        if not (self.pictures and other.pictures):
            return self if self.pictures else other
        return Scan(
            self.pictures + other.pictures,
            self.top_first + other.top_first,
            self.bottom_first + other.bottom_first,
            self.progressive + other.progressive,
            self.is_telecined and other.is_telecined,
        )


def scan(lines: Iterable[str]) -> Scan:
    """What idet saw at one place, from the lines that the filter `metadata` prints."""
    kinds, repeats = list[str](), list[str]()
    for line in lines:
        name, _, value = line.strip().removeprefix(_KEY).partition("=")
        if name == "single.current_frame":
            kinds.append(value)
        elif name == "repeated.current_frame":
            repeats.append(value)
    top, bottom, progressive = (kinds.count(kind) for kind in ("tff", "bff", "progressive"))
    return Scan(len(kinds), top, bottom, progressive, _is_telecined(repeats))


def _is_telecined(repeats: Sequence[str]) -> bool:
    """Whether top and bottom fields repeat as 3:2 pulldown repeats them, and hardly elsewhere."""
    phases = []
    for field in ("top", "bottom"):
        places = Counter(number % _PULLDOWN for number, repeat in enumerate(repeats) if repeat == field)
        phase, count = places.most_common(1)[0] if places else (0, 0)
        if count < max(_LEAST_REPEATS, _REGULAR_SHARE * places.total()):
            return False
        phases.append(phase)
    return (phases[1] - phases[0]) % _PULLDOWN in (2, 3)
