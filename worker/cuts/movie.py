"""Cuts of mp4 and mov: by the tables of samples that their index is made of.

ffprobe lists all samples of a hollow copy in ffmpeg's own clock, with edit lists applied. A cut is a fragmented MP4.
"""

import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path

from msgspec import structs

from worker.cuts.fragments import Sample, fragment, head_of
from worker.cuts.hollow import Hollow, film_ticks, rescaled
from worker.cuts.objects import CLOSE, Bytes, LocalFile, Span, joined
from worker.cuts.recipes import Film, Recipe, Uncuttable
from worker.cuts.tables import Track, top_boxes, tracks
from worker.errors import PermanentError
from worker.media.probe import packets
from worker.media.source import Source
from worker.sandbox.runner import Runner

_MOST_INDEX = 256 << 20
_MOST_ASIDE = 1 << 20
"""Bytes of a box beside the index that is read."""
_MOST_SAMPLES = 20_000_000
_FIRST_SAMPLES = 60
_FIRST_BYTES = 1 << 20
_FIRST_PIECE = 1 << 16
"""Bytes from the begin of a track that is not made of samples, but of a stream, such as PCM."""
_MOST_CHAPTERS = 100_000
_CHAPTER_BYTES = 8 << 20
_AHEAD = 48
"""Samples behind those that idet looks at which the threads of a decoder may read."""
_SEEK_EARLIER = 0.25
"""Seconds by which ffmpeg seeks earlier than it is to, for the delay of decoders."""
_FIELDS = "stream_index,pts,dts,duration,size,pos,flags"
_GAPS = (64 << 10, 16 << 10, 4 << 10, 0)
MOVIE = "mov"
"""ffmpeg's demuxer of mp4 and mov."""
_MOST_WASTE = 0.05
_MOST_RANGES = 1000
"""Byte ranges that the holder of a film fetches for its rest; of more, the workers of chunks bring pieces."""


class Samples:
    """The samples of a film in decode order, and where the other tracks have theirs, as ffprobe lists them."""

    def __init__(self, film: int, others: set[int]) -> None:
        self._film, self._others = film, others
        self.pts, self.dts, self.durations = array("q"), array("q"), array("q")
        self.offsets, self.sizes = array("q"), array("q")
        self.keys, self.hidden = bytearray(), bytearray()
        self.beside = array("q")
        self.fault = ""

    def take(self, line: str, _: float = 0.0) -> None:
        """Take the next line of ffprobe's csv of _FIELDS."""
        fields = line.rstrip().split(",")
        if self.fault or len(fields) < 7:
            return
        try:
            stream = int(fields[0])
            if stream != self._film:
                if stream in self._others:
                    self.beside.extend((int(fields[5]), int(fields[4])))
                    if len(self.beside) > 2 * _MOST_SAMPLES:
                        self.fault = "it has too many samples"
                return
            pts, dts, size, offset = int(fields[1]), int(fields[2]), int(fields[4]), int(fields[5])
            duration = int(fields[3]) if fields[3] != "N/A" else 0
        except ValueError:
            self.fault = "a sample has no time or no place"
            return
        if len(self.pts) >= _MOST_SAMPLES:
            self.fault = "it has too many samples"
            return
        for column, value in zip(
            (self.pts, self.dts, self.durations, self.offsets, self.sizes),
            (pts, dts, duration, offset, size),
            strict=True,
        ):
            column.append(value)
        self.keys.append(fields[6][:1] == "K")
        self.hidden.append(fields[6][1:2] == "D")


