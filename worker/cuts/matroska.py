"""Cuts of Matroska and WebM: by the cues of the film, which say in which clusters its key frames lie.

A cut has the film's blocks of whole clusters, under the times that they have in the source. What else is in the
clusters goes into a piece of the rest.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from mmap import mmap
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import structs

from worker.cuts import ebml
from worker.cuts.ebml import Block, Damage, Element
from worker.cuts.hollow import Hollow, film_ticks, rescaled
from worker.cuts.objects import Bytes, Span
from worker.cuts.raw import Raw
from worker.cuts.recipes import Film, Recipe, Uncuttable
from worker.errors import PermanentError
from worker.media.source import Source

_WINDOW = 1 << 16
_MOST_HEADS = 100
_MOST_BYTES = 64 << 20
"""Bytes of an element beside the clusters that are read."""
_MOST_CUES = 1_000_000
_FIRST_BYTES = 5_200_000
_FIRST_SHARE = 32
_LEAST_FIRST = 1 << 20
REORDERED = 64
"""Frames behind which none is shown earlier: more than any encoder reorders."""
_STEP = 1 << 20
_AHEAD = 48
_SEEK_EARLIER = 0.25
_MOST_LOOK = 24 << 20
_SHOWN_TYPES = (1, 2, 0x11, 0x21)
"""Types of tracks that ffmpeg makes streams of: pictures, sound, subtitles and metadata."""
_TIMESTAMP = 0xE7


class _Cue(NamedTuple):
    """A key frame: its time in ticks, and where its cluster begins."""

    time: int
    place: int


class _Track(NamedTuple):
    """A track entry: the whole element, and what of it matters here."""

    entry: bytes
    number: int
    kind: int
    codec: str
    delay: int
    scale: float


class _Layout(NamedTuple):
    """Where the elements of a segment lie: its content begins at `begin`, its first cluster at `first`."""

    begin: int
    first: int
    head: bytes
    parts: dict[int, Span]


class MatroskaIndex:
    """The index of a Matroska or WebM file. See `Index`."""

    is_exact = False

    def __init__(self, film: Film, cues: list[_Cue], first: int, end: int, source: Source) -> None:
        self.film, self.frames = film, source.video.frames
        self._cues, self._end = [_Cue(min(cues[0].time, 0), first), *cues], end
        self._times = [cue.time for cue in self._cues]

    def entries(self) -> list[float]:
        """As `Index.entries`."""
        return sorted({max(0.0, (cue.time - self.film.shift) / self.film.ticks) for cue in self._cues})

    def recipe(self, start: float, end: float | None, lead: float = 0.0) -> Recipe:
        """As `Index.recipe`."""
        first, own = self._cue(start - lead if start > 0 else 0.0), self._cue(start)
        last = self._end if end is None else self._cue(end + lead).place
        last = max(last, first.place)
        mine = last if end is None else min(last, self._cue(end).place)
        pieces = [(first.place, last - first.place)]
        begin = first.time if first.place > self._cues[0].place else -(2**62)
        return Recipe(
            pieces,
            own=(min(own.place, mine), mine),
            begin=begin,
            end=None if end is None else self._tick(end + lead),
        )

    def weights(self, bounds: Sequence[float]) -> list[int]:
        """As `Index.weights`."""
        return [max(0, b - a) for a, b in pairwise(self._about(bound) for bound in bounds)]

    def reach(self, start: float, count: int, rate: float) -> Span:
        """The clusters that a decoder reads for so many pictures from a time on."""
        first = self._cue(start - _SEEK_EARLIER).place
        stop = self._tick(start + (count + _AHEAD) / rate) if rate else 0
        number = bisect_right(self._times, stop)
        last = self._cues[number].place if number < len(self._cues) else self._end
        return Span(first, min(_MOST_LOOK, max(last - first, _STEP)))

    def _about(self, second: float) -> int:
        tick = self._tick(second)
        number = bisect_right(self._times, tick) - 1
        cue = self._cues[max(0, number)]
        if number + 1 >= len(self._cues):
            return cue.place if tick <= cue.time else self._end
        later = self._cues[number + 1]
        return round(cue.place + (later.place - cue.place) * (tick - cue.time) / max(1, later.time - cue.time))

    def _cue(self, second: float) -> _Cue:
        if second <= 0:
            return self._cues[0]
        return self._cues[max(0, bisect_right(self._times, self._tick(second)) - 1)]

    def _tick(self, second: float) -> int:
        return ceil(round(second * self.film.ticks, 3)) + self.film.shift


def open_matroska(hollow: Hollow) -> tuple[Source, MatroskaIndex]:
    """What a Matroska or WebM file holds, and its index. Raises Uncuttable."""
    try:
        layout = _layout(hollow.source)
        cues = layout.parts.get(ebml.CUES)
        if not cues:
            raise Uncuttable("it has no cues")
        first = min(_FIRST_BYTES, max(_LEAST_FIRST, hollow.source.size // _FIRST_SHARE))
        hollow.fill([Span(0, layout.first + first), *layout.parts.values()])
        source = hollow.probed()
        video = source.video
        if video.is_late:
            raise Uncuttable("its tracks begin late")
        start, ticks, _ = film_ticks(hollow, video)
        film = _film(hollow.source, layout, video.stream, rescaled(start, ticks), ticks)
        film_cues = _cues(hollow.source.read(*cues), layout, film.track, hollow.source.size)
        film = structs.replace(film, slack=ceil(REORDERED / video.rate * ticks) if video.rate else 2**62)
        behind = [span.offset for span in layout.parts.values() if span.offset > film_cues[-1].place]
        index = MatroskaIndex(film, film_cues, layout.first, min([*behind, hollow.source.size]), source)
    except (ValueError, IndexError, KeyError, OverflowError, struct.error) as error:
        raise Uncuttable(f"its index is not as it should be: {error}") from error

    def look(start: float, count: int) -> tuple[Path, float]:
        hollow.fill([index.reach(start, count, video.rate)])
        return hollow.path, start

    return hollow.scanned(source, look), index


def _layout(source: Bytes) -> _Layout:
    """Where the elements of the segment lie, by small reads."""
    window = source.read(0, _WINDOW)
    header = ebml.element(window, 0, len(window))
    if header.number != ebml.EBML or header.end is None or header.end > _WINDOW - 64:
        raise ValueError("it has no header")
    segment = ebml.element(window, header.end, len(window))
    if segment.number != ebml.SEGMENT:
        raise ValueError("it has no segment")
    place, parts, sought = segment.start, dict[int, Span](), list[Span]()
    first = 0
    for _ in range(_MOST_HEADS):
        each = _at(source, place)
        if each.number == ebml.CLUSTER:
            first = place
            break
        if each.end is None:
            raise ValueError("an element of it has no size")
        span = Span(place, each.end - place)
        if each.number in ebml.TOP:
            parts.setdefault(each.number, span)
        if each.number == ebml.SEEK_HEAD:
            sought.append(span)
        place = each.end
    if not first:
        raise ValueError("it has no cluster")
    for span in sought:
        _seek(source, span, segment.start, parts)
    if too_long := [span for span in parts.values() if span.size > _MOST_BYTES]:
        raise ValueError(f"an element of it has {too_long[0].size} bytes")
    return _Layout(segment.start, first, window[: segment.place], parts)


def _at(source: Bytes, place: int) -> Element:
    head = source.read(place, 16)
    each = ebml.element(head, 0, len(head))
    return Element(each.number, place + each.start, None if each.end is None else place + each.end, place)


def _seek(source: Bytes, span: Span, begin: int, parts: dict[int, Span]) -> None:
    """Add the elements that a seek head leads to, as far as they are there."""
    data = source.read(*Span(span.offset, min(span.size, _MOST_BYTES)))
    head = ebml.element(data, 0, len(data))
    for entry in ebml.elements(data, head.start, head.end):
        if entry.number != 0x4DBB:
            continue
        fields = {each.number: ebml.content(data, each) for each in ebml.elements(data, entry.start, entry.end)}
        number, place = ebml.unsigned(fields.get(0x53AB, b"")), begin + ebml.unsigned(fields.get(0x53AC, b""))
        if number in parts or number == ebml.CLUSTER or number not in ebml.TOP or place + 16 > source.size:
            continue
        each = _at(source, place)
        if each.number == number and each.end is not None and each.end <= source.size:
            parts[number] = Span(place, each.end - place)
            if number == ebml.SEEK_HEAD:
                _seek(source, parts[number], begin, parts)


def _film(source: Bytes, layout: _Layout, stream: int, shift: int, ticks: int) -> Film:
    data = source.read(*layout.parts[ebml.TRACKS])
    head = ebml.element(data, 0, len(data))
    entries = [_track(data, each) for each in ebml.elements(data, head.start, head.end) if each.number == 0xAE]
    shown = [track for track in entries if track.kind in _SHOWN_TYPES and track.codec]
    if not 0 <= stream < len(shown) or shown[stream].kind != 1:
        raise ValueError("the film is none of its tracks")
    track = shown[stream]
    if track.delay or track.scale not in (0.0, 1.0) or track.codec.startswith("V_MS"):
        raise Uncuttable("its film has a clock of its own")
    if [each.number for each in shown].count(track.number) != 1:
        raise ValueError("its tracks have no numbers of their own")
    facts = source.read(*layout.parts[ebml.INFO])
    begin = layout.head + ebml.opening(ebml.SEGMENT) + facts
    return Film(
        "matroska", begin + ebml.whole(ebml.TRACKS, track.entry), shift, 0, ticks, track.number, rest_head=begin + data
    )


def _track(data: bytes, entry: Element) -> _Track:
    fields = {each.number: ebml.content(data, each) for each in ebml.elements(data, entry.start, entry.end)}
    return _Track(
        data[entry.place : entry.end],
        ebml.unsigned(fields.get(0xD7, b"")),
        ebml.unsigned(fields.get(0x83, b"")),
        fields.get(0x86, b"").rstrip(b"\0").decode("latin-1"),
        ebml.unsigned(fields.get(0x56AA, b"")),
        ebml.real(fields.get(0x23314F, b"")),
    )


def _cues(data: bytes, layout: _Layout, track: int, size: int) -> list[_Cue]:
    """The film's cues. Raises Uncuttable without any, ValueError for those that do not ascend."""
    head, cues = ebml.element(data, 0, len(data)), list[_Cue]()
    for point in ebml.elements(data, head.start, head.end):
        if point.number != 0xBB:
            continue
        members = list(ebml.elements(data, point.start, point.end))
        time = next((ebml.unsigned(ebml.content(data, each)) for each in members if each.number == 0xB3), 0)
        for each in members:
            if each.number == 0xB7:
                fields = {item.number: ebml.content(data, item) for item in ebml.elements(data, each.start, each.end)}
                if ebml.unsigned(fields.get(0xF7, b"")) == track:
                    cues.append(_Cue(time, layout.begin + ebml.unsigned(fields.get(0xF1, b""))))
        if len(cues) > _MOST_CUES:
            raise ValueError("it has too many cues")
    if not cues:
        raise Uncuttable("it has no cues of the film")
    if any(b.time <= a.time or b.place < a.place for a, b in pairwise(cues)):
        raise ValueError("its cues do not ascend")
    if cues[0].place < layout.first or cues[-1].place >= size or cues[-1].time > 2**53:
        raise ValueError("a cue leads out of the file")
    return cues


