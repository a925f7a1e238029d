"""A webhook, a delivery to it, and the fields of an event that both need."""

import base64
import re
import secrets
import time
import uuid
from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.structs import asdict, replace

from elasticrecode import wire
from elasticrecode.jobs.events import Action, Event, control_event
from elasticrecode.webhooks.courier import SECRET_PREFIX

_SECRET = re.compile(r"whsec_[0-9A-Za-z+/]{32,88}={0,2}", re.ASCII)
_SECRET_BYTES = (24, 64)

BUS = "bus"
"""Webhook id of deliveries to the event bus. No webhook has it: theirs are UUIDs."""


class EventHead(Struct, kw_only=True):
    """The fields of an event that choose its webhooks and its place in the queue."""

    userID: str
    jobID: str
    action: str
    eventID: str
    tsMs: int

    @property
    def position(self) -> str:
        """Sorts as `Event.position` does."""
        return Event(ts=0, **asdict(self)).position


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook. Times are Unix milliseconds, 0 for never; `disabled` is the reason, or empty.

    `failures` counts deliveries that failed in a row.
    """

    userID: str
    webhookID: str
    url: str
    actions: list[str]
    secret: str
    createdMs: int
    disabled: str = ""
    failures: int = 0
    failingSinceMs: int = 0
    pausedUntilMs: int = 0
    lastSuccessMs: int = 0
    lastFailureMs: int = 0
    lastFailure: str = ""

    def __repr__(self) -> str:
        """Leaves the secret out, so that no log holds it."""
        return f"Webhook({self.webhookID!r}, {self.url!r})"

    def wants(self, event: EventHead | Event) -> bool:
        """Whether the webhook is enabled and asks for the event's action."""
        return not self.disabled and event.action in self.actions


class Delivery(Struct, kw_only=True):
    """A message of the deliveries queue: an event for a webhook.

    `again` is the Unix millisecond at which its owner requested it again, 0 for the first time. A delivery whose
    `webhookID` is BUS goes to the event bus.
    """

    userID: str
    webhookID: str
    event: Raw
    again: int = 0


def new(user_id: str, url: str, actions: Iterable[str], secret: str = "") -> Webhook:
    """A new webhook, with a generated secret unless one is given."""
    return Webhook(
        userID=user_id,
        webhookID=str(uuid.uuid4()),
        url=url,
        actions=sorted(set(actions)),
        secret=secret or SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
        createdMs=time.time_ns() // 1_000_000,
    )


def sample_event(webhook: Webhook, now_ms: int) -> Event:
    """A new WebhookTest at `now_ms` in Unix milliseconds. It is about no job: its `jobID` is the webhook's id."""
    event = control_event(Action.WEBHOOK_TEST, webhook.userID, webhook.webhookID, now_ms)
    return replace(event, msg="A test of this webhook. No job has this event, and it is sent once.")


def head(event: bytes | Raw) -> EventHead:
    """The head of an event in JSON. Raises DecodeError when a field is missing or of another type."""
    return wire.decode(event, EventHead)


def is_secret(text: str) -> bool:
    """Whether a text is a secret of the Standard Webhooks scheme: `whsec_` and 24 to 64 bytes in base64."""
    if not _SECRET.fullmatch(text):
        return False
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        return False
    return _SECRET_BYTES[0] <= len(key) <= _SECRET_BYTES[1]
