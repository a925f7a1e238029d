"""Which queue a job goes to: one of those that are expected to be done with it first (docs/routing.md).

Many routers work at a time, each by a look at the queues that is some seconds old. If each chose the best queue, they
all would choose the same. So each spreads what is expected to come before the next look such that the queues end level.
"""

import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import median
from typing import NamedTuple

from elasticrecode.errors import Refused
from elasticrecode.fleet import Group, PriceModel, Queue
from elasticrecode.jobs import Job
from elasticrecode.profiles import platform

REFRESH_SECONDS = 5.0
"""How long a look at the queues is in use, about."""
STALL_SECONDS = 60.0
"""What has waited so long beside workers that have nothing to do is not taken by them."""

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

_RNG = random.SystemRandom()  # containers that were started from one snapshot must not draw alike


class Want(NamedTuple):
    """What a job asks of a queue."""

    group: Group
    price: PriceModel
    priority: int


class Choice(NamedTuple):
    """A queue's name, empty where nothing may take the job now, and why, for the job's user."""

    queue: str
    reason: str


def wanted(job: Job) -> Want:
    """What a job asks of a queue."""
    ec2 = job.profile.ec2
    return Want(
        group="vmaf" if job.kind == "vmaf" else platform(job.profile),
        price=(ec2.priceModel if ec2 else None) or "normal",
        priority=job.priority or 0,
    )


class _Lane:
    """Queues that the same jobs may go to. `shares` are cumulated, and hold for `left` more jobs and until a time."""

    __slots__ = ("choices", "left", "note", "queues", "shares", "until")

    def __init__(self, queues: Sequence[Queue], note: str) -> None:
        self.queues = queues
        self.note = note
        self.choices: list[Choice] = []
        self.shares: list[float] = []
        self.left = 0
        self.until = 0.0


class _Place(NamedTuple):
    """A queue to be filled: seconds from now at which it gets jobs at all, jobs a second, jobs that are ahead."""

    start: float
    rate: float
    ahead: float


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

        Refused when no queue serves the job's group.
        """
        lane = self._wants.get((want, leaving)) or self._open(want, leaving)
        if not lane.left or now >= lane.until:
            self._fill(lane, now)
        lane.left -= 1
        shares = lane.shares
        last = len(shares) - 1
        choice = lane.choices[bisect(shares, self._rng.random() * shares[last], 0, last) if last else 0]
        self._sent[choice.queue] += 1
        return choice

    def _open(self, want: Want, leaving: str) -> _Lane:
        """The lane of a want, which may be that of other wants too."""
        queues, note = self._fitting(want, leaving)
        lane = self._lanes.setdefault((note, *(queue.name for queue in queues)), _Lane(queues, note))
        self._wants[want, leaving] = lane
        return lane

    def _fitting(self, want: Want, leaving: str) -> tuple[Sequence[Queue], str]:
        """The queues that a job may go to, and what they fall short of. Why it is held, where there are none."""
        group = [queue for queue in self._queues if queue.group == want.group]
        if not group:
            others = ", ".join(dict.fromkeys(queue.group for queue in self._queues)) or "nothing"
            raise Refused(f"No queue serves {want.group} jobs; there are queues for {others}.")
        serving = [queue for queue in group if not queue.fault]
        if not serving:
            raise Refused(f"No queue can take {want.group} jobs: {_told(group)}.")
        running = [queue for queue in serving if not queue.paused and queue.weight > 0]
        if not running:
            return (), f"every queue that serves it is paused: {_told(serving)}"
        if leaving:
            running = [queue for queue in running if queue.ready != 0 and queue.name != leaving]
            if not running:
                return (), "no other queue has a ready worker"

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
        if len(queues) < 2:
            lane.choices, lane.shares = [Choice(queues[0].name if queues else "", lane.note)], [1.0]
            return
        loads = [self._backlog(queue, now) for queue in queues]
        fastest = min(seconds for seconds, _, _ in loads)
        places = [
            _Place(max(ahead / rate, fastest + _PATIENCE * (seconds - fastest)), rate, ahead)
            for seconds, rate, ahead in loads
        ]
        coming = max(
            sum(queue.load.arrivals * (_age(queue, now) + REFRESH_SECONDS) for queue in queues),
            sum(self._sent[queue.name] for queue in queues),
            _SURPRISE * sum(_workers(queue) for queue in queues),
            _FEWEST_COMING,
        )
        level = _level(places, coming)
        lane.left = max(2 * len(queues), int(coming / _REFILLS))
        lane.shares = list(
            accumulate(max(0.0, level * rate - ahead) if level >= start else 0.0 for start, rate, ahead in places)
        )
        lane.choices = [
            Choice(queue.name, f"{lane.note}about {max(seconds, ahead / rate):.0f} s expected, of {len(queues)} queues")
            for queue, (seconds, rate, ahead) in zip(queues, loads, strict=True)
        ]

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


def _beside(band: tuple[int, int], priority: int) -> int:
    """How far a priority lies outside a band."""
    low, high = band
    return max(low - priority, priority - high, 0)


def _told(queues: Iterable[Queue]) -> str:
    return ", ".join(f"{queue.name} ({queue.fault})" if queue.fault else queue.name for queue in queues)
