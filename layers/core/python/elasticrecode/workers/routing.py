"""Chooses the queue of each job: one of those expected to finish it first (docs/explanation/routing.md).

Many routers work at the same time, each with measurements that are some seconds old. If each chose the best queue, all
would choose the same one. So each router spreads the jobs that it expects before the next measurement over the queues
such that all of them finish at the same time: water that fills the queues to one level.

Fleets change after jobs were sent; `Router.surplus` says how many jobs should then leave which queue.
"""

import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf
from operator import le
from statistics import median
from typing import NamedTuple

from elasticrecode.errors import Refused
from elasticrecode.jobs.placement import Choice, Group, Want
from elasticrecode.media.generations import Generation
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import Queue

REFRESH_SECONDS = 5.0
"""Seconds for which a measurement is used, about."""
STALL_SECONDS = 60.0
"""A queue is stalled when a job has waited on it for longer than this beside idle workers."""
DESERTED_SECONDS = 300.0
"""A queue without a ready worker for longer than this is deserted. A node that starts from zero takes a few minutes."""

_SHARES_SECONDS = 1.0
"""Seconds for which shares hold before they are computed anew."""
_MAX_AGE_SECONDS = 60.0
"""Age of a measurement beyond which no more jobs are taken to have finished since."""
_DEFAULT_JOB_SECONDS = 30.0
_MIN_JOB_SECONDS = 0.1
_MIN_EXPECTED_JOBS = 16
_EXPECTED_PER_WORKER = 0.25
"""Jobs per ready worker to expect where no arrivals were measured."""
_SLOW_START = 0.3
"""A slow queue takes part once the level reaches this fraction of the way from the fastest job time to its own. At 1 it
would take part when it finishes a job first, but a job that waits for a fast worker delays those behind it."""
_FILLS = 16
"""How often shares are computed anew while the expected jobs are sent."""
_IMBALANCE_RATIO = 1.5
_IMBALANCE_SECONDS = 60.0
"""A queue gives up jobs where it finishes this many times, and this many seconds, later than all queues would when
level: measurements are up to a minute old, SQS counts approximately, and relocating a job costs more calls than sending
one."""
_BISECTIONS = 50

_RNG = random.SystemRandom()  # Lambda starts containers from one snapshot, and those must not draw the same numbers


class _Backlog(NamedTuple):
    """The estimated state of a queue now: seconds per job, jobs finished per second, and jobs ahead of a new one."""

    seconds: float
    rate: float
    ahead: float

    @property
    def drained(self) -> float:
        """Seconds until the jobs ahead are finished. The rate is 0 for a queue without weight."""
        return self.ahead / self.rate if self.rate else inf


class _Vessel(NamedTuple):
    """A queue as water-filling sees it: it takes jobs from the level `start`, in seconds from now, on.

    It finishes `rate` jobs per second and has `ahead` jobs already.
    """

    start: float
    rate: float
    ahead: float

    def room(self, level: float) -> float:
        """How many more jobs it finishes until `level`."""
        return max(0.0, level * self.rate - self.ahead) if level >= self.start else 0.0

    def overflow(self, level: float) -> float:
        """How many of its jobs it does not finish until `level`."""
        return max(0.0, self.ahead - level * self.rate)


class _Lane:
    """Queues that the same jobs may go to, with the shares by which they are drawn.

    `shares` are cumulated; they hold for `left` more jobs and until the Unix time `until`. With `source`, the queue
    that jobs are relocated from, only queues that finish a job sooner than the source have a share.
    """

    __slots__ = ("choices", "left", "note", "queues", "shares", "source", "until")

    def __init__(self, queues: Sequence[Queue], note: str, source: Queue | None) -> None:
        self.queues = queues
        self.note = note
        self.source = source
        self.choices: list[Choice] = []
        self.shares: list[float] = []
        self.left = 0
        self.until = 0.0


