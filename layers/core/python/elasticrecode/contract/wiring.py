"""The settings of every function, from the names of the stack's resources and the deployment's options.

The CDK stack and the tests both use it, so a test runs a function with the settings that the stack would give it.
"""

from typing import Any, TypeVar

from msgspec import Struct

from elasticrecode.contract import settings
from elasticrecode.contract.auth import Auth, SignIn
from elasticrecode.contract.settings import Presets, Prices, Queues, Rate, Settings, UserPrefixes

S = TypeVar("S", bound=Settings)

FUNCTIONS: dict[str, type[Settings]] = {
    "append": settings.AppendSettings,
    "authorize": settings.AuthorizeSettings,
    "batch": settings.BatchSettings,
    "collect": settings.CollectSettings,
    "consume": settings.ConsumeSettings,
    "deliver": settings.DeliverSettings,
    "disconnect": settings.DisconnectSettings,
    "discover": settings.DiscoverSettings,
    "dispatch": settings.DispatchSettings,
    "expand": settings.ExpandSettings,
    "files": settings.FilesSettings,
    "jobs": settings.JobsSettings,
    "logs": settings.LogsSettings,
    "plans": settings.SubmitSettings,
    "presets": settings.PresetsSettings,
    "publish": settings.PublishSettings,
    "push": settings.WatchersSettings,
    "reconcile": settings.ReconcileSettings,
    "replay": settings.WatchersSettings,
    "schema": settings.SchemaSettings,
    "sockets": settings.SocketsSettings,
    "submit": settings.SubmitSettings,
    "survey": settings.SurveySettings,
    "tally": settings.TallySettings,
    "tickets": settings.TicketsSettings,
    "vmaf": settings.SubmitSettings,
    "webhooks": settings.WebhooksSettings,
    "workers": settings.WorkersSettings,
}
"""Name of a function → the class of its settings."""


class Wiring(Struct, frozen=True, kw_only=True):
    """Everything that functions are configured with. A settings class takes the fields that it names.

    Tables, the bucket, the bus and `reserved` are names, `sealing_key` is an ARN, queues are URLs, `queues` are those
    of workers by group.
    """

    jobs_table: str
    batches_table: str
    feed_table: str
    connections_table: str
    registry_table: str
    webhooks_table: str
    rate: Rate
    queues: Queues
    control_queue: str
    control_queue_name: str
    dead_letter_queue: str
    events_dead_letter_queue: str
    reserved: list[str]
    surveys_queue: str
    pages_queue: str
    tally_queue: str
    deliveries_queue: str
    event_bus: str
    sealing_key: str
    socket_management_url: str
    media_bucket: str
    s3_url: str

    build: str
    commit: str
    time_limit: int

    cors: tuple[str, ...]
    auth: Auth
    sign_in: SignIn | None
    issuer: str
    jwks_url: str
    audience: list[str]
    user_claim: str
    groups_claim: str
    presets: Presets
    prices: Prices
    user_prefixes: UserPrefixes
    drops: list[dict[str, Any]]
    job_logs: bool
    first_generation: list[str]
    discovery: bool
    clusters: list[str]
    allowed: list[str]
    networks: list[str]
    retention_days: int
    event_retention_seconds: int
    idempotency_days: int
    max_strikes: int

    def settings(self, kind: type[S]) -> S:
        """The settings of one class. AttributeError names a field that the wiring lacks."""
        return kind(**{field: getattr(self, field) for field in kind.__struct_fields__})

    def settings_of(self, function: str) -> Settings:
        """The settings of a function. KeyError for a function that `FUNCTIONS` does not list."""
        return self.settings(FUNCTIONS[function])
