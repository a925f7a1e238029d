"""Workers, their queues and the loads of those: what discovery and measurements know, as plain values."""

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal

from msgspec import Struct, structs

from elasticrecode.jobs.placement import GROUPS, Group
from elasticrecode.media.generations import Generation
from elasticrecode.media.profiles import PriceModel

WorkerType = Literal["ffmpeg", "vmaf", "debug"]

ALL_PRIORITIES = (0, 100)
PAGE_LIMIT = 1000
"""Deployments or queues on a page of an answer."""
PAGE_KEY = re.compile(r"[\w ./-]{1,512}")
"""The cursor of such a page: a queue with its group, or the key of a Deployment."""
SAMPLED_LIMIT = 200
"""Queues in a sample. An hour of so many is about a megabyte of JSON, and an answer of Lambda has at most six."""
KEPT_SECONDS = 900
"""Seconds for which the workers of an unreachable cluster still count after they were last seen."""
REMEMBERED_SECONDS = 14 * 86_400
"""Seconds for which a queue is kept after its workers are gone: as long as SQS may keep its messages."""
FRESH_SECONDS = 150
"""Age from which a cluster's workers are shown as stale: two runs of discovery have not seen them."""

_NOT_LOOKED_UP = "it has not been looked up in SQS yet"
_NO_DEPLOYMENT = "no Deployment serves it any more"
_NO_SUCH_QUEUE = "there is no such queue"
_NOT_LOOKED_AT = "discovery has not looked at it for minutes. Read the log of the function discover."
_MEASURED_AT_ONCE = 64
_PACE_SECONDS = 600.0
"""Time constant of the mean of seconds per job."""
_ARRIVALS_SECONDS = 60.0
"""Time constant of the mean of arrivals."""
_MAX_JOB_WEIGHT = 0.05
"""The largest weight of one finished job in the mean of seconds per job, apart from the first jobs of a queue."""


