"""The bit rate of a channel in which no sample of a track comes late. Pure.

DASH 5.3.5.2: a client starts with any segment, and plays it a buffer's time after its first bit. Then each sample must
have come when its decode time is reached.
"""

from worker.packaging.boxes import TrackFile

_STEPS = 24


def least_rate(file: TrackFile, rate: int, buffer: float) -> int:
    """The least bit rate, at least `rate`, at which no sample comes later than `buffer` seconds after its segment."""
    low, high = rate, rate
    while _is_late(file, high, buffer):
        low, high = high, 2 * high
    for _ in range(_STEPS):
        if high - low <= max(1, low // 1000):
            break
        middle = (low + high) // 2
        low, high = (middle, high) if _is_late(file, middle, buffer) else (low, middle)
    return high


def _is_late(file: TrackFile, rate: int, buffer: float) -> bool:
    """Whether a sample comes late, in whole numbers: bits times ticks against ticks times rate."""
    starts = {offset for offset, _, _ in file.segments}
    scale, patience = file.timescale, round(buffer * file.timescale * rate)
    sent = time = 0
    earliest = 0
    for fragment in file.fragments:
        if fragment.offset in starts:
            earliest = max(earliest, time - sent)
        sent += 8 * scale * (fragment.size - fragment.sample_bytes)
        for size, duration in zip(fragment.sizes, fragment.durations, strict=True):
            sent += 8 * scale * size
            if sent - time + earliest > patience:
                return True
            time += duration * rate
    return False
