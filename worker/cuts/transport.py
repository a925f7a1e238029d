"""Packets of MPEG transport streams, of 188 bytes, as far as cuts need them. Pure.

Everything comes from users' files: what cannot be read counts as not there.
"""

import re
from collections.abc import Iterator
from itertools import islice
from mmap import mmap
from typing import NamedTuple

from worker.cuts.keyframes import is_gradual, units

PACKET = 188
_SYNC = 0x47
_MOST_TABLE_PACKETS = 100
_KEY_PACKETS = 24
"""Packets from the begin of a picture that show whether it is a key frame."""
_STAMPED = {0x80, 0xC0}

Data = bytes | mmap


class Picture(NamedTuple):
    """The begin of a coded picture with a time: in ticks of 1/90000 s, and the offset of its packet in the source.

    `decoded` is when it is to be decoded, as far as the stream says so: else it is `time`, and `has_both` is false.
    """

    offset: int
    time: int
    decoded: int
    has_both: bool
    is_key: bool


def is_transport(head: bytes) -> bool:
    """Whether a file begins with packets of 188 bytes."""
    return len(head) > 4 * PACKET and all(head[place] == _SYNC for place in range(0, 4 * PACKET, PACKET))


def packets_of(data: Data, pid: int, start: int = 0, *, begins: bool = False) -> Iterator[int]:
    """Where the packets of a track lie in data that begins with one; with `begins`, only those that begin a PES."""
    flags = (0x40, 0x60) if begins else (0x00, 0x20, 0x40, 0x60)
    second = b"".join(re.escape(bytes([flag | pid >> 8])) for flag in flags)
    pattern = re.compile(b"G(?=[" + second + b"]" + re.escape(bytes([pid & 255])) + b")", re.DOTALL)
    for match in pattern.finditer(data, start):
        if match.start() % PACKET == 0 and match.start() + PACKET <= len(data):
            yield match.start()


def without(data: Data, pid: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of data, from one packet to another, that hold no packet of a track."""
    for place in packets_of(data, pid, start):
        if place >= end:
            break
        if place > start:
            yield start, place
        start = place + PACKET
    if start < end:
        yield start, end


def payload(data: Data, place: int) -> bytes:
    """What a packet carries."""
    control = data[place + 3] >> 4 & 3
    if not control & 1:
        return b""
    skipped = 4 + (1 + data[place + 4] if control & 2 else 0)
    return bytes(data[place + min(skipped, PACKET) : place + PACKET])


def tables(data: bytes) -> bytes:
    """The packets with the tables of programs, up to where they are repeated. Raises ValueError if there are none."""
    first = next(packets_of(data, 0, begins=True), None)
    if first is None:
        raise ValueError("it has no table of programs")
    section = payload(data, first)
    section = section[1 + section[0] :] if section else b""
    length = int.from_bytes(section[1:3], "big") & 0xFFF
    entries = [section[at : at + 4] for at in range(8, min(3 + length - 4, len(section)), 4)]
    programs = [
        int.from_bytes(entry[2:], "big") & 0x1FFF for entry in entries if entry[:2] != b"\0\0" and len(entry) == 4
    ]
    if len(programs) != 1:
        raise ValueError(f"it has {len(programs)} programs")
    begins = list(islice(packets_of(data, programs[0], begins=True), 2))
    if not begins:
        raise ValueError("it has no table of tracks")
    last = begins[1] if len(begins) > 1 else len(data)
    inner = [place for place in islice(packets_of(data, programs[0], begins[0]), _MOST_TABLE_PACKETS) if place < last]
    return b"".join(bytes(data[place : place + PACKET]) for place in (first, *inner))


def pictures(data: Data, base: int, pid: int, codec: str, start: int = 0) -> Iterator[Picture]:
    """The pictures of a track that begin in data, which lies at `base` in the source."""
    for place in packets_of(data, pid, start, begins=True):
        if picture := _picture(data, place, base, pid, codec):
            yield picture


def _picture(data: Data, place: int, base: int, pid: int, codec: str) -> Picture | None:
    body = payload(data, place)
    if len(body) < 19 or body[:3] != b"\0\0\1":
        return None
    stamps = body[7] & 0xC0
    if stamps not in _STAMPED:
        return None
    time = _stamp(body[9:14])
    decoded = _stamp(body[14:19]) if stamps == 0xC0 else time
    begin = [body[9 + body[8] :]]
    begin += [
        payload(data, following)
        for following in islice(packets_of(data, pid, place + PACKET), _KEY_PACKETS)
        if not data[following + 1] & 0x40
    ]
    return Picture(base + place, time, decoded, stamps == 0xC0, _is_key(b"".join(begin), codec))


def _stamp(data: bytes) -> int:
    return (data[0] >> 1 & 7) << 30 | data[1] << 22 | (data[2] >> 1) << 15 | data[3] << 7 | data[4] >> 1


def _is_key(stream: bytes, codec: str) -> bool:
    """Whether a decoder can begin with this picture. The headers of the film must stand in front of it."""
    if codec == "mpeg2video":
        header, coded = stream.find(b"\0\0\1\xb3"), stream.find(b"\0\0\1\0")
        return 0 <= header < coded and stream[coded + 5 : coded + 6] != b"" and stream[coded + 5] >> 3 & 7 == 1
    if codec == "hevc":
        kinds = {unit[0] >> 1 & 63 for unit in units(stream) if unit}
        return 33 in kinds and bool(kinds & {16, 17, 18, 19, 20, 21})
    kinds = {unit[0] & 31 for unit in units(stream) if unit}
    return 7 in kinds and (5 in kinds or (_has_recovery(stream) and not is_gradual(stream)))


def _has_recovery(stream: bytes) -> bool:
    """Whether supplemental information in front of a picture of H.264 begins with a recovery point."""
    return any(unit[0] & 31 == 6 and unit[1:2] == b"\x06" for unit in units(stream) if unit)
