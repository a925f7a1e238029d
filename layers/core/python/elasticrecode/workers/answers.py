"""Answers of the routes about workers. Field names are those of the wire contract."""

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from elasticrecode.media.codecs import Platform
from elasticrecode.media.generations import Generation
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import ClusterView, Queue, Worker, WorkerType


class Queues(Struct):
    """Names of worker queues by group."""

    cpu: list[str]
    gpu: list[str]
    vmaf: list[str]


class DeploymentRecord(Struct, kw_only=True):
    """A Deployment of workers: the first generation's fields, then this product's. `seenAt` is in Unix seconds."""

    Name: str
    Queue: str
    Platform: Platform
    Replicas: int
    namespace: str
    name: str
    cluster: str
    workerType: WorkerType
    desiredReplicas: int
    priceModel: PriceModel
    priority: tuple[int, int]
    weight: float
    draining: bool
    generation: Generation
    stale: bool
    seenAt: float


class QueueBacklog(Struct, kw_only=True):
    """The load of a queue, and its workers. `fault` says why it can't be used; `lookedAt` is in Unix seconds.

    `expectedSeconds` is how long a job sent now would wait for a worker; null while no worker takes jobs of the queue.
    `outage` says which clusters of its workers are out of reach, why, since when, and what to do.
    """

    queue: str
    kind: str
    platform: Platform
    visible: int
    inFlight: int
    oldestSeconds: float
    readyReplicas: int | None
    weight: float
    priority: tuple[int, int]
    priceModel: PriceModel
    generation: Generation
    secondsPerJob: float | None
    expectedSeconds: float | None
    paused: bool
    lookedAt: float | None
    fault: str | None
    outage: str | None


class QueueSample(Struct):
    """The figures of a queue in a sample, as in QueueBacklog."""

    queue: str
    visible: int
    inFlight: int
    readyReplicas: int | None
    expectedSeconds: float | None


class FleetSample(Struct):
    """The figures of the queues, by name, at a Unix second."""

    at: int
    queues: list[QueueSample]


class QueuePause(Struct):
    """Whether a queue is paused."""

    queue: str
    paused: bool


def deployment_records(clusters: Sequence[ClusterView], now: float) -> dict[str, DeploymentRecord]:
    """The Deployments of workers, those of clusters not reached within KEPT_SECONDS left out.

    The key is the Deployment's name; `namespace/name`, or `cluster/namespace/name`, where shorter ones are not unique.
    """
    listed = [(cluster, worker) for cluster in clusters for worker in cluster.current_workers(now)]
    keys: list[Callable[[Worker], str]] = [
        lambda worker: worker.name,
        lambda worker: f"{worker.namespace}/{worker.name}",
        lambda worker: f"{worker.cluster}/{worker.namespace}/{worker.name}",
    ]
    counts = [Counter(key(worker) for _, worker in listed) for key in keys]
    return {
        next(key(worker) for key, count in zip(keys, counts, strict=True) if count[key(worker)] == 1): (
            _deployment_record(cluster, worker, now)
        )
        for cluster, worker in listed
    }


def _deployment_record(cluster: ClusterView, worker: Worker, now: float) -> DeploymentRecord:
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
        generation=worker.generation,
        stale=cluster.is_stale(now),
        seenAt=cluster.seen,
    )


def queue_backlog(queue: Queue, expected: float | None) -> QueueBacklog:
    """The load of a queue as a client sees it, with the expected wait in seconds."""
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
        generation=queue.generation,
        secondsPerJob=load.seconds,
        expectedSeconds=expected,
        paused=queue.paused,
        lookedAt=load.at or None,
        fault=queue.fault or None,
        outage=queue.outage or None,
    )
