"""Request bodies of the webhook routes."""

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from elasticrecode.jobs import formats
from elasticrecode.jobs.events import STORED, Action
from elasticrecode.jobs.formats import UserID
from elasticrecode.webhooks import addresses
from elasticrecode.webhooks.addresses import URL_LENGTH

ACTIONS = tuple(str(action) for action in STORED if action != Action.JOB_PROGRESS)
"""Actions that a webhook can ask for: every stored event but the ticks."""

if TYPE_CHECKING:
    WebhookAction = str
else:
    WebhookAction = Literal[ACTIONS]


def is_url(text: str) -> bool:
    """Whether a URL is valid for a webhook. Its addresses are checked by the courier."""
    try:
        addresses.parse(text)
    except ValueError:
        return False
    return True


FORMATS = formats.FORMATS | {
    "webhook-url": (
        is_url,
        f"an https URL of at most {URL_LENGTH} ASCII characters, without credentials and fragment",
    ),
}


WEBHOOKS_LIMIT = 20
"""Webhooks of one user."""


class WebhookRequest(Struct, forbid_unknown_fields=True):
    """A request for a webhook: which of a user's events go where. Without a secret one is generated."""

    userID: UserID
    url: Annotated[str, Meta(extra_json_schema={"format": "webhook-url"})]
    actions: Annotated[list[WebhookAction], Meta(min_length=1, max_length=20)]
    secret: Annotated[str, Meta(extra_json_schema={"format": "webhook-secret"})] = ""