class Worker(Struct, frozen=True, kw_only=True, array_like=True):
    """A Deployment of workers. `ready` replicas work now, `desired` replicas should run.

    `weight` is how much one replica counts in routing beside others. A Deployment that drains gets no new jobs.
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
    generation: Generation = 1

    @property
    def group(self) -> Group | None:
        """The group of its jobs; None for a debug worker, which only prints."""
        if self.kind == "debug":
            return None
        return "vmaf" if self.kind == "vmaf" else self.platform


class ClusterView(Struct, frozen=True, kw_only=True):
    """The workers of a cluster when it was last reached, at `seen` in Unix seconds.

    `fault` says why the latest try to reach it failed, and is empty where it succeeded.
    """

    name: str
    seen: float
    fault: str = ""
    workers: list[Worker] = []

    def current_workers(self, now: float) -> list[Worker]:
        """Its workers; none when the cluster was last reached more than KEPT_SECONDS ago."""
        return self.workers if now - self.seen <= KEPT_SECONDS else []

    def is_stale(self, now: float) -> bool:
        """Whether the latest try to reach it failed, or there was none within FRESH_SECONDS."""
        return bool(self.fault) or now - self.seen > FRESH_SECONDS

    def outage(self, now: float) -> str:
        """Why it is out of reach, the remedy, since when, and what becomes of its workers; empty while it is in reach.

        The text changes only when the state does.
        """
        if not self.is_stale(now):
            return ""
        reason = self.fault or f"Cluster {self.name}: {_NOT_LOOKED_AT}"
        if not self.seen:
            return f"{reason} It was never reached, so its workers are unknown."
        since = f"{reason} It was last reached at {_clock_time(self.seen)}"
        if now - self.seen <= KEPT_SECONDS:
            return f"{since}; the workers seen then count until {_clock_time(self.seen + KEPT_SECONDS)}."
        return f"{since}; the workers seen then no longer count."


class RegisteredQueue(Struct, frozen=True, kw_only=True):
    """A queue that discovery knows from a worker's environment.

    `url` is empty where the queue can't be used, and `fault` says why. `seen` is when a worker of it was last there,
    `served` when a ready one was, in Unix seconds.
    """

    groups: tuple[Group, ...]
    url: str = ""
    fault: str = ""
    seen: float
    served: float


class Load(Struct, frozen=True):
    """What a queue held at its last measurement, `at` in Unix seconds; 0 before the first one.

    `visible` messages wait and `in_flight` ones are with workers. `oldest` is the age in seconds of the job that waits
    longest, `arrivals` the recent mean of jobs sent per second. `seconds` is the mean time that one worker takes for a
    job of it, over `finished` jobs, and None before the first. `missing` says that SQS has no such queue.
    """

    at: float = 0.0
    visible: int = 0
    in_flight: int = 0
    oldest: float = 0.0
    arrivals: float = 0.0
    seconds: float | None = None
    finished: int = 0
    missing: bool = False

    def with_counts(self, counts: tuple[int, int] | None, now: float) -> "Load":
        """The load with counts measured at `now`: messages waiting and in flight, None where there is no such queue."""
        visible, in_flight = counts or (0, 0)
        return structs.replace(
            self,
            at=now,
            visible=visible,
            in_flight=in_flight,
            oldest=self.oldest if visible else 0.0,
            missing=counts is None,
        )

    def with_oldest(self, since_ms: int | None) -> "Load":
        """The load whose oldest job has waited since `since_ms`, in Unix milliseconds; None when no job waits."""
        return structs.replace(self, oldest=max(0.0, self.at - since_ms / 1000) if since_ms is not None else 0.0)

    def with_traffic(self, sent: int, finished: Sequence[float], seconds: float) -> "Load":
        """The load after `seconds` in which `sent` jobs were sent, and jobs finished that took `finished` seconds each.

        The weight of finished jobs grows with the time between them: when many workers start together, those with
        short jobs finish first, and must not stand for all.
        """
        share = min(1.0, seconds / _ARRIVALS_SECONDS)
        arrivals = self.arrivals + (sent / max(seconds, 0.1) - self.arrivals) * share
        pace, count = self.seconds, self.finished
        weight = min(_MAX_JOB_WEIGHT, seconds / _PACE_SECONDS / max(1, len(finished)))
        for duration in finished:
            count += 1
            pace = duration if pace is None else pace + (duration - pace) * max(1 / count, weight)
        return structs.replace(self, arrivals=arrivals, seconds=pace, finished=count)

    @property
    def is_empty(self) -> bool:
        """Whether no message waits or is in flight."""
        return not self.visible and not self.in_flight


class Queue(Struct, frozen=True, kw_only=True):
    """A worker queue as one group of jobs uses it.

    `ready` counts the ready workers, and is None where discovery knows none of its workers. `fault` says why nothing
    can be sent to it, and is empty where it can. `served` is when a ready worker was last there, in Unix seconds. An
    orphaned queue is only known from workers that are gone. `outage` tells of clusters out of reach where no other
    cluster has workers of the queue; until the workers seen last no longer count, it may have jobs. `generation` is the
    oldest that a worker of the queue may be of.
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
    is_orphaned: bool = False
    served: float = 0.0
    outage: str = ""
    generation: Generation = 2
    load: Load = Load()

    @property
    def kind(self) -> str:
        """The worker type that takes its jobs: `ffmpeg` or `vmaf`."""
        return "vmaf" if self.group == "vmaf" else "ffmpeg"

    @property
    def platform(self) -> Literal["cpu", "gpu"]:
        """The platform of its workers: `cpu` or `gpu`."""
        return "gpu" if self.group == "gpu" else "cpu"

    @property
    def is_shown(self) -> bool:
        """Whether clients see it: an orphaned queue without jobs only in an outage."""
        return not (self.is_orphaned and self.load.is_empty) or bool(self.outage)

    def is_deserted(self, now: float, seconds: float) -> bool:
        """Whether its workers are known, and none has been ready for more than `seconds`."""
        return self.ready == 0 and now - self.served > seconds


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything that the registry holds about clusters and queues. `registered` and `loads` are by queue name."""

    clusters: list[ClusterView] = []
    registered: dict[str, RegisteredQueue] = {}
    loads: dict[str, Load] = {}
    paused: frozenset[str] = frozenset()

    def workers(self, now: float) -> list[Worker]:
        """Workers of clusters reached within KEPT_SECONDS."""
        return list(chain.from_iterable(cluster.current_workers(now) for cluster in self.clusters))

    def outages(self, now: float) -> "Outages":
        """What is known of its clusters out of reach."""
        return Outages(self, now)


class Outages:
    """The clusters of a snapshot that are out of reach, each with its text."""

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self._texts = {view.name: text for view in snapshot.clusters if (text := view.outage(now))}
        self._never_reached = [
            self._texts[view.name] for view in snapshot.clusters if view.name in self._texts and not view.seen
        ]
        self._serving: dict[tuple[Group | None, str], set[str]] = {}
        for view in snapshot.clusters:
            for worker in view.workers if view.name in self._texts else view.current_workers(now):
                self._serving.setdefault((worker.group, worker.queue), set()).add(view.name)

    def __str__(self) -> str:
        return " ".join(self._texts.values())

    def of(self, group: Group, queue: str, *, is_configured: bool) -> str:
        """The outages of the clusters of a queue's workers; empty where a cluster in reach has workers of it.

        Workers of a queue that the deployment configures may be in a cluster that was never reached, if in no other.
        """
        clusters = self._serving.get((group, queue), set())
        if not clusters:
            return " ".join(self._never_reached) if is_configured else ""
        return " ".join(self._texts[name] for name in sorted(clusters)) if clusters <= self._texts.keys() else ""


def least_recently_measured(queues: Sequence[Queue]) -> list[Queue]:
    """The queues to measure next: each name once, the oldest measurement first, at most 64."""
    by_name = {queue.name: queue for queue in queues if queue.url}
    return sorted(by_name.values(), key=lambda queue: queue.load.at)[:_MEASURED_AT_ONCE]


def merge_queues(
    configured: Mapping[str, Mapping[str, str]], snapshot: Snapshot, now: float, first: Collection[str] = ()
) -> list[Queue]:
    """All queues, by group and name: those that the deployment configures, and those that discovery knows.

    `configured` is group → name → URL; `first` names those of them with workers of the first generation. Orphaned
    queues are included, with a fault, so that their jobs are rescued.
    """
    serving: dict[tuple[Group, str], list[Worker]] = {}
    for worker in snapshot.workers(now):
        if worker.group:
            serving.setdefault((worker.group, worker.queue), []).append(worker)
    by_hand = {(group, name): url for group in GROUPS for name, url in configured.get(group, {}).items()}
    registered = {(group, name) for name, queue in snapshot.registered.items() for group in queue.groups}
    configured_groups, outages = _groups_by_name(by_hand), snapshot.outages(now)
    groups = _groups_by_name([*by_hand, *serving])

    def conflict(group: Group, name: str) -> str:
        """Why a queue can't take jobs of a group: workers of another group would take them."""
        if (group, name) in by_hand or len(groups.get(name, ())) < 2:
            return ""
        others = [other for other in sorted(groups[name]) if other != group]
        if name in configured_groups:
            return f"it is configured for {', '.join(configured_groups[name])} jobs"
        return f"workers for {', '.join(others)} jobs take from it, too"

    return [
        _queue(
            (group, name),
            by_hand.get((group, name), ""),
            serving.get((group, name), []),
            snapshot,
            conflict(group, name),
            outages.of(group, name, is_configured=(group, name) in by_hand),
            _generation((group, name) in by_hand, name in first, serving.get((group, name), [])),
        )
        for group, name in sorted({*by_hand, *serving, *registered})
    ]


