"""What the stack and its functions must agree on: environment variables, routes and the keys of the tables.

Each function has one settings class that names exactly what it needs. The stack makes an instance to write the
function's environment, the function reads the same class back, so a name is typed once and a gap is a type error.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar, get_type_hints

import msgspec
from msgspec import Struct

from elasticrecode.callers import Auth, SignIn

SERVER = "GET /"
VERSION = "GET /v1"
SCHEMA = "GET /v1/schema"
HEALTH = "GET /v1/health"
OPENAPI = "GET /v1/openapi.json"
SUBMIT = "POST /v1/jobs"
SUBMIT_VMAF = "POST /v1/vmaf"
JOB_EVENTS = "GET /v1/jobs/{jobID}"
USER_EVENTS = "GET /v1/{userID}/jobs"
USER_LOGS = "GET /v1/logs/{userID}"
JOB_STATUS = "GET /v1/jobs/{jobID}/status"
JOBS = "GET /v1/jobs"
CANCEL = "DELETE /v1/jobs/{jobID}"
RETRY = "POST /v1/jobs/{jobID}/retry"
RETRY_FAILED = "POST /v1/jobs/retry"
SUBMIT_BATCH = "POST /v1/batches"
BATCH = "GET /v1/batches/{batchID}"
CANCEL_BATCH = "DELETE /v1/batches/{batchID}"
WORKER_QUEUES = "GET /v1/worker/queues"
WORKER_DEPLOYMENTS = "GET /v1/worker/deployments"
WORKER_BACKLOG = "GET /v1/worker/backlog"
PAUSE_QUEUE = "POST /v1/worker/queues/{queue}/pause"
RESUME_QUEUE = "POST /v1/worker/queues/{queue}/resume"
ADD_WEBHOOK = "POST /v1/webhooks"
WEBHOOKS = "GET /v1/webhooks"
REMOVE_WEBHOOK = "DELETE /v1/webhooks/{webhookID}"
WEBHOOK_FAILURES = "GET /v1/webhooks/{webhookID}/failures"
RETRY_WEBHOOK = "POST /v1/webhooks/{webhookID}/failures/retry"
PRESETS = "GET /v1/presets"
PUT_PRESET = "PUT /v1/presets/{name}"
REMOVE_PRESET = "DELETE /v1/presets/{name}"
SOCKET_TICKET = "POST /v1/socket-tickets"

ROUTES = {
    "schema": (SERVER, VERSION, SCHEMA, HEALTH, OPENAPI),
    "submit": (SUBMIT,),
    "vmaf": (SUBMIT_VMAF,),
    "logs": (JOB_EVENTS, USER_EVENTS, USER_LOGS),
    "batch": (SUBMIT_BATCH, BATCH, CANCEL_BATCH),
    "jobs": (JOB_STATUS, JOBS, CANCEL, RETRY, RETRY_FAILED),
    "workers": (WORKER_QUEUES, WORKER_DEPLOYMENTS, WORKER_BACKLOG, PAUSE_QUEUE, RESUME_QUEUE),
    "webhooks": (ADD_WEBHOOK, WEBHOOKS, REMOVE_WEBHOOK, WEBHOOK_FAILURES, RETRY_WEBHOOK),
    "presets": (PRESETS, PUT_PRESET, REMOVE_PRESET),
    "tickets": (SOCKET_TICKET,),
}
"""Function → the routes it answers, below the stage `api`."""
PUBLIC_ROUTES = frozenset({HEALTH, OPENAPI})
"""What anybody may ask."""
OPERATOR_ROUTES = frozenset({WORKER_DEPLOYMENTS, WORKER_BACKLOG, PAUSE_QUEUE, RESUME_QUEUE, PUT_PRESET, REMOVE_PRESET})
"""What concerns everybody, and only operators may ask."""

JOBS_KEYS = ("jobID", "item")
USER_INDEX = "user"
USER_KEYS = ("userShard", "at")
USER_PROJECTION = ("event", "job", "userID", "expires")
DUE_INDEX = "due"
DUE_KEYS = ("dueShard", "due")
CONNECTIONS_KEYS = ("topic", "connectionID")
CONNECTION_INDEX = "connection"
CONNECTION_KEYS = ("connectionID", "topic")
ENDING_INDEX = "ending"
BATCHES_KEYS = ("batchID", "item")
FEED_KEYS = ("feed", "seq")
RATES_KEYS = ("user", "minute")
REGISTRY_KEYS = ("part", "name")
WEBHOOKS_KEYS = ("owner", "item")
TTL = "expires"
"""Attribute with the Unix second from which an item is no longer shown."""
ENDING_KEYS = ("endShard", TTL)

METRICS = "ElasticRecode"
"""Namespace of the product's own CloudWatch metrics."""
JOBS_RESCUED = "JobsRescued"
JOBS_RESENT = "JobsResent"
JOBS_BURIED = "JobsBuried"
EVENTS_RETURNED = "EventsReturned"
EVENTS_GIVEN_UP = "EventsGivenUp"
UNREADABLE_MESSAGES = "UnreadableMessages"
JOBS_MOVED = "JobsMoved"
CLUSTERS_UNREACHABLE = "ClustersUnreachable"
WORKERS_DISCOVERED = "WorkersDiscovered"
DELIVERIES_GIVEN_UP = "DeliveriesGivenUp"
FILES_LEFT_OUT = "FilesLeftOut"

