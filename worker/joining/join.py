"""Joins the files of chunks into a film without sound: their coded pictures, with the times of an undivided encode."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from worker.cuts.fragments import Sample, fragment, head_of
from worker.errors import PermanentError
from worker.host_faults import host_error
from worker.joining.chunks import ChunkFile, Table, differing, read_table
from worker.media.bucket import overflow
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner

_PIECE_BYTES = 1 << 20


class Cap(NamedTuple):
    """The most of a film's rate: bits per second, and the bits of a decoder's buffer."""

    rate: int
    buffer: int


class Joined(NamedTuple):
    """A film of several chunks: an MP4 of fragments with one track, whose clock has so many `ticks` a second.

    `overflow` is the number of bits by which it exceeds its cap at worst; 0 without one. `encoder` is the encoder's
    name. The last frame is shown from `last` for `held` ticks.
    """

    file: Path
    ticks: int
    frames: int
    bytes: int
    overflow: int
    encoder: str
    last: int
    held: int


def join(
    chunks: Sequence[ChunkFile],
    target: Path,
    ticks: int,
    ffprobe: str,
    runner: Runner,
    *,
    cap: Cap | None = None,
    consume: bool = False,
    edited: bool = True,
) -> Joined:
    """Join chunks, given in their order, into `target`; all files lie in the job's folder.

    `ticks` are those of a second of the output's clock. With `consume` each chunk's file is removed when its bytes are
    in the target, so that together they take the disk of one film and a chunk. An edit list skips the encoder's delay
    or, unless `edited`, negative offsets do, which all players of segments know. Raises PermanentError `output-invalid`
    for a chunk that does not fit, naming it, and as `Runner.run`.
    """
    with ThreadPoolExecutor(cores()) as threads:
        tables = list(threads.map(lambda chunk: read_table(chunk, ffprobe, runner), chunks))
    _check_seams(chunks, tables, ticks)
    times = _timed(chunks, tables)
    begin = max(0, -times[0].dts)
    before, later = 0, begin if edited else 0
    head = head_of(tables[0].moov, 0, begin=later)
    try:
        with target.open("wb") as film:
            film.write(head)
            for number, (chunk, table) in enumerate(zip(chunks, tables, strict=True), 1):
                runner.check()
                until = before + len(table.samples)
                moved = [each._replace(pts=each.pts + later, dts=each.dts + begin) for each in times[before:until]]
                film.write(_fragment(chunk, moved, number))
                _copy(chunk, table.samples, film)
                before = until
                if consume:
                    chunk.file.unlink()
    except OSError as error:
        raise host_error(error) or error from error
    worst = overflow(((each.dts, each.size) for each in times), ticks, *cap) if cap else 0
    last = max(each.pts for each in times)
    held = max(1, chunks[-1].start + tables[-1].length - last)
    size = sum(each.size for each in times)
    return Joined(target, ticks, len(times), size, worst, tables[0].encoder, last, held)


def _check_seams(chunks: Sequence[ChunkFile], tables: Sequence[Table], ticks: int) -> None:
    """Raise PermanentError for a chunk that does not follow the one before it."""
    if not chunks:
        raise PermanentError("output-invalid", "There is no chunk to join.")
    for chunk, following in pairwise(chunks):
        if chunk.end != following.start:
            raise following.error("does not begin where the one before it ends.")
    for chunk, table in zip(chunks, tables, strict=True):
        if table.ticks != ticks:
            raise chunk.error(f"has a clock of {table.ticks} ticks a second, not {ticks}.")
        if other := differing(tables[0].description, table.description):
            raise chunk.error(f"is coded in another way than the first: it has {other}.")


def _timed(chunks: Sequence[ChunkFile], tables: Sequence[Table]) -> list[Sample]:
    """All samples with the times of the film, as one encoder would have told them.

    A frame is decoded when the one that is the encoder's delay before it is shown. The first ones, which have none
    before them, come as long before they are shown as the encoder takes to fill its delay.
    """
    samples = list(chain.from_iterable(map(_placed, chunks, tables)))
    shown = sorted(each.pts for each in samples)
    delay = min(max((table.delay or 0 for table in tables), default=0), len(shown) - 1)
    lead = shown[delay] - shown[0]
    decoded = [*(time - lead for time in shown[:delay]), *shown[: len(shown) - delay]]
    steps = [*(b - a for a, b in pairwise(decoded)), samples[-1].duration]
    timed = [each._replace(dts=dts, duration=step) for each, dts, step in zip(samples, decoded, steps, strict=True)]
    place = 0
    for chunk, table in zip(chunks, tables, strict=True):
        until = place + len(table.samples)
        if any(each.pts < each.dts for each in timed[place:until]):
            raise chunk.error("shows a frame before it can be decoded.")
        place = until
    return timed


def _placed(chunk: ChunkFile, table: Table) -> Iterator[Sample]:
    return (each._replace(pts=each.pts + chunk.start) for each in table.samples)


def _fragment(chunk: ChunkFile, samples: Sequence[Sample], number: int) -> bytes:
    try:
        return fragment(samples, number)
    except ValueError as error:
        raise chunk.error(f"cannot be joined: {error}.") from error


def _copy(chunk: ChunkFile, samples: Iterable[Sample], film: BinaryIO) -> None:
    """Append the bytes of samples, in their order."""
    with chunk.file.open("rb") as file:
        for offset, size in _spans(samples):
            file.seek(offset)
            left = size
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise chunk.error("is cut short.")
                film.write(piece)
                left -= len(piece)


def _spans(samples: Iterable[Sample]) -> Iterator[tuple[int, int]]:
    """Offset and size of the bytes of samples, those that follow one another in one."""
    begin = end = 0
    for each in samples:
        if each.offset != end:
            if end > begin:
                yield begin, end - begin
            begin = each.offset
        end = each.offset + each.size
    if end > begin:
        yield begin, end - begin
