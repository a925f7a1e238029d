"""Writes fragmented MP4: the head of a file from the moov of another, and fragments of samples. Pure.

The moov comes from users' files: what is not as ISO/IEC 14496-12 has it raises ValueError.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

FTYP = struct.pack(">I4s4sI4s4s4s", 28, b"ftyp", b"iso6", 512, b"iso6", b"iso2", b"mp41")
_MOST_BOXES = 10_000
_MEDIA_HEADS = (b"vmhd", b"gmhd", b"nmhd", b"hdlr", b"dinf")
_TABLES = (b"stts", b"ctts", b"stsc", b"stco")
_TRACK = 1
"""The id of the only track."""
_KEY, _OTHER = 0x0200_0000, 0x0101_0000
"""Flags of samples: one that depends on no other, and one that does and cannot be decoded first."""
_BASE_IS_MOOF = 0x02_0000
_RUN = 0x01 | 0x100 | 0x200 | 0x400 | 0x800
"""A run with its data's offset, and each sample's duration, size, flags and composition offset."""
_ENTRY = 78
"""Bytes of the fields of a VisualSampleEntry."""
_MOST_OFFSET = 2**31 - 1
_MOST_TIME = 2**63 - 1
_MOST_SIZE = 2**32 - 1


class Sample(NamedTuple):
    """A coded picture. Times are in ticks of its track, `offset` and `size` in bytes of the file it comes from.

    `duration` counts where no other sample follows. `is_key` marks one with which decoding can begin.
    """

    pts: int
    dts: int
    duration: int
    offset: int
    size: int
    is_key: bool


class Box(NamedTuple):
    """A box: its type, and its body without the head."""

    kind: bytes
    body: bytes


class SampleDescription(NamedTuple):
    """How samples are coded: the type, such as `avc1`, the fields with size and name, and the boxes behind them.

    The box of bitrates is left out. What stands behind the fields and is no box counts to them.
    """

    kind: bytes
    fields: bytes
    members: list[Box]

    @property
    def entry(self) -> bytes:
        """The box."""
        return _box(self.kind, self.fields + b"".join(_box(*each) for each in self.members))


def boxes(body: bytes) -> Iterator[Box]:
    """The boxes in the body of another. Raises ValueError where they do not fill it, or are more than 10,000."""
    offset = count = 0
    while offset < len(body):
        count += 1
        if len(body) - offset < 8 or count > _MOST_BOXES:
            raise ValueError("a box is cut short, or there are too many")
        size, kind = struct.unpack_from(">I4s", body, offset)
        head = 8
        if size == 1 and len(body) - offset >= 16:
            (size,), head = struct.unpack_from(">Q", body, offset + 8), 16
        if size == 0 and kind == b"\0\0\0\0":  # QuickTime ends lists of boxes with 32 bits of 0, ffmpeg with more
            return
        if size < head or size > len(body) - offset:
            raise ValueError(f"a box {kind!r} has {size} bytes")
        yield Box(kind, body[offset + head : offset + size])
        offset += size


def head_of(moov: bytes, track: int, ftyp: bytes = FTYP, begin: int = 0) -> bytes:
    """The head of a fragmented file with one track of another file: its ftyp and moov.

    `moov` is the whole box, `track` the number of the track in it, from 0: the index of ffmpeg's stream. `ftyp` is
    the whole box, or empty. The track keeps its timescale, its size and turn and its sample description but for the
    bitrates; it has no metadata, no samples, and no edit list but one that shows time `begin` of the fragments, in
    ticks, at 0. Raises ValueError for a moov without such a track, or one whose samples have several descriptions.
    """
    try:
        return ftyp + _moov(moov, track, begin)
    except struct.error as error:
        raise ValueError(f"a box is cut short: {error}") from error


def fragment(samples: Sequence[Sample], number: int) -> bytes:
    """The moof of samples, given in decode order, and the head of their mdat: their bytes follow, in this order.

    `number` is that of the fragment, from 1. Times may be any from 0 to 2^63 - 1. Raises ValueError for samples that
    the format cannot hold, or out of order.
    """
    if not samples:
        raise ValueError("a fragment has no sample")
    steps = [b.dts - a.dts for a, b in pairwise(samples)]
    durations = [*steps, samples[-1].duration]
    first, last = samples[0].dts, samples[-1].dts + samples[-1].duration
    if first < 0 or last > _MOST_TIME or not all(0 <= step <= _MOST_SIZE for step in durations):
        raise ValueError("the decoding times of samples are negative, too large or out of order")
    if not all(0 <= each.size <= _MOST_SIZE and abs(each.pts - each.dts) <= _MOST_OFFSET for each in samples):
        raise ValueError("a sample is too large, or shown too long after it is decoded")
    runs = b"".join(
        struct.pack(">IIIi", duration, each.size, _KEY if each.is_key else _OTHER, each.pts - each.dts)
        for each, duration in zip(samples, durations, strict=True)
    )
    data = _data_head(sum(each.size for each in samples))
    traf = _full(b"tfhd", 0, _BASE_IS_MOOF, struct.pack(">I", _TRACK)) + _full(b"tfdt", 1, 0, struct.pack(">Q", first))
    around = 8 + 16 + 8 + len(traf) + 20
    run = struct.pack(">Ii", len(samples), around + len(runs) + len(data))
    traf += _full(b"trun", 1, _RUN, run + runs)
    return _box(b"moof", _full(b"mfhd", 0, 0, struct.pack(">I", number & _MOST_SIZE)) + _box(b"traf", traf)) + data


def _data_head(size: int) -> bytes:
    if size + 8 <= _MOST_SIZE:
        return struct.pack(">I4s", size + 8, b"mdat")
    return struct.pack(">I4sQ", 1, b"mdat", size + 16)


def description(moov: bytes, track: int) -> SampleDescription:
    """How the samples of a track are coded. As `head_of`."""
    try:
        _, tracks = _parts(moov, track)
        return _described(_media(list(boxes(tracks[track])))[1])
    except struct.error as error:
        raise ValueError(f"a box is cut short: {error}") from error


def shown_ticks(moov: bytes, track: int) -> int:
    """How long a track is shown, in ticks of the whole file's clock. As `head_of`."""
    try:
        tkhd = _only(list(boxes(_parts(moov, track)[1][track])), b"tkhd")
        (ticks,) = struct.unpack_from(">Q", tkhd, 28) if tkhd[:1] == b"\1" else struct.unpack_from(">I", tkhd, 20)
    except struct.error as error:
        raise ValueError(f"a box is cut short: {error}") from error
    return int(ticks)


