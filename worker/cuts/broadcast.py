"""Cuts of MPEG transport streams: by small reads at equal distances, since they have no index.

The reads show how time goes with bytes. Around a place where a cut is wanted, more is read, until a key frame is seen.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from math import ceil
from pathlib import Path

from worker.cuts.hollow import Hollow, film_ticks, rescaled
from worker.cuts.matroska import REORDERED
from worker.cuts.objects import Bytes, Span
from worker.cuts.raw import Raw
from worker.cuts.recipes import Film, Recipe, Uncuttable
from worker.cuts.transport import PACKET, Picture, is_transport, pictures, tables, without
from worker.media.source import Source

_TICKS = 90_000
_FIRST_BYTES = PACKET * 27_800
"""What ffprobe looks at: 5 MB and a bit more."""
_LAST_BYTES = PACKET * 1400
"""What it looks at to find when a stream ends."""
_CODECS = ("h264", "hevc", "mpeg2video")
_WRAP = 2**33
_STEP_SECONDS = 6.0
_MOST_STEP = 9 * _TICKS
"""A step of the clock that ffmpeg would join is one of 10 s."""
_LEAST_WINDOW, _MOST_WINDOW = PACKET * 128, PACKET * 512
_WINDOW_SHARE = 64
_MOST_WINDOWS = 40
_LOOK_WINDOW = PACKET * 1400
_USUAL_GROUP = 2.0
_EVEN_STEPS = 8
_THREADS = 10
_AHEAD = 48
_MARGIN = _TICKS // 10
"""Ticks behind a time up to which a picture may be decoded that is shown before it, for the sake of rounding."""
_STEP = 1 << 20


class BroadcastIndex:
    """The index of a transport stream. See `Index`."""

    is_exact = False

    def __init__(self, film: Film, codec: str, marks: list[Picture], head: list[Picture], source: Bytes) -> None:
        self.film = film
        self.frames: int | None = None
        self._codec, self._source = codec, source
        self._times = array("q", (mark.decoded for mark in marks))
        self._places = array("q", (mark.offset for mark in marks))
        keys = [picture for picture in head if picture.is_key]
        steps = [b.time - a.time for a, b in pairwise(keys)]
        self._group = max(steps, default=round(_USUAL_GROUP * _TICKS))
        times = sorted(picture.time for picture in head)
        self._step = min((b - a for a, b in pairwise(times) if b > a), default=0) * 3 // 2
        self._keys = {key.time: key.offset for key in keys}
        self._seen = dict[int, Picture | None]()

    def entries(self) -> list[float]:
        """As `Index.entries`."""
        return sorted(max(0.0, (time - self.film.shift) / _TICKS) for time in self._keys)

    def recipe(self, start: float, end: float | None, lead: float = 0.0) -> Recipe:
        """As `Index.recipe`."""
        first, own = self._key(start - lead if start > 0 else 0.0), self._key(start)
        begin = first.offset if first else 0
        last = until = self._source.size
        if end is not None:
            key, later = self._key(end), self._key(end + lead)
            last = max(begin, later.offset if later else 0)
            until = min(last, key.offset if key else 0)
        mine = min(until, own.offset if own else 0)
        return Recipe(
            [(begin, last - begin)],
            own=(mine, until),
            begin=first.time if first else 0,
            end=None if end is None else self._tick(end + lead),
        )

    def weights(self, bounds: Sequence[float]) -> list[int]:
        """As `Index.weights`."""
        return [max(0, b - a) for a, b in pairwise(self._about(self._tick(bound)) for bound in bounds)]

    def _tick(self, second: float) -> int:
        return ceil(round(second * _TICKS, 3)) + self.film.shift

    def _about(self, tick: int) -> int:
        """About where a tick lies in the source, in bytes."""
        number = bisect_right(self._times, tick) - 1
        if number < 0:
            return 0
        if number + 1 >= len(self._times):
            return self._source.size
        time, later = self._times[number], self._times[number + 1]
        place, behind = self._places[number], self._places[number + 1]
        return place + (behind - place) * (tick - time) // max(1, later - time)

    def _key(self, second: float) -> Picture | None:
        """A key frame at or shortly before a second of the source; None for the begin of the source."""
        tick = self._tick(second)
        if second <= 0:
            return None
        if tick not in self._seen:
            self._seen[tick] = self._ordered(tick, self._sought(tick))
        return self._seen[tick]

    def _ordered(self, tick: int, key: Picture | None) -> Picture | None:
        """The key frame for a tick, not in front of those for earlier ticks, nor behind those for later ones."""
        before = [seen for other, seen in self._seen.items() if other < tick and seen]
        after = [seen for other, seen in self._seen.items() if other > tick]
        if None in after:
            return None
        key = max([*before, *([key] if key else [])], default=None)
        later = min((seen for seen in after if seen), default=None)
        return min(key, later) if key and later else key

    def _sought(self, tick: int) -> Picture | None:
        """Look for the key frame from a while before a tick on; from ever longer before, where none is seen."""
        step = back = round(0.4 * self._group) + _TICKS // 10
        stop = self._about(tick) + _LOOK_WINDOW
        for number in count():
            start = self._about(tick - back) // PACKET * PACKET
            if tick - back <= self._times[0]:
                start = 0
            if key := self._look(start, stop, tick):
                self._keys[key.time] = key.offset
                return key
            if not start:
                return None
            back, stop = back + (step << max(0, number - _EVEN_STEPS)), start
        raise AssertionError

    def _look(self, start: int, stop: int, tick: int) -> Picture | None:
        """The first key frame that begins in a range, and before which no picture is shown from a tick on.

        None if there is none. It is shown at or before the tick, or is the first picture behind it.
        """
        latest, key = -_WRAP, None
        while start < min(stop, self._source.size):
            data = self._source.read(start, _LOOK_WINDOW + _LEAST_WINDOW)
            for picture in pictures(data, start, self.film.track, self._codec):
                if picture.offset >= start + _LOOK_WINDOW:
                    break
                if key and picture.time > key.time:
                    return key
                if key and picture.time >= tick:  # it leads to the key frame in an open group
                    return None
                if picture.is_key and picture.time <= tick:
                    return picture
                if picture.is_key and latest < tick and picture.time - latest <= self._step:
                    key = picture
                elif picture.decoded > tick + self._step:
                    return None
                latest = max(latest, picture.time)
            start += _LOOK_WINDOW
        return None


def open_broadcast(hollow: Hollow) -> tuple[Source, BroadcastIndex]:
    """What a transport stream holds, and its index. Raises Uncuttable."""
    source = hollow.source
    head = source.read(0, _FIRST_BYTES)
    if not is_transport(head):
        raise Uncuttable("its packets have other bytes than 188")
    hollow.put(0, head)
    hollow.fill([Span(max(0, source.size - _LAST_BYTES), _LAST_BYTES)])
    inspected = hollow.probed()
    video = inspected.video
    if video.is_late or any(track.is_empty for track in inspected.audio):
        raise Uncuttable("its tracks begin late")
    if video.codec not in _CODECS:
        raise Uncuttable(f"its film is {video.codec} in a transport stream")
    _, ticks, streams = film_ticks(hollow, video)
    starts = [start for start in (video.start, *inspected.sound_starts) if start is not None]
    try:
        psi, pid = tables(head), int(str(streams[video.stream].get("id")), 16)
    except (ValueError, IndexError) as error:
        raise Uncuttable(f"its tables are not as they should be: {error}") from error
    slack = ceil(REORDERED / video.rate * ticks) if video.rate else _WRAP
    shift = rescaled(min(starts, default=0.0), ticks)
    film = Film("mpegts", psi, shift, video.stream, ticks, pid, slack=slack, rest_head=psi)
    shown = list(pictures(head, 0, pid, video.codec))
    if not shown or ticks != _TICKS:
        raise Uncuttable("its film has no times")
    marks = _marks(source, film, video.codec, video.duration or 0.0, shown[0])
    index = BroadcastIndex(film, video.codec, marks, shown, source)

    def look(start: float, pictures: int) -> tuple[Path, float]:
        cut = hollow.path.with_name("look")
        recipe = index.recipe(start, start + (pictures + _AHEAD) / (video.rate or 25.0))
        cut_broadcast(film, recipe, source, cut, None)
        return cut, 0.0

    return hollow.scanned(inspected, look), index


def _marks(source: Bytes, film: Film, codec: str, seconds: float, first: Picture) -> list[Picture]:
    """Pictures at about equal distances in bytes. Raises Uncuttable where time does not go with them."""
    if not seconds:
        raise Uncuttable("its length is unknown")
    step = source.size // max(2, ceil(seconds / _STEP_SECONDS))
    window = max(_LEAST_WINDOW, min(_MOST_WINDOW, step // _WINDOW_SHARE // PACKET * PACKET))

    def mark(place: int) -> Picture | None:
        start = place // PACKET * PACKET
        for _ in range(_MOST_WINDOWS):
            data = source.read(start, window)
            if picture := next(pictures(data, start, film.track, codec), None):
                return picture
            if len(data) < window:
                return None
            start += window
        raise Uncuttable("its film is missing in long parts")

    with ThreadPoolExecutor(_THREADS) as pool:
        seen = [each for each in pool.map(mark, range(step, source.size - window, max(1, step))) if each]
    marks = [first]
    for each in seen:
        if each.offset > marks[-1].offset:
            marks += _between(marks[-1], each, mark)
    if marks[-1].decoded >= _WRAP - 120 * _TICKS:
        raise Uncuttable("its clock ends and begins anew")
    return marks


def _between(before: Picture, after: Picture, mark: Callable[[int], Picture | None]) -> list[Picture]:
    """The pictures behind one up to another, so many that no step of the clock can hide between them."""
    waiting, passed = [after], list[Picture]()
    while waiting:
        step = waiting[-1].decoded - before.decoded
        if step <= 0:
            raise Uncuttable("its clock jumps")
        if step <= _MOST_STEP:
            before = waiting.pop()
            passed.append(before)
            continue
        middle = mark((before.offset + waiting[-1].offset) // 2)
        if middle is None or not before.offset < middle.offset < waiting[-1].offset:
            raise Uncuttable("its clock jumps")
        waiting.append(middle)
    return passed


def cut_broadcast(film: Film, recipe: Recipe, source: Bytes, target: Path, rest: Path | None) -> None:
    """Write a cut, and the piece of the rest. Raises JobError or Interrupted."""
    path = target.with_name(f"{target.name}.raw")
    try:
        ((offset, size),) = recipe.pieces
        raw = Raw(source, Span(offset, size), path)
        stop = _stop(film, recipe, raw, size)
        with raw.mapped() as data:
            with target.open("wb") as file:
                file.write(film.head)
                for start in range(0, stop, _STEP):
                    file.write(data[start : min(stop, start + _STEP)])
            if rest:
                first, last = (place - offset for place in recipe.own)
                with rest.open("wb") as file:
                    for start, end in without(data, film.track, first, min(last, len(data))):
                        file.write(data[start:end])
    finally:
        path.unlink(missing_ok=True)


def _stop(film: Film, recipe: Recipe, raw: Raw, size: int) -> int:
    """Add to what is read until it holds all pictures that the cut needs. Returns where the last of them ends."""
    end = recipe.end
    if end is None:
        return size
    while True:
        is_whole = not raw.add()
        with raw.mapped() as data:
            for picture in pictures(data, 0, film.track, "", size):
                if picture.decoded >= end + (_MARGIN if picture.has_both else film.slack):
                    return picture.offset
            if is_whole:
                return len(data)