class MovieIndex:
    """The index of an mp4 or mov. See `Index`."""

    is_exact = True

    def __init__(self, film: Film, samples: Samples, hollow: Hollow) -> None:
        self._samples, self._hollow = samples, hollow
        self.frames: int | None = len(samples.pts) - sum(samples.hidden)
        self._lift, self._later = _lifts(samples)
        self.film, self._shift = _bounded(film, samples, self._lift), film.shift
        last = 2**63 - 1
        shown = (last if hidden else pts for pts, hidden in zip(samples.pts, samples.hidden, strict=True))
        self._earliest = array("q", accumulate(reversed(list(shown)), min))
        self._earliest.reverse()
        self._entries, self._times = _entries(samples)
        self._bytes = array("q", accumulate(samples.sizes, initial=0))
        beside = samples.beside
        self._beside = sorted((beside[at], beside[at + 1]) for at in range(0, len(beside), 2))
        spans = [Span(*each) for each in self._beside]
        most = sum(each.size for each in joined(spans)) + _MOST_WASTE * hollow.source.size
        self._gap = next((gap for gap in _GAPS if sum(each.size for each in joined(spans, gap)) <= most), 0)
        self._ranges = len(joined(spans, self._gap))
        self._is_ascending = all(a < b for a, b in pairwise(samples.offsets))

    def entries(self) -> list[float]:
        """As `Index.entries`."""
        return [max(0.0, (time - self._shift) / self.film.ticks) for time in self._times]

    def recipe(self, start: float, end: float | None, lead: float = 0.0) -> Recipe:
        """As `Index.recipe`."""
        samples = self._samples
        begin = self._tick(start - lead)
        first = self._entries[max(0, bisect_right(self._times, begin) - 1)] if start > 0 else 0
        last = len(samples.pts) if end is None else self._stop(end + lead)
        chosen = [self._sample(number) for number in range(first, max(first, last))]
        pieces = [Span(each.offset, each.size) for each in chosen]
        shown = None if end is None else self._tick(end + lead) + self._lift
        own = (self._place(start), self._place(end)) if self.has_pieces else (0, 0)
        beside = self._beside[bisect_left(self._beside, (own[0], 0)) : bisect_left(self._beside, (own[1], 0))]
        return Recipe(
            [(each.offset, each.size) for each in joined(pieces)],
            chosen,
            own=own,
            beside=[(each.offset, each.size) for each in joined(Span(*each) for each in beside)],
            begin=begin + self._lift,
            end=shown,
        )

    @property
    def has_pieces(self) -> bool:
        """Whether the rest is brought by the workers of chunks: its samples are too many ranges for one to fetch."""
        return self._ranges > _MOST_RANGES and self._is_ascending

    def _place(self, second: float | None) -> int:
        """Where the bytes of the chunk that begins at a second of the source begin; None is the end of the film."""
        if second is None:
            return self._hollow.source.size
        number = self._stop(second) if second > 0 else 0
        return self._samples.offsets[number] if 0 < number < len(self._samples.offsets) else 0

    def weights(self, bounds: Sequence[float]) -> list[int]:
        """As `Index.weights`."""
        places = [self._bytes[self._stop(bound)] for bound in bounds]
        return [b - a for a, b in pairwise(places)]

    def rest(self, target: Path) -> Path:
        """Make the rest of the hollow copy: fill in the samples of all other tracks, and move it to `target`."""
        self._hollow.fill([Span(*each) for each in self._beside], self._gap)
        return self._hollow.path.replace(target)

    def rest_of(self, pieces: Sequence[Path], target: Path) -> Path:
        """Make the rest of the hollow copy and the pieces that the chunks have brought, in their order."""
        places = iter(self._beside)
        with self._hollow.path.open("r+b") as file:
            for piece in pieces:
                with piece.open("rb") as content:
                    left = piece.stat().st_size
                    while left > 0 and (place := next(places, None)):
                        file.seek(place[0])
                        file.write(content.read(place[1]))
                        left -= place[1]
        return self._hollow.path.replace(target)

    def reach(self, start: float, count: int) -> list[Span]:
        """The samples that a decoder reads for so many pictures from a time on."""
        first = self._entries[max(0, bisect_right(self._times, self._tick(start - _SEEK_EARLIER)) - 1)]
        begin = max(first, bisect_right(self._earliest, self._tick(start)))
        samples = self._samples
        reached = range(first, min(begin + count + _AHEAD, len(samples.pts)))
        return [Span(samples.offsets[number], samples.sizes[number]) for number in reached]

    def _tick(self, second: float) -> int:
        """The first tick of ffmpeg's clock that is at or after a second of the source."""
        return ceil(round(second * self.film.ticks, 3)) + self._shift

    def _stop(self, end: float) -> int:
        """Behind the last sample, in decode order, that is shown before a second of the source."""
        return bisect_left(self._earliest, self._tick(end))

    def _sample(self, number: int) -> Sample:
        samples, lift = self._samples, self._lift
        return Sample(
            samples.pts[number] + lift,
            samples.dts[number] - self._later + lift,
            samples.durations[number],
            samples.offsets[number],
            samples.sizes[number],
            bool(samples.keys[number]),
        )


