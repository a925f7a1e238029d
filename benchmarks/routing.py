"""Routing on a simulated fleet: waits and makespans of the product's router beside others and a planner that knows all.

`python -m benchmarks.routing` prints the table of docs/explanation/routing.md.

Sixteen containers route, each with a router of its own and a look at the queues every 5 s; ready workers are counted
every 60 s, and the seconds a job takes are an exponentially weighted mean, by time, of what finished. Ten tenants
send jobs: nine in a stream, and one floods with batches of up to 1000, nine tenths of all jobs. A job's wait is the
time from its arrival to its end less the time that it was worked on to the end. Queues are fair as SQS has it with a
tenant's name as MessageGroupId: next is a job of the tenant that has least in flight on that queue. Spot workers
vanish and leave what they worked on to their queue. Every 60 s the product's router says how much of what waits should
leave which queue, and where to, as it does in `reconcile`; the others only relieve queues that have had no ready worker
for 5 minutes. What is taken from a queue is what SQS would give next.

The planner keeps all jobs in one fair place and commits none before a worker is free, which no router can do. It knows
the true seconds of each pool, every worker's state at once and when workers will vanish; it does not know what will
arrive, as nobody can. A free worker takes the next job, unless the faster ones can be done with all that waits in a
share of the time that the slow one loses. Each scenario is planned with several such shares, and the one with the
least mean time from arrival to end is the planner's: with none no worker would ever rest, and jobs would wait less but
take longer.
"""

import heapq
import math
import random
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from elasticrecode.jobs.placement import Choice, Want
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import Load, Queue
from elasticrecode.workers.routing import DESERTED_SECONDS, Router

_ROUTERS = 16
_TENANTS = 10
_FLOODER = 0
_BATCH = 1000
_LOOK_SECONDS = 5.0
_READY_SECONDS = 60.0
_MOVE_SECONDS = 60.0
_MOVED_A_RUN = 5000
"""Fewer than `reconcile` has time for."""
_ARRIVAL_LOOKS = 12
_NEWEST_WEIGHT = 0.05
_MEMORY_SECONDS = 600.0
"""Of the mean of seconds a job: of jobs that started together short ones end first, and must not pass for the mean."""
_SPREAD = 0.5
"""Sigma of the lognormal size of jobs, whose mean is 1."""
_FLOOD_SECONDS = 30.0
_SHARES = (0.1, 0.3, 1.0)

Routers = Callable[[random.Random], "Chooser"]


class Pool(NamedTuple):
    """Workers of one queue: how many, the mean seconds of a job, and from when to when they are away."""

    name: str
    workers: int
    seconds: float
    price: PriceModel = "normal"
    away: tuple[float, float] = (math.inf, math.inf)


class Scenario(NamedTuple):
    """A fleet and the jobs it gets; `load` is their work beside what the fleet can do in the time they come in.

    `flooding` is the part that comes in floods, `spot` the part that wants spot workers. `measured` queues have had
    jobs before, so it is known how long they take; `fair` ones do not let one tenant's jobs delay those of others.
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
    """A job that arrives: `size` is its work beside the mean, `router` the container that it comes to."""

    at: float
    tenant: int
    size: float
    price: PriceModel
    router: int


class Outcome(NamedTuple):
    """Seconds; `taken` is the mean from arrival to end, unfairness the p99 wait of quiet tenants beside that of all.

    `moved` are moves from queue to queue by the number of jobs.
    """

    mean: float
    p99: float
    taken: float
    makespan: float
    unfairness: float
    moved: float


class Chooser(Protocol):
    """What routes."""

    def update(self, queues: Sequence[Queue]) -> None:
        """A newer look."""

    def choose(self, want: Want, now: float, leaving: str = "") -> Choice:
        """A job's queue."""

    def surplus(self, now: float) -> Mapping[str, int]:
        """How many of the jobs that wait on queues should be taken elsewhere."""


# The routers beside the product's


