"""What the routes about webhooks answer."""

from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType


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
