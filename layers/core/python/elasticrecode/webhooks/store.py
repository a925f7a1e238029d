"""Users' webhooks: the table that keeps them and what could not be delivered, and the queue of deliveries.

    owner          item                 what                                              written by
    ─────────────  ───────────────────  ────────────────────────────────────────────────  ─────────────────
    <userID>       <webhookID>          a webhook, and how its deliveries fare            webhooks, deliver
    #<webhookID>   owner                whose it is                                       webhooks
    #<webhookID>   failure#<position>   a delivery that was given up, in time order       deliver

No userID has a '#' in it. Deliveries are FIFO by webhook and job.
"""

import base64
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import asdict

from elasticrecode import wire
from elasticrecode.aws.clients import batched, client, refusals, side_by_side
from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, is_current, key_of, number, text
from elasticrecode.aws.sqs import Message, Sender
from elasticrecode.contract.tables import TTL, WEBHOOKS_KEYS
from elasticrecode.jobs.events import Event
from elasticrecode.webhooks.answers import GivenUp
from elasticrecode.webhooks.courier import SECRET_PREFIX, pause

_FAILURE = "failure#"
_OWNER = "owner"
_KEPT_SECONDS = 14 * 86_400
_STRIKES = 5
"""Failures without a success in between, after which the whole webhook pauses; one may be an event's own."""
_SECRET = re.compile(r"whsec_[0-9A-Za-z+/]{32,88}={0,2}", re.ASCII)
_SECRET_BYTES = (24, 64)
_BATCH, _BATCH_BYTES = 10, 240 * 1024


class Head(Struct, kw_only=True):
    """What is read of an event; all else of it goes on as it came."""

    userID: str
    jobID: str
    action: str
    eventID: str
    tsMs: int

    @property
    def position(self) -> str:
        """Where it stands among other events."""
        return Event(ts=0, **asdict(self)).position


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook. Times are Unix milliseconds, 0 for never; `disabled` is the reason, or empty."""

    userID: str
    webhookID: str
    url: str
    actions: list[str]
    secret: str
    createdMs: int
    disabled: str = ""
    strikes: int = 0
    failingSinceMs: int = 0
    pausedUntilMs: int = 0
    lastSuccessMs: int = 0
    lastFailureMs: int = 0
    lastFailure: str = ""

    def __repr__(self) -> str:
        """Without the secret, so that it gets into no log."""
        return f"Webhook({self.webhookID!r}, {self.url!r})"

    def wants(self, event: Head) -> bool:
        """Whether an event is to be sent."""
        return not self.disabled and event.action in self.actions


class Delivery(Struct, kw_only=True):
    """A message of the queue: an event for a webhook. `again` is when it was asked for anew, in milliseconds."""

    userID: str
    webhookID: str
    event: Raw
    again: int = 0


class Failures(NamedTuple):
    """A page of them by position; `after` leads to the next, empty at the end."""

    found: dict[str, GivenUp]
    after: str


def new(user_id: str, url: str, actions: Iterable[str], secret: str = "") -> Webhook:
    """A new webhook, with a secret of its own unless one is given."""
    return Webhook(
        userID=user_id,
        webhookID=str(uuid.uuid4()),
        url=url,
        actions=sorted(set(actions)),
        secret=secret or SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
        createdMs=_now_ms(),
    )


def head(event: bytes | Raw) -> Head:
    """The head of an event. DecodeError when it is none."""
    return wire.decode(event, Head)


def is_secret(text: str) -> bool:
    """Whether a text is a secret of the Standard Webhooks scheme: `whsec_` and 24 to 64 bytes in base64."""
    if not _SECRET.fullmatch(text):
        return False
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        return False
    return _SECRET_BYTES[0] <= len(key) <= _SECRET_BYTES[1]


class WebhooksTable:
    """The webhooks. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    def create(self, webhook: Webhook) -> None:
        """Store a webhook. Whose it is comes first: alone it does nothing."""
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
        """A user's webhooks, oldest first. A webhook's own items lie under names that no user has."""
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
        """A webhook by its id."""
        owner = self._table.get(_key(f"#{webhook_id}", _OWNER), "reading the webhook")
        return self.find(owner["userID"]["S"], webhook_id) if owner else None

    def find(self, user_id: str, webhook_id: str) -> Webhook | None:
        """A webhook of a user."""
        item = self._table.get(_key(user_id, webhook_id), "reading the webhook")
        return _webhook(item) if item else None

    def remove(self, webhook: Webhook) -> None:
        """Forget a webhook. Failures of it expire."""
        self._table.delete(_key(webhook.userID, webhook.webhookID), "removing the webhook")
        self._table.delete(_key(f"#{webhook.webhookID}", _OWNER), "removing the webhook")

    # How deliveries fare

    def succeeded(self, webhook: Webhook) -> None:
        """A delivery was taken."""
        self._update(
            webhook,
            "SET lastSuccessMs = :now REMOVE strikes, failingSinceMs, pausedUntilMs",
            {":now": number(_now_ms())},
        )

    def failed(self, webhook: Webhook, reason: str, asked_seconds: float | None) -> int:
        """A delivery was not taken; when the webhook may be tried again, in Unix milliseconds, 0 where at any time.

        It pauses as a whole when its receiver asks for it, and after some failures without a success in between.
        """
        now, until = _now_ms(), 0
        since = webhook.failingSinceMs or now
        if asked_seconds is not None:
            until = now + int(1000 * asked_seconds)
        elif webhook.strikes + 1 >= _STRIKES:
            until = now + int(1000 * pause((now - since) / 1000))
        self._update(
            webhook,
            "SET lastFailureMs = :now, lastFailure = :reason, failingSinceMs = if_not_exists(failingSinceMs, :now)"
            + (", pausedUntilMs = :until" if until else "")
            + " ADD strikes :one",
            {":now": number(now), ":reason": text(reason), ":one": {"N": "1"}}
            | ({":until": number(until)} if until else {}),
        )
        return until

    def disable(self, webhook: Webhook, reason: str) -> None:
        """Send it nothing any more."""
        self._update(webhook, "SET disabled = :reason, lastFailureMs = :now, lastFailure = :reason",
                     {":reason": text(reason), ":now": number(_now_ms())})  # fmt: skip

    def enable(self, webhook: Webhook) -> None:
        """Send it events again, at once."""
        self._update(webhook, "REMOVE disabled, strikes, failingSinceMs, pausedUntilMs", {})

    def _update(self, webhook: Webhook, expression: str, values: Item) -> None:
        """Change a webhook that is still there."""
        with suppress(ConditionFailed):
            self._table.update(
                _key(webhook.userID, webhook.webhookID),
                "updating the webhook",
                UpdateExpression=expression,
                ConditionExpression="attribute_exists(createdMs)",
                **({"ExpressionAttributeValues": values} if values else {}),
            )

    # What was given up

    def give_up(self, webhook_id: str, event: bytes, reason: str) -> None:
        """Keep a delivery that was given up, once, with the reason."""
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
        """Deliveries that were given up, by their events' time, those behind `after`; fewer where they are large."""
        owner = f"#{webhook_id}"
        page = self._table.query(
            "reading deliveries",
            KeyConditionExpression="#owner = :owner AND begins_with(#item, :failure)",
            ExpressionAttributeNames=dict(zip(("#owner", "#item"), WEBHOOKS_KEYS, strict=True)),
            ExpressionAttributeValues={":owner": text(owner), ":failure": text(_FAILURE)},
            Limit=limit,
            **({"ExclusiveStartKey": _key(owner, _FAILURE + after)} if after else {}),
        )
        found = {
            row[WEBHOOKS_KEYS[1]]["S"].removeprefix(_FAILURE): GivenUp(
                event=Raw(row["event"]["S"].encode()), reason=row["reason"]["S"], failedMs=int(row["failedMs"]["N"])
            )
            for row in page["Items"]
            if is_current(row)
        }
        last = page.get("LastEvaluatedKey")
        return Failures(found, last[WEBHOOKS_KEYS[1]]["S"].removeprefix(_FAILURE) if last else "")

    def forget(self, webhook_id: str, positions: Sequence[str]) -> None:
        """Forget deliveries that were given up."""
        side_by_side(lambda position: self._forget(webhook_id, position), positions)

    def _forget(self, webhook_id: str, position: str) -> None:
        self._table.delete(_key(f"#{webhook_id}", _FAILURE + position), "removing a delivery")


