"""The boxes of mp4 and mov as far as cuts need them: where they lie, their tracks, and where samples lie. Pure.

Everything comes from users' files: what is not as ISO/IEC 14496-12 has it raises ValueError or struct.error.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from worker.cuts.fragments import Box, boxes
from worker.cuts.objects import Bytes, Span

_WINDOW = 1 << 16
_MOST_TOP = 1000


class Top(NamedTuple):
    """A box at the top level of a file: its type, where it lies with its head, and the size of its head in bytes."""

    kind: bytes
    span: Span
    head: int


def top_boxes(source: Bytes) -> Iterator[Top]:
    """The boxes at the top level, by small reads. The last may claim to be longer than the file: it is cut to it."""
    offset = count = 0
    window, at = b"", 0
    while offset + 8 <= source.size:
        count += 1
        if count > _MOST_TOP:
            raise ValueError(f"it has more than {_MOST_TOP} boxes")
        if not (at <= offset and offset + 16 <= at + len(window)):
            window, at = source.read(offset, _WINDOW), offset
        start = offset - at
        size, kind = struct.unpack_from(">I4s", window, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", window, start + 8), 16
        size = size or source.size - offset
        if size < head:
            raise ValueError(f"a box of it has {size} bytes")
        size = min(size, source.size - offset)
        yield Top(kind, Span(offset, size), head)
        offset += size


class Track(NamedTuple):
    """A track: the type of its media, such as `vide`, and its tables. `chapters` are ids of tracks with chapters.

    `edits` counts the spans of media that its edit list shows, 0 without one; `is_whole` says that they run at the
    rate 1 and that all samples lie in the file itself.
    """

    number: int
    kind: bytes
    edits: int
    is_whole: bool
    chapters: tuple[int, ...]
    tables: dict[bytes, bytes]

    def spans(self, most: int) -> Iterator[Span]:
        """Where the first samples lie: up to `most`, and no more than the tables hold."""
        return islice(self._spans(), most)

    def _spans(self) -> Iterator[Span]:
        sizes, runs = self._sizes(), self._runs()
        offsets = self._offsets()
        per_chunk = 0
        first, following = next(runs, (1, 0))
        later = next(runs, None)
        per_chunk = following
        for chunk, offset in enumerate(offsets, 1):
            if later and chunk >= later[0]:
                per_chunk, later = later[1], next(runs, None)
            if chunk < first:
                return
            for _ in range(per_chunk):
                size = next(sizes, None)
                if size is None:
                    return
                yield Span(offset, size)
                offset += size

    def _sizes(self) -> Iterator[int]:
        table = self.tables.get(b"stsz", b"")
        if len(table) < 12:
            return
        every, count = struct.unpack_from(">II", table, 4)
        if every:
            yield from (every for _ in range(count))
            return
        yield from (size for (size,) in struct.iter_unpack(">I", _rows(table[12:], count, 4)))

    def _runs(self) -> Iterator[tuple[int, int]]:
        """The number of the first chunk that has so many samples, and so many."""
        table = self.tables.get(b"stsc", b"")
        (count,) = struct.unpack_from(">I", table, 4) if len(table) >= 8 else (0,)
        yield from ((chunk, many) for chunk, many, _ in struct.iter_unpack(">III", _rows(table[8:], count, 12)))

    def _offsets(self) -> Iterator[int]:
        for kind, form, size in ((b"stco", ">I", 4), (b"co64", ">Q", 8)):
            table = self.tables.get(kind, b"")
            if len(table) >= 8:
                (count,) = struct.unpack_from(">I", table, 4)
                yield from (offset for (offset,) in struct.iter_unpack(form, _rows(table[8:], count, size)))
                return


def _rows(table: bytes, count: int, size: int) -> bytes:
    """The first `count` rows of a table, or as many as there are whole ones."""
    return table[: min(count, len(table) // size) * size]


def tracks(moov: bytes) -> list[Track]:
    """The tracks of a moov, which is given with its head. Raises ValueError or struct.error."""
    (whole,) = boxes(moov)
    members = list(boxes(whole.body))
    if any(each.kind == b"cmov" for each in members):
        raise ValueError("its index is compressed")
    return [_track(list(boxes(each.body))) for each in members if each.kind == b"trak"]


def _track(members: list[Box]) -> Track:
    tkhd = _body(members, b"tkhd")
    (number,) = struct.unpack_from(">I", tkhd, 20 if tkhd[:1] == b"\1" else 12)
    media = list(boxes(_body(members, b"mdia")))
    kind = _body(media, b"hdlr")[8:12]
    information = list(boxes(_body(media, b"minf")))
    tables = {each.kind: each.body for each in boxes(_body(information, b"stbl"))}
    edits, is_plain = _edits(members)
    references = [each for box in members if box.kind == b"tref" for each in boxes(box.body) if each.kind == b"chap"]
    chapters = tuple(chapter for each in references for (chapter,) in struct.iter_unpack(">I", _rows(each.body, 64, 4)))
    return Track(number, kind, edits, is_plain and _is_here(information), chapters, tables)


def _body(members: list[Box], kind: bytes) -> bytes:
    body = next((each.body for each in members if each.kind == kind), None)
    if body is None:
        raise ValueError(f"a track of it has no {kind.decode('latin-1')}")
    return body


def _edits(members: list[Box]) -> tuple[int, bool]:
    """How many spans of media the edit list shows, and whether all at the rate 1."""
    lists = [each.body for box in members if box.kind == b"edts" for each in boxes(box.body) if each.kind == b"elst"]
    if not lists:
        return 0, True
    is_wide, (count,) = lists[0][:1] == b"\1", struct.unpack_from(">I", lists[0], 4)
    form, size = (">Qqi", 20) if is_wide else (">Iii", 12)
    rows = list(struct.iter_unpack(form, _rows(lists[0][8:], count, size)))
    shown = [rate for _, media, rate in rows if media >= 0]
    return len(shown), all(rate == 1 << 16 for rate in shown)


def _is_here(information: list[Box]) -> bool:
    """Whether all data references of a track mean the file itself."""
    parts = [each for box in information if box.kind == b"dinf" for each in boxes(box.body) if each.kind == b"dref"]
    return all(each.body[3:4] == b"\1" for dref in parts for each in boxes(dref.body[8:]))
