"""Settings classes: what each function needs, as its environment variables.

The stack writes an instance into the function's environment, and the function reads the same class back.
`contract.wiring` builds the instances.
"""

from collections.abc import Mapping
from typing import Any, Self, get_type_hints

import msgspec
from msgspec import Struct

from elasticrecode.contract.auth import Auth, SignIn

EVENT_SOURCE = "elasticrecode"
"""Source of the product's events on the EventBridge bus."""

Queues = dict[str, dict[str, str]]
"""Group (`cpu`, `gpu`, `vmaf`) → name of a queue → its URL."""

# Beside `queues`, `first_generation` names those with workers of the first generation.

Presets = dict[str, Any]
"""Name of a preset of the deployment → its profile."""

UserPrefixes = list[dict[str, str]]
"""Prefixes that users may read and write, each an `elasticrecode.access.prefixes.UserPrefix` with its bucket named."""


class Settings(Struct, frozen=True, kw_only=True):
    """A function's settings. The field `jobs_table` is the variable `JOBS_TABLE`; other types than str are JSON."""

    def environ(self) -> dict[str, str]:
        """The settings as environment variables."""
        values = ((field.upper(), getattr(self, field)) for field in self.__struct_fields__)
        return {
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in values
        }

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in an environment. Raises KeyError with the name of a missing variable."""
        values = {}
        for field, kind in get_type_hints(cls).items():
            text = environ[field.upper()]
            values[field] = text if kind is str else msgspec.json.decode(text, type=kind)
        return cls(**values)


class ApiSettings(Settings, frozen=True, kw_only=True):
    """For every function of the REST API. `cors` are the origins whose pages may call it; `*` is any."""

    cors: tuple[str, ...] = ()
    auth: Auth = Auth()


class Rate(Struct, frozen=True):
    """The changing requests that a user may make in a minute, 0 for any number, and the table that counts them."""

    table: str = ""
    perMinute: int = 0


class ChangingSettings(ApiSettings, frozen=True, kw_only=True):
    """For those of them with changing requests, which are counted."""

    rate: Rate = Rate()


class SchemaSettings(ApiSettings, frozen=True, kw_only=True):
    """For the routes about the server. `build` is the commit's time as `YYYY.MM.DD.HHMMSS`."""

    build: str
    commit: str
    sign_in: SignIn | None = None


class Prices(Struct, frozen=True):
    """What a worker costs, in US dollars per hour, by its price model."""

    normal: float
    spot: float


class SubmitSettings(ChangingSettings, frozen=True, kw_only=True):
    """For functions that accept jobs: `submit`, `vmaf`, `plans`, and with more fields `batch`.

    `sealing_key` is the ARN of the KMS key that encrypts keys of packages.
    """

    jobs_table: str
    sealing_key: str
    registry_table: str
    queues: Queues
    first_generation: list[str]
    presets: Presets
    prices: Prices
    user_prefixes: UserPrefixes
    retention_days: int
    idempotency_days: int


class JobsSettings(ChangingSettings, frozen=True, kw_only=True):
    """For the routes about the status of jobs, and for cancelling and retrying them."""

    jobs_table: str
    batches_table: str
    registry_table: str
    queues: Queues
    first_generation: list[str]
    prices: Prices
    retention_days: int


class FilesSettings(ChangingSettings, frozen=True, kw_only=True):
    """For the routes about files. `s3_url` is the address of S3, with `{bucket}.` where hosts are named by buckets."""

    jobs_table: str
    media_bucket: str
    s3_url: str
    user_prefixes: UserPrefixes


class BatchSettings(SubmitSettings, frozen=True, kw_only=True):
    """For the routes about batches."""

    batches_table: str
    surveys_queue: str
    pages_queue: str


class SurveySettings(Settings, frozen=True, kw_only=True):
    """For the function that surveys the inputs of batches."""

    batches_table: str
    surveys_queue: str
    pages_queue: str
    tally_queue: str
    user_prefixes: UserPrefixes
    retention_days: int


