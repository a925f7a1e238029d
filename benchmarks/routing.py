"""Routing: waits and makespans of the product's router beside those of other routers and of a planner.

`benchmarks/fleet.py` has the simulation, and explains it. `python -m benchmarks.routing` prints the table of
docs/explanation/routing.md.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from functools import cache

from benchmarks.fleet import FLOODER, ROUTERS, TENANTS, Job, Outcome, Pool, Scenario, World
from benchmarks.routers import CHOOSERS, OURS, PLANNER, RANDOM, Routers
from elasticrecode.jobs.placement import Want
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import Load, Queue
from elasticrecode.workers.routing import Router

_BATCH = 1000
_SPREAD = 0.5
"""Sigma of the lognormal size of jobs, whose mean is 1."""
_FLOOD_SECONDS = 30.0
_SHARES = (0.1, 0.3, 1.0)
"""The planner's shares to try, see benchmarks/fleet.py."""


def _arrivals(scenario: Scenario) -> list[Job]:
    """The jobs of a scenario in the order of time: a stream of nine tenants, and floods of one tenant in batches."""
    rng = random.Random(scenario.jobs)
    rate = sum(pool.workers / pool.seconds for pool in scenario.pools)
    span = scenario.jobs / rate / scenario.load
    flooding = int(scenario.jobs * scenario.flooding / scenario.floods)
    mean = -_SPREAD * _SPREAD / 2
    jobs = []

    def job(at: float, tenant: int, router: int) -> None:
        price: PriceModel = "spot" if rng.random() < scenario.spot else "normal"
        jobs.append(Job(at, tenant, rng.lognormvariate(mean, _SPREAD), price, router))

    for flood in range(scenario.floods):
        start = span * (flood + 0.5) / scenario.floods
        for first in range(0, flooding, _BATCH):
            at, router = start + rng.random() * _FLOOD_SECONDS, rng.randrange(ROUTERS)
            for _ in range(min(_BATCH, flooding - first)):
                job(at, FLOODER, router)
    for _ in range(scenario.jobs - len(jobs)):
        job(rng.random() * span, rng.randrange(1, TENANTS), rng.randrange(ROUTERS))
    return sorted(jobs, key=lambda each: each.at)


@cache
def _jobs(scenario: Scenario) -> list[Job]:
    return _arrivals(scenario)


@cache
def outcome(scenario: Scenario, name: str) -> Outcome:
    """The result of a scenario with a router, or with the planner."""
    if name in CHOOSERS:
        return _outcome(scenario, CHOOSERS[name])
    return min((_outcome(scenario, None, share) for share in _SHARES), key=lambda result: result.taken)


def _outcome(scenario: Scenario, routers: Routers | None, share: float = 1.0) -> Outcome:
    jobs = _jobs(scenario)
    world = World(scenario, jobs, routers, share)
    end = world.run()
    quiet = [wait for wait, job in zip(world.waits, jobs, strict=True) if job.tenant != FLOODER]
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


# Scenarios and figures

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
    """Waits and makespans relative to random choice and the planner, unfairness, and CPU per routed job."""
    yield _compare(UNEVEN, "p99", RANDOM, 0.5)
    yield _compare(UNEVEN, "p99", PLANNER, 1.3)
    yield _compare(UNEVEN, "makespan", PLANNER, 1.1)
    yield _compare(EVEN, "p99", PLANNER, 1.3)
    yield _compare(STEADY, "p99", PLANNER, 1.3)
    yield _compare(UNMEASURED, "p99", PLANNER, 1.3)
    yield _compare(VANISHING, "p99", PLANNER, 1.3)
    yield _compare(MILLION, "p99", RANDOM, 0.5)
    yield _compare(MILLION, "p99", PLANNER, 1.3)
    yield _compare(MILLION, "makespan", PLANNER, 1.1)
    for scenario, limit in ((UNEVEN, 0.01), (EVEN, 0.01), (STEADY, 0.01), (UNMEASURED, 0.01), (MILLION, 0.02)):
        moved = outcome(scenario, OURS).moved
        yield f"jobs moved, {scenario.name}", f"{moved:.2%}", "no worker comes or goes", moved, limit
    moved = outcome(VANISHING, OURS).moved
    yield f"jobs moved, {VANISHING.name}", f"{moved:.2%}", "", moved, 0.1
    fair, not_fair = (outcome(scenario, OURS).unfairness for scenario in (UNEVEN, UNFAIR))
    yield "p99 wait of quiet tenants, of that of all", f"{fair:.3f}", f"not fair {not_fair:.3f}", fair, 0.25
    spent = min(_cpu() for _ in range(_CPU_ROUNDS))
    yield "CPU a routed job", f"{spent:.1f} us", f"{_CPU_QUEUES} queues, a measurement for {_CPU_LOOK} jobs", spent, 5.0


def _compare(scenario: Scenario, field: str, other: str, limit: float) -> tuple[str, str, str, float, float]:
    mine, theirs = (float(getattr(outcome(scenario, name), field)) for name in (OURS, other))
    figure = "p99 wait" if field == "p99" else field
    return f"{figure}, {scenario.name}", f"{mine:.0f} s", f"{other} {theirs:.0f} s", mine / theirs, limit


def _cpu() -> float:
    """CPU microseconds per job of one router that gets new measurements every _CPU_LOOK jobs."""
    measurements = [
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
    router = Router(measurements[0])
    begun = time.process_time()
    for queues in measurements:
        router.update(queues)
        now = queues[0].load.at
        for want in wants:
            router.choose(want, now)
    return (time.process_time() - begun) / _CPU_JOBS * 1e6


def table() -> str:
    """The table of docs/explanation/routing.md: every scenario with every router."""
    lines = [
        "| scenario | router | mean wait | p99 wait | mean time to end | makespan | unfairness | moved |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for scenario, names in _TABLE.items():
        for name in names:
            result = outcome(scenario, name)
            lines.append(
                f"| {scenario.name} | {name} | {result.mean:.0f} s | {result.p99:.0f} s | {result.taken:.0f} s |"
                f" {result.makespan:.0f} s | {result.unfairness:.3f} | {result.moved:.1%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
