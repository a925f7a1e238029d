"""What routes answer that no other module has a type for. Light: `schema` imports it where Lambda initialises."""

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from elasticrecode.fleet import PriceModel, WorkerType
from elasticrecode.profiles import Platform, Profile


class BodyFault(Struct):
    """One thing wrong in a body: an RFC 6901 pointer to it, and a sentence about it."""

    pointer: str
    detail: str


class ProblemDetails(Struct):
    """An error, as RFC 9457 has it: `instance` is the request's id, `errors` are all faults of a body."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[BodyFault] | UnsetType = UNSET


class Server(Struct):
    """What answers. `build` is the commit's time as `YYYY.MM.DD.HHMMSS`."""

    server: str
    version: str
    build: str
    commit: str


class Health(Struct):
    """That the API takes requests. What lies behind it is not looked at: this may be asked by anybody, at any rate."""

    status: Literal["ok"]
    version: str


class Ec2Words(Struct):
    """The choices for `ec2`."""

    platform: list[str]
    priceModel: list[str]


class FfmpegWords(Struct):
    """The choices for `ffmpeg`; `bitrate` and `priority` are the least and the most, `bitrate` in Mbit/s."""

    codec: list[str]
    originCodec: list[str]
    scale: list[str]
    bitrate: tuple[int, int]
    profile: list[str]
    priority: tuple[int, int]


class SocketTicket(Struct):
    """A ticket with which a WebSocket can be opened once, until the Unix second `expiresAt`."""

    ticket: str
    expiresAt: int


class Words(Struct):
    """The words that a profile may use."""

    ec2: Ec2Words
    ffmpeg: FfmpegWords


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


class WebhookRecord(Struct, kw_only=True):
    """A webhook and how its deliveries fare. Times are Unix milliseconds; what has nothing to say is null."""

    webhookID: str
    userID: str
    url: str
    actions: list[str]
    state: Literal["enabled", "disabled"]
    reason: str | None
    lastFailure: str | None
    createdMs: int | None
    failingSinceMs: int | None
    pausedUntilMs: int | None
    lastSuccessMs: int | None
    lastFailureMs: int | None


class NewWebhook(WebhookRecord, kw_only=True):
    """A webhook that was made; its secret is shown this once."""

    secret: str


class WebhookRemoved(Struct):
    """The webhook that is no more."""

    webhookID: str


class GivenUp(Struct, kw_only=True):
    """A delivery that was given up, as its owner sees it."""

    event: Raw
    reason: str
    failedMs: int


class Sent(Struct):
    """How many deliveries are made again; `more` where there are more."""

    sent: int
    more: Literal[True] | UnsetType = UNSET


class PresetRecord(Struct):
    """A preset: as it was given, and what workers are told; null for a stored one that this version can't use."""

    name: str
    profile: dict[str, Any]
    resolved: Profile | None
    source: Literal["built-in", "deployment", "stored"]


class PresetRemoved(Struct):
    """The preset that is no more."""

    name: str
