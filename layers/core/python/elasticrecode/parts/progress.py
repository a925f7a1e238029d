"""The progress of a divided job: how much of it is done, and when it ends. Pure.

The ETA is that of a rehearsal: the workers that hold parts now go on as fast as they were, finish what they hold, and
take the rest one after another. How fast a worker is, is measured by its finished parts: their cost by the seconds that
it held them. A worker that works for others too holds parts a share of the time, and counts by that share. So the
ETA needs to know no queue: other users who wait get their turns, and these are absences of workers. A worker that
stays away for longer than it ever did counts as gone.
"""

import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from elasticrecode.jobs.events import Progress
from elasticrecode.parts.part import StoredPart

_ALL_AT_ONCE = 0.5
"""Seconds between parts that a worker began together."""
_GAP_SECONDS = 10.0
"""So long a worker may take for the next part, or longer by half than its longest absence until now."""
_LATEST = 3
"""Parts of a worker that tell how much of its time is for this job."""
_TRUSTED_SECONDS = 5.0
"""After so long the progress of a worker's first part tells as much of its speed as the mean of all workers does."""
_RENEWAL_SECONDS = 2.5
"""The mean age of the progress in a record, which a worker stores as often as it renews its lease."""
_JOIN_BYTES_PER_SECOND = 2e8
"""Bytes of results that a worker fetches, joins and publishes in a second."""
_JOIN_CHUNK_SECONDS = 0.045
"""Seconds in which it reads the times of a chunk's frames."""


def overall(parts: Sequence[StoredPart], own: Mapping[int, Progress], now: int, sound: float = 0.0) -> Progress:
    """The progress of a whole job at `now`, in Unix milliseconds.

    `own` is newer than what the records of parts in hand have. The percent is that of the parts, by
    their costs. The sound takes `sound` seconds after the last part.
    """
    done = total = 0.0
    frames: list[int] = []
    shown: dict[int, float] = {}
    for each in parts:
        stored = each.shown(now).progress
        progress = own.get(each.part.number, stored) if each.state == "running" else stored
        total += each.part.cost
        if progress:
            shown[each.part.number] = (progress.percent or 0.0) / 100
            done += each.part.cost * shown[each.part.number]
            frames += [progress.frame] if progress.frame is not None and each.part.kind == "rung" else []
    eta = _eta(parts, shown, now)
    return Progress(
        percent=round(100 * done / total, 2) if total else None,
        frame=min(frames, default=None),
        etaSeconds=None if eta is None else round(eta + _sound_seconds(parts, sound, now) + _join_seconds(parts), 1),
    )


class _Pace(NamedTuple):
    """A worker that encodes parts of the job: the cost it does in a second, and in how many seconds it is free."""

    speed: float
    free_in: float


def _eta(parts: Sequence[StoredPart], shown: Mapping[int, float], now: int) -> float | None:
    """Seconds until all parts have finished; None where no speed is known."""
    by_worker: dict[str, list[StoredPart]] = {}
    for each in parts:
        if each.worker and each.started_ms is not None and (each.state == "finished" or each.is_held(now)):
            by_worker.setdefault(each.worker, []).append(each)
    waiting = [each for each in parts if each.state in ("accepted", "queued") or each.is_lost(now)]
    speeds = _speeds(by_worker, shown, now)
    paces = [
        _pace(some, shown, now, speeds[worker])
        for worker, some in by_worker.items()
        if worker in speeds and _is_present(some, now)
    ]
    if not paces:
        return 0.0 if parts and not waiting and all(each.state == "finished" for each in parts) else None
    last = max(pace.free_in for pace in paces)
    free = [(pace.free_in, number) for number, pace in enumerate(paces)]
    heapq.heapify(free)
    for each in sorted(waiting, key=lambda part: part.part.turn):
        at, number = heapq.heappop(free)
        ends = at + each.part.cost / paces[number].speed
        last = max(last, ends)
        heapq.heappush(free, (ends, number))
    return last


def _speeds(by_worker: Mapping[str, Sequence[StoredPart]], shown: Mapping[int, float], now: int) -> dict[str, float]:
    """The cost that each worker does in a second while it holds parts; empty where nothing tells.

    A worker without finished parts is known by its progress, and the less the younger that is.
    """
    done: dict[str, tuple[float, float]] = {}
    begun: dict[str, tuple[float, float]] = {}
    for worker, some in by_worker.items():
        finished = [each for each in some if each.state == "finished"]
        counted = finished or [each for each in some if shown.get(each.part.number)]
        seconds = sum(end - start for start, end in _spans(counted, now))
        cost = sum(each.part.cost * shown[each.part.number] for each in counted)
        (done if finished else begun)[worker] = cost, seconds
    known = (done or begun).values()
    costs, times = sum(cost for cost, _ in known), sum(seconds for _, seconds in known)
    if not (costs and times):
        return {}
    young = {
        worker: (cost + costs / times * _TRUSTED_SECONDS) / (seconds + _TRUSTED_SECONDS)
        for worker, (cost, seconds) in begun.items()
    }
    return {worker: cost / max(seconds, 0.001) for worker, (cost, seconds) in done.items()} | young


def _pace(some: Sequence[StoredPart], shown: Mapping[int, float], now: int, speed: float) -> _Pace:
    """A worker's pace: what it holds it does at full speed, and what it takes later while it is there."""
    left = 0.0
    for each in some:
        if each.state == "running":
            elapsed = max(0, now - (each.started_ms or now)) / 1000
            known = shown.get(each.part.number)
            later = _RENEWAL_SECONDS if known else elapsed
            left += max(0.0, each.part.cost * (1 - (known or 0.0)) - speed * later)
    spans = _spans(some, now)[-_LATEST:]
    held, passed = sum(end - start for start, end in spans), max(now / 1000, spans[-1][1]) - spans[0][0]
    return _Pace(speed * max(0.05, held / passed if passed else 1.0), left / speed)


def _is_present(some: Sequence[StoredPart], now: int) -> bool:
    """Whether a worker holds parts, or may be expected to take another."""
    spans = _spans(some, now)
    absences = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
    return now / 1000 - spans[-1][1] <= max(_GAP_SECONDS, 1.5 * max(absences, default=0.0))


def _spans(some: Sequence[StoredPart], now: int) -> list[tuple[float, float]]:
    """When a worker held parts, in Unix seconds, in order. Parts that it held together count once."""
    spans: list[tuple[float, float]] = []
    for start, end in sorted(((each.started_ms or now) / 1000, (each.ended_ms or now) / 1000) for each in some):
        if spans and start < spans[-1][1] - _ALL_AT_ONCE:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, max(start, end)))
    return spans


def _sound_seconds(parts: Sequence[StoredPart], sound: float, now: int) -> float:
    """Seconds that are left of `sound`, which begins when the last part has finished."""
    ended = [each.ended_ms for each in parts if each.state == "finished" and each.ended_ms is not None]
    begun = now - max(ended) if len(ended) == len(parts) and ended else 0
    return max(0.0, sound - begun / 1000)


def _join_seconds(parts: Sequence[StoredPart]) -> float:
    """Seconds that joining the chunks takes, by the bytes of those that are there."""
    finished = [each for each in parts if each.result and each.part.kind == "chunk"]
    cost = sum(each.part.cost for each in finished)
    size = sum(file.bytes for each in finished if each.result for file in each.result.files)
    chunks = sum(each.part.kind == "chunk" for each in parts)
    total = size / cost * sum(each.part.cost for each in parts) if cost else 0.0
    return total / _JOIN_BYTES_PER_SECOND + chunks * _JOIN_CHUNK_SECONDS
