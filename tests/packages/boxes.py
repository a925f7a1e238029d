"""An independent walker of ISO base media boxes (ISO/IEC 14496-12), and readers of the boxes that packages hold."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_PARENTS = {"moov", "trak", "mdia", "minf", "stbl", "dinf", "edts", "mvex", "moof", "traf", "sinf", "schi", "udta"}
_VIDEO_ENTRIES = {"avc1", "avc3", "hvc1", "hev1", "av01", "encv", "dvh1", "dvhe"}
_AUDIO_ENTRIES = {"mp4a", "Opus", "fLaC", "ac-3", "ec-3", "enca"}


class MalformedBoxes(Exception):
    """Boxes do not fill the bytes that hold them."""


@dataclass(frozen=True)
class Box:
    """One box: its bytes are `data[start:end]`, its payload begins at `body`."""

    kind: str
    start: int
    body: int
    end: int
    data: bytes = field(repr=False)
    children: Sequence["Box"] = ()

    @property
    def payload(self) -> bytes:
        """The bytes after the header."""
        return self.data[self.body : self.end]

    @property
    def flags(self) -> int:
        """The 24 flags of a full box."""
        return int.from_bytes(self.payload[1:4])

    @property
    def version(self) -> int:
        """The version of a full box."""
        return self.payload[0]

    def every(self, *path: str) -> Iterator["Box"]:
        """The boxes at a path of kinds below this one; `*` stands for any kind."""
        if not path:
            yield self
            return
        for child in self.children:
            if path[0] in ("*", child.kind):
                yield from child.every(*path[1:])

    def first(self, *path: str) -> "Box | None":
        """The first box at a path below this one."""
        return next(self.every(*path), None)


def walk(data: bytes, start: int = 0, end: int | None = None) -> list[Box]:
    """The boxes that fill `data[start:end]`. Raises MalformedBoxes where a size leaves that range."""
    end = len(data) if end is None else end
    found = []
    while start < end:
        if end - start < 8:
            raise MalformedBoxes(f"{end - start} bytes at {start} are no box")
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            size, body = struct.unpack_from(">Q", data, body)[0], body + 8
        elif size == 0:
            size = end - start
        if start + size > end or body > start + size:
            raise MalformedBoxes(f"box {kind!r} at {start} with {size} bytes ends after {end}")
        name = kind.decode("latin-1")
        found.append(Box(name, start, body, start + size, data, _children(data, name, body, start + size)))
        start += size
    return found


def _children(data: bytes, kind: str, body: int, end: int) -> Sequence[Box]:
    """The boxes inside a box of this kind."""
    if kind in _PARENTS:
        return walk(data, body, end)
    skipped = {"stsd": 8, "meta": 4}.get(kind)
    if kind in _VIDEO_ENTRIES:
        skipped = 78
    elif kind in _AUDIO_ENTRIES:
        skipped = 28
    return () if skipped is None else walk(data, body + skipped, end)


class Reference(NamedTuple):
    """A subsegment of a sidx: bytes, ticks, and whether and how it starts with a stream access point."""

    is_index: bool
    size: int
    duration: int
    starts_with_sap: bool
    sap_type: int


class Index(NamedTuple):
    """A sidx box: ticks per second, first presentation time, where the first subsegment starts, and all subsegments."""

    start: int
    end: int
    timescale: int
    earliest: int
    first: int
    references: list[Reference]


def index(box: Box) -> Index:
    """A sidx box, read."""
    timescale = struct.unpack_from(">I", box.payload, 8)[0]
    at, form = (12, ">QQ") if box.version else (12, ">II")
    earliest, offset = struct.unpack_from(form, box.payload, at)
    at += struct.calcsize(form) + 2
    count = struct.unpack_from(">H", box.payload, at)[0]
    references = []
    for number in range(count):
        size, duration, sap = struct.unpack_from(">III", box.payload, at + 2 + 12 * number)
        references.append(Reference(bool(size >> 31), size & 0x7FFFFFFF, duration, bool(sap >> 31), (sap >> 28) & 7))
    return Index(box.start, box.end, timescale, earliest, box.end + offset, references)


class Defaults(NamedTuple):
    """What a trex box says of samples whose fragment does not."""

    duration: int
    size: int
    flags: int


def defaults(box: Box) -> Defaults:
    """A trex box, read."""
    return Defaults(*struct.unpack_from(">III", box.payload, 12))


class Sample(NamedTuple):
    """One sample: ticks of decoding, presentation and duration, its bytes in the file, and whether it is sync."""

    decode: int
    presentation: int
    duration: int
    offset: int
    size: int
    is_sync: bool


class Fragment(NamedTuple):
    """A moof with its mdat: bytes `start` to `end` of the file, the tick in its tfdt, and its samples."""

    start: int
    end: int
    decode: int
    samples: list[Sample]
    moof: Box

    @property
    def duration(self) -> int:
        """Ticks of all samples."""
        return sum(sample.duration for sample in self.samples)


def fragments(boxes: Sequence[Box], trex: Defaults) -> list[Fragment]:
    """The movie fragments of a file with one track."""
    found = []
    for number, box in enumerate(boxes):
        if box.kind == "moof":
            ends = [after.end for after in boxes[number + 1 :][:1] if after.kind == "mdat"]
            found.append(_fragment(box, ends[0] if ends else box.end, trex))
    return found


def _fragment(moof: Box, end: int, trex: Defaults) -> Fragment:
    """One fragment; raises MalformedBoxes where it lacks its times."""
    traf = moof.first("traf")
    header, times = (traf.first("tfhd"), traf.first("tfdt")) if traf else (None, None)
    if traf is None or header is None or times is None:
        raise MalformedBoxes(f"moof at {moof.start} has no traf with tfhd and tfdt")
    decode = struct.unpack_from(">Q" if times.version else ">I", times.payload, 4)[0]
    base, usual = _fragment_defaults(header, moof.start, trex)
    samples: list[Sample] = []
    at = decode
    for run in traf.every("trun"):
        for sample in _run(run, at, base, usual):
            samples.append(sample)
            at += sample.duration
    return Fragment(moof.start, end, decode, samples, moof)


def _fragment_defaults(header: Box, moof: int, trex: Defaults) -> tuple[int, Defaults]:
    """The byte that a tfhd counts offsets from, and the usual duration, size and flags of its samples."""
    at, values = 8, list(trex)
    base = moof
    if header.flags & 1:
        base, at = struct.unpack_from(">Q", header.payload, at)[0], at + 8
    if header.flags & 2:
        at += 4
    for bit, place in ((8, 0), (0x10, 1), (0x20, 2)):
        if header.flags & bit:
            values[place], at = struct.unpack_from(">I", header.payload, at)[0], at + 4
    return base, Defaults(*values)


def _run(run: Box, decode: int, base: int, usual: Defaults) -> Iterator[Sample]:
    """The samples of a trun box."""
    count = struct.unpack_from(">I", run.payload, 4)[0]
    at, offset, first_flags = 8, base, None
    if run.flags & 1:
        offset, at = base + struct.unpack_from(">i", run.payload, at)[0], at + 4
    if run.flags & 4:
        first_flags, at = struct.unpack_from(">I", run.payload, at)[0], at + 4
    for number in range(count):
        duration, size, flags, shift = usual.duration, usual.size, usual.flags, 0
        if run.flags & 0x100:
            duration, at = struct.unpack_from(">I", run.payload, at)[0], at + 4
        if run.flags & 0x200:
            size, at = struct.unpack_from(">I", run.payload, at)[0], at + 4
        if run.flags & 0x400:
            flags, at = struct.unpack_from(">I", run.payload, at)[0], at + 4
        elif number == 0 and first_flags is not None:
            flags = first_flags
        if run.flags & 0x800:
            shift, at = struct.unpack_from(">i" if run.version else ">I", run.payload, at)[0], at + 4
        yield Sample(decode, decode + shift, duration, offset, size, not flags & 0x10000)
        decode, offset = decode + duration, offset + size


class Edit(NamedTuple):
    """An entry of an edit list: ticks of the movie that it lasts, and the media tick that it begins with."""

    duration: int
    media: int


def edits(trak: Box) -> list[Edit]:
    """The edit list of a track; empty where it has none."""
    box = trak.first("edts", "elst")
    if box is None:
        return []
    count = struct.unpack_from(">I", box.payload, 4)[0]
    form = ">QqI" if box.version else ">IiI"
    size = struct.calcsize(form)
    return [Edit(*struct.unpack_from(form, box.payload, 8 + size * number)[:2]) for number in range(count)]


def timescale(header: Box) -> int:
    """Ticks per second of an mvhd or mdhd box."""
    return int(struct.unpack_from(">I", header.payload, 20 if header.version else 12)[0])


class Protection(NamedTuple):
    """What sinf says: original entry, scheme, encrypted and skipped blocks, key, bytes of an IV, constant IV."""

    original: str
    scheme: str
    pattern: tuple[int, int]
    key_id: bytes
    iv_size: int
    constant_iv: bytes


def protection(entry: Box) -> Protection | None:
    """How the samples of an entry are encrypted; None where they are in clear."""
    original, scheme, tenc = (entry.first("sinf", *path) for path in (("frma",), ("schm",), ("schi", "tenc")))
    if original is None or scheme is None or tenc is None:
        return None
    body = tenc.payload
    pattern = (body[5] >> 4, body[5] & 15) if tenc.version else (0, 0)
    constant = body[25 : 25 + body[24]] if body[7] == 0 and len(body) > 24 else b""
    return Protection(
        original.payload.decode("latin-1"),
        scheme.payload[4:8].decode("latin-1"),
        pattern,
        body[8:24],
        body[7],
        constant,
    )
