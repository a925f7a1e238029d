"""Response bodies of the webhook routes."""

from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType


class WebhookRecord(Struct, kw_only=True):
    """A webhook and the state of its deliveries. Times are Unix milliseconds; fields without a value are null."""

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
    """A created webhook, with its secret, which no other answer shows."""

    secret: str


class WebhookRemoved(Struct):
    """The id of a removed webhook."""

    webhookID: str


class DeliveryOutcome(Struct):
    """The outcome of a test: the status of the receiver's answer, null without one, and why the test failed, if it did.

    `seconds` passed until then.
    """

    status: int | None
    seconds: float
    error: str | None


class GivenUp(Struct, kw_only=True):
    """A failed delivery, for its owner."""

    event: Raw
    reason: str
    failedMs: int


class Sent(Struct):
    """How many deliveries were sent again; `more` when some are left."""

    sent: int
    more: Literal[True] | UnsetType = UNSET
