"""The boxes of a fragmented MP4 file: its segment index, and the fragments with their times and sizes.

The files are Shaka Packager's, so a box that is absent is an error of the packaging: ValueError.
"""

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MOST_BYTES = 1 << 27
"""The longest box that is read: a moov, a sidx or a moof."""
_CONTAINERS = {b"moov", b"trak", b"edts", b"mdia", b"mvex", b"moof", b"traf"}
_BASE_OFFSET, _DESCRIPTION, _DURATION, _SIZE = 0x1, 0x2, 0x8, 0x10
_RUN_OFFSET, _RUN_FIRST_FLAGS = 0x1, 0x4
_RUN_DURATION, _RUN_SIZE, _RUN_FLAGS, _RUN_COMPOSITION = 0x100, 0x200, 0x400, 0x800


class Fragment(NamedTuple):
    """One moof and its mdat. `start` is the presentation time of its first sample, and `duration` of all, in ticks.

    `offset` and `size` are bytes of the file; `first` is the size from the moof to the end of the first sample.
    `sizes` and `durations` are those of the samples, in bytes and ticks.
    """

    offset: int
    size: int
    first: int
    start: int
    duration: int
    samples: int
    sample_bytes: int
    sizes: tuple[int, ...]
    durations: tuple[int, ...]


class TrackFile(NamedTuple):
    """A fragmented MP4 file of one track. `init` is the size of its initialization section in bytes.

    `sidx` is the range of that box; `segments` has offset, size and number of fragments of each segment.
    """

    timescale: int
    init: int
    sidx: tuple[int, int]
    segments: list[tuple[int, int, int]]
    fragments: list[Fragment]

    @property
    def end(self) -> int:
        """The presentation time in ticks at which the track ends."""
        return self.fragments[0].start + sum(fragment.duration for fragment in self.fragments)

    @property
    def rate(self) -> Fraction:
        """Samples per second."""
        total = sum(fragment.duration for fragment in self.fragments)
        return Fraction(sum(fragment.samples for fragment in self.fragments) * self.timescale, total)

    @property
    def seconds(self) -> Fraction:
        """The presentation's length in seconds, from time 0."""
        return Fraction(self.end, self.timescale)


class _Box(NamedTuple):
    kind: bytes
    offset: int
    size: int
    head: int