class Router:
    """Chooses queues by their latest measurement and by the jobs that it has sent since."""

    def __init__(self, queues: Sequence[Queue], rng: random.Random | None = None) -> None:
        self._rng = rng or _RNG
        self._queues: tuple[Queue, ...] = ()
        self._sent: Counter[str] = Counter()
        self._lane_of: dict[tuple[Want, str], _Lane] = {}
        self._lanes: dict[tuple[str, ...], _Lane] = {}
        self._typical: dict[Group, float] = {}
        self.update(queues)

    def update(self, queues: Sequence[Queue]) -> None:
        """Use a newer measurement. Jobs sent to a queue since its measurement still count where it is the same one."""
        newer = tuple(queues)
        if newer == self._queues:
            return
        measured = {queue.name: queue.load.at for queue in self._queues}
        same = {queue.name: self._sent[queue.name] for queue in newer if measured.get(queue.name) == queue.load.at}
        self._queues, self._sent = newer, Counter(same)
        self._lane_of, self._lanes, self._typical = {}, {}, {}

    def choose(self, want: Want, now: float, leaving: str = "") -> Choice:
        """The queue for one job at a Unix time, with the reason; no queue while every one of its group is paused.

        `leaving` names the queue that the job is relocated from. From a queue without ready workers it goes to any that
        has some; from others only to one that fits it at least as well and finishes it sooner. No queue is chosen where
        there is none. Raises Refused when no queue serves the job's group.
        """
        lane = self._lane_of.get((want, leaving)) or self._lane(want, leaving)
        if not lane.left or now >= lane.until:
            self._fill(lane, now)
        lane.left -= 1
        shares = lane.shares
        last = len(shares) - 1
        choice = lane.choices[bisect(shares, self._rng.random() * shares[last], 0, last) if last else 0]
        self._sent[choice.queue] += 1
        if leaving and choice.queue:
            self._sent[leaving] -= 1
        return choice

    def wait(self, queue: Queue, now: float) -> float | None:
        """Seconds that a job sent to a queue at a Unix time would wait for a worker: until the jobs ahead are finished.

        0 while no job waits and a worker is idle; None while nothing takes jobs of the queue, or it was never measured.
        """
        load, backlog = queue.load, self._backlog(queue, now)
        if queue.fault or queue.ready == 0 or not backlog.rate or not load.at:
            return None
        is_idle = not load.visible and load.in_flight < _workers(queue)
        return 0.0 if is_idle else round(backlog.drained, 1)

    def surplus(self, now: float) -> dict[str, int]:
        """How many of the waiting jobs of each queue should move elsewhere at a Unix time; queues with none left out.

        All jobs of a deserted queue, once another queue has ready workers. Of other queues as many as make all queues
        of the same group and price, whose priorities include theirs, finish at the same time, if they finish clearly
        later than that. Queues of the first generation take none from those of the second, where each job may need it.
        """
        alike: dict[tuple[Group, PriceModel, tuple[int, int], Generation], list[Queue]] = {}
        for queue in self._queues:
            alike.setdefault((queue.group, queue.price, queue.priority, queue.generation), []).append(queue)
        counts: dict[str, int] = {}
        for queues in alike.values():
            for queue, count in zip(queues, self._surplus_of(queues, now), strict=True):
                counts[queue.name] = min(counts.get(queue.name, count), count)  # a queue may serve several groups
        return {name: count for name, count in counts.items() if count}

    def _surplus_of(self, queues: Sequence[Queue], now: float) -> list[int]:
        """The surplus of each of some queues with the same group, price, priorities and generation."""
        group, price, band = queues[0].group, queues[0].price, queues[0].priority
        able = [q for q in self._queues if q.group == group and q.generation >= queues[0].generation]
        working = [queue for queue in able if _is_open(queue) and queue.ready != 0]
        takers = [queue for queue in working if queue.price == price and _covers(queue.priority, band)]
        givers = [queue for queue in queues if queue.ready != 0 and queue.weight > 0 and not queue.fault]
        giving, taking = ([self._backlog(queue, now) for queue in some] for some in (givers, takers))
        vessels = dict(zip((queue.name for queue in givers), _vessels(giving, 1), strict=True))
        level = _balance_level(list(vessels.values()), _vessels(taking, 1))
        limit = max(_IMBALANCE_RATIO * level, level + _IMBALANCE_SECONDS)

        def count(queue: Queue) -> int:
            if queue.is_deserted(now, DESERTED_SECONDS):
                return queue.load.visible if working else 0
            vessel = vessels.get(queue.name)
            return min(queue.load.visible, round(vessel.overflow(level))) if vessel and vessel.overflow(limit) else 0

        return [count(queue) for queue in queues]

    def _lane(self, want: Want, leaving: str) -> _Lane:
        """The lane for a want, shared by all wants with the same candidates."""
        sources = (
            queue for queue in self._queues if queue.name == leaving and queue.group == want.group and queue.ready != 0
        )
        source = next(sources, None)
        queues, note = self._candidates(want, leaving, source)
        key = (note, leaving, *(queue.name for queue in queues))
        lane = self._lanes.setdefault(key, _Lane(queues, note, source))
        self._lane_of[want, leaving] = lane
        return lane

    def _candidates(self, want: Want, leaving: str, source: Queue | None) -> tuple[Sequence[Queue], str]:
        """The queues that fit a job best, and a note on the wishes they do not meet; without any, why it is held."""
        group = [queue for queue in self._queues if queue.group == want.group]
        if not group:
            others = ", ".join(dict.fromkeys(queue.group for queue in self._queues)) or "nothing"
            raise Refused(f"No queue serves {want.group} jobs; there are queues for {others}.")
        if want.beyond:
            group = [queue for queue in group if queue.generation == 2]
            if not group:
                raise Refused(
                    f"No queue serves {want.group} jobs with {want.beyond}: it needs workers of the second generation, "
                    f"and {_names(queue for queue in self._queues if queue.group == want.group)} have older ones."
                )
        usable = [queue for queue in group if not queue.fault]
        if not usable:
            raise Refused(f"No queue can take {want.group} jobs: {_names(group)}.")
        running = [queue for queue in usable if _is_open(queue)]
        if not running:
            return (), f"every queue that serves it is paused or without weight: {_names(usable)}"
        if leaving:
            running = [queue for queue in running if queue.ready != 0 and queue.name != leaving]
            if not running:
                return (), "no other queue has a ready worker"
        if source:
            mismatch = _mismatch(source, want)
            fitting = [queue for queue in running if all(map(le, _mismatch(queue, want), mismatch))]
            return fitting, "" if fitting else "no other queue fits it as well"

        notes = []
        fitting = [queue for queue in running if queue.price == want.price]
        if not fitting:
            notes.append(f"no {want.price} queue; ")
            fitting = running
        nearest = min(_distance(queue.priority, want.priority) for queue in fitting)
        if nearest:
            notes.append(f"no queue for priority {want.priority}; ")
        fitting = [queue for queue in fitting if _distance(queue.priority, want.priority) == nearest]
        ready = [queue for queue in fitting if queue.ready != 0]
        if not ready:
            notes.append("no queue has a ready worker; ")
        if len(ready or fitting) == 1:
            notes.append("the only queue" if len(group) == 1 else f"the only queue of {len(group)} that fits")
        return ready or fitting, "".join(notes)

    def _fill(self, lane: _Lane, now: float) -> None:
        """Compute the shares of a lane: what each queue gets of the jobs expected, so that all finish earliest."""
        queues = lane.queues
        lane.until = now + _SHARES_SECONDS
        lane.left = 1 << 30
        comparison = f"of {len(queues)} queues"
        if lane.source:
            end = self._end(lane.source, now)
            queues = [queue for queue in queues if self._end(queue, now) < end]
            comparison = f"sooner than on {lane.source.name}"
            if not queues:
                lane.choices, lane.shares = [Choice("", lane.note or "no other queue is done with it sooner")], [1.0]
                return
        elif len(queues) < 2:
            lane.choices, lane.shares = [Choice(queues[0].name if queues else "", lane.note)], [1.0]
            return
        backlogs = [self._backlog(queue, now) for queue in queues]
        vessels = _vessels(backlogs, _SLOW_START)
        expected = max(
            sum(queue.load.arrivals * (_age(queue, now) + REFRESH_SECONDS) for queue in queues),
            sum(self._sent[queue.name] for queue in queues),
            _EXPECTED_PER_WORKER * sum(_workers(queue) for queue in queues),
            _MIN_EXPECTED_JOBS,
        )
        level = _water_level(vessels, expected)
        lane.left = max(2 * len(queues), int(expected / _FILLS))
        lane.shares = list(accumulate(vessel.room(level) for vessel in vessels))
        lane.choices = [
            Choice(queue.name, f"{lane.note}about {max(each.seconds, each.drained):.0f} s expected, {comparison}")
            for queue, each in zip(queues, backlogs, strict=True)
        ]

    def _end(self, queue: Queue, now: float) -> float:
        """Seconds until a queue has finished one more job."""
        backlog = self._backlog(queue, now)
        return max(backlog.seconds, backlog.drained)

    def _backlog(self, queue: Queue, now: float) -> _Backlog:
        load, workers = queue.load, _workers(queue)
        seconds = max(load.seconds or self._typical_seconds(queue.group), _MIN_JOB_SECONDS)
        rate = workers * queue.weight / seconds
        ahead = max(0.0, load.visible + load.in_flight / 2 - rate * _age(queue, now)) + self._sent[queue.name]
        if load.visible and load.oldest > STALL_SECONDS and 2 * load.in_flight < workers:
            ahead = max(ahead, rate * load.oldest)
        return _Backlog(seconds, rate, ahead)

    def _typical_seconds(self, group: Group) -> float:
        """Seconds per job of a queue that was never measured: the median of its group."""
        if group not in self._typical:
            measured = [queue.load.seconds for queue in self._queues if queue.group == group and queue.load.seconds]
            self._typical[group] = median(measured) if measured else _DEFAULT_JOB_SECONDS
        return self._typical[group]


