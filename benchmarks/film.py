"""The simulation behind `benchmarks.division`: a film of two hours, a fleet of workers, and the chunks of a planner.

The film has scenes of 4 s on average that differ in detail, and with it in the coded bytes of the source and in the
CPU time of their encode: CPU time follows a power of the bytes (`worker.division`), and a planner that knows the bytes
does not know what else differs. Workers have one encoder thread each. A free worker takes the first chunk of the
queue, and needs `CHUNK_SECONDS` besides its encode. The worker that holds the job divides it, encodes the sound first,
and joins the chunks in the end. A spot worker vanishes with its chunk, which others can take when the lease has run
out, and another worker comes in its place. Other users' jobs get turns as fair queues give them: the next job is one
of the user with the fewest in flight.

Progress and ETA come from the product: the records of parts as workers would read them at a moment go to `overall`.
"""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from elasticrecode.jobs.events import Progress
from elasticrecode.media.profiles import Profile
from elasticrecode.parts.part import Part, PartFile, PartJob, PartResult, StoredPart
from elasticrecode.parts.progress import overall
from worker.division import chunk_costs, plan_chunks

RATE = 25
SECONDS = 7200
GRID = Fraction(2)
_STEP_FRAMES = 50
CORE_SECONDS = 2.12
"""CPU seconds for a second of 1080p in H.264 at the speed `medium`, as the table of `worker.division` has it."""
SOUND_SPEED = 100
"""Seconds of sound that a CPU second encodes."""
BITS_PER_SECOND = 4e6
CHUNK_SECONDS = 1.2
"""Seconds of a chunk besides its encode: its message, its claim, its cut, and its upload."""
BEFORE_SECONDS = 3.0
"""From the claim of the job until its parts are stored: the head and the index of the source, and the plan."""
DISPATCH_SECONDS = 1.5
JOIN_BYTES_PER_SECOND = 2e8
"""What the holder fetches, joins, verifies and uploads in a second: an assumption about its network and disk."""
JOIN_CHUNK_SECONDS = 0.045
"""CPU seconds in which the holder reads the times of a chunk's frames, measured."""
_LEASE_SECONDS = 30.0
_RENEW_SECONDS = 5.0
_REPLACED_SECONDS = 60.0
_SCENE_SECONDS = 4.0
_DETAIL = 1.0
"""Deviation of the logarithm of a scene's bytes."""
_BYTES_POWER = 0.3
_UNKNOWN = 0.15
"""Deviation of the logarithm of the CPU time of a scene beside that which its bytes tell."""


class Film(NamedTuple):
    """A film: the CPU seconds of its frames up to each one, the coded bytes of each step, first frames of scenes."""

    until: list[float]
    weights: list[float]
    cuts: list[int]

    def cost(self, start: int, end: int) -> float:
        """CPU seconds of these frames."""
        return self.until[end] - self.until[start]


def film(seed: int) -> Film:
    """A film by its seed. Its CPU time is that of `CORE_SECONDS` for every second."""
    dice, frames = random.Random(seed), SECONDS * RATE
    cuts: list[int] = []
    costs: list[float] = []
    sizes: list[float] = []
    while len(costs) < frames:
        cuts.append(len(costs))
        size = dice.lognormvariate(0.0, _DETAIL)
        cost = size**_BYTES_POWER * dice.lognormvariate(0.0, _UNKNOWN)
        length = max(1, round(RATE * dice.expovariate(1 / _SCENE_SECONDS)))
        costs += [cost] * length
        sizes += [size] * length
    costs, sizes = costs[:frames], sizes[:frames]
    factor = CORE_SECONDS * SECONDS / sum(costs)
    until = [0.0]
    for cost in costs:
        until.append(until[-1] + cost * factor)
    weights = [sum(sizes[at : at + _STEP_FRAMES]) for at in range(0, frames, _STEP_FRAMES)]
    return Film(until, weights, cuts[1:])


class Chunk(NamedTuple):
    """A chunk: its first frame and that behind its last, and the CPU seconds that its planner expects."""

    start: int
    end: int
    expected: float


