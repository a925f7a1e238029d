"""What the packets of a file show of its frames, times and rates, from ffprobe's lists. Pure."""

import math
from array import array
from collections import deque
from itertools import pairwise
from typing import NamedTuple

from worker.media.bucket import overflow
from worker.media.numbers import number_of

_FIELDS = 5
_JUMP_SECONDS = 10.0
_BACK_SECONDS = 0.1
_TICKS = 1_000_000
_INSTANT = 0.001


class Packet(NamedTuple):
    """A packet as ffprobe lists it. Times in seconds, None where unknown; `size` in bytes.

    `is_key` says that it holds a key frame, where ffprobe shows flags.
    """

    stream: int
    time: float | None
    decoded: float | None
    duration: float
    size: int
    is_key: bool = False


def parse_packet(line: str) -> Packet | None:
    """The packet in a line of ffprobe's csv; None if none.

    Fields are stream_index, pts_time, dts_time, duration_time, size and, optional, flags.
    """
    fields = line.strip().split(",")
    if len(fields) < _FIELDS or not fields[0].isdigit():
        return None
    time, decoded, duration, size = map(number_of, fields[1:_FIELDS])
    is_key = len(fields) > _FIELDS and fields[_FIELDS].startswith("K")
    return Packet(int(fields[0]), time, decoded, duration or 0.0, round(size or 0), is_key)


class PacketHead:
    """Collects the packets at a file's beginning."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._times = array("d")
        self._first: float | None = None
        self._last = 0.0
        self._bytes = 0

    def take(self, line: str, _: float = 0.0) -> None:
        """Take the next line of ffprobe's csv. Counts no packet without data, as AVI has them."""
        packet = parse_packet(line)
        if not packet or not packet.size:
            return
        time = packet.decoded if packet.decoded is not None else packet.time
        if time is None:
            return
        if packet.stream == self._stream:
            self._times.append(time)
        if self._first is None:
            self._first = self._last = time
        if abs(time - self._last) < _JUMP_SECONDS:
            self._last = max(self._last, time)
            self._bytes += packet.size

    @property
    def rate(self) -> float:
        """Mean frames per second of the pictures; 0 where unknown."""
        steps = [b - a for a, b in pairwise(self._times) if 0 <= b - a < _JUMP_SECONDS]
        total = sum(steps)
        return len(steps) / total if total > 0 else 0.0

    @property
    def bits_per_second(self) -> float:
        """Mean of all tracks up to the first jump of the clock; 0 where less than a second of them is known."""
        span = self._last - (self._first or 0.0)
        return 8 * self._bytes / span if span >= 1 else 0.0


class PictureClock:
    """What the packets of the pictures show of the clock of a file: key frames, length, and where it jumps.

    A clock jumps where ffmpeg joins it: by more than 10 s, or backward by more than 0.1 s.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.jumps = 0
        self.keys = array("d")
        self.seconds = 0.0
        self._last: float | None = None
        self._step = 0.0

    def take(self, line: str, _: float = 0.0) -> None:
        """Take the next line of ffprobe's csv of the picture's packets."""
        packet = parse_packet(line)
        if not packet or not packet.size:
            return
        self.frames += 1
        shown = packet.time if packet.time is not None else packet.decoded
        if packet.is_key and shown is not None:
            self.keys.append(shown)
        time = packet.decoded if packet.decoded is not None else packet.time
        if time is None:
            return
        step = 0.0 if self._last is None else time - self._last
        if -_BACK_SECONDS <= step <= _JUMP_SECONDS:
            self.seconds += step
            self._step = step if step > 0 else self._step
        else:
            self.jumps += 1
            self.seconds += self._step
        self._last = time

    @property
    def length(self) -> float:
        """Seconds of the pictures, joined where the clock jumps."""
        return self.seconds + self._step

    def key_before(self, time: float) -> float | None:
        """The time of the last key frame at or before a time of the file's clock; None without one."""
        return max((key for key in self.keys if key <= time), default=None)


class TrackMeter:
    """Measures a track of an output by its packets."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        self.peak_bits = 0
        self.start = math.inf
        self._last = (-math.inf, 0.0)
        self._times = array("d")
        self._sizes = array("Q")
        self._decoded = array("d")
        self._second = deque[tuple[float, int]]()
        self._second_bytes = 0

    def add(self, packet: Packet) -> None:
        """Take the next packet in the order of the file."""
        self.frames += 1
        self.bytes += packet.size
        time = packet.time if packet.time is not None else packet.decoded
        if time is None:
            return
        self._times.append(time)
        self.start = min(self.start, time)
        # MP4 tells the step to the next packet in the file, which may be shown before a gap: only the last counts.
        self._last = max(self._last, (time, packet.duration))
        decoded = packet.decoded if packet.decoded is not None else time
        self._decoded.append(decoded)
        self._sizes.append(packet.size)
        self._second.append((decoded, packet.size))
        self._second_bytes += packet.size
        while self._second[0][0] <= decoded - 1:
            self._second_bytes -= self._second.popleft()[1]
        self.peak_bits = max(self.peak_bits, 8 * self._second_bytes)

    @property
    def hidden(self) -> int:
        """Frames before 0, which players of a file with an edit list do not show."""
        return sum(time < -_INSTANT for time in self._times)

    @property
    def end(self) -> float:
        """When the last frame ends; one without a duration lasts as long as the mean."""
        time, duration = self._last
        return time + (duration or (time - self.start) / max(1, self.frames - 1))

    @property
    def seconds(self) -> float:
        """From the begin of the first frame to the end of the last."""
        return max(0.0, self.end - self.start) if self.frames else 0.0

    @property
    def rate(self) -> float:
        """Mean frames per second; 0 where unknown."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def longest_step(self) -> float:
        """Seconds from a frame to the next at most, or to the end of the last."""
        times = sorted(self._times)
        return max([self._last[1], *(b - a for a, b in pairwise(times))]) or 1.0

    def overflow(self, rate: int, buffer: int) -> int:
        """Bits by which the track exceeds a rate with a buffer at worst, as `bucket.overflow` has it; 0 if it does not.

        Packets without a time do not count.
        """
        ticks = (round(time * _TICKS) for time in self._decoded)
        return overflow(zip(ticks, self._sizes, strict=True), _TICKS, rate, buffer)

    def gaps(self) -> list[tuple[float, float]]:
        """Where frames are missing: the second at which each gap begins, counted from the first frame, and its length.

        A gap is a step of more than 2.5 usual ones.
        """
        times = sorted(self._times)
        steps = [b - a for a, b in pairwise(times)]
        if not steps:
            return []
        usual = sorted(steps)[len(steps) // 2]
        return [
            (time + usual - times[0], step - usual)
            for time, step in zip(times, steps, strict=False)
            if step > 2.5 * usual
        ]


class FileMeter:
    """Measures each track of an output, by ffprobe's csv."""

    def __init__(self) -> None:
        self.tracks = dict[int, TrackMeter]()

    def take(self, line: str, _: float = 0.0) -> None:
        """Take the next line."""
        if packet := parse_packet(line):
            self.tracks.setdefault(packet.stream, TrackMeter()).add(packet)
