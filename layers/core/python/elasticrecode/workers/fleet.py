"""The workers and their queues, as the registry knows them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal

from msgspec import Struct, structs

from elasticrecode.jobs.placement import GROUPS, Group
from elasticrecode.media.profiles import PriceModel

WorkerType = Literal["ffmpeg", "vmaf", "debug"]

ALL_PRIORITIES = (0, 100)
LISTED = 1000
"""Deployments or queues on a page."""
NAMED = re.compile(r"[\w ./-]{1,512}")
"""Where such a page ended: what a queue and its group, or a Deployment is called."""
KEPT_SECONDS = 900
"""How long the workers of a cluster that can't be reached are believed in."""
FRESH_SECONDS = 150
"""Age from which what is known of a cluster is called stale: two looks have not come."""

_UNSEEN = "it has not been looked up yet"
_NOBODY = "no Deployment serves it any more"
_MISSING = "there is no such queue"
_LOOKS = 64
"""Queues looked at in one go."""
_PACE_SECONDS = 600.0
_ARRIVALS_SECONDS = 60.0
"""Time constants of the means of seconds a job, and of arrivals."""
_HEAVIEST_FINISHED = 0.05
"""The most that one finished job weighs in the mean, but for the first ones."""


class Worker(Struct, frozen=True, kw_only=True, array_like=True):
    """A Deployment of workers. `ready` are the replicas that can work now, `desired` those that are wished for.

    `weight` is its operator's word on what a worker of it is worth beside others; one that drains gets no new work.
    """

    cluster: str
    namespace: str
    name: str
    queue: str
    kind: WorkerType
    platform: Literal["cpu", "gpu"] = "cpu"
    ready: int
    desired: int
    price: PriceModel = "normal"
    priority: tuple[int, int] = ALL_PRIORITIES
    weight: float = 1.0
    draining: bool = False

    @property
    def group(self) -> Group | None:
        """The group it belongs to; None for a worker that only prints."""
        if self.kind == "debug":
            return None
        return "vmaf" if self.kind == "vmaf" else self.platform


class ClusterView(Struct, frozen=True, kw_only=True):
    """What the last look that succeeded saw of a cluster, `seen` in Unix seconds; `fault` is why a later one failed."""

    name: str
    seen: float
    fault: str = ""
    workers: list[Worker] = []

    def kept_workers(self, now: float) -> list[Worker]:
        """Its workers, as long as they are believed in."""
        return self.workers if now - self.seen <= KEPT_SECONDS else []

    def is_stale(self, now: float) -> bool:
        """Whether what is known is not what the last look should have seen."""
        return bool(self.fault) or now - self.seen > FRESH_SECONDS


class Registered(Struct, frozen=True, kw_only=True):
    """A queue that discovery has found at a worker. `url` is empty and `fault` says why where it can't be used.

    `seen` is when a worker of it, `served` when a ready one was last there, in Unix seconds.
    """

    groups: tuple[Group, ...]
    url: str = ""
    fault: str = ""
    seen: float
    served: float


class Load(Struct, frozen=True):
    """What a queue held when it was looked at, `at` in Unix seconds.

    `oldest` is the age in seconds of what waits longest, `arrivals` the jobs a second that it was sent lately,
    `seconds` how long one worker takes for a job of it, by `finished` jobs; None before it was measured. `missing`:
    there is no such queue.
    """

    at: float = 0.0
    visible: int = 0
    in_flight: int = 0
    oldest: float = 0.0
    arrivals: float = 0.0
    seconds: float | None = None
    finished: int = 0
    missing: bool = False

    def looked(self, counts: tuple[int, int] | None, now: float) -> "Load":
        """The load after a look: how many messages wait and are in flight, or None where there is no such queue."""
        visible, in_flight = counts or (0, 0)
        return structs.replace(
            self,
            at=now,
            visible=visible,
            in_flight=in_flight,
            oldest=self.oldest if visible else 0.0,
            missing=counts is None,
        )

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing, neither waiting nor in a worker's hands."""
        return not self.visible and not self.in_flight

    def waiting_since(self, since_ms: int | None) -> "Load":
        """The load with the age of what waits longest measured: since so many milliseconds, or nothing waits."""
        return structs.replace(self, oldest=max(0.0, self.at - since_ms / 1000) if since_ms is not None else 0.0)

    def moved(self, sent: int, finished: Sequence[float], seconds: float) -> "Load":
        """The load after some jobs more were sent, and finished in so many seconds each, in a time of `seconds`.

        Finished jobs weigh by the time between them: of many workers that begin together, those with short jobs are
        done first, and must not stand for all.
        """
        share = min(1.0, seconds / _ARRIVALS_SECONDS)
        arrivals = self.arrivals + (sent / max(seconds, 0.1) - self.arrivals) * share
        pace, count = self.seconds, self.finished
        weight = min(_HEAVIEST_FINISHED, seconds / _PACE_SECONDS / max(1, len(finished)))
        for took in finished:
            count += 1
            pace = took if pace is None else pace + (took - pace) * max(1 / count, weight)
        return structs.replace(self, arrivals=arrivals, seconds=pace, finished=count)


