"""What ffmpeg's log says that it read, decoded and encoded. Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_INPUT = re.compile(
    r"Input stream #(\d+):(\d+) \(\w+\): (\d+) packets read \(\d+ bytes\); "
    r"(\d+) frames decoded; (\d+) decode errors(?: \((\d+) samples\))?"
)
_OUTPUT = re.compile(
    r"Output stream #0:(\d+) \(audio\): (?:\d+ frames encoded (?:\(\d+ samples\))?; )?(\d+) packets muxed"
)
_SIZE = re.compile(r"incoming frame - w: (\d+) h: (\d+) .*pts_time: ?(-?[\d.]+)")
_PACED = re.compile(r"fps.*\] (\d+) frames in, \d+ frames out")


class Decoded(NamedTuple):
    """What was decoded of one stream of an input. `samples` is 0 for pictures."""

    packets: int
    frames: int
    errors: int
    samples: int


def decoded(lines: Iterable[str]) -> dict[tuple[int, int], Decoded]:
    """(Number of the input, index of the stream) → what ffmpeg decoded, from its log at level verbose."""
    matches = filter(None, map(_INPUT.search, lines))
    return {
        (int(match[1]), int(match[2])): Decoded(int(match[3]), int(match[4]), int(match[5]), int(match[6] or 0))
        for match in matches
    }


def paced(lines: Iterable[str]) -> int | None:
    """Frames that were brought to a wanted rate; None where none is wanted."""
    return max((int(match[1]) for match in map(_PACED.search, lines) if match), default=None)


def written(lines: Iterable[str]) -> dict[int, int]:
    """Index of an audio stream in ffmpeg's first output → packets that ffmpeg wrote of it."""
    return {int(match[1]): int(match[2]) for match in filter(None, map(_OUTPUT.search, lines))}


def sizes(lines: Iterable[str]) -> dict[tuple[int, int], float]:
    """Width and height of pictures that differ from those before → seconds of the first one, in their order."""
    changed: dict[tuple[int, int], float] = {}
    for match in filter(None, map(_SIZE.search, lines)):
        changed.setdefault((int(match[1]), int(match[2])), float(match[3]))
    return changed
