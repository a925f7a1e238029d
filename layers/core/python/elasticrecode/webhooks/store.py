"""The webhooks table: users' webhooks, and the failed deliveries.

    owner          item                 content                                       written by
    ─────────────  ───────────────────  ────────────────────────────────────────────  ─────────────────
    <userID>       <webhookID>          a webhook, and how its deliveries fare        webhooks, deliver
    #<webhookID>   owner                the webhook's user                            webhooks
    #<webhookID>   failure#<position>   a failed delivery, in time order              deliver

No userID has a '#' in it.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec import Raw

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, is_current, key_of, number, text
from elasticrecode.contract.tables import TTL, WEBHOOKS_KEYS
from elasticrecode.webhooks.answers import GivenUp
from elasticrecode.webhooks.courier import pause
from elasticrecode.webhooks.webhook import Webhook, head

_FAILURE = "failure#"
_OWNER = "owner"
_FAILURES = "strikes"
"""Attribute of a webhook: its failures in a row."""
_KEPT_SECONDS = 14 * 86_400
_EXPIRED_READ = 1000
"""Failed deliveries read at a time behind expired ones."""
_FAILURES_IN_A_ROW = 5
"""After so many failures in a row the whole webhook pauses; fewer may be one event's own fault."""


class Failures(NamedTuple):
    """A page of failed deliveries by position; `after` leads to the next page, empty on the last."""

    failures: dict[str, GivenUp]
    after: str


