"""What the routes about workers answer."""

from msgspec import Struct

from elasticrecode.media.codecs import Platform
from elasticrecode.media.profiles import PriceModel
from elasticrecode.workers.fleet import WorkerType


class Queues(Struct):
    """Names of queues by group of workers."""

    cpu: list[str]
    gpu: list[str]
    vmaf: list[str]


class DeploymentRecord(Struct, kw_only=True):
    """A Deployment of workers: the documented fields, then what this product adds. `seenAt` is in Unix seconds."""

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
    stale: bool
    seenAt: float


class QueueBacklog(Struct, kw_only=True):
    """What a queue holds and who serves it; `fault` says why it can't be used, `lookedAt` is in Unix seconds."""

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
    secondsPerJob: float | None
    paused: bool
    lookedAt: float | None
    fault: str | None


class QueuePause(Struct):
    """Whether a queue is paused."""

    queue: str
    paused: bool
