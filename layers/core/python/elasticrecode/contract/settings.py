"""What the stack and its functions must agree on: environment variables, routes and the keys of the tables.

Each function has one settings class that names exactly what it needs. The stack makes an instance to write the
function's environment, the function reads the same class back, so a name is typed once and a gap is a type error.
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

Presets = dict[str, Any]
"""Name of a preset that the deployment brings → its profile."""

UserPrefixes = list[dict[str, str]]
"""What users may read and write, each an `elasticrecode.access.prefixes.UserPrefix` with its bucket named."""


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


class DiscoverSettings(Settings, frozen=True, kw_only=True):
    """For the function that looks for workers.

    `clusters` are names or ARNs, or one `tag:key=value` for all that have it. `allowed` are patterns, with `*`, of the
    names of queues that workers may bring along, `reserved` names that they must not.
    """

    registry_table: str
    queues: Queues
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


class DisconnectSettings(Settings, frozen=True, kw_only=True):
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


class AppendSettings(Settings, frozen=True, kw_only=True):
    """For the function that puts stored events into the feed."""

    feed_table: str
    event_retention_seconds: int


class PublishSettings(Settings, frozen=True, kw_only=True):
    """For the function that hands the feed's new events to webhooks, the event bus and the index of histories."""

    jobs_table: str
    feed_table: str
    webhooks_table: str
    deliveries_queue: str
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


class DeliverSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes deliveries. `networks` are as for `WebhooksSettings`."""

    webhooks_table: str
    deliveries_queue: str
    event_bus: str
    networks: list[str]


class CollectSettings(Settings, frozen=True, kw_only=True):
    """For the function that makes jobs of files. `drops` are each a `jobs.drops.Drop`, buckets named."""

    jobs_table: str
    registry_table: str
    queues: Queues
    retention_days: int
    drops: list[dict[str, Any]]