def _lifts(samples: Samples) -> tuple[int, int]:
    """Ticks to add to all times, so that none is negative, and to take from decoding times, so that none is late."""
    later = max(0, max(dts - pts for dts, pts in zip(samples.dts, samples.pts, strict=True)))
    return max(0, later - min(samples.dts)), later


def _entries(samples: Samples) -> tuple[list[int], list[int]]:
    """The key samples that all samples before them are shown before, by number, and their times."""
    entries, times, latest = [0], [samples.pts[0]], samples.pts[0]
    for number, (pts, is_key) in enumerate(zip(samples.pts, samples.keys, strict=True)):
        if is_key and number and pts > latest:
            entries.append(number)
            times.append(pts)
        latest = max(latest, pts)
    return entries, times


def open_movie(hollow: Hollow) -> tuple[Source, MovieIndex]:
    """What an mp4 or mov holds, and its index. Raises Uncuttable."""
    try:
        moov, listed = _fill_index(hollow)
        source = hollow.probed()
        film, samples = _film(hollow, source, moov, listed)
        _check(samples)
        index = MovieIndex(film, samples, hollow)
    except (ValueError, struct.error) as error:
        raise Uncuttable(f"its index is not as it should be: {error}") from error

    def look(start: float, count: int) -> tuple[Path, float]:
        hollow.fill(index.reach(start, count))
        return hollow.path, start

    return hollow.scanned(source, look), index


def _fill_index(hollow: Hollow) -> tuple[bytes, list[Track]]:
    """Fill in all boxes but those of media, and the first samples of each track. Returns the moov and its tracks."""
    spans, moov = [], Span(0, 0)
    for box in top_boxes(hollow.source):
        if box.kind in (b"moof", b"sidx", b"mfra"):
            raise Uncuttable("it is fragmented")
        if box.kind == b"moov":
            moov = moov if moov.size else box.span
        is_read = box.kind not in (b"mdat", b"free", b"skip", b"wide", b"moov") and box.span.size <= _MOST_ASIDE
        spans.append(box.span if is_read else Span(box.span.offset, box.head))
    if not moov.size or moov.size > _MOST_INDEX:
        raise Uncuttable("it has no index (moov)" if not moov.size else f"its index has {moov.size} bytes")
    content = hollow.source.read(*moov)
    listed = tracks(content)
    hollow.put(moov.offset, content)
    titles = {number for track in listed for number in track.chapters}
    for track in listed:
        spans += _chapters(track) if track.number in titles else _first(track)
    hollow.fill(spans)
    return content, listed


def _chapters(track: Track) -> list[Span]:
    spans = list(track.spans(_MOST_CHAPTERS + 1))
    if len(spans) > _MOST_CHAPTERS or sum(each.size for each in spans) > _CHAPTER_BYTES:
        raise Uncuttable("its chapters take too much room")
    return spans


def _first(track: Track) -> list[Span]:
    """The first samples of a track: enough to find out what a decoder makes of them."""
    spans, total = list[Span](), 0
    for number, span in enumerate(track.spans(_FIRST_SAMPLES)):
        if number > 2 and total > _FIRST_BYTES:
            break
        spans.append(span if span.size >= _SMALL_SAMPLE else Span(span.offset, _FIRST_PIECE))
        total += span.size
    return spans


_SMALL_SAMPLE = 16
"""Bytes up to which what the tables call a sample may be one of PCM."""


