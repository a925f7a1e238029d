"""The WebSocket connections: who watches what, and how far each of them is.

    topic            connectionID  what
    ───────────────  ────────────  ─────────────────────────────────────────────────────────────
    userID#ann …     id            a watcher, under the narrowest topic that it wants
    present          topic         somebody may watch it: until when

A watcher is `catching-up` until it has been sent all that was there, `joining` when it has, and `live` when `push` has
taken it over. Only `replay` sends to one that is catching up, and only `push` to the others, so what each is sent stays
in order. Every change of state is a conditional write; the index `connection` finds a watcher by its id alone.
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
"""API Gateway answers 410 for a connection until its `$connect` has been answered, too."""
_PRESENT = "present"
_LIFETIME_SECONDS = 2 * 3600 + 600
"""API Gateway ends a connection after two hours; `$disconnect` is best effort."""
_SHARDS = 4
"""Partitions of the topic that most may watch."""
_PAGE = 100


class Watcher(NamedTuple):
    """A connection. `at` is how far it had been sent events when it came into its state, or where it wants to begin.

    `through` is the chunk with which `push` took a live one over: until it was sent, what lies between may be missing.
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
        """Whether its `$connect` may not have been answered yet."""
        return time.time() < self.connected + OPENING_SECONDS


class ConnectionsTable:
    """The watchers in one table. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    def add(self, connection_id: str, watch: Watch, start: Start, until: int = 0) -> None:
        """Remember a watcher that wants to begin somewhere, until a Unix second, 0 for as long as API Gateway lets it.

        From then on it is not found any more, and `ended` lists it.
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
        # Presence first: a watcher without it would not be found.
        self._table.put({**_key(_PRESENT, topic), TTL: number(lasting)}, "opening the connection")
        self._table.put(watcher, "opening the connection")

    def remove(self, connection_id: str) -> None:
        """Forget a connection, wherever it is."""
        rows = self._table.query(
            "closing the connection",
            IndexName=CONNECTION_INDEX,
            KeyConditionExpression=f"{CONNECTION_KEYS[0]} = :id",
            ExpressionAttributeValues={":id": text(connection_id)},
        )["Items"]
        for row in rows:
            self._table.delete({name: row[name] for name in CONNECTIONS_KEYS}, "closing the connection")

    def forget(self, watcher: Watcher) -> None:
        """Forget a watcher that is known."""
        self.discard([(watcher.topic, watcher.connection_id)])

    def expired(self) -> Iterator[list[tuple[str, str]]]:
        """Topic and id of connections whose time has ended, some at a time."""
        for shard in range(_SHARDS):
            pages = self._table.query_pages(
                "looking for connections that have ended",
                IndexName=ENDING_INDEX,
                KeyConditionExpression="#shard = :shard AND #expires <= :now",
                ExpressionAttributeNames={"#shard": ENDING_KEYS[0], "#expires": ENDING_KEYS[1]},
                ExpressionAttributeValues={":shard": text(str(shard)), ":now": number(int(time.time()))},
                Limit=_PAGE,
            )
            for rows in filter(None, pages):
                yield [(row[CONNECTIONS_KEYS[0]]["S"], row[CONNECTIONS_KEYS[1]]["S"]) for row in rows]

    def discard(self, keys: Iterable[tuple[str, str]]) -> None:
        """Forget connections by topic and id."""
        for key in keys:
            self._table.delete(_key(*key), "closing connections")

    def watching(self, topics: Iterable[str]) -> list[Watcher]:
        """Those who watch one of these topics and are not catching up. Topics without anybody cost a read in common."""
        watchers = [watcher for topic in self._present(topics) for watcher in self._of_topic(topic)]
        return [watcher for watcher in watchers if watcher.state != CATCHING_UP]

    def _present(self, topics: Iterable[str]) -> list[str]:
        """Those of the topics that somebody may watch."""
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
        """A watcher as it is now; None when it is gone."""
        item = self._table.get(_key(topic, connection_id), "reading connections")
        return watcher_of(item) if item and is_current(item) else None

    def join(self, watcher: Watcher, at: Cursor) -> bool:
        """`replay` has sent all up to here. False when the watcher is not catching up any more."""
        return self._change(watcher, CATCHING_UP, JOINING, at)

    def take_back(self, watcher: Watcher, at: Cursor) -> bool:
        """`replay` goes on after all. False when `push` has taken the watcher over."""
        return self._change(watcher, JOINING, CATCHING_UP, at)

    def go_on(self, watcher: Watcher, at: Cursor | Start) -> bool:
        """`replay` will go on from here. False when the watcher is gone."""
        return self._change(watcher, CATCHING_UP, CATCHING_UP, at)

    def take_over(self, watcher: Watcher, through: int) -> bool:
        """`push` sends to it from a chunk on. False when `replay` has taken it back."""
        return self._change(watcher, JOINING, LIVE, None, through)

    def fall_behind(self, watcher: Watcher, at: Cursor) -> bool:
        """A live watcher did not take what it was sent from here on: `replay` is to care for it."""
        return self._change(watcher, LIVE, CATCHING_UP, at)

    def _change(self, watcher: Watcher, old: State, new: State, at: Cursor | Start | None, through: int = 0) -> bool:
        change = {"state": {"S": new}, "through": {"N": str(through)}} | ({"at": {"S": str(at)}} if at else {})
        # What stays as it was would not come up in the stream.
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
            # It may have been made by this call's own first try, whose answer got lost.
            return all(failed.item.get(name) == value for name, value in change.items())
        return True


def watcher_of(item: dict[str, Any]) -> Watcher | None:
    """The watcher that an item is, of the table or of its stream. None of one that can't be read: it stops no other."""
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
        _log.exception("a connection can't be read and is passed over")
        return None


def _sharded(topic: str, connection_id: str) -> str:
    return f"{topic}/{zlib.crc32(connection_id.encode()) % _SHARDS}" if topic == EVERYTHING else topic


def _key(topic: str, connection_id: str) -> Item:
    return key_of(CONNECTIONS_KEYS, topic, connection_id)
