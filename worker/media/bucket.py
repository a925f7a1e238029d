"""The rate of a film by the buffer that a decoder fills at it. Pure."""

from collections.abc import Iterable


def overflow(packets: Iterable[tuple[int, int]], ticks: int, rate: int, buffer: int) -> int:
    """Bits by which packets exceed a rate at worst, 0 if they keep to it.

    `packets` are the times at which each is decoded, in ticks of which a second has `ticks`, never falling, and sizes
    in bytes. They keep to a rate of `rate` bits per second with a buffer of `buffer` bits if those of no window, from
    the time of its first packet to that of its last, exceed the buffer by more than the rate gives in that time.
    """
    level, worst, before = 0, 0, None  # bits times ticks, so that nothing is rounded
    for time, size in packets:
        leaked = 0 if before is None else rate * (time - before)
        level = max(0, level - leaked) + 8 * size * ticks
        worst, before = max(worst, level), time
    return -(-max(0, worst - buffer * ticks) // ticks)
