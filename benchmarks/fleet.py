"""The simulation behind `benchmarks.routing`: a fleet of workers, the jobs that arrive, and routers to compare.

Sixteen containers route, each with a router of its own and a measurement of the queues every 5 s. Ready workers are
counted every 60 s, and the seconds per job are a mean of finished jobs, exponentially weighted by time. Ten tenants
send jobs: nine in a stream, and one in floods of batches of up to 1000, nine tenths of all jobs. A job's wait is the
time from its arrival to its end without the time in which it was worked on to the end.

Queues are fair as SQS makes them with the tenant as MessageGroupId: the next job is one of the tenant with the fewest
in flight on that queue. Spot workers vanish and return their jobs to the queue. Every 60 s the product's router
computes how many waiting jobs should leave which queue, and where they go, as in `reconcile`; the other routers only
empty queues that have had no ready worker for 5 minutes. Jobs are taken from a queue in the order in which SQS would
give them out.

The planner keeps all jobs in one fair place, and assigns none before a worker is free, which no router can do. It knows
the true seconds of each pool, every worker's state and when workers will vanish; like everybody, it does not know which
jobs will arrive. A free worker takes the next job, unless the faster workers finish all that waits within a share of
the time that the slower one loses. `outcome` plans each scenario with several such shares, and takes the one with the
least mean time from arrival to end: without any share no worker would ever rest, and jobs would wait less but take
longer.
"""

import heapq
import math
import random
from array import array
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.routers import Routers
from elasticrecode.jobs.placement import Want
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import Load, Queue

ROUTERS = 16
TENANTS = 10
FLOODER = 0
_MEASURE_SECONDS = 5.0
_READY_SECONDS = 60.0
_MOVE_SECONDS = 60.0
_MOVED_PER_RUN = 5000
"""Fewer than `reconcile` has time for."""
_ARRIVAL_SAMPLES = 12
_NEWEST_WEIGHT = 0.05
_MEMORY_SECONDS = 600.0
"""Time constant of the mean seconds per job: of jobs that start together the short ones end first, and must not pass
for the mean."""


class Pool(NamedTuple):
    """The workers of one queue: their number, the mean seconds per job, and the start and end of their absence."""

    name: str
    workers: int
    seconds: float
    price: PriceModel = "normal"
    away: tuple[float, float] = (math.inf, math.inf)


class Scenario(NamedTuple):
    """A fleet and its jobs. `load` is their work as a share of the fleet's capacity while they arrive.

    `flooding` is the share of jobs that arrives in floods, `spot` the share that wants spot workers. `measured` queues
    had jobs before, so their seconds per job are known. On `fair` queues no tenant's jobs delay those of others.
    """

    name: str
    pools: tuple[Pool, ...]
    jobs: int
    load: float = 0.7
    floods: int = 5
    flooding: float = 0.9
    spot: float = 0.0
    fair: bool = True
    measured: bool = True


class Job(NamedTuple):
    """A job: `size` is its work as a multiple of the mean, `router` the container that it arrives at."""

    at: float
    tenant: int
    size: float
    price: PriceModel
    router: int


class Outcome(NamedTuple):
    """The result of a scenario, in seconds. `mean` and `p99` are of waits, `taken` is the mean from arrival to end.

    `unfairness` is the p99 wait of the quiet tenants divided by that of all; `moved` the moves between queues per job.
    """

    mean: float
    p99: float
    taken: float
    makespan: float
    unfairness: float
    moved: float


class _Waiting:
    """Jobs that wait: the next one is of the tenant with the fewest in flight, or the oldest where it is not fair."""

    def __init__(self, fair: bool) -> None:
        self.fair = fair
        self.lines: list[deque[int]] = [deque() for _ in range(TENANTS if fair else 1)]
        self.in_flight = [0] * TENANTS
        self.count = 0

    def add(self, job: int, tenant: int) -> None:
        self.lines[tenant if self.fair else 0].append(job)
        self.count += 1

    def put_back(self, job: int, tenant: int) -> None:
        self.lines[tenant if self.fair else 0].appendleft(job)
        self.in_flight[tenant] -= 1
        self.count += 1

    def line(self) -> deque[int]:
        """The line whose first job is the next one. At least one job must wait."""
        lines = self.lines
        if not self.fair:
            return lines[0]
        best, least = lines[0], 1 << 60
        for line, busy in zip(lines, self.in_flight, strict=True):
            if line and busy < least:
                best, least = line, busy
        return best


