"""Segments and key frames of a packaged track, with the bit rates that playlists and the MPD declare. Pure."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from worker.packaging.boxes import TrackFile


class Segment(NamedTuple):
    """A range of bytes that presents `seconds` of a track."""

    offset: int
    size: int
    seconds: Fraction


def segments(track: TrackFile) -> list[Segment]:
    """The media segments of a track. What a sound plays before time 0, its priming, has no length."""
    starts, number = [], 0
    for _, _, fragments in track.segments:
        starts.append(max(0, track.fragments[number].start))
        number += fragments
    ends = [*starts[1:], track.end]
    return [
        Segment(offset, size, Fraction(end - start, track.timescale))
        for (offset, size, _), start, end in zip(track.segments, starts, ends, strict=True)
    ]


def key_frames(track: TrackFile) -> list[Segment]:
    """The first frame of each fragment, which lasts until the next."""
    starts = [fragment.start for fragment in track.fragments]
    ends = [*starts[1:], track.end]
    return [
        Segment(fragment.offset, fragment.first, Fraction(end - start, track.timescale))
        for fragment, start, end in zip(track.fragments, starts, ends, strict=True)
    ]


def target(segments: Sequence[Segment]) -> int:
    """The target duration in seconds: no segment is longer, rounded to the nearest second."""
    return max(1, int(max(segment.seconds for segment in segments) + Fraction(1, 2)))


def average(segments: Sequence[Segment]) -> int:
    """Average segment bit rate, in bit/s."""
    return _rate(sum(segment.size for segment in segments), sum(segment.seconds for segment in segments))


def peak(segments: Sequence[Segment], target: int) -> int:
    """Peak segment bit rate, in bit/s: the largest of contiguous segments that last 0.5 to 1.5 target durations."""
    rates = [0]
    for first in range(len(segments)):
        size, seconds = 0, Fraction(0)
        for segment in segments[first:]:
            size, seconds = size + segment.size, seconds + segment.seconds
            if 2 * seconds > 3 * target:
                break
            if 2 * seconds >= target:
                rates.append(_rate(size, seconds))
    return max(rates) or average(segments)


def _rate(size: int, seconds: Fraction | int) -> int:
    return -int(-size * 8 // seconds) if seconds else 0