def planned(of: Film) -> list[Chunk]:
    """The product's chunks, in the order in which their messages are sent."""
    spans = plan_chunks(Fraction(SECONDS), GRID, CORE_SECONDS, weights=of.weights)
    costs = chunk_costs(spans, GRID, CORE_SECONDS * SECONDS, of.weights)
    chunks = [Chunk(int(start * RATE), int(end * RATE), cost) for (start, end), cost in zip(spans, costs, strict=True)]
    return sorted(chunks, key=lambda chunk: -chunk.expected)


class Host(NamedTuple):
    """A worker: its speed beside a mean one, and the seconds when it comes and when it vanishes."""

    speed: float
    comes: float = 0.0
    vanishes: float = math.inf


Hosts = Callable[[int, int], list[Host]]
"""Makes a fleet of so many workers at a time, by a seed."""


def even(workers: int, _seed: int) -> list[Host]:
    """Workers of one speed."""
    return [Host(1.0)] * workers


def uneven(workers: int, seed: int) -> list[Host]:
    """Workers of half the mean speed to one and a half."""
    dice = random.Random(seed)
    return [Host(dice.uniform(0.5, 1.5)) for _ in range(workers)]


def spot(workers: int, seed: int, minutes: float = 120.0) -> list[Host]:
    """Uneven workers, each of which but the holder vanishes after so many minutes on average and is replaced."""
    dice = random.Random(seed)
    hosts = uneven(1, seed)
    for _ in range(workers - 1):
        comes = 0.0
        while comes < 3 * CORE_SECONDS * SECONDS / workers + 600:
            vanishes = comes + dice.expovariate(1 / (60 * minutes))
            hosts.append(Host(dice.uniform(0.5, 1.5), comes, vanishes))
            comes = vanishes + _REPLACED_SECONDS
    return hosts


class Crowd(NamedTuple):
    """Another user, who has jobs waiting between two moments. A worker is busy with one for `seconds`."""

    comes: float
    goes: float
    seconds: float = 60.0


class _Work:
    """A chunk in the fleet: who has it since when until when, and when that worker's lease runs out if it vanished."""

    def __init__(self, number: int, chunk: Chunk, actual: float) -> None:
        self.chunk, self.actual = chunk, actual
        part = Part(number=number, kind="chunk", name=str(number), cost=chunk.expected, prefix="s3://parts/")
        self.job = PartJob(userid="u", jobid=f"j.1.{number}", input="", output="", profile=Profile(), part=part)
        size = int((chunk.end - chunk.start) / RATE * BITS_PER_SECOND / 8)
        self.result = PartResult([PartFile("s3://parts/x", size, "")])
        self.host, self.began, self.ends, self.vanished = -1, 0.0, math.inf, math.inf


Watch = Callable[[float, float, Progress], None]
"""Takes a moment, the share of the work that is done, and the progress of the whole."""