EVENT_SOURCE = "elasticrecode"
"""Source of the product's events on the EventBridge bus."""

Queues = dict[str, dict[str, str]]
"""Group (`cpu`, `gpu`, `vmaf`) → name of a queue → its URL."""

Presets = dict[str, Any]
"""Name of a preset that the deployment brings → its profile."""

UserPrefixes = list[dict[str, str]]
"""What users may read and write, each an `elasticrecode.prefixes.UserPrefix` with its bucket named."""

S = TypeVar("S", bound="Settings")
T = TypeVar("T")


class Settings(Struct, frozen=True, kw_only=True):
    """A function's settings. The field `jobs_table` is the variable `JOBS_TABLE`; what is no string is JSON."""

    def environ(self) -> dict[str, str]:
        """The settings as environment variables."""
        values = ((field.upper(), getattr(self, field)) for field in self.__struct_fields__)
        return {
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in values
        }

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in an environment. KeyError names a variable that is missing."""
        values = {}
        for field, kind in get_type_hints(cls).items():
            text = environ[field.upper()]
            values[field] = text if kind is str else msgspec.json.decode(text, type=kind)
        return cls(**values)


class ApiSettings(Settings, frozen=True, kw_only=True):
    """What every function behind the REST API needs. `cors` are the origins whose pages may ask; `*` is any."""

    cors: tuple[str, ...] = ()
    auth: Auth = Auth()


class Rate(Struct, frozen=True):
    """How often a user may ask for something to be done in a minute, 0 for as often as he likes; who counts it."""

    table: str = ""
    perMinute: int = 0


class ChangingSettings(ApiSettings, frozen=True, kw_only=True):
    """What those of them need through which users have something done."""

    rate: Rate = Rate()


class SchemaSettings(ApiSettings, frozen=True, kw_only=True):
    """Build is the commit's time as `YYYY.MM.DD.HHMMSS`."""

    build: str
    commit: str
    sign_in: SignIn | None = None


class SubmitSettings(ChangingSettings, frozen=True, kw_only=True):
    """For what takes jobs in: `submit`, `vmaf`, and with more of it `batch`."""

    jobs_table: str
    registry_table: str
    queues: Queues
    presets: Presets
    user_prefixes: UserPrefixes
    retention_days: int
    idempotency_days: int


class JobsSettings(ChangingSettings, frozen=True, kw_only=True):
    """For the routes about where jobs stand, and for cancelling and retrying them."""

    jobs_table: str
    batches_table: str
    registry_table: str
    queues: Queues
    retention_days: int


class BatchSettings(SubmitSettings, frozen=True, kw_only=True):
    """For the routes about batches."""

    batches_table: str
    surveys_queue: str
    pages_queue: str


class SurveySettings(Settings, frozen=True, kw_only=True):
    """For the function that looks through the inputs of batches."""

    batches_table: str
    surveys_queue: str
    pages_queue: str
    tally_queue: str
    user_prefixes: UserPrefixes
    retention_days: int


class ExpandSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes pages of batches jobs, and cancels them. Its time limit is in seconds."""

    jobs_table: str
    batches_table: str
    registry_table: str
    queues: Queues
    pages_queue: str
    tally_queue: str
    retention_days: int
    event_retention_seconds: int
    time_limit: int


class TallySettings(Settings, frozen=True, kw_only=True):
    """For the function that counts the jobs of batches."""

    jobs_table: str
    batches_table: str
    retention_days: int
    event_retention_seconds: int


class LogsSettings(ApiSettings, frozen=True, kw_only=True):
    """With `job_logs` off the log routes refuse and say so."""

    jobs_table: str
    job_logs: bool


class WorkersSettings(ApiSettings, frozen=True, kw_only=True):
    """For the routes about workers. With `discovery` off no Deployments are known, and the route says so."""

    registry_table: str
    queues: Queues
    discovery: bool


class DispatchSettings(Settings, frozen=True, kw_only=True):
    """For the function that sends what was accepted."""

    jobs_table: str
    registry_table: str
    queues: Queues
    tally_queue: str


class DiscoverySettings(Settings, frozen=True, kw_only=True):
    """For the function that looks for workers.

    `clusters` are names or ARNs, or one `tag:key=value` for all that have it. `allowed` are patterns, with `*`, of the
    names of queues that workers may bring along, `reserved` names that they must not.
    """

    registry_table: str
    queues: Queues
    control_queue: str
    clusters: list[str]
    allowed: list[str]
    reserved: list[str]


class EventsSettings(Settings, frozen=True, kw_only=True):
    """For the consumer of the control queue."""

    jobs_table: str
    events_dead_letter_queue: str
    event_retention_seconds: int
    max_strikes: int


class ReconcileSettings(Settings, frozen=True, kw_only=True):
    """For the function that looks after what was left lying."""

    jobs_table: str
    registry_table: str
    queues: Queues
    control_queue: str
    dead_letter_queue: str
    events_dead_letter_queue: str
    event_retention_seconds: int


class SocketsSettings(Settings, frozen=True, kw_only=True):
    """For `$connect`, `$disconnect` and what clients say."""

    auth: Auth = Auth()
    rate: Rate = Rate()
    connections_table: str
    socket_management_url: str


class HangupSettings(Settings, frozen=True, kw_only=True):
    """For the function that ends connections."""

    connections_table: str
    socket_management_url: str


class AuthorizeSettings(Settings, frozen=True, kw_only=True):
    """For the function that says who is there. Without an issuer it knows only tickets.

    The issuer's keys are at `jwks_url`, or where its OpenID document says. Any audience fits where none is named.
    """

    connections_table: str
    issuer: str
    jwks_url: str
    audience: list[str]
    user_claim: str
    groups_claim: str


class TicketsSettings(ChangingSettings, frozen=True, kw_only=True):
    """For the route about tickets."""

    connections_table: str


class FeedSettings(Settings, frozen=True, kw_only=True):
    """For the function that puts stored events into the feed."""

    feed_table: str
    event_retention_seconds: int


class PublishSettings(Settings, frozen=True, kw_only=True):
    """For the function that puts the feed's new events on the bus."""

    jobs_table: str
    event_bus: str


class WatchersSettings(Settings, frozen=True, kw_only=True):
    """For `push`, which sends the feed's new events to watchers, and `replay`, which sends them what came before."""

    jobs_table: str
    feed_table: str
    connections_table: str
    socket_management_url: str


class WebhooksSettings(ChangingSettings, frozen=True, kw_only=True):
    """For the routes about webhooks. `networks`, in CIDR notation, may be sent to although they are not public."""

    webhooks_table: str
    deliveries_queue: str
    networks: list[str]


class PresetsSettings(ApiSettings, frozen=True, kw_only=True):
    """For the routes about presets."""

    registry_table: str
    presets: Presets


class AnnounceSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes deliveries of events."""

    webhooks_table: str
    deliveries_queue: str


class DeliverSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes deliveries."""

    webhooks_table: str
    deliveries_queue: str
    networks: list[str]


class DropsSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes jobs of files. `drops` are each an `elasticrecode.drops.Drop` with buckets named."""

    jobs_table: str
    registry_table: str
    queues: Queues
    retention_days: int
    drops: list[dict[str, Any]]


def compose(build: Callable[[S], Callable[[Any, Any], T]], settings: type[S]) -> Callable[[Any, Any], T]:
    """A Lambda handler from its composition: built while Lambda initialises, elsewhere at the first call."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return build(settings.read(os.environ))
    built: list[Callable[[Any, Any], T]] = []

    def handler(event: Any, context: Any) -> T:
        if not built:
            built.append(build(settings.read(os.environ)))
        return built[0](event, context)

    return handler