def register_queues(
    workers: Iterable[Worker], before: Mapping[str, RegisteredQueue], now: float
) -> dict[str, RegisteredQueue]:
    """The queues to register, by name: those of `workers`, and queues with a URL seen within REMEMBERED_SECONDS.

    `before` are the queues registered so far; a new one has neither URL nor fault. `now` is in Unix seconds.
    """
    queues = {name: queue for name, queue in before.items() if queue.url and queue.seen > now - REMEMBERED_SECONDS}
    without_url = {name: queue for name, queue in before.items() if not queue.url}
    for worker in workers:
        if not worker.group:
            continue
        name = worker.queue
        queue = queues.get(name) or without_url.get(name) or RegisteredQueue(groups=(), seen=now, served=now)
        groups = queue.groups if queue.seen == now else ()
        queues[name] = structs.replace(
            queue,
            groups=tuple(sorted({*groups, worker.group})),
            seen=now,
            served=now if worker.ready else queue.served,
        )
    return queues


def _groups_by_name(keys: Iterable[tuple[Group, str]]) -> dict[str, list[Group]]:
    """Name of a queue → the groups that take from it."""
    groups: dict[str, list[Group]] = {}
    for group, name in sorted(set(keys)):
        groups.setdefault(name, []).append(group)
    return groups


def _generation(is_configured: bool, is_first: bool, workers: Sequence[Worker]) -> Generation:
    """The generation of a queue: that of the deployment's word for its own queues, else that of its oldest worker.

    A Deployment that drains, or has no pod now, counts: its workers may still take from the queue.
    """
    if is_configured:
        return 1 if is_first else 2
    return 2 if workers and all(worker.generation == 2 for worker in workers) else 1


def _queue(
    key: tuple[Group, str],
    url: str,
    workers: list[Worker],
    snapshot: Snapshot,
    conflict: str,
    outage: str,
    generation: Generation,
) -> Queue:
    """A queue of a group. `url` is empty unless the deployment configures it."""
    group, name = key
    registered = snapshot.registered.get(name)
    load = snapshot.loads.get(name, Load())
    orphaned = not url and not workers
    fault = conflict or (_NO_SUCH_QUEUE if load.missing else "")
    if not url:
        url = registered.url if registered else ""
        unusable = (registered.fault if registered else "") or ("" if url else _NOT_LOOKED_UP)
        fault = fault or ((outage or _NO_DEPLOYMENT) if orphaned else unusable)
    working = [worker for worker in workers if not worker.draining] or workers
    ready = sum(worker.ready for worker in working)
    capacity = sum(worker.ready * worker.weight for worker in working)
    return Queue(
        name=name,
        group=group,
        url=url,
        ready=ready if workers or orphaned else None,
        is_orphaned=orphaned,
        price="spot" if any(worker.price == "spot" for worker in working) else "normal",
        priority=(
            min((worker.priority[0] for worker in working), default=ALL_PRIORITIES[0]),
            max((worker.priority[1] for worker in working), default=ALL_PRIORITIES[1]),
        ),
        weight=capacity / ready if ready else max((worker.weight for worker in working), default=1.0),
        paused=name in snapshot.paused or (bool(workers) and all(worker.draining for worker in workers)),
        fault=fault,
        served=registered.served if registered else 0.0,
        outage=outage,
        generation=generation,
        load=load,
    )


def _clock_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
