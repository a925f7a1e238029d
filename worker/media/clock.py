"""What a container tells of time, as far as it can be true. Pure.

Values come from the file: a length, a number of frames or a rate that its bytes cannot hold is unknown.
"""

import math
from typing import NamedTuple

_LEAST_BYTES = {"mpegts": 188, "mpeg": 64}
"""Bytes that a frame takes at least, by demuxer of a stream with a free clock."""
_LEAST_BYTES_A_SECOND = 8
_USUAL_RATE = 121.0
_SLOW_BITS = 0.02
"""Bits a pixel below which the length of a stream with a free clock, such as a transport stream, is doubted."""
_INDEXED = ("mov", "mp4", "mxf")
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1e-6, 1e9


class Clock(NamedTuple):
    """The time of a film. Durations in seconds, None where unknown or impossible.

    `duration` is the picture's, or the file's if the track has none of its own; `file_duration` the file's. `frames`
    is exact if `is_counted`. `rate` is the mean of frames per second, 0 where unknown; `is_rate_guessed` marks one
    that has to be measured. `ticks` are those of the track's clock in a second, rounded up; 0 where unknown. `nominal`
    is the rate that frames have where none is missing, 0 where unknown. `doubted` is a length that the container
    declares and its bytes can hardly hold: that of a file of which most is missing, or of one that lies.
    Lengths of a container that has none are ffprobe's, and `is_estimated`.
    """

    duration: float | None = None
    file_duration: float | None = None
    frames: int | None = None
    is_counted: bool = False
    rate: float = 0.0
    is_rate_guessed: bool = False
    ticks: int = 0
    nominal: float = 0.0
    doubted: float | None = None
    is_estimated: bool = False

    def measured(self, rate: float, bits_per_second: float, size: int | None) -> "Clock":
        """The clock with the rate of frames, and of bits, that packets from the file's beginning have."""
        clock = self
        if size and bits_per_second and (self.file_duration or 0.0) > 16 * 8 * size / bits_per_second:
            doubted = None if self.is_estimated else self.file_duration
            clock = clock._replace(duration=None, file_duration=None, frames=None, doubted=doubted)
        if not rate:
            return clock
        frames = clock.frames if self.is_counted else round((clock.duration or 0.0) * rate) or None
        return clock._replace(rate=rate, frames=frames, is_rate_guessed=True)


def read_clock(
    demuxer: str,
    *,
    duration: float | None,
    file_duration: float | None,
    size: int | None,
    counted: int | None,
    declared: int | None,
    average: float,
    nominal: float,
    ticks: float,
) -> Clock:
    """The clock of a stream by what ffprobe tells of it and of its file.

    `size` is the file's in bytes, `counted` the packets that ffprobe read, `declared` the frames that the container
    declares, `average` and `nominal` rates in frames per second, 0 where unknown.
    """
    is_indexed = demuxer in _INDEXED and bool(declared)
    guessed = not is_indexed and not (0 < average < _USUAL_RATE)
    rate = average if average and not guessed else nominal if 0 < nominal < _USUAL_RATE else 0.0
    seconds = [_possible(value, rate, demuxer, size) for value in (duration, file_duration)]
    shown = seconds[0] or (None if duration and not seconds[0] else seconds[1])
    trusted = declared if is_indexed or not guessed else None
    frames = counted or trusted or round((shown or 0.0) * rate) or None
    is_estimated = demuxer in _LEAST_BYTES
    return Clock(
        duration=shown,
        file_duration=seconds[1] or seconds[0],
        frames=frames,
        is_counted=bool(counted or (is_indexed and declared)),
        rate=rate,
        is_rate_guessed=guessed,
        ticks=-int(-ticks // 1),
        nominal=nominal if math.isfinite(nominal) else 0.0,
        doubted=None if any(seconds) or is_estimated else _sane(file_duration) or _sane(duration),
        is_estimated=is_estimated,
    )


def is_doubtful(clock: Clock, demuxer: str, pixels: int, size: int | None) -> bool:
    """Whether packets from the beginning of the file must tell the rate, or whether the length can be true."""
    if clock.is_rate_guessed:
        return True
    length = clock.file_duration or 0.0
    return bool(demuxer in _LEAST_BYTES and size and 8 * size < _SLOW_BITS * pixels * (clock.rate or 25.0) * length)


def _sane(seconds: float | None) -> float | None:
    return seconds if seconds and _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS else None


def _possible(seconds: float | None, rate: float, demuxer: str, size: int | None) -> float | None:
    """The length, if the file has the bytes for so many frames of that rate."""
    seconds = _sane(seconds)
    if not seconds or not size or demuxer in _INDEXED:
        return seconds
    return seconds if seconds * max(_LEAST_BYTES_A_SECOND, rate * _LEAST_BYTES.get(demuxer, 0)) <= size else None