def read_track(path: Path) -> TrackFile:
    """Read the boxes of a packaged track. Raises ValueError if it lacks any, and struct.error for one cut short."""
    with path.open("rb") as file:
        boxes = list(_top(file))
        kinds = [box.kind for box in boxes]
        if not {b"moov", b"sidx", b"moof"} <= set(kinds):
            raise ValueError("the file has no moov, sidx or moof")
        moov = _leaves(_body(file, boxes[kinds.index(b"moov")]))
        index = boxes[kinds.index(b"sidx")]
        offset, references = _references(_body(file, index), index.offset + index.size)
        timescale = _timescale(moov[b"mdhd"])
        shift, defaults = _shift(moov), struct.unpack_from(">4x4xIII", moov[b"trex"])
        fragments = [
            _fragment(_leaves(_body(file, moof)), moof.offset, mdat.offset + mdat.size, mdat.head, shift, defaults)
            for moof, mdat in pairwise(boxes)
            if moof.kind == b"moof" and mdat.kind == b"mdat"
        ]
    return TrackFile(
        timescale, index.offset, (index.offset, offset), _segments(offset, references, fragments), fragments
    )


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _top(file: BinaryIO) -> Iterator[_Box]:
    offset, end = 0, os.fstat(file.fileno()).st_size
    while offset < end:
        size, kind = struct.unpack(">I4s", _at(file, offset, 8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", file.read(8)), 16
        if size < head or offset + size > end:
            raise ValueError(f"a box {kind!r} has {size} bytes")
        yield _Box(kind, offset, size, head)
        offset += size


def _body(file: BinaryIO, box: _Box) -> bytes:
    if box.size > _MOST_BYTES:
        raise ValueError(f"a box {box.kind!r} has {box.size} bytes")
    return _at(file, box.offset + box.head, box.size - box.head)


def _leaves(body: bytes) -> dict[bytes, bytes]:
    """The bodies of the boxes in a box, by type. A file of one track has each of those that are read here once."""
    leaves: dict[bytes, bytes] = {}
    offset = 0
    while offset < len(body):
        size, kind = struct.unpack_from(">I4s", body, offset)
        if size < 8 or offset + size > len(body):
            raise ValueError(f"a box {kind!r} has {size} bytes")
        inner = body[offset + 8 : offset + size]
        leaves |= _leaves(inner) if kind in _CONTAINERS else {kind: inner}
        offset += size
    return leaves


def _timescale(mdhd: bytes) -> int:
    (timescale,) = struct.unpack_from(">I", mdhd, 12 if mdhd[0] == 0 else 20)
    if not timescale:
        raise ValueError("the timescale is 0")
    return int(timescale)


def _shift(moov: dict[bytes, bytes]) -> int:
    """The media time in ticks that the edit list presents at time 0."""
    elst = moov.get(b"elst")
    if not elst:
        return 0
    (time,) = struct.unpack_from(">i" if elst[0] == 0 else ">q", elst, 12 if elst[0] == 0 else 16)
    return max(0, int(time))


def _references(sidx: bytes, end: int) -> tuple[int, list[int]]:
    """Where the first segment begins, and the size of each."""
    first, place = (
        (struct.unpack_from(">I", sidx, 16)[0], 20)
        if sidx[0] == 0
        else (
            struct.unpack_from(">Q", sidx, 20)[0],
            28,
        )
    )
    (count,) = struct.unpack_from(">2xH", sidx, place)
    sizes = [size for size, _, _ in struct.iter_unpack(">III", sidx[place + 4 : place + 4 + 12 * count])]
    if any(size >> 31 for size in sizes) or len(sizes) != count or not count:
        raise ValueError("the sidx refers to another sidx, or to nothing")
    return end + first, sizes


def _segments(offset: int, sizes: list[int], fragments: list[Fragment]) -> list[tuple[int, int, int]]:
    segments, left = [], list(reversed(fragments))
    for size in sizes:
        inside = 0
        while left and left[-1].offset < offset + size:
            inside += 1
            left.pop()
        if not inside:
            raise ValueError("a segment of the sidx has no fragment")
        segments.append((offset, size, inside))
        offset += size
    if left:
        raise ValueError("the sidx lacks fragments")
    return segments


def _fragment(
    moof: dict[bytes, bytes], offset: int, end: int, head: int, shift: int, defaults: tuple[int, ...]
) -> Fragment:
    duration, size = _defaults(moof[b"tfhd"], defaults)
    tfdt, trun = moof[b"tfdt"], moof[b"trun"]
    (time,) = struct.unpack_from(">I" if tfdt[0] == 0 else ">Q", tfdt, 4)
    flags = int.from_bytes(trun[1:4], "big")
    (count,) = struct.unpack_from(">I", trun, 4)
    place = 8 + 4 * bool(flags & _RUN_OFFSET) + 4 * bool(flags & _RUN_FIRST_FLAGS)
    columns = dict(zip(_columns(flags), _split(trun, place, count, len(_columns(flags))), strict=True))
    sizes = columns.get(_RUN_SIZE, (size,) * count)
    composed = columns.get(_RUN_COMPOSITION, (0,) * count)
    if not count:
        raise ValueError("a fragment has no sample")
    delay = composed[0] - (1 << 32) if trun[0] and composed[0] >> 31 else composed[0]
    samples, durations = sum(sizes), columns.get(_RUN_DURATION, (duration,) * count)
    return Fragment(
        offset=offset,
        size=end - offset,
        first=end - offset - samples + sizes[0],
        start=time + delay - shift,
        duration=sum(durations),
        samples=count,
        sample_bytes=samples,
        sizes=sizes,
        durations=durations,
    )


def _columns(flags: int) -> list[int]:
    """The fields that a run lists for each sample."""
    return [flag for flag in (_RUN_DURATION, _RUN_SIZE, _RUN_FLAGS, _RUN_COMPOSITION) if flags & flag]


def _split(trun: bytes, place: int, count: int, width: int) -> list[tuple[int, ...]]:
    values = struct.unpack_from(f">{count * width}I", trun, place)
    return [values[column::width] for column in range(width)]


def _defaults(tfhd: bytes, defaults: tuple[int, ...]) -> tuple[int, int]:
    """The duration and the size of samples that a run does not list."""
    _, duration, size = defaults
    flags, place = int.from_bytes(tfhd[1:4], "big"), 8
    for flag, width in ((_BASE_OFFSET, 8), (_DESCRIPTION, 4), (_DURATION, 4), (_SIZE, 4)):
        if flags & flag:
            if flag == _DURATION:
                (duration,) = struct.unpack_from(">I", tfhd, place)
            elif flag == _SIZE:
                (size,) = struct.unpack_from(">I", tfhd, place)
            place += width
    return duration, size
