"""The workers' queues and what they hold, the Deployments behind them, and their operator's word to pause a queue."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from elasticrecode.api import http
from elasticrecode.contract.routes import PAUSE_QUEUE, RESUME_QUEUE, WORKER_BACKLOG, WORKER_DEPLOYMENTS, WORKER_QUEUES
from elasticrecode.contract.settings import WorkersSettings
from elasticrecode.errors import NotFound, Refused
from elasticrecode.jobs.placement import GROUPS
from elasticrecode.runtime import compose
from elasticrecode.workers.answers import DeploymentRecord, QueueBacklog, QueuePause, Queues
from elasticrecode.workers.fleet import LISTED, NAMED, ClusterView, Queue, Worker
from elasticrecode.workers.lookout import Lookout
from elasticrecode.workers.registry import Registry

_SHOWN = 20


def build(settings: WorkersSettings) -> http.LambdaHandler:
    """The handler over the registry."""
    registry = Registry(settings.registry_table, settings.queues)
    lookout = Lookout(registry)

    def names(_: http.Request) -> http.Response:
        served = [queue for queue in registry.queues() if queue.url and not queue.is_forgotten]
        return http.Response(
            Queues(**{group: [queue.name for queue in served if queue.group == group] for group in GROUPS})
        )

    def deployments(request: http.Request) -> http.Response:
        if not settings.discovery:
            raise Refused("Discovery is off in this deployment (option discovery), so no Deployments are known.")
        now = time.time()
        seen = [(cluster, worker) for cluster in registry.read().clusters for worker in cluster.kept_workers(now)]
        return _page(request, _by_name((worker, _described(cluster, worker, now)) for cluster, worker in seen))

    def backlog(request: http.Request) -> http.Response:
        lookout.look(measuring=False)
        queues = registry.queues(anew=True)
        held = [queue for queue in queues if not (queue.is_forgotten and queue.load.is_empty)]
        page = _page(request, {f"{queue.name} {queue.group}": _backlog(queue) for queue in held})
        return page._replace(content=list(page.content.values()))

    def pause(request: http.Request) -> http.Response:
        queue = _existing(request.parameters["queue"])
        registry.pause(queue)
        return http.Response(QueuePause(queue, True))

    def resume(request: http.Request) -> http.Response:
        queue = request.parameters["queue"]  # one that is not known any more, too
        registry.resume(queue)
        return http.Response(QueuePause(queue, False))

    def _existing(name: str) -> str:
        known = sorted({queue.name for queue in registry.queues()})
        if name not in known:
            more = ", …" if len(known) > _SHOWN else ""
            raise NotFound(f"There is no queue {name}; there are {', '.join(known[:_SHOWN])}{more}.")
        return name

    return http.handler(
        {
            WORKER_QUEUES: names,
            WORKER_DEPLOYMENTS: deployments,
            WORKER_BACKLOG: backlog,
            PAUSE_QUEUE: pause,
            RESUME_QUEUE: resume,
        },
        settings,
    )


def _page(request: http.Request, things: dict[str, Any]) -> http.Response:
    """A page of named things, by name."""
    limit, after = request.page(LISTED, NAMED)
    found = sorted(name for name in things if name > after)
    more = found[limit - 1] if len(found) > limit else ""
    return http.Response({name: things[name] for name in found[:limit]}, headers=request.next_link(more))


def _by_name(described: Iterable[tuple[Worker, DeploymentRecord]]) -> dict[str, DeploymentRecord]:
    """Deployments by name; by namespace, and by cluster too, where others are called the same."""
    listed = list(described)
    ways: list[Callable[[Worker], str]] = [
        lambda worker: worker.name,
        lambda worker: f"{worker.namespace}/{worker.name}",
        lambda worker: f"{worker.cluster}/{worker.namespace}/{worker.name}",
    ]
    counts = [Counter(way(worker) for worker, _ in listed) for way in ways]
    return {
        next(way(worker) for way, count in zip(ways, counts, strict=True) if count[way(worker)] == 1): content
        for worker, content in listed
    }


def _described(cluster: ClusterView, worker: Worker, now: float) -> DeploymentRecord:
    """A Deployment as the contract has it, and what this product adds."""
    return DeploymentRecord(
        Name=worker.name,
        Queue=worker.queue,
        Platform=worker.platform,
        Replicas=worker.ready,
        namespace=worker.namespace,
        name=worker.name,
        cluster=worker.cluster,
        workerType=worker.kind,
        desiredReplicas=worker.desired,
        priceModel=worker.price,
        priority=worker.priority,
        weight=worker.weight,
        draining=worker.draining,
        stale=cluster.is_stale(now),
        seenAt=cluster.seen,
    )


def _backlog(queue: Queue) -> QueueBacklog:
    load = queue.load
    return QueueBacklog(
        queue=queue.name,
        kind=queue.kind,
        platform=queue.platform,
        visible=load.visible,
        inFlight=load.in_flight,
        oldestSeconds=round(load.oldest, 3),
        readyReplicas=queue.ready,
        weight=queue.weight,
        priority=queue.priority,
        priceModel=queue.price,
        secondsPerJob=load.seconds,
        paused=queue.paused,
        lookedAt=load.at or None,
        fault=queue.fault or None,
    )


handler = compose(build, WorkersSettings)