def _film(hollow: Hollow, source: Source, moov: bytes, listed: list[Track]) -> tuple[Film, Samples]:
    video = source.video
    start, ticks, streams = film_ticks(hollow, video)
    number = int(str(streams[video.stream].get("id")), 16)
    places = [place for place, track in enumerate(listed) if track.number == number]
    if len(places) != 1:
        raise Uncuttable("its tracks have no numbers of their own")
    track = listed[places[0]]
    if track.edits > 1 or not track.is_whole:
        raise Uncuttable("its edit list has several parts" if track.edits > 1 else "its edit list changes the speed")
    others = {index for index, each in streams.items() if each.get("codec_type") != "video"}
    samples = Samples(video.stream, others)
    settings, runner = hollow.settings, hollow.runner
    packets(settings.ffprobe, runner, hollow.path, _FIELDS, samples.take, is_late=video.is_late)
    return Film(MOVIE, head_of(moov, places[0]), rescaled(start, ticks), 0, ticks, number), samples


def _check(samples: Samples) -> None:
    """Raises Uncuttable for samples of which no cut can be made."""
    if samples.fault or not samples.pts:
        raise Uncuttable(samples.fault or "its index lists no samples")
    if any(b < a for a, b in pairwise(samples.dts)):
        raise Uncuttable("its samples are out of order")
    if min(samples.offsets) < 0 or min(samples.sizes) < 0:
        raise Uncuttable("a sample has no place")
    most = 2**40
    if max(map(abs, (samples.pts[0], *samples.dts[:: max(1, len(samples.dts) - 1)]))) > most * 4:
        raise Uncuttable("its clock is beyond belief")
    if max(abs(pts - dts) for pts, dts in zip(samples.pts, samples.dts, strict=True)) >= 2**30:
        raise Uncuttable("a picture is shown too long after it is decoded")


def _bounded(film: Film, samples: Samples, lift: int) -> Film:
    """The film on the clock of cuts, with the times at which its edit begins and ends, where it hides pictures."""
    lifted = structs.replace(film, shift=film.shift + lift)
    if not any(samples.hidden):
        return lifted
    shown = [pts for pts, hidden in zip(samples.pts, samples.hidden, strict=True) if not hidden]
    if not shown:
        raise Uncuttable("its edit list hides all pictures")
    first, until = min(shown), max(shown) + 1
    if any(hidden and first <= pts < until for pts, hidden in zip(samples.pts, samples.hidden, strict=True)):
        raise Uncuttable("its edit list hides pictures between others")
    return structs.replace(lifted, first=first + lift, until=until + lift)


def cut_movie(
    film: Film, recipe: Recipe, source: Bytes, target: Path, runner: Runner, rest: Path | None = None
) -> None:
    """Write a cut and, into the file `rest` if given, a piece of the rest. Raises JobError or Interrupted."""
    try:
        head = film.head + fragment(recipe.samples, 1)
    except ValueError as error:
        raise PermanentError("input-corrupt", f"The input's index is not as it should be: {error}.") from error
    target.write_bytes(head)
    if rest and recipe.beside:
        source = _fetched(recipe, source, target, runner)
        rest.touch()
        beside = [Span(*each) for each in recipe.beside]
        source.fetch(beside, rest, accumulate((each.size for each in beside[:-1]), initial=0))
    places = accumulate((each.size for each in recipe.samples[:-1]), initial=len(head))
    source.fetch([Span(each.offset, each.size) for each in recipe.samples], target, places)
    if rest and recipe.beside:
        _whole(target).unlink()


def _fetched(recipe: Recipe, source: Bytes, target: Path, runner: Runner) -> Bytes:
    """What a cut and its piece of the rest need of the source, read at once into a hollow copy beside `target`."""
    spans = [Span(*each) for each in (*recipe.pieces, *recipe.beside)]
    whole = _whole(target)
    whole.touch()
    os.truncate(whole, source.size)
    source.fetch(joined(spans, CLOSE), whole, [each.offset for each in joined(spans, CLOSE)])
    return LocalFile(whole, runner)


def _whole(target: Path) -> Path:
    return target.with_name(f"{target.name}.bytes")
