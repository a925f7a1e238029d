"""Which queue a job goes to: one of those that are expected to be done with it first (docs/explanation/routing.md).

Many routers work at a time, each by a look at the queues that is some seconds old. If each chose the best queue, they
all would choose the same. So each spreads what is expected to come before the next look such that the queues end level.

Where fleets come and go afterwards, what waits is spread anew: `Router.surplus` says how much should leave which queue.
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
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import Queue

REFRESH_SECONDS = 5.0
"""How long a look at the queues is in use, about."""
STALL_SECONDS = 60.0
"""What has waited so long beside workers that have nothing to do is not taken by them."""
DESERTED_SECONDS = 300.0
"""So long a queue may be without a ready worker: a node that starts from zero takes a few minutes."""

_SLICE_SECONDS = 1.0
_OLDEST_LOOK_SECONDS = 60.0
_UNMEASURED_SECONDS = 30.0
_SHORTEST_SECONDS = 0.1
_FEWEST_COMING = 16
_SURPRISE = 0.25
"""Jobs for each ready worker that may come where none are known to."""
_PATIENCE = 0.3
"""Who waits for a fast worker makes those behind wait too: a slow one is taken well before it would be done first."""
_REFILLS = 16
"""How often shares are renewed while as many jobs are sent as are expected."""
_CLEARLY_LATER = 1.5
_LATER_SECONDS = 60.0
"""A queue gives jobs away where it ends so many times, and seconds, later than all would if they were level: looks are
up to a minute old, SQS counts about, and moving costs more calls than sending did."""
_HALVINGS = 50

_RNG = random.SystemRandom()  # containers that were started from one snapshot must not draw alike


class _Lane:
    """Queues that the same jobs may go to. `shares` are cumulated, and hold for `left` more jobs and until a time.

    With `source`, a queue with workers, jobs go only where they are done sooner than there.
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


class _Place(NamedTuple):
    """A queue to be filled: seconds from now at which it gets jobs at all, jobs a second, jobs that are ahead."""

    start: float
    rate: float
    ahead: float

    def room(self, level: float) -> float:
        """Jobs that it could do in addition until so many seconds from now."""
        return max(0.0, level * self.rate - self.ahead) if level >= self.start else 0.0

    def beyond(self, level: float) -> float:
        """Jobs that it will not have done by then."""
        return max(0.0, self.ahead - level * self.rate)


