"""The presentation times of a stream's frames, from ffprobe's packets."""

import math
from array import array
from collections.abc import Iterable

_DEFAULT_RATE = 25.0


class Packets:
    """Collects a stream's packets from the first key frame on, or all of them if the stream has none.

    A stream cut in the middle starts with packets that cannot be decoded without an earlier key frame.
    """

    def __init__(self) -> None:
        self.times = array("d")
        self._start = -math.inf
        self._all_timed = True
        self._is_first = True
        self._seen_key_frame = False

    def add(self, time: float | None, flags: str) -> None:
        """Take the next packet: its time in seconds, None if unknown, and its flags.

        Flag K marks a key frame, flag D a packet that the container's edit list leaves out.
        """
        if "K" in flags and not self._seen_key_frame:
            self._seen_key_frame = True
            if not self._is_first:
                del self.times[:]
                self._all_timed = True
                self._start = -math.inf if time is None else time
        self._is_first = False
        if "D" not in flags:
            self.times.append(time or 0.0)
            self._all_timed &= time is not None

    def presentation_times(self, rate: float) -> "array[float]":
        """Seconds at which the frames are shown, ascending.

        If any packet lacks a time, as in AVI, frames are spaced by `rate` frames per second; 0 means unknown.
        """
        if not self._all_timed:
            return array("d", (n / (rate or _DEFAULT_RATE) for n in range(len(self.times))))
        return array("d", sorted(time for time in self.times if time >= self._start))


def presentation_times(packets: Iterable[tuple[float | None, str]], rate: float) -> "array[float]":
    """Seconds at which frames are shown, ascending, from packets in file order. See `Packets`."""
    collected = Packets()
    for packet in packets:
        collected.add(*packet)
    return collected.presentation_times(rate)
