"""Elements of Matroska as far as cuts need them. Pure.

Everything comes from users' files: what is not as RFC 8794 and RFC 9559 have it raises ValueError or IndexError.
"""

import struct
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

EBML, SEGMENT, SEEK_HEAD, INFO, TRACKS = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B
CUES, CLUSTER, TAGS, CHAPTERS, ATTACHMENTS = 0x1C53BB6B, 0x1F43B675, 0x1254C367, 0x1043A770, 0x1941A469
TOP = (SEEK_HEAD, INFO, TRACKS, CUES, CLUSTER, TAGS, CHAPTERS, ATTACHMENTS)
"""What a segment is made of, beside padding and checksums."""
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _REFERENCE = 0xE7, 0xA3, 0xA0, 0xA1, 0xFB
_MOST_ELEMENTS = 2_000_000
UNKNOWN = b"\x01" + b"\xff" * 7
"""A size that is not known: the element ends where one of its own level or above begins."""

Data = bytes | mmap


class Element(NamedTuple):
    """An element: its id, where its content begins and ends, None where unknown, and where the element does."""

    number: int
    start: int
    end: int | None
    place: int


def element(data: Data, place: int, limit: int) -> Element:
    """The element at a place of data that ends at `limit`. Its content may reach further."""
    first = data[place]
    length = 9 - first.bit_length()
    if length > 4 or place + length >= limit:
        raise ValueError("an element has no id")
    number = int.from_bytes(data[place : place + length], "big")
    at = place + length
    wide = 9 - data[at].bit_length()
    if wide > 8 or at + wide > limit:
        raise ValueError("an element has no size")
    size = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
    start = at + wide
    return Element(number, start, None if size == (1 << 7 * wide) - 1 else start + size, place)


def elements(data: Data, start: int = 0, end: int | None = None) -> Iterator[Element]:
    """The elements that fill data from `start` to `end`."""
    limit = len(data) if end is None else end
    for _ in range(_MOST_ELEMENTS):
        if start >= limit:
            return
        each = element(data, start, limit)
        if each.end is None or each.end > limit:
            raise ValueError("an element is cut short")
        yield each
        start = each.end
    raise ValueError("there are too many elements")


def content(data: Data, each: Element) -> bytes:
    """The content of an element whose end is known."""
    return bytes(data[each.start : each.end])


def whole(number: int, inner: bytes) -> bytes:
    """An element with this content."""
    return _id(number) + (len(inner) | 1 << 56).to_bytes(8, "big") + inner


def opening(number: int) -> bytes:
    """The begin of an element without a known end."""
    return _id(number) + UNKNOWN


def unsigned(data: bytes) -> int:
    """The number that content stands for."""
    if len(data) > 8:
        raise ValueError("a number has too many bytes")
    return int.from_bytes(data, "big")


def real(data: bytes) -> float:
    """The floating-point number that content stands for."""
    return float(struct.unpack(">f" if len(data) == 4 else ">d", data)[0]) if data else 0.0


def _id(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


class Block(NamedTuple):
    """A block of a cluster: the number of its track, its time in ticks, and where it lies, its group included.

    `cluster` is where its cluster's content begins, and `since` that cluster's time.
    """

    track: int
    time: int
    is_key: bool
    place: int
    end: int
    cluster: int
    since: int


class Damage(NamedTuple):
    """Bytes among clusters that are no elements, up to the next cluster."""

    place: int
    end: int


def blocks(data: Data, start: int, end: int) -> Iterator[Block | Damage]:
    """The blocks of clusters, of which the first begins at `start`. Stops in front of one that reaches beyond `end`.

    Goes on at the next cluster behind damage, as ffmpeg does.
    """
    time, cluster, until = 0, start, 0
    while start < end:
        try:
            each = element(data, start, end)
            if each.number in (CLUSTER, SEGMENT):
                start, until = each.start, each.end or 0
                cluster = start
                continue
            if each.end is None or start < until < each.end:
                raise ValueError("an element in a cluster has no size, or reaches beyond it")
            if each.end > end:
                return
            block = _block(data, each, time, cluster) if each.number in (_SIMPLE_BLOCK, _BLOCK_GROUP) else None
            time = unsigned(content(data, each)) if each.number == _TIMESTAMP else time
        except (ValueError, IndexError, KeyError, struct.error):
            if end - start < 12:  # the rest of it lies beyond the end
                return
            following = data.find(_id(CLUSTER), start + 1, end)
            following = end if following < 0 else following
            yield Damage(start, following)
            start = following
            continue
        if block:
            yield block
        start = each.end


def _block(data: Data, each: Element, time: int, cluster: int) -> Block:
    end = each.end or each.start
    inner, is_key = each, True
    if each.number == _BLOCK_GROUP:
        members = {member.number: member for member in elements(data, each.start, end)}
        inner, is_key = members[_BLOCK], _REFERENCE not in members
    track = data[inner.start]
    wide = 9 - track.bit_length()
    if wide > 8 or inner.start + wide + 3 > end:
        raise ValueError("a block is cut short")
    number = int.from_bytes(data[inner.start : inner.start + wide], "big") & ((1 << 7 * wide) - 1)
    later, flags = struct.unpack(">hB", data[inner.start + wide : inner.start + wide + 3])
    is_key = bool(flags & 0x80) if each.number == _SIMPLE_BLOCK else is_key
    return Block(number, time + later, is_key, each.place, end, cluster, time)