def _workers(queue: Queue) -> int:
    """Workers that take from a queue: at least one, even where none is ready, as its jobs finish some time."""
    return max(1, queue.load.in_flight if queue.ready is None else queue.ready)


def _age(queue: Queue, now: float) -> float:
    """Seconds since a queue was measured, at most _MAX_AGE_SECONDS."""
    return min(max(now - queue.load.at, 0.0), _MAX_AGE_SECONDS)


def _vessels(backlogs: Sequence[_Backlog], slow_start: float) -> list[_Vessel]:
    """Queues for water-filling; `slow_start` is explained at _SLOW_START."""
    fastest = min((backlog.seconds for backlog in backlogs), default=0.0)
    return [
        _Vessel(
            max(backlog.ahead / backlog.rate, fastest + slow_start * (backlog.seconds - fastest)),
            backlog.rate,
            backlog.ahead,
        )
        for backlog in backlogs
    ]


def _water_level(vessels: Iterable[_Vessel], jobs: float) -> float:
    """Seconds from now in which all vessels together finish so many more jobs."""
    level = rate = ahead = 0.0
    for vessel in sorted(vessels):
        if rate and (jobs + ahead) / rate <= vessel.start:
            break
        level = vessel.start
        rate += vessel.rate
        ahead += vessel.ahead
    return max(level, (jobs + ahead) / rate)


