"""The connections table: what each WebSocket connection watches, and how far it has been served.

    topic            connectionID  content
    ───────────────  ────────────  ─────────────────────────────────────────────────────────────
    userID#ann …     id            a watcher, under the narrowest topic of its filters
    present          topic         until when the topic may have watchers

A watcher is `catching-up` until it has been sent everything in the feed, then `joining`, and `live` once `push` has
taken it over. Only `replay` sends to a watcher that is catching up, and only `push` to others, so its events stay in
order. Every change of state is a conditional write. The index `connection` finds a watcher by its id alone.
"""

import logging
import math
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, is_current, key_of, number, text
from elasticrecode.contract.tables import (
    CONNECTION_INDEX,
    CONNECTION_KEYS,
    CONNECTIONS_KEYS,
    ENDING_INDEX,
    ENDING_KEYS,
    TTL,
)
from elasticrecode.watch.subscription import CATCHING_UP, EVERYTHING, JOINING, LIVE, Cursor, Start, State, Watch

_log = logging.getLogger(__name__)

OPENING_SECONDS = 10
"""API Gateway also answers 410 for a connection whose `$connect` has not been answered yet."""
_PRESENT = "present"
_LIFETIME_SECONDS = 2 * 3600 + 600
"""API Gateway ends a connection after two hours, and may not call `$disconnect`."""
_SHARDS = 4
"""Partitions of the topic `everything`, which may have the most watchers."""
_PAGE = 100


class Watcher(NamedTuple):
    """A connection. `at` is how far it had been served when its state began, or where it wants to begin.

    `through` is the chunk with which `push` took it over: until that was sent, events in between may be missing.
    From the Unix second `expires` on it is sent nothing.
    """

    topic: str
    connection_id: str
    watch: Watch
    state: State
    at: Cursor | Start
    through: int = 0
    connected: int = 0
    expires: float = math.inf

    def is_opening(self) -> bool:
        """Whether its `$connect` may still be unanswered."""
        return time.time() < self.connected + OPENING_SECONDS