class WebhooksTable:
    """Reads and writes of the webhooks table. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    def create(self, webhook: Webhook) -> None:
        """Store a webhook. The item with its owner goes first: alone it does nothing."""
        item: Item = {
            **_key(webhook.userID, webhook.webhookID),
            "url": text(webhook.url),
            "actions": {"SS": webhook.actions},
            "secret": text(webhook.secret),
            "createdMs": number(webhook.createdMs),
        }
        owner: Item = {**_key(f"#{webhook.webhookID}", _OWNER), "userID": text(webhook.userID)}
        self._table.put(owner, "storing the webhook")
        self._table.put(item, "storing the webhook")

    def of(self, user_id: str) -> list[Webhook]:
        """A user's webhooks, oldest first; none for a name with a '#', which stands for a webhook's own items."""
        if user_id.startswith("#"):
            return []
        rows = self._table.query_all(
            "reading webhooks",
            KeyConditionExpression="#owner = :user",
            ExpressionAttributeNames={"#owner": WEBHOOKS_KEYS[0]},
            ExpressionAttributeValues={":user": text(user_id)},
            ConsistentRead=True,
        )
        return sorted(map(_webhook, rows), key=lambda webhook: (webhook.createdMs, webhook.webhookID))

    def get(self, webhook_id: str) -> Webhook | None:
        """A webhook by its id; None when there is none."""
        owner = self._table.get(_key(f"#{webhook_id}", _OWNER), "reading the webhook")
        return self.find(owner["userID"]["S"], webhook_id) if owner else None

    def find(self, user_id: str, webhook_id: str) -> Webhook | None:
        """A webhook of a user; None when there is none."""
        item = self._table.get(_key(user_id, webhook_id), "reading the webhook")
        return _webhook(item) if item else None

    def remove(self, webhook: Webhook) -> None:
        """Delete a webhook. Its failed deliveries expire."""
        self._table.delete(_key(webhook.userID, webhook.webhookID), "removing the webhook")
        self._table.delete(_key(f"#{webhook.webhookID}", _OWNER), "removing the webhook")

    # How deliveries fare

    def succeeded(self, webhook: Webhook) -> None:
        """Record that a delivery succeeded: the webhook is not failing any more."""
        self._update(
            webhook,
            f"SET lastSuccessMs = :now REMOVE {_FAILURES}, failingSinceMs, pausedUntilMs",
            {":now": number(_now_ms())},
        )

    def failed(self, webhook: Webhook, reason: str, retry_after: float | None) -> int:
        """Record that a delivery failed. Returns the Unix millisecond until which the webhook pauses, 0 for no pause.

        The whole webhook pauses when its receiver asks for it (`retry_after` seconds), and from the fifth failure
        in a row on.
        """
        now, until = _now_ms(), 0
        since = webhook.failingSinceMs or now
        if retry_after is not None:
            until = now + int(1000 * retry_after)
        elif webhook.failures + 1 >= _FAILURES_IN_A_ROW:
            until = now + int(1000 * pause((now - since) / 1000))
        self._update(
            webhook,
            "SET lastFailureMs = :now, lastFailure = :reason, failingSinceMs = if_not_exists(failingSinceMs, :now)"
            + (", pausedUntilMs = :until" if until else "")
            + f" ADD {_FAILURES} :one",
            {":now": number(now), ":reason": text(reason), ":one": {"N": "1"}}
            | ({":until": number(until)} if until else {}),
        )
        return until

    def disable(self, webhook: Webhook, reason: str) -> None:
        """Make no more deliveries to a webhook."""
        self._update(webhook, "SET disabled = :reason, lastFailureMs = :now, lastFailure = :reason",
                     {":reason": text(reason), ":now": number(_now_ms())})  # fmt: skip

    def enable(self, webhook: Webhook) -> None:
        """Make deliveries to a webhook again, without a pause."""
        self._update(webhook, f"REMOVE disabled, {_FAILURES}, failingSinceMs, pausedUntilMs", {})

    def _update(self, webhook: Webhook, expression: str, values: Item) -> None:
        """Change a webhook; does nothing when it is gone."""
        with suppress(ConditionFailed):
            self._table.update(
                _key(webhook.userID, webhook.webhookID),
                "updating the webhook",
                UpdateExpression=expression,
                ConditionExpression="attribute_exists(createdMs)",
                **({"ExpressionAttributeValues": values} if values else {}),
            )

    # Failed deliveries

    def give_up(self, webhook_id: str, event: bytes, reason: str) -> None:
        """Keep a failed delivery, with the reason, for 14 days. A second call for the same one changes nothing else."""
        position = head(event).position
        now = _now_ms()
        item: Item = {
            **_key(f"#{webhook_id}", _FAILURE + position),
            "event": text(event.decode()),
            "reason": text(reason),
            "failedMs": number(now),
            TTL: number(now // 1000 + _KEPT_SECONDS),
        }
        self._table.put(item, "keeping a delivery")

    def failures(self, webhook_id: str, limit: int, after: str) -> Failures:
        """Up to `limit` failed deliveries behind `after`, by their events' time; fewer when they are large.

        Where all have expired, which DynamoDB deletes later, it reads on, many at a time.
        """
        owner, count, last = f"#{webhook_id}", limit, _key(f"#{webhook_id}", _FAILURE + after) if after else None
        while True:
            page = self._table.query(
                "reading deliveries",
                KeyConditionExpression="#owner = :owner AND begins_with(#item, :failure)",
                ExpressionAttributeNames=dict(zip(("#owner", "#item"), WEBHOOKS_KEYS, strict=True)),
                ExpressionAttributeValues={":owner": text(owner), ":failure": text(_FAILURE)},
                Limit=count,
                **({"ExclusiveStartKey": last} if last else {}),
            )
            rows, last = list(filter(is_current, page["Items"])), page.get("LastEvaluatedKey")
            if rows or not last:
                break
            count = max(limit, _EXPIRED_READ)
        if len(rows) > limit:
            rows, last = rows[:limit], rows[limit - 1]
        failures = {
            row[WEBHOOKS_KEYS[1]]["S"].removeprefix(_FAILURE): GivenUp(
                event=Raw(row["event"]["S"].encode()), reason=row["reason"]["S"], failedMs=int(row["failedMs"]["N"])
            )
            for row in rows
        }
        return Failures(failures, last[WEBHOOKS_KEYS[1]]["S"].removeprefix(_FAILURE) if last else "")

    def forget(self, webhook_id: str, positions: Sequence[str]) -> None:
        """Delete failed deliveries."""
        side_by_side(lambda position: self._forget(webhook_id, position), positions)

    def _forget(self, webhook_id: str, position: str) -> None:
        self._table.delete(_key(f"#{webhook_id}", _FAILURE + position), "removing a delivery")


def _key(owner: str, item: str) -> Item:
    return key_of(WEBHOOKS_KEYS, owner, item)


def _webhook(row: Mapping[str, Any]) -> Webhook:
    numbers = ("createdMs", "failingSinceMs", "pausedUntilMs", "lastSuccessMs", "lastFailureMs")
    return Webhook(
        userID=row[WEBHOOKS_KEYS[0]]["S"],
        webhookID=row[WEBHOOKS_KEYS[1]]["S"],
        url=row["url"]["S"],
        actions=sorted(row["actions"]["SS"]),
        secret=row["secret"]["S"],
        disabled=row["disabled"]["S"] if "disabled" in row else "",
        lastFailure=row["lastFailure"]["S"] if "lastFailure" in row else "",
        failures=int(row[_FAILURES]["N"]) if _FAILURES in row else 0,
        **{name: int(row[name]["N"]) for name in numbers if name in row},
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
