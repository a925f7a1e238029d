"""Chunks of a film as their encoders have written them: what their packets and their heads tell."""

import os
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from worker.cuts.fragments import Box, Sample, SampleDescription, description, shown_ticks
from worker.errors import PermanentError
from worker.media.demuxers import input_options
from worker.sandbox.runner import Runner, last_lines

_SECONDS = 600
_MOST_HEAD = 1 << 26
"""The longest moov that is read."""
_FIELDS = "stream=time_base:packet=pts,dts,duration,pos,size,flags"
_NAME = slice(42, 74)
"""The encoder's name in the fields of a sample description."""
_SEI = 39, 40
"""Types of the NAL units of HEVC that hold SEI before and behind a picture."""
_USER_DATA = 5
"""The type of an SEI in which encoders tell their options."""


class ChunkFile(NamedTuple):
    """The file of a chunk, in the job's folder.

    `name` is its place in the film. It shows frames from `start`, inclusive, to `end`, exclusive, in ticks of the
    output's clock; times in the file count from `start`. `end` is None for the last chunk. `frames` is how many its
    encoder got, None where unknown.
    """

    file: Path
    name: str
    start: int
    end: int | None
    frames: int | None = None

    def error(self, message: str, log: Sequence[str] = ()) -> PermanentError:
        """The error of a chunk that cannot be joined with the others."""
        return PermanentError("output-invalid", f"Chunk {self.name} {message}", list(log))


class Table(NamedTuple):
    """The samples of a chunk in decode order, with the chunk's own times, and what its head tells.

    `moov` is the box of its head, `ticks` those of a second of its clock, and `length` those from the start of the
    chunk to the end of its last frame.
    """

    samples: list[Sample]
    ticks: int
    length: int
    moov: bytes
    description: SampleDescription

    @property
    def encoder(self) -> str:
        """The name of the encoder, as the head tells it."""
        length, *name = self.description.fields[_NAME]
        return "".join(filter(str.isprintable, bytes(name[:length]).decode("ascii", "replace")))

    @property
    def delay(self) -> int | None:
        """Frames that the encoder holds back to reorder them: each is decoded when the one so far before it is shown.

        None where the chunk is too short to tell.
        """
        shown = sorted(each.pts for each in self.samples)
        try:
            return len(shown) - 1 - shown.index(self.samples[-1].dts)
        except ValueError:
            return None


def read_table(chunk: ChunkFile, ffprobe: str, runner: Runner) -> Table:
    """Read the packets and the head of a chunk. Raises PermanentError `output-invalid`, else as `Runner.run`."""
    listing = _Listing()
    log = chunk.file.with_name(f"{chunk.file.name}.log")
    shown = ("-select_streams", "v", "-show_entries", _FIELDS, "-print_format", "csv")
    opened = (*input_options(runner.limits), "-f", "mov", "-i", f"file:{chunk.file}")
    command = [ffprobe, "-v", "error", *shown, *opened]
    try:
        status = runner.run(command, chunk.file.parent, log, seconds=_SECONDS, on_line=listing.take)
        if status or not listing.samples:
            raise ValueError("no packets")
        moov = _moov(chunk.file)
        table = Table(listing.samples, listing.ticks, shown_ticks(moov, 0), moov, description(moov, 0))
    except (ValueError, OSError) as error:
        raise chunk.error(f"cannot be read: {error}.", last_lines(log, chunk.file.parent)) from error
    _check(chunk, table)
    return table


class _Listing:
    """Reads what ffprobe prints of a chunk's packets, and of its clock."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.ticks = 0

    def take(self, line: str, _: float = 0.0) -> None:
        """Take the next line. Raises ValueError for a packet without a time or a place."""
        kind, *fields = line.strip().split(",")
        if kind == "packet":
            pts, dts, duration, size, place = map(int, fields[:5])
            self.samples.append(Sample(pts, dts, duration, place, size, fields[5].startswith("K")))
        elif kind == "stream":
            above, _slash, below = fields[0].partition("/")
            self.ticks = int(below) if above == "1" else 0


def _moov(file: Path) -> bytes:
    """The moov of a file. Raises ValueError."""
    with file.open("rb") as opened:
        offset, end = 0, os.fstat(opened.fileno()).st_size
        while offset < end:
            opened.seek(offset)
            head = opened.read(16)
            size, kind = struct.unpack_from(">I4s", head.ljust(8, b"\0"))
            if size == 1:
                size = int.from_bytes(head[8:], "big")
            if size < 8 or size > end - offset:
                raise ValueError("it is cut short")
            if kind == b"moov" and size <= _MOST_HEAD:
                opened.seek(offset)
                return opened.read(size)
            offset += size
    raise ValueError("it has no moov")


def _check(chunk: ChunkFile, table: Table) -> None:
    """Raise PermanentError for a chunk that cannot stand by itself, or is not the one that is expected."""
    samples, size = table.samples, chunk.file.stat().st_size
    if chunk.frames is not None and len(samples) != chunk.frames:
        raise chunk.error(f"has {len(samples)} frames, not {chunk.frames}.")
    shown = sorted(each.pts for each in samples)
    if not samples[0].is_key or samples[0].pts != shown[0]:
        raise chunk.error("does not begin with a keyframe.")
    if any(a == b for a, b in pairwise(shown)):
        raise chunk.error("shows two frames at one time.")
    if shown[0] < 0 or (chunk.end is not None and shown[-1] >= chunk.end - chunk.start):
        raise chunk.error("has frames outside its time.")
    if not all(each.size > 0 and 0 <= each.offset <= size - each.size for each in samples):
        raise chunk.error("is cut short.")


def differing(one: SampleDescription, other: SampleDescription) -> str:
    """What two chunks do not have in common, so that no decoder could go from one to the other; empty if nothing."""
    if one.kind != other.kind:
        return f"codec {other.kind.decode('latin-1')}, not {one.kind.decode('latin-1')}"
    if _nameless(one.fields) != _nameless(other.fields):
        return "another size"
    mine, others = dict(map(_comparable, one.members)), dict(map(_comparable, other.members))
    kinds = [kind for kind in {**mine, **others} if mine.get(kind) != others.get(kind)]
    return ", ".join(f"another {kind.decode('latin-1')}" for kind in kinds)


def _nameless(fields: bytes) -> bytes:
    return fields[: _NAME.start] + fields[_NAME.stop :]


def _comparable(box: Box) -> tuple[bytes, object]:
    """The type of a box, and what of it must be equal. x265 writes its options into hvcC, which decoders skip."""
    return box.kind, _units(box.body) if box.kind == b"hvcC" else box.body


def _units(body: bytes) -> object:
    """The fields and NAL units of an hvcC without the encoder's words."""
    units, place = list[bytes](), 23
    try:
        for _ in range(body[22]):
            kind, count = body[place] & 0x3F, int.from_bytes(body[place + 1 : place + 3], "big")
            place += 3
            for _ in range(count):
                size = int.from_bytes(body[place : place + 2], "big")
                unit = body[place + 2 : place + 2 + size]
                place += 2 + size
                if kind not in _SEI or unit[2:3] != bytes([_USER_DATA]):
                    units.append(unit)
    except IndexError:
        return body
    return body[:22], units