class Queue(Struct, frozen=True, kw_only=True):
    """A queue of one group. `ready` is None where nobody knows its workers, as none of them was discovered.

    `fault` says why nothing can be sent to it, and is empty where it can. `served` is when a ready worker was last
    there, in Unix seconds. One that is forgotten is only known because workers that are gone took from it.
    """

    name: str
    group: Group
    url: str
    ready: int | None = None
    price: PriceModel = "normal"
    priority: tuple[int, int] = ALL_PRIORITIES
    weight: float = 1.0
    paused: bool = False
    fault: str = ""
    is_forgotten: bool = False
    served: float = 0.0
    load: Load = Load()

    @property
    def kind(self) -> str:
        """What its workers do: `ffmpeg` or `vmaf`."""
        return "vmaf" if self.group == "vmaf" else "ffmpeg"

    @property
    def platform(self) -> Literal["cpu", "gpu"]:
        """Where its workers run, as jobs ask for it: `cpu` or `gpu`."""
        return "gpu" if self.group == "gpu" else "cpu"

    def is_deserted(self, now: float, seconds: float) -> bool:
        """Whether it has had no ready worker for so long, as far as anybody knows."""
        return self.ready == 0 and now - self.served > seconds


class Known(Struct, frozen=True, kw_only=True):
    """Everything the registry has."""

    clusters: list[ClusterView] = []
    registered: dict[str, Registered] = {}
    loads: dict[str, Load] = {}
    paused: frozenset[str] = frozenset()

    def workers(self, now: float) -> list[Worker]:
        """The workers that are believed in."""
        return list(chain.from_iterable(cluster.kept_workers(now) for cluster in self.clusters))


def least_looked(queues: Sequence[Queue]) -> list[Queue]:
    """The queues to look at now: as many as one look takes, those first whose last one is the longest ago."""
    there = {queue.name: queue for queue in queues if queue.url}
    return sorted(there.values(), key=lambda queue: queue.load.at)[:_LOOKS]


def queues(named: Mapping[str, Mapping[str, str]], known: Known, now: float) -> list[Queue]:
    """All queues: those named by hand, group → name → URL, and those of the workers that are known.

    One whose workers are gone is among them with a fault, so that what it holds is looked after.
    """
    serving: dict[tuple[Group, str], list[Worker]] = {}
    for worker in known.workers(now):
        if worker.group:
            serving.setdefault((worker.group, worker.queue), []).append(worker)
    by_hand = {(group, name): url for group in GROUPS for name, url in named.get(group, {}).items()}
    left = {(group, name) for name, found in known.registered.items() for group in found.groups}
    by_hand_names = _groups_of(by_hand)
    groups = _groups_of([*by_hand, *serving])

    def conflict(group: Group, name: str) -> str:
        """Why a queue can't be one of a group: workers of another would take its jobs."""
        if (group, name) in by_hand or len(groups.get(name, ())) < 2:
            return ""
        others = [other for other in sorted(groups[name]) if other != group]
        if name in by_hand_names:
            return f"it is named for {', '.join(by_hand_names[name])} jobs"
        return f"workers for {', '.join(others)} jobs take from it, too"

    return [
        _queue(
            (group, name), by_hand.get((group, name), ""), serving.get((group, name), []), known, conflict(group, name)
        )
        for group, name in sorted({*by_hand, *serving, *left})
    ]


def _groups_of(keys: Iterable[tuple[Group, str]]) -> dict[str, list[Group]]:
    """Name of a queue → the groups that take from it."""
    found: dict[str, list[Group]] = {}
    for group, name in sorted(set(keys)):
        found.setdefault(name, []).append(group)
    return found


def _queue(key: tuple[Group, str], url: str, workers: list[Worker], known: Known, conflict: str) -> Queue:
    group, name = key
    found = known.registered.get(name)
    load = known.loads.get(name, Load())
    forgotten = not url and not workers
    fault = conflict or (_MISSING if load.missing else "")
    if not url:
        found_fault = (found.fault or ("" if found.url else _UNSEEN)) if found else _UNSEEN
        fault = fault or (_NOBODY if forgotten else found_fault)
        url = found.url if found else ""
    working = [worker for worker in workers if not worker.draining] or workers
    ready = sum(worker.ready for worker in working)
    capacity = sum(worker.ready * worker.weight for worker in working)
    return Queue(
        name=name,
        group=group,
        url=url,
        ready=ready if workers or forgotten else None,
        is_forgotten=forgotten,
        price="spot" if any(worker.price == "spot" for worker in working) else "normal",
        priority=(
            min((worker.priority[0] for worker in working), default=ALL_PRIORITIES[0]),
            max((worker.priority[1] for worker in working), default=ALL_PRIORITIES[1]),
        ),
        weight=capacity / ready if ready else max((worker.weight for worker in working), default=1.0),
        paused=name in known.paused or (bool(workers) and all(worker.draining for worker in workers)),
        fault=fault,
        served=found.served if found else 0.0,
        load=load,
    )