class Deliveries:
    """The queue of deliveries."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sender = Sender()
        self._sqs = client("sqs")

    def send(self, deliveries: Mapping[str, tuple[str, Delivery]]) -> dict[str, str]:
        """Send deliveries by the sender's name for each, with the job of each, a job's in the order given.

        Name → reason of those that could not be sent. What follows one of them in its job is not sent either.
        """
        lanes: dict[str, list[Message]] = {}
        for name, (job_id, delivery) in deliveries.items():
            group = f"{delivery.webhookID}/{job_id}"
            body = msgspec.json.encode(delivery).decode()
            lanes.setdefault(group, []).append(Message(name, self._url, body, group=group))
        failed: dict[str, str] = {}
        while lanes:
            said = side_by_side(self._sender.send, list(_chunks([lane[0] for lane in lanes.values()])))
            refused = {name: reason for some in said for name, reason in some.items()}
            for lane in lanes.values():
                reason = refused.get(lane[0].key)
                if reason is not None:
                    failed |= {message.key: reason for message in lane}
            lanes = {group: lane[1:] for group, lane in lanes.items() if len(lane) > 1 and lane[0].key not in refused}
        return failed

    def hide(self, seconds: Mapping[str, float]) -> None:
        """Let received messages, by their receipt handles, come again after so many seconds."""
        for some in batched(list(seconds.items()), _BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": max(0, round(wait))}
                for n, (handle, wait) in enumerate(some)
            ]
            with refusals("putting deliveries off"):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def _chunks(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Runs of messages that one call takes."""
    chunk: list[Message] = []
    held = 0
    for message in messages:
        size = len(message.body.encode())
        if chunk and (len(chunk) == _BATCH or held + size > _BATCH_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(message)
        held += size
    if chunk:
        yield chunk


def _key(owner: str, item: str) -> Item:
    return key_of(WEBHOOKS_KEYS, owner, item)


def _webhook(row: Mapping[str, Any]) -> Webhook:
    numbers = ("createdMs", "strikes", "failingSinceMs", "pausedUntilMs", "lastSuccessMs", "lastFailureMs")
    return Webhook(
        userID=row[WEBHOOKS_KEYS[0]]["S"],
        webhookID=row[WEBHOOKS_KEYS[1]]["S"],
        url=row["url"]["S"],
        actions=sorted(row["actions"]["SS"]),
        secret=row["secret"]["S"],
        disabled=row["disabled"]["S"] if "disabled" in row else "",
        lastFailure=row["lastFailure"]["S"] if "lastFailure" in row else "",
        **{name: int(row[name]["N"]) for name in numbers if name in row},
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