class _Plain:
    """A router that keeps to prices and leaves queues out that it knows to have no ready workers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.turn = rng.randrange(1000)

    def update(self, queues: Sequence[Queue]) -> None:
        self.queues = queues
        self.known: dict[tuple[Want, str], list[Queue]] = {}

    def choose(self, want: Want, now: float, leaving: str = "") -> Choice:
        fitting = self.known.get((want, leaving)) or self._fitting(want, leaving)
        return Choice(self.pick(fitting).name, "") if fitting else Choice("", "")

    def surplus(self, now: float) -> Mapping[str, int]:
        if not any(queue.ready for queue in self.queues):
            return {}
        return {queue.name: queue.load.visible for queue in self.queues if queue.is_deserted(now, DESERTED_SECONDS)}

    def _fitting(self, want: Want, leaving: str) -> list[Queue]:
        left = [queue for queue in self.queues if queue.name != leaving and (queue.ready or not leaving)]
        priced = [queue for queue in left if queue.price == want.price] or left
        self.known[want, leaving] = [queue for queue in priced if queue.ready] or priced
        return self.known[want, leaving]

    def pick(self, queues: Sequence[Queue]) -> Queue:
        raise NotImplementedError


class _Random(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        return queues[int(self.rng.random() * len(queues))]


class _RoundRobin(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        self.turn += 1
        return queues[self.turn % len(queues)]


class _Shortest(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        return min(queues, key=lambda queue: queue.load.visible + queue.load.in_flight)


class _LeastWait(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        return min(queues, key=_expected)


def _expected(queue: Queue) -> float:
    """Seconds in which one more job is done, as it was when the queue was looked at."""
    seconds = queue.load.seconds or 30.0
    return max(seconds, (queue.load.visible + queue.load.in_flight / 2) * seconds / max(1, queue.ready or 0))


def _ours(rng: random.Random) -> Chooser:
    return Router((), rng)


OURS, RANDOM, PLANNER = "elasticrecode", "random", "planner"
CHOOSERS: dict[str, Routers] = {
    RANDOM: _Random,
    "round robin": _RoundRobin,
    "shortest queue": _Shortest,
    "least wait": _LeastWait,
    OURS: _ours,
}


# What is simulated


class _Waiting:
    """Jobs that wait: next is one of the tenant that has least in flight, or the oldest where it is not fair."""

    def __init__(self, fair: bool) -> None:
        self.fair = fair
        self.lines: list[deque[int]] = [deque() for _ in range(_TENANTS if fair else 1)]
        self.in_flight = [0] * _TENANTS
        self.count = 0

    def add(self, job: int, tenant: int) -> None:
        self.lines[tenant if self.fair else 0].append(job)
        self.count += 1

    def put_back(self, job: int, tenant: int) -> None:
        self.lines[tenant if self.fair else 0].appendleft(job)
        self.in_flight[tenant] -= 1
        self.count += 1

    def line(self) -> deque[int]:
        """The line whose first is next; something must wait."""
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
        self.sent_at: deque[int] = deque([0], maxlen=_ARRIVAL_LOOKS + 1)
        self.ready = pool.workers
        self.served = 0.0


_LOOK, _READY, _MOVE, _LEAVE, _RETURN = range(-5, 0)


class _World:
    """The fleet of a scenario, with jobs that are routed as they come or, without routers, by the planner."""

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
        """Heap of (time, what or the index of the job that ends, index of server or router, life of the server)."""
        for server in self.servers:
            if server.pool.away[0] < math.inf:
                away, back = server.pool.away
                self.events += [(away, _LEAVE, server.number, 0), (back, _RETURN, server.number, 0)]
        self.planned: dict[PriceModel, _Waiting] = {}
        self.routers = [routers(random.Random(n)) for n in range(_ROUTERS + 1)] if routers else []
        if routers:
            phase = random.Random(_ROUTERS)
            self.events += [(phase.random() * _LOOK_SECONDS, _LOOK, n, 0) for n in range(_ROUTERS)]
            self.events += [(_READY_SECONDS / 2, _READY, 0, 0), (_MOVE_SECONDS, _MOVE, 0, 0)]
            for router in self.routers:
                router.update(self._look(0.0))
        else:
            normal = _Waiting(scenario.fair)
            self.planned = {"normal": normal, "spot": _Waiting(scenario.fair) if scenario.spot else normal}
        heapq.heapify(self.events)

    def run(self) -> float:
        """Every job from arrival to end; the time of the last end."""
        jobs, events, finish = self.jobs, self.events, self._finish
        arrived, total, now = 0, len(jobs), 0.0
        while self.left:
            at = jobs[arrived].at if arrived < total else math.inf
            if events and events[0][0] < at:
                now, what, where, life = heapq.heappop(events)
                if what >= 0:
                    finish(now, what, where, life)
                else:
                    self._routine(now, what, where)
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
            choice = self.routers[router].choose(_WANTS[price], now)
            self._send(now, job, choice.queue)

    def _send(self, now: float, job: int, name: str) -> None:
        server = self.named[name]
        server.sent += 1
        server.waiting.add(job, self.jobs[job].tenant)
        if server.idle:
            self._start(now, server, server.waiting)

    def _start(self, now: float, server: _Server, waiting: _Waiting) -> None:
        """Let an idle worker take the next job."""
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

    def _routine(self, now: float, what: int, where: int) -> None:
        if what == _LOOK:
            self.routers[where].update(self._look(now))
            heapq.heappush(self.events, (now + _LOOK_SECONDS, what, where, 0))
        elif what == _READY:
            for each in self.servers:
                each.ready = each.pool.workers if each.up else 0
                each.served = now if each.up else each.served
            heapq.heappush(self.events, (now + _READY_SECONDS, what, where, 0))
        elif what == _MOVE:
            self._move(now)
            heapq.heappush(self.events, (now + _MOVE_SECONDS, what, where, 0))
        elif what == _LEAVE:
            server = self.servers[where]
            server.up, server.idle, server.life = False, 0, server.life + 1
            for job in sorted(server.running, reverse=True):
                waiting = self.planned[self.jobs[job].price] if self.planned else server.waiting
                waiting.put_back(job, self.jobs[job].tenant)
            server.running.clear()
        elif what == _RETURN:
            server = self.servers[where]
            server.up, server.idle = True, server.pool.workers
            while not self.planned and server.idle and server.waiting.count:
                self._start(now, server, server.waiting)
        if self.planned:
            self._assign(now)

    def _move(self, now: float) -> None:
        """Take from queues what they should not hold, as SQS gives it, and route it anew."""
        router = self.routers[-1]
        router.update(self._look(now))
        left = _MOVED_A_RUN
        for name, count in sorted(router.surplus(now).items(), key=lambda each: each[1]):
            waiting = self.named[name].waiting
            taken = [self._take(waiting) for _ in range(min(count, left))]
            left -= len(taken)
            stay = []
            for job in taken:
                _, tenant, _, price, _ = self.jobs[job]
                choice = router.choose(_WANTS[price], now, name)
                if choice.queue:
                    waiting.in_flight[tenant] -= 1
                    self.moved += 1
                    self._send(now, job, choice.queue)
                else:
                    stay.append(job)
            for job in reversed(stay):
                waiting.put_back(job, self.jobs[job].tenant)

    def _take(self, waiting: _Waiting) -> int:
        """The next job, in flight."""
        job = waiting.line().popleft()
        waiting.count -= 1
        waiting.in_flight[self.jobs[job].tenant] += 1
        return job

    def _look(self, now: float) -> list[Queue]:
        """The queues as a router sees them."""
        if now - self.counted >= _LOOK_SECONDS:
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
            arrivals=(sent_at[-1] - sent_at[0]) / (_LOOK_SECONDS * max(1, len(sent_at) - 1)),
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
        """Let idle workers take what waits, the fastest first."""
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
        """Workers that take jobs of a price, the fastest first."""
        up = [server for server in self.fastest if server.up]
        return [server for server in up if server.pool.price == price] or up

    def _worth(self, now: float, server: _Server, fastest: _Server, rate: float, waiting: _Waiting) -> bool:
        """Whether a worker should take the next job, beside faster ones that do `rate` jobs a second."""
        pool = server.pool
        if pool.away[0] < math.inf and now < pool.away[0]:
            size = self.jobs[waiting.line()[0]].size
            if now + size * pool.seconds > pool.away[0]:
                return False
        return not rate or (pool.seconds - fastest.pool.seconds) * self.share <= waiting.count / rate


_WANTS: dict[PriceModel, Want] = {"normal": Want("cpu", "normal", 0), "spot": Want("cpu", "spot", 0)}


def _arrivals(scenario: Scenario) -> list[Job]:
    """The jobs of a scenario in time order: a stream of nine tenants, and floods of one in batches."""
    rng = random.Random(scenario.jobs)
    rate = sum(pool.workers / pool.seconds for pool in scenario.pools)
    span = scenario.jobs / rate / scenario.load
    flooding = int(scenario.jobs * scenario.flooding / scenario.floods)
    mean = -_SPREAD * _SPREAD / 2
    found = []

    def job(at: float, tenant: int, router: int) -> None:
        price: PriceModel = "spot" if rng.random() < scenario.spot else "normal"
        found.append(Job(at, tenant, rng.lognormvariate(mean, _SPREAD), price, router))

    for flood in range(scenario.floods):
        start = span * (flood + 0.5) / scenario.floods
        for first in range(0, flooding, _BATCH):
            at, router = start + rng.random() * _FLOOD_SECONDS, rng.randrange(_ROUTERS)
            for _ in range(min(_BATCH, flooding - first)):
                job(at, _FLOODER, router)
    for _ in range(scenario.jobs - len(found)):
        job(rng.random() * span, rng.randrange(1, _TENANTS), rng.randrange(_ROUTERS))
    return sorted(found, key=lambda each: each.at)


@cache
def _jobs(scenario: Scenario) -> list[Job]:
    return _arrivals(scenario)


@cache
def outcome(scenario: Scenario, name: str) -> Outcome:
    """How the jobs of a scenario fare with a router, or the planner."""
    if name in CHOOSERS:
        return _outcome(scenario, CHOOSERS[name])
    return min((_outcome(scenario, None, share) for share in _SHARES), key=lambda found: found.taken)


def _outcome(scenario: Scenario, routers: Routers | None, share: float = 1.0) -> Outcome:
    jobs = _jobs(scenario)
    world = _World(scenario, jobs, routers, share)
    end = world.run()
    quiet = [wait for wait, job in zip(world.waits, jobs, strict=True) if job.tenant != _FLOODER]
    p99 = _p99(world.waits)
    return Outcome(
        mean=math.fsum(world.waits) / len(jobs),
        p99=p99,
        taken=world.taken / len(jobs),
        makespan=end - jobs[0].at,
        unfairness=_p99(quiet) / p99 if p99 else 1.0,
        moved=world.moved / len(jobs),
    )


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


# What is measured

_UNEVEN = (Pool("fast", 40, 20), Pool("middle", 30, 60), Pool("slow", 60, 120), Pool("small", 5, 30))
_EVEN = tuple(Pool(name, 20, 30) for name in ("a", "b", "c", "d"))
_SPOT = (
    Pool("fast", 40, 20),
    Pool("middle", 30, 60),
    Pool("spot, vanishes", 40, 30, "spot", (1500, 3000)),
    Pool("spot, stays", 20, 40, "spot"),
)
UNEVEN = Scenario("uneven", _UNEVEN, 20_000)
EVEN = Scenario("even", _EVEN, 20_000)
STEADY = Scenario("uneven, busy, few floods", _UNEVEN, 20_000, load=0.85, flooding=0.1)
UNMEASURED = Scenario("uneven, never measured", _UNEVEN, 20_000, measured=False)
VANISHING = Scenario("spot workers vanish", _SPOT, 20_000, spot=0.4)
UNFAIR = Scenario("uneven, queues not fair", _UNEVEN, 20_000, fair=False)
MILLION = Scenario(
    "uneven, a million jobs", tuple(pool._replace(workers=pool.workers * 50) for pool in _UNEVEN), 1_000_000
)

_TABLE = {
    UNEVEN: (*CHOOSERS, PLANNER),
    EVEN: (*CHOOSERS, PLANNER),
    STEADY: (*CHOOSERS, PLANNER),
    UNMEASURED: (RANDOM, OURS, PLANNER),
    VANISHING: (*CHOOSERS, PLANNER),
    UNFAIR: (RANDOM, OURS, PLANNER),
    MILLION: (RANDOM, OURS, PLANNER),
}

_CPU_JOBS, _CPU_LOOK, _CPU_QUEUES, _CPU_ROUNDS = 100_000, 1000, 8, 5


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Waits and makespans beside random choice and the planner, unfairness, and what routing a job costs."""
    yield _beside(UNEVEN, "p99", RANDOM, 0.5)
    yield _beside(UNEVEN, "p99", PLANNER, 1.3)
    yield _beside(UNEVEN, "makespan", PLANNER, 1.1)
    yield _beside(EVEN, "p99", PLANNER, 1.3)
    yield _beside(STEADY, "p99", PLANNER, 1.3)
    yield _beside(UNMEASURED, "p99", PLANNER, 1.3)
    yield _beside(VANISHING, "p99", PLANNER, 1.3)
    yield _beside(MILLION, "p99", RANDOM, 0.5)
    yield _beside(MILLION, "p99", PLANNER, 1.3)
    yield _beside(MILLION, "makespan", PLANNER, 1.1)
    for scenario, limit in ((UNEVEN, 0.01), (EVEN, 0.01), (STEADY, 0.01), (UNMEASURED, 0.01), (MILLION, 0.02)):
        moved = outcome(scenario, OURS).moved
        yield f"jobs moved, {scenario.name}", f"{moved:.2%}", "no worker comes or goes", moved, limit
    moved = outcome(VANISHING, OURS).moved
    yield f"jobs moved, {VANISHING.name}", f"{moved:.2%}", "", moved, 0.1
    fair, not_fair = (outcome(scenario, OURS).unfairness for scenario in (UNEVEN, UNFAIR))
    yield "p99 wait of quiet tenants, of that of all", f"{fair:.3f}", f"not fair {not_fair:.3f}", fair, 0.25
    spent = min(_cpu() for _ in range(_CPU_ROUNDS))
    yield "CPU a routed job", f"{spent:.1f} us", f"{_CPU_QUEUES} queues, a look for {_CPU_LOOK} jobs", spent, 5.0