class Router:
    """Chooses queues by the latest look at them and by what it chose since."""

    def __init__(self, queues: Sequence[Queue], rng: random.Random | None = None) -> None:
        self._rng = rng or _RNG
        self._queues: tuple[Queue, ...] = ()
        self._sent: Counter[str] = Counter()
        self._wants: dict[tuple[Want, str], _Lane] = {}
        self._lanes: dict[tuple[str, ...], _Lane] = {}
        self._seconds: dict[Group, float] = {}
        self.update(queues)

    def update(self, queues: Sequence[Queue]) -> None:
        """A newer look. What was sent to a queue since the older one counts on where that is still the latest."""
        newer = tuple(queues)
        if newer == self._queues:
            return
        seen = {queue.name: queue.load.at for queue in self._queues}
        kept = {queue.name: self._sent[queue.name] for queue in newer if seen.get(queue.name) == queue.load.at}
        self._queues, self._sent = newer, Counter(kept)
        self._wants, self._lanes, self._seconds = {}, {}, {}

    def choose(self, want: Want, now: float, leaving: str = "") -> Choice:
        """The queue of a job at a Unix time, where `leaving` names one that it is taken away from.

        From one without workers it goes to any that has some. From one with workers only to one that fits it no worse
        and is done with it sooner; it stays where there is none. Refused when no queue serves the job's group.
        """
        lane = self._wants.get((want, leaving)) or self._open(want, leaving)
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

    def surplus(self, now: float) -> dict[str, int]:
        """How many of the jobs that wait on queues should be taken elsewhere at a Unix time; no queue with none.

        All of them where a queue is deserted. Else, where queues that any job of it fits as well would be done clearly
        sooner, as many as make all of them end at one time.
        """
        alike: dict[tuple[Group, PriceModel, tuple[int, int]], list[Queue]] = {}
        for queue in self._queues:
            alike.setdefault((queue.group, queue.price, queue.priority), []).append(queue)
        counts: dict[str, int] = {}
        for queues in alike.values():
            for queue, count in zip(queues, self._surplus(queues, now), strict=True):
                counts[queue.name] = min(counts.get(queue.name, count), count)  # one may serve several groups
        return {name: count for name, count in counts.items() if count}

    def _surplus(self, queues: Sequence[Queue], now: float) -> list[int]:
        """What each of some queues of one group, price and band has too many."""
        group, price, band = queues[0].group, queues[0].price, queues[0].priority
        working = [queue for queue in self._queues if queue.group == group and _is_open(queue) and queue.ready != 0]
        takers = [queue for queue in working if queue.price == price and _covers(queue.priority, band)]
        givers = [queue for queue in queues if queue.ready != 0 and queue.weight > 0 and not queue.fault]
        given, taken = ([self._backlog(queue, now) for queue in some] for some in (givers, takers))
        places = dict(zip((queue.name for queue in givers), _places(given, 1), strict=True))
        level = _even(list(places.values()), _places(taken, 1))
        limit = max(_CLEARLY_LATER * level, level + _LATER_SECONDS)

        def count(queue: Queue) -> int:
            if queue.is_deserted(now, DESERTED_SECONDS):
                return queue.load.visible if working else 0
            place = places.get(queue.name)
            return min(queue.load.visible, round(place.beyond(level))) if place and place.beyond(limit) else 0

        return [count(queue) for queue in queues]

    def _open(self, want: Want, leaving: str) -> _Lane:
        """The lane of a want, which may be that of other wants too."""
        left = (
            queue for queue in self._queues if queue.name == leaving and queue.group == want.group and queue.ready != 0
        )
        source = next(left, None)
        queues, note = self._fitting(want, leaving, source)
        key = (note, leaving, *(queue.name for queue in queues))
        lane = self._lanes.setdefault(key, _Lane(queues, note, source))
        self._wants[want, leaving] = lane
        return lane

    def _fitting(self, want: Want, leaving: str, source: Queue | None) -> tuple[Sequence[Queue], str]:
        """The queues that a job may go to, and what they fall short of. Why it is held, where there are none."""
        group = [queue for queue in self._queues if queue.group == want.group]
        if not group:
            others = ", ".join(dict.fromkeys(queue.group for queue in self._queues)) or "nothing"
            raise Refused(f"No queue serves {want.group} jobs; there are queues for {others}.")
        serving = [queue for queue in group if not queue.fault]
        if not serving:
            raise Refused(f"No queue can take {want.group} jobs: {_told(group)}.")
        running = [queue for queue in serving if _is_open(queue)]
        if not running:
            return (), f"every queue that serves it is paused or without weight: {_told(serving)}"
        if leaving:
            running = [queue for queue in running if queue.ready != 0 and queue.name != leaving]
            if not running:
                return (), "no other queue has a ready worker"
        if source:
            misfit = _misfit(source, want)
            fitting = [queue for queue in running if all(map(le, _misfit(queue, want), misfit))]
            return fitting, "" if fitting else "no other queue fits it as well"

        notes = []
        fitting = [queue for queue in running if queue.price == want.price]
        if not fitting:
            notes.append(f"no {want.price} queue; ")
            fitting = running
        nearest = min(_beside(queue.priority, want.priority) for queue in fitting)
        if nearest:
            notes.append(f"no queue for priority {want.priority}; ")
        fitting = [queue for queue in fitting if _beside(queue.priority, want.priority) == nearest]
        ready = [queue for queue in fitting if queue.ready != 0]
        if not ready:
            notes.append("no queue has a ready worker; ")
        if len(ready or fitting) == 1:
            notes.append("the only queue" if len(group) == 1 else f"the only queue of {len(group)} that fits")
        return ready or fitting, "".join(notes)

    def _fill(self, lane: _Lane, now: float) -> None:
        """Share out what is expected to come, such that all of it is done as early as can be."""
        queues = lane.queues
        lane.until = now + _SLICE_SECONDS
        lane.left = 1 << 30
        told = f"of {len(queues)} queues"
        if lane.source:
            end = self._end(lane.source, now)
            queues = [queue for queue in queues if self._end(queue, now) < end]
            told = f"sooner than on {lane.source.name}"
            if not queues:
                lane.choices, lane.shares = [Choice("", lane.note or "no other queue is done with it sooner")], [1.0]
                return
        elif len(queues) < 2:
            lane.choices, lane.shares = [Choice(queues[0].name if queues else "", lane.note)], [1.0]
            return
        loads = [self._backlog(queue, now) for queue in queues]
        places = _places(loads, _PATIENCE)
        coming = max(
            sum(queue.load.arrivals * (_age(queue, now) + REFRESH_SECONDS) for queue in queues),
            sum(self._sent[queue.name] for queue in queues),
            _SURPRISE * sum(_workers(queue) for queue in queues),
            _FEWEST_COMING,
        )
        level = _level(places, coming)
        lane.left = max(2 * len(queues), int(coming / _REFILLS))
        lane.shares = list(accumulate(place.room(level) for place in places))
        lane.choices = [
            Choice(queue.name, f"{lane.note}about {max(seconds, ahead / rate):.0f} s expected, {told}")
            for queue, (seconds, rate, ahead) in zip(queues, loads, strict=True)
        ]

    def _end(self, queue: Queue, now: float) -> float:
        """Seconds in which one more job of a queue is done; a queue of no weight is done with none."""
        seconds, rate, ahead = self._backlog(queue, now)
        return max(seconds, ahead / rate) if rate else inf

    def _backlog(self, queue: Queue, now: float) -> tuple[float, float, float]:
        """A queue as it should be now: seconds a job, jobs a second, jobs that are ahead of another."""
        load, workers = queue.load, _workers(queue)
        seconds = max(load.seconds or self._usual(queue.group), _SHORTEST_SECONDS)
        rate = workers * queue.weight / seconds
        ahead = max(0.0, load.visible + load.in_flight / 2 - rate * _age(queue, now)) + self._sent[queue.name]
        if load.visible and load.oldest > STALL_SECONDS and 2 * load.in_flight < workers:
            ahead = max(ahead, rate * load.oldest)
        return seconds, rate, ahead

    def _usual(self, group: Group) -> float:
        """Seconds a job of a queue where they have not been measured."""
        if group not in self._seconds:
            measured = [queue.load.seconds for queue in self._queues if queue.group == group and queue.load.seconds]
            self._seconds[group] = median(measured) if measured else _UNMEASURED_SECONDS
        return self._seconds[group]


