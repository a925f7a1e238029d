"""Users' webhooks, read from the table at most once in a few seconds."""

import time
from collections.abc import Iterable

from elasticrecode.aws.clients import side_by_side
from elasticrecode.webhooks.store import WebhooksTable
from elasticrecode.webhooks.webhook import Webhook

CACHED_SECONDS = 5.0
"""A webhook gets the events of its user from at most this long after its creation on."""
_MOST_USERS = 10_000


class WebhookCache:
    """The webhooks of users whose events are published. Not for use from several threads."""

    def __init__(self, table: WebhooksTable) -> None:
        self._table = table
        self._known: dict[str, tuple[float, list[Webhook]]] = {}

    def of(self, user_ids: Iterable[str]) -> dict[str, list[Webhook]]:
        """The webhooks of each user, as they were at most CACHED_SECONDS ago. Raises Unavailable when AWS refuses.

        Costs one query for each user that it does not know, several at once.
        """
        users = sorted(set(user_ids))
        now = time.monotonic()
        known = {user: self._known[user] for user in users if user in self._known and self._known[user][0] > now}
        unknown = [user for user in users if user not in known]
        read = side_by_side(self._table.of, unknown)
        known |= {user: (now + CACHED_SECONDS, webhooks) for user, webhooks in zip(unknown, read, strict=True)}
        if len(self._known) + len(unknown) > _MOST_USERS:
            self._known.clear()
        self._known |= known
        return {user: webhooks for user, (_, webhooks) in known.items()}