class ExpandSettings(Settings, frozen=True, kw_only=True):
    """For the function that expands pages of batches into jobs, and cancels them. `time_limit` is in seconds."""

    jobs_table: str
    batches_table: str
    registry_table: str
    queues: Queues
    first_generation: list[str]
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
    """For the log routes, which answer 409 if `job_logs` is off."""

    jobs_table: str
    job_logs: bool


class WorkersSettings(ApiSettings, frozen=True, kw_only=True):
    """For the routes about workers. With `discovery` off the route of Deployments answers 409."""

    registry_table: str
    queues: Queues
    first_generation: list[str]
    discovery: bool


class DispatchSettings(Settings, frozen=True, kw_only=True):
    """For the function that sends the messages of accepted jobs."""

    jobs_table: str
    batches_table: str
    retention_days: int
    registry_table: str
    queues: Queues
    first_generation: list[str]
    tally_queue: str


class DiscoverSettings(Settings, frozen=True, kw_only=True):
    """For the function that discovers workers.

    `clusters` are names or ARNs, or one `tag:key=value` for all that have it. `allowed` are patterns, with `*`, of the
    names of queues that discovered workers may use, `reserved` names that they must not use.
    """

    registry_table: str
    queues: Queues
    first_generation: list[str]
    control_queue_name: str
    clusters: list[str]
    allowed: list[str]
    reserved: list[str]


class ConsumeSettings(Settings, frozen=True, kw_only=True):
    """For the consumer of the control queue."""

    jobs_table: str
    events_dead_letter_queue: str
    event_retention_seconds: int
    max_strikes: int


class ReconcileSettings(Settings, frozen=True, kw_only=True):
    """For the function that finds lost messages and dead letters, and relocates jobs between queues."""

    jobs_table: str
    registry_table: str
    queues: Queues
    first_generation: list[str]
    control_queue: str
    dead_letter_queue: str
    events_dead_letter_queue: str
    event_retention_seconds: int


class SocketsSettings(Settings, frozen=True, kw_only=True):
    """For `$connect`, `$disconnect` and the messages of clients."""

    auth: Auth = Auth()
    rate: Rate = Rate()
    connections_table: str
    socket_management_url: str


class DisconnectSettings(Settings, frozen=True, kw_only=True):
    """For the function that ends connections whose token has expired."""

    connections_table: str
    socket_management_url: str


class AuthorizeSettings(Settings, frozen=True, kw_only=True):
    """For the function that authenticates callers. Without an issuer it accepts only tickets.

    The issuer's keys are at `jwks_url`, or if that is empty where its OpenID document says. An empty `audience` accepts
    any.
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


class AppendSettings(Settings, frozen=True, kw_only=True):
    """For the function that appends stored events to the feed."""

    feed_table: str
    event_retention_seconds: int


class PublishSettings(Settings, frozen=True, kw_only=True):
    """For the function that hands the feed's new events to webhooks, the event bus and the history index."""

    jobs_table: str
    feed_table: str
    webhooks_table: str
    deliveries_queue: str
    event_bus: str


class WatchersSettings(Settings, frozen=True, kw_only=True):
    """For `push`, which sends new events of the feed to watchers, and `replay`, which sends history."""

    jobs_table: str
    feed_table: str
    connections_table: str
    socket_management_url: str


class WebhooksSettings(ChangingSettings, frozen=True, kw_only=True):
    """For the routes about webhooks. They may send to `networks`, in CIDR notation, although these are not public."""

    webhooks_table: str
    deliveries_queue: str
    networks: list[str]


class PresetsSettings(ApiSettings, frozen=True, kw_only=True):
    """For the routes about presets."""

    registry_table: str
    presets: Presets


class DeliverSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes deliveries. `networks` are as for `WebhooksSettings`."""

    webhooks_table: str
    deliveries_queue: str
    event_bus: str
    networks: list[str]


class CollectSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes jobs of files. `drops` are each a `drops.rules.Drop` with its bucket's name."""

    jobs_table: str
    registry_table: str
    queues: Queues
    first_generation: list[str]
    retention_days: int
    drops: list[dict[str, Any]]