class _Server:
    """A queue and its workers. Times are Unix seconds."""

    def __init__(self, number: int, pool: Pool, scenario: Scenario) -> None:
        self.number = number
        self.pool = pool
        self.waiting = _Waiting(scenario.fair)
        self.idle = pool.workers
        self.up = True
        self.life = 0
        self.running: set[int] = set()
        self.seconds = pool.seconds if scenario.measured else None
        self.measured = 0.0
        self.ended = 100 if scenario.measured else 0
        self.sent = 0
        self.sent_at: deque[int] = deque([0], maxlen=_ARRIVAL_SAMPLES + 1)
        self.ready = pool.workers
        self.served = 0.0


_MEASURE, _READY, _MOVE, _LEAVE, _RETURN = range(-5, 0)
"""Kinds of events; other events are the ends of jobs, by their index."""


class World:
    """A scenario in progress. Routers choose the queue of each job on arrival; without routers the planner assigns."""

    def __init__(self, scenario: Scenario, jobs: Sequence[Job], routers: Routers | None, share: float = 1.0) -> None:
        self.jobs = jobs
        self.servers = [_Server(n, pool, scenario) for n, pool in enumerate(scenario.pools)]
        self.named = {server.pool.name: server for server in self.servers}
        self.fastest = sorted(self.servers, key=lambda server: server.pool.seconds)
        self.share = share
        self.waits = array("d", bytes(8 * len(jobs)))
        self.taken = 0.0
        self.moved = 0
        self.left = len(jobs)
        self.counted = 0.0
        self.events: list[tuple[float, int, int, int]] = []
        """Heap of (time, kind or index of the job that ends, index of the server or router, life of the server)."""
        for server in self.servers:
            if server.pool.away[0] < math.inf:
                away, back = server.pool.away
                self.events += [(away, _LEAVE, server.number, 0), (back, _RETURN, server.number, 0)]
        self.planned: dict[PriceModel, _Waiting] = {}
        self.routers = [routers(random.Random(n)) for n in range(ROUTERS + 1)] if routers else []
        if routers:
            phase = random.Random(ROUTERS)
            self.events += [(phase.random() * _MEASURE_SECONDS, _MEASURE, n, 0) for n in range(ROUTERS)]
            self.events += [(_READY_SECONDS / 2, _READY, 0, 0), (_MOVE_SECONDS, _MOVE, 0, 0)]
            for router in self.routers:
                router.update(self._measure(0.0))
        else:
            normal = _Waiting(scenario.fair)
            self.planned = {"normal": normal, "spot": _Waiting(scenario.fair) if scenario.spot else normal}
        heapq.heapify(self.events)

    def run(self) -> float:
        """Simulate every job from arrival to end. Answers the time of the last end."""
        jobs, events, finish = self.jobs, self.events, self._finish
        arrived, total, now = 0, len(jobs), 0.0
        while self.left:
            at = jobs[arrived].at if arrived < total else math.inf
            if events and events[0][0] < at:
                now, kind, where, life = heapq.heappop(events)
                if kind >= 0:
                    finish(now, kind, where, life)
                else:
                    self._routine(now, kind, where)
            else:
                self._arrive(at, arrived)
                arrived += 1
        return now

    def _arrive(self, now: float, job: int) -> None:
        _, tenant, _, price, router = self.jobs[job]
        if self.planned:
            self.planned[price].add(job, tenant)
            self._assign(now)
        else:
            choice = self.routers[router].choose(WANTS[price], now)
            self._send(now, job, choice.queue)

    def _send(self, now: float, job: int, name: str) -> None:
        server = self.named[name]
        server.sent += 1
        server.waiting.add(job, self.jobs[job].tenant)
        if server.idle:
            self._start(now, server, server.waiting)

    def _start(self, now: float, server: _Server, waiting: _Waiting) -> None:
        """Start the next job on an idle worker."""
        job = self._take(waiting)
        server.idle -= 1
        server.running.add(job)
        seconds = self.jobs[job].size * server.pool.seconds
        heapq.heappush(self.events, (now + seconds, job, server.number, server.life))

    def _finish(self, now: float, job: int, where: int, life: int) -> None:
        server = self.servers[where]
        if life != server.life:
            return
        at, tenant, size, price, _ = self.jobs[job]
        seconds = size * server.pool.seconds
        self.waits[job] = max(0.0, now - at - seconds)
        self.taken += now - at
        self.left -= 1
        server.running.discard(job)
        server.idle += 1
        waiting = self.planned[price] if self.planned else server.waiting
        waiting.in_flight[tenant] -= 1
        mean = server.seconds
        server.ended += 1
        weight = max(1 / server.ended, min(_NEWEST_WEIGHT, (now - server.measured) / _MEMORY_SECONDS))
        server.seconds = seconds if mean is None else mean + weight * (seconds - mean)
        server.measured = now
        if self.planned:
            self._assign(now)
        elif waiting.count:
            self._start(now, server, waiting)

    def _routine(self, now: float, kind: int, where: int) -> None:
        if kind == _MEASURE:
            self.routers[where].update(self._measure(now))
            heapq.heappush(self.events, (now + _MEASURE_SECONDS, kind, where, 0))
        elif kind == _READY:
            for each in self.servers:
                each.ready = each.pool.workers if each.up else 0
                each.served = now if each.up else each.served
            heapq.heappush(self.events, (now + _READY_SECONDS, kind, where, 0))
        elif kind == _MOVE:
            self._move(now)
            heapq.heappush(self.events, (now + _MOVE_SECONDS, kind, where, 0))
        elif kind == _LEAVE:
            server = self.servers[where]
            server.up, server.idle, server.life = False, 0, server.life + 1
            for job in sorted(server.running, reverse=True):
                waiting = self.planned[self.jobs[job].price] if self.planned else server.waiting
                waiting.put_back(job, self.jobs[job].tenant)
            server.running.clear()
        elif kind == _RETURN:
            server = self.servers[where]
            server.up, server.idle = True, server.pool.workers
            while not self.planned and server.idle and server.waiting.count:
                self._start(now, server, server.waiting)
        if self.planned:
            self._assign(now)

    def _move(self, now: float) -> None:
        """Take surplus jobs from queues, in the order of SQS, and route them anew."""
        router = self.routers[-1]
        router.update(self._measure(now))
        left = _MOVED_PER_RUN
        for name, count in sorted(router.surplus(now).items(), key=lambda each: each[1]):
            waiting = self.named[name].waiting
            taken = [self._take(waiting) for _ in range(min(count, left))]
            left -= len(taken)
            stay = []
            for job in taken:
                _, tenant, _, price, _ = self.jobs[job]
                choice = router.choose(WANTS[price], now, name)
                if choice.queue:
                    waiting.in_flight[tenant] -= 1
                    self.moved += 1
                    self._send(now, job, choice.queue)
                else:
                    stay.append(job)
            for job in reversed(stay):
                waiting.put_back(job, self.jobs[job].tenant)

    def _take(self, waiting: _Waiting) -> int:
        """The next job, which is in flight from now on."""
        job = waiting.line().popleft()
        waiting.count -= 1
        waiting.in_flight[self.jobs[job].tenant] += 1
        return job

    def _measure(self, now: float) -> list[Queue]:
        """The queues as a router sees them at a measurement."""
        if now - self.counted >= _MEASURE_SECONDS:
            self.counted = now
            for server in self.servers:
                server.sent_at.append(server.sent)
        return [self._queue(now, server) for server in self.servers]

    def _queue(self, now: float, server: _Server) -> Queue:
        waiting, sent_at, pool = server.waiting, server.sent_at, server.pool
        load = Load(
            at=now,
            visible=waiting.count,
            in_flight=len(server.running),
            oldest=now - min((self.jobs[line[0]].at for line in waiting.lines if line), default=now),
            arrivals=(sent_at[-1] - sent_at[0]) / (_MEASURE_SECONDS * max(1, len(sent_at) - 1)),
            seconds=server.seconds,
        )
        return Queue(
            name=pool.name,
            group="cpu",
            url="",
            ready=server.ready,
            price=pool.price,
            served=server.served,
            load=load,
        )

    # The planner

    def _assign(self, now: float) -> None:
        """Start waiting jobs on idle workers, the fastest first."""
        for price, waiting in self.planned.items():
            if not waiting.count:
                continue
            serving = self._serving(price)
            rate = 0.0
            for server in serving:
                pool = server.pool
                while server.idle and waiting.count and self._worth(now, server, serving[0], rate, waiting):
                    self._start(now, server, waiting)
                rate += pool.workers / pool.seconds

    def _serving(self, price: PriceModel) -> list[_Server]:
        """The servers for jobs of a price model, the fastest first."""
        up = [server for server in self.fastest if server.up]
        return [server for server in up if server.pool.price == price] or up

    def _worth(self, now: float, server: _Server, fastest: _Server, rate: float, waiting: _Waiting) -> bool:
        """Whether a worker should take the next job, where faster ones finish `rate` jobs per second."""
        pool = server.pool
        if pool.away[0] < math.inf and now < pool.away[0]:
            size = self.jobs[waiting.line()[0]].size
            if now + size * pool.seconds > pool.away[0]:
                return False
        return not rate or (pool.seconds - fastest.pool.seconds) * self.share <= waiting.count / rate


WANTS: dict[PriceModel, Want] = {"normal": Want("cpu", "normal", 0), "spot": Want("cpu", "spot", 0)}