def cut_matroska(film: Film, recipe: Recipe, source: Bytes, target: Path, rest: Path | None) -> None:
    """Write a cut, and the piece of the rest. Raises JobError or Interrupted."""
    path = target.with_name(f"{target.name}.raw")
    try:
        ((offset, size),) = recipe.pieces
        raw = Raw(source, Span(offset, size), path)
        stop = _stop(film, recipe, raw, size)
        with raw.mapped() as data:
            with target.open("wb") as file:
                file.write(film.head)
                _copy(data, _of_film(film, recipe, ebml.blocks(data, 0, stop)), file)
            if rest:
                first, last = (place - offset for place in recipe.own)
                beside = (
                    each
                    for each in ebml.blocks(data, first, last)
                    if isinstance(each, Damage) or each.track != film.track
                )
                with rest.open("wb") as file:
                    _copy(data, beside, file)
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise PermanentError("input-corrupt", f"The input's clusters are not as they should be: {error}.") from error
    finally:
        path.unlink(missing_ok=True)


def _stop(film: Film, recipe: Recipe, raw: Raw, size: int) -> int:
    """Add to what is read until it holds all pictures that the cut needs. Returns where the last of them ends."""
    end = recipe.end
    if end is None:
        return size
    while True:
        is_whole, key = not raw.add(), None
        with raw.mapped() as data:
            for block in ebml.blocks(data, size, len(data)):
                if isinstance(block, Damage) or block.track != film.track:
                    continue
                if block.time >= end + film.slack or (key is not None and block.time > key):
                    return block.place
                key = block.time if key is None and block.is_key and block.time >= end else key
            if is_whole:
                return len(data)


def _of_film(film: Film, recipe: Recipe, listed: Iterator[Block | Damage]) -> Iterator[Block | Damage]:
    """The film's blocks from the key frame on at which the cut begins, and all damage, which ffmpeg counts."""
    has_begun = recipe.begin < 0
    for block in listed:
        if isinstance(block, Damage):
            yield block
        elif block.track == film.track:
            has_begun = has_begun or (block.is_key and block.time >= recipe.begin)
            if has_begun:
                yield block


def _copy(data: mmap, listed: Iterator[Block | Damage], file: BinaryIO) -> None:
    """Write blocks, each under the time of its cluster, and damage as it is."""
    cluster = -1
    for block in listed:
        if isinstance(block, Block) and block.cluster != cluster:
            cluster = block.cluster
            file.write(ebml.opening(ebml.CLUSTER) + ebml.whole(_TIMESTAMP, block.since.to_bytes(8, "big")))
        file.write(data[block.place : block.end])