class Course:
    """A film on its way through a fleet."""

    def __init__(self, of: Film, chunks: Sequence[Chunk], hosts: Sequence[Host], crowd: Crowd | None = None) -> None:
        self._hosts, self._crowd = hosts, crowd
        self._works = [_Work(n, chunk, of.cost(chunk.start, chunk.end)) for n, chunk in enumerate(chunks)]
        self._waiting = [(n, n) for n in range(len(chunks))]
        self._events: list[tuple[float, int, int]] = []
        """Heap of (moment, host that is free or -1, chunk whose lease has run out or -1)."""
        self._idle: list[int] = []
        self._in_flight = [0, 0]
        sound = SECONDS / SOUND_SPEED / hosts[0].speed
        for n, host in enumerate(hosts):
            free = max(host.comes, BEFORE_SECONDS + (DISPATCH_SECONDS if n else sound))
            heapq.heappush(self._events, (free, n, -1))
        self.ended = 0.0

    def run(self, every: float = math.inf, watch: Watch = lambda *_: None, until: float = 1.0) -> float:
        """The seconds until the film is published.

        `watch` is called every so many seconds while chunks are encoded, until this share of the work is done.
        """
        left, next_watch = len(self._works), BEFORE_SECONDS + every
        busy: dict[int, int] = {}
        while left:
            now, host, lost = heapq.heappop(self._events)
            while next_watch < now:
                done, progress = self._progress(next_watch)
                watch(next_watch, done, progress)
                next_watch = next_watch + every if done < until else math.inf
            if lost >= 0:
                self._works[lost].host = -1
                heapq.heappush(self._waiting, (-1, lost))
                for free in self._idle:
                    heapq.heappush(self._events, (now, free, -1))
                self._idle = []
                continue
            if (kind := busy.pop(host, None)) is not None:
                self._in_flight[kind] -= 1
                left -= kind == 0
            if now < self._hosts[host].vanishes and (kind := self._take(now, host)) is not None:
                self._in_flight[kind] += 1
                busy[host] = kind
        last = max(work.ends for work in self._works)
        size = sum(work.result.files[0].bytes for work in self._works)
        self.ended = last + size / JOIN_BYTES_PER_SECOND + len(self._works) * JOIN_CHUNK_SECONDS
        return self.ended

    def _take(self, now: float, host: int) -> int | None:
        """Give a free host the next job; 0 for a chunk that it will finish, 1 for another user's job, None for none."""
        crowd = self._crowd
        is_turn = crowd and crowd.comes <= now < crowd.goes and self._in_flight[1] <= self._in_flight[0]
        if host and crowd and is_turn:
            heapq.heappush(self._events, (now + crowd.seconds / self._hosts[host].speed, host, -1))
            return 1
        if not self._waiting:
            self._idle.append(host)
            return None
        number = heapq.heappop(self._waiting)[1]
        work, of = self._works[number], self._hosts[host]
        work.host, work.began = host, now
        work.ends, work.vanished = now + CHUNK_SECONDS + work.actual / of.speed, math.inf
        if work.ends > of.vanishes:
            work.vanished, work.ends = of.vanishes, math.inf
            heapq.heappush(self._events, (of.vanishes + _LEASE_SECONDS, host, number))
            return None
        heapq.heappush(self._events, (work.ends, host, -1))
        return 0

    def worker_seconds(self) -> float:
        """Seconds of mean workers that were there until the end."""
        return sum(host.speed * max(0.0, min(self.ended, host.vanishes) - host.comes) for host in self._hosts)

    def _progress(self, now: float) -> tuple[float, Progress]:
        """The share of the work that is done, and the progress that the product tells by the records of parts."""
        total = sum(work.actual for work in self._works)
        done = sum(self._share(work, now) * work.actual for work in self._works)
        return done / total, overall(self.stored(now), {}, round(now * 1000))

    def stored(self, now: float) -> list[StoredPart]:
        """The records of the parts at a moment, if nothing began later but what `run` has begun since."""
        return [self._stored(work, now) for work in self._works]

    def _share(self, work: _Work, now: float) -> float:
        if work.host < 0 or now < work.began or now > work.vanished:
            return 0.0
        speed = self._hosts[work.host].speed
        return min(1.0, max(0.0, now - work.began - CHUNK_SECONDS) * speed / work.actual)

    def _stored(self, work: _Work, now: float) -> StoredPart:
        """The record of a part. A worker's progress is as old as the latest renewal of its lease."""
        is_finished = work.ends <= now
        is_running = work.host >= 0 and work.began <= now and not is_finished
        renewed = work.began + (min(now, work.vanished) - work.began) // _RENEW_SECONDS * _RENEW_SECONDS
        progress = Progress(percent=100 * self._share(work, renewed)) if is_running and renewed > work.began else None
        return StoredPart(
            job=work.job,
            state="finished" if is_finished else "running" if is_running else "queued",
            attempt=1,
            worker=f"w{work.host}" if is_running or is_finished else "",
            lease=round((renewed + _LEASE_SECONDS) * 1000) if is_running else None,
            queued_ms=0,
            started_ms=round(work.began * 1000) if is_running or is_finished else None,
            ended_ms=round(work.ends * 1000) if is_finished else None,
            progress=progress,
            result=work.result if is_finished else None,
            failure=None,
        )


def alone(of: Film) -> float:
    """Seconds of one mean worker that does not divide the film, without its download and upload."""
    return BEFORE_SECONDS + of.until[-1] + SECONDS / SOUND_SPEED


def efficiency(of: Film, chunks: Sequence[Chunk], hosts: Sequence[Host]) -> tuple[float, float]:
    """The seconds that a fleet needs, and how much of the seconds of its workers one worker alone would have needed."""
    course = Course(of, chunks, hosts)
    seconds = course.run()
    return seconds, alone(of) / course.worker_seconds()