def _beside(scenario: Scenario, what: str, other: str, limit: float) -> tuple[str, str, str, float, float]:
    mine, theirs = (float(getattr(outcome(scenario, name), what)) for name in (OURS, other))
    told = "p99 wait" if what == "p99" else what
    return f"{told}, {scenario.name}", f"{mine:.0f} s", f"{other} {theirs:.0f} s", mine / theirs, limit


def _cpu() -> float:
    """CPU microseconds a job of one router whose queues are looked at anew now and then."""
    looks = [
        [
            Queue(
                name=f"queue-{n}",
                group="cpu",
                url="",
                ready=10 + n,
                load=Load(at=at, visible=20 * n, in_flight=10, arrivals=5.0, seconds=20.0 + 10 * n),
            )
            for n in range(_CPU_QUEUES)
        ]
        for at in range(_CPU_JOBS // _CPU_LOOK)
    ]
    wants = [Want("cpu", "normal", n % 10) for n in range(_CPU_LOOK)]
    router = Router(looks[0])
    begun = time.process_time()
    for look in looks:
        router.update(look)
        now = look[0].load.at
        for want in wants:
            router.choose(want, now)
    return (time.process_time() - begun) / _CPU_JOBS * 1e6


def table() -> str:
    """What every router made of every scenario, for docs/explanation/routing.md."""
    lines = [
        "| scenario | router | mean wait | p99 wait | mean time to end | makespan | unfairness | moved |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for scenario, names in _TABLE.items():
        for name in names:
            found = outcome(scenario, name)
            lines.append(
                f"| {scenario.name} | {name} | {found.mean:.0f} s | {found.p99:.0f} s | {found.taken:.0f} s |"
                f" {found.makespan:.0f} s | {found.unfairness:.3f} | {found.moved:.1%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