class ConnectionsTable:
    """The watchers in one table. Every method raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    def add(self, connection_id: str, watch: Watch, start: Start, until: int = 0) -> None:
        """Store a watcher that begins at `start`, until the Unix second `until`, 0 for API Gateway's own limit.

        From then on no method returns it but `expired`.
        """
        now_ms = time.time_ns() // 1_000_000
        now = now_ms // 1000
        if start.kind == "now":
            start = Start("now", f"{now_ms}")
        topic = _sharded(watch.topic, connection_id)
        lasting = now + _LIFETIME_SECONDS
        ending = {ENDING_KEYS[0]: text(str(zlib.crc32(connection_id.encode()) % _SHARDS))} if until else {}
        watcher = {
            **_key(topic, connection_id),
            "watch": {"S": msgspec.json.encode(watch).decode()},
            "state": {"S": CATCHING_UP},
            "at": {"S": str(start)},
            "connected": {"N": str(now)},
            TTL: {"N": str(min(lasting, until or lasting))},
            **ending,
        }
        # Presence first: `watching` does not find a watcher without it.
        self._table.put({**_key(_PRESENT, topic), TTL: number(lasting)}, "opening the connection")
        self._table.put(watcher, "opening the connection")

    def remove(self, connection_id: str) -> None:
        """Delete a connection, whatever its topic."""
        rows = self._table.query(
            "closing the connection",
            IndexName=CONNECTION_INDEX,
            KeyConditionExpression=f"{CONNECTION_KEYS[0]} = :id",
            ExpressionAttributeValues={":id": text(connection_id)},
        )["Items"]
        for row in rows:
            self._table.delete({name: row[name] for name in CONNECTIONS_KEYS}, "closing the connection")

    def forget(self, watcher: Watcher) -> None:
        """Delete a watcher."""
        self.discard([(watcher.topic, watcher.connection_id)])

    def expired(self) -> Iterator[list[tuple[str, str]]]:
        """Topic and id of expired connections, a page at a time."""
        for shard in range(_SHARDS):
            pages = self._table.query_pages(
                "looking for expired connections",
                IndexName=ENDING_INDEX,
                KeyConditionExpression="#shard = :shard AND #expires <= :now",
                ExpressionAttributeNames={"#shard": ENDING_KEYS[0], "#expires": ENDING_KEYS[1]},
                ExpressionAttributeValues={":shard": text(str(shard)), ":now": number(int(time.time()))},
                Limit=_PAGE,
            )
            for rows in filter(None, pages):
                yield [(row[CONNECTIONS_KEYS[0]]["S"], row[CONNECTIONS_KEYS[1]]["S"]) for row in rows]

    def discard(self, keys: Iterable[tuple[str, str]]) -> None:
        """Delete connections by topic and id."""
        for key in keys:
            self._table.delete(_key(*key), "closing connections")

    def watching(self, topics: Iterable[str]) -> list[Watcher]:
        """The watchers of these topics that are not catching up. Topics without watchers share one read."""
        watchers = [watcher for topic in self._present(topics) for watcher in self._of_topic(topic)]
        return [watcher for watcher in watchers if watcher.state != CATCHING_UP]

    def _present(self, topics: Iterable[str]) -> list[str]:
        """The topics that may have watchers."""
        plain = set(topics)
        shards = (f"{EVERYTHING}/{shard}" for shard in range(_SHARDS)) if EVERYTHING in plain else ()
        keys = [_key(_PRESENT, topic) for topic in sorted({*(plain - {EVERYTHING}), *shards})]
        rows = self._table.get_all(keys, "reading connections")
        return [row[CONNECTIONS_KEYS[1]]["S"] for row in rows if is_current(row)]

    def _of_topic(self, topic: str) -> list[Watcher]:
        rows = self._table.query_all(
            "reading connections",
            KeyConditionExpression=f"{CONNECTIONS_KEYS[0]} = :topic",
            ExpressionAttributeValues={":topic": text(topic)},
            ConsistentRead=True,
        )
        watchers = (watcher_of(row) for row in rows if is_current(row))
        return [watcher for watcher in watchers if watcher]

    def get(self, topic: str, connection_id: str) -> Watcher | None:
        """A watcher as it is now; None when it is gone or has expired."""
        item = self._table.get(_key(topic, connection_id), "reading connections")
        return watcher_of(item) if item and is_current(item) else None

    def join(self, watcher: Watcher, at: Cursor) -> bool:
        """Record that `replay` has sent everything up to `at`. Returns whether the watcher was still catching up."""
        return self._change(watcher, CATCHING_UP, JOINING, at)

    def take_back(self, watcher: Watcher, at: Cursor) -> bool:
        """Let `replay` continue. Returns False when `push` has taken the watcher over."""
        return self._change(watcher, JOINING, CATCHING_UP, at)

    def go_on(self, watcher: Watcher, at: Cursor | Start) -> bool:
        """Let another run of `replay` continue from `at`. Returns False when the watcher is gone."""
        return self._change(watcher, CATCHING_UP, CATCHING_UP, at)

    def take_over(self, watcher: Watcher, through: int) -> bool:
        """Let `push` send from a chunk on. Returns False when `replay` has taken the watcher back."""
        return self._change(watcher, JOINING, LIVE, None, through)

    def fall_behind(self, watcher: Watcher, at: Cursor) -> bool:
        """Leave a live watcher that took nothing behind `at` to `replay`. Returns False when it is not live."""
        return self._change(watcher, LIVE, CATCHING_UP, at)

    def _change(self, watcher: Watcher, old: State, new: State, at: Cursor | Start | None, through: int = 0) -> bool:
        change = {"state": {"S": new}, "through": {"N": str(through)}} | ({"at": {"S": str(at)}} if at else {})
        # The stream has no record for a write that changes nothing.
        changed = change | {"changed": {"N": str(time.time_ns())}}
        try:
            self._table.update(
                _key(watcher.topic, watcher.connection_id),
                "changing a connection",
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in changed),
                ConditionExpression="#state = :old",
                ExpressionAttributeNames={f"#{name}": name for name in changed},
                ExpressionAttributeValues={f":{name}": value for name, value in changed.items()} | {":old": text(old)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            # The first try of this call may have succeeded and its answer got lost.
            return all(failed.item.get(name) == value for name, value in change.items())
        return True


def watcher_of(item: dict[str, Any]) -> Watcher | None:
    """The watcher in an item of the table or its stream; None, and a log line, for an unreadable one."""
    try:
        at = item["at"]["S"]
        kind, space, value = at.partition(" ")
        known: Any = kind
        state: Any = item["state"]["S"]
        return Watcher(
            topic=item["topic"]["S"],
            connection_id=item["connectionID"]["S"],
            watch=msgspec.json.decode(item["watch"]["S"], type=Watch),
            state=state,
            at=Start(known, value) if space else Cursor.read(at),
            through=int(item["through"]["N"]) if "through" in item else 0,
            connected=int(item["connected"]["N"]),
            expires=float(item[TTL]["N"]),
        )
    except (KeyError, ValueError, msgspec.DecodeError):
        _log.exception("a connection is unreadable and is skipped")
        return None


def _sharded(topic: str, connection_id: str) -> str:
    return f"{topic}/{zlib.crc32(connection_id.encode()) % _SHARDS}" if topic == EVERYTHING else topic


def _key(topic: str, connection_id: str) -> Item:
    return key_of(CONNECTIONS_KEYS, topic, connection_id)