def _workers(queue: Queue) -> int:
    """Workers that take from a queue: at least one, even where none is ready, so that its jobs are done some time."""
    return max(1, queue.load.in_flight if queue.ready is None else queue.ready)


def _age(queue: Queue, now: float) -> float:
    """Seconds since a queue was looked at."""
    return min(max(now - queue.load.at, 0.0), _OLDEST_LOOK_SECONDS)


def _places(loads: Sequence[tuple[float, float, float]], patience: float) -> list[_Place]:
    """Queues to be filled, of seconds a job, jobs a second and jobs that are ahead."""
    fastest = min((seconds for seconds, _, _ in loads), default=0.0)
    return [
        _Place(max(ahead / rate, fastest + patience * (seconds - fastest)), rate, ahead)
        for seconds, rate, ahead in loads
    ]


def _level(places: Iterable[_Place], jobs: float) -> float:
    """Seconds from now in which all places together can be done with so many more jobs."""
    level = rate = ahead = 0.0
    for place in sorted(places):
        if rate and (jobs + ahead) / rate <= place.start:
            break
        level = place.start
        rate += place.rate
        ahead += place.ahead
    return max(level, (jobs + ahead) / rate)


def _even(givers: Sequence[_Place], takers: Sequence[_Place]) -> float:
    """Seconds from now at which all end together, where each giver's jobs may go to the takers, itself perhaps too."""
    low, high = 0.0, max((place.ahead / place.rate for place in givers), default=0.0)
    for _ in range(_HALVINGS):
        level = (low + high) / 2
        if sum(place.beyond(level) for place in givers) > sum(place.room(level) for place in takers):
            low = level
        else:
            high = level
    return high


def _is_open(queue: Queue) -> bool:
    """Whether a queue gets work."""
    return not queue.fault and not queue.paused and queue.weight > 0


def _covers(band: tuple[int, int], other: tuple[int, int]) -> bool:
    return band[0] <= other[0] and other[1] <= band[1]


def _misfit(queue: Queue, want: Want) -> tuple[bool, int]:
    """By how much a queue is not what a job wants, in price and in priority."""
    return queue.price != want.price, _beside(queue.priority, want.priority)


def _beside(band: tuple[int, int], priority: int) -> int:
    """How far a priority lies outside a band."""
    low, high = band
    return max(low - priority, priority - high, 0)


def _told(queues: Iterable[Queue]) -> str:
    return ", ".join(f"{queue.name} ({queue.fault})" if queue.fault else queue.name for queue in queues)