def _parts(moov: bytes, track: int) -> tuple[list[Box], list[bytes]]:
    """The boxes in a moov, and the bodies of its tracks."""
    (whole,) = boxes(moov)
    if whole.kind != b"moov":
        raise ValueError("the file has no moov")
    members = list(boxes(whole.body))
    tracks = [each.body for each in members if each.kind == b"trak"]
    if not 0 <= track < len(tracks):
        raise ValueError(f"the file has no track {track}")
    return members, tracks


def _moov(moov: bytes, track: int, begin: int) -> bytes:
    members, tracks = _parts(moov, track)
    mvhd = _timeless(_only(members, b"mvhd"), duration=16, wide=24)
    trex = _full(b"trex", 0, 0, struct.pack(">IIIII", _TRACK, 1, 0, 0, 0))
    return _box(b"moov", _box(b"mvhd", mvhd) + _trak(tracks[track], begin) + _box(b"mvex", trex))


def _trak(body: bytes, begin: int) -> bytes:
    members = list(boxes(body))
    tkhd = bytearray(_timeless(_only(members, b"tkhd"), duration=20, wide=28))
    struct.pack_into(">I", tkhd, 20 if tkhd[0] == 1 else 12, _TRACK)
    mdia = list(boxes(_only(members, b"mdia")))
    mdhd = _timeless(_only(mdia, b"mdhd"), duration=16, wide=24)
    (timescale,) = struct.unpack_from(">I", mdhd, 20 if mdhd[0] == 1 else 12)
    if not timescale:
        raise ValueError("the timescale of the track is 0")
    minf, stsd = _media(members)
    empty = b"".join(_full(kind, 0, 0, bytes(4)) for kind in _TABLES) + _full(b"stsz", 0, 0, bytes(8))
    kept = b"".join(_box(*each) for each in minf if each.kind in _MEDIA_HEADS)
    media = kept + _box(b"stbl", _full(b"stsd", 0, 0, struct.pack(">I", 1) + _described(stsd).entry) + empty)
    edit = struct.pack(">IQqHH", 1, 0, begin, 1, 0)
    edits = _box(b"edts", _full(b"elst", 1, 0, edit)) if begin else b""
    heads = _box(b"mdhd", mdhd) + _box(b"hdlr", _only(mdia, b"hdlr"))
    return _box(b"trak", _box(b"tkhd", bytes(tkhd)) + edits + _box(b"mdia", heads + _box(b"minf", media)))


def _media(members: Sequence[Box]) -> tuple[list[Box], bytes]:
    """The boxes in the minf of a track, and the body of its stsd."""
    minf = list(boxes(_only(list(boxes(_only(members, b"mdia"))), b"minf")))
    return minf, _only(list(boxes(_only(minf, b"stbl"))), b"stsd")


def _described(stsd: bytes) -> SampleDescription:
    if struct.unpack_from(">I", stsd, 4) != (1,):
        raise ValueError("the samples of the track have several descriptions")
    (entry,) = boxes(stsd[8:])
    if len(entry.body) < _ENTRY:
        raise ValueError("the sample description is cut short")
    try:
        members = list(boxes(entry.body[_ENTRY:]))
    except ValueError:  # a colour table stands there
        return SampleDescription(entry.kind, entry.body, [])
    return SampleDescription(entry.kind, entry.body[:_ENTRY], [each for each in members if each.kind != b"btrt"])


def _only(members: Sequence[Box], kind: bytes) -> bytes:
    """The body of the first box of a type."""
    body = next((each.body for each in members if each.kind == kind), None)
    if body is None:
        raise ValueError(f"the file has no {kind!r} where it should")
    return body


def _timeless(body: bytes, *, duration: int, wide: int) -> bytes:
    """The body of a header without its duration, which stands at one of these offsets: fragments tell it."""
    is_wide = body[:1] == b"\1"
    timeless = bytearray(body)
    struct.pack_into(">Q" if is_wide else ">I", timeless, wide if is_wide else duration, 0)
    return bytes(timeless)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, flags: int, body: bytes) -> bytes:
    """A box with a version and flags."""
    return _box(kind, struct.pack(">I", version << 24 | flags) + body)