def _balance_level(givers: Sequence[_Vessel], takers: Sequence[_Vessel]) -> float:
    """Seconds from now at which all finish together, when the takers get what the givers have too much.

    A giver may be a taker as well.
    """
    low, high = 0.0, max((vessel.ahead / vessel.rate for vessel in givers), default=0.0)
    for _ in range(_BISECTIONS):
        level = (low + high) / 2
        if sum(vessel.overflow(level) for vessel in givers) > sum(vessel.room(level) for vessel in takers):
            low = level
        else:
            high = level
    return high


def _is_open(queue: Queue) -> bool:
    """Whether a queue gets new jobs."""
    return not queue.fault and not queue.paused and queue.weight > 0


def _covers(band: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a band of priorities includes another."""
    return band[0] <= other[0] and other[1] <= band[1]


def _mismatch(queue: Queue, want: Want) -> tuple[bool, int]:
    """How far a queue is from a job's wishes: whether the price differs, and the distance of the priority."""
    return queue.price != want.price, _distance(queue.priority, want.priority)


def _distance(band: tuple[int, int], priority: int) -> int:
    """How far a priority lies outside a band; 0 inside."""
    low, high = band
    return max(low - priority, priority - high, 0)


def _names(queues: Iterable[Queue]) -> str:
    """Names of queues, each with its fault."""
    return ", ".join(f"{queue.name} ({queue.fault})" if queue.fault else queue.name for queue in queues)
