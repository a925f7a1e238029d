"""The feed: all stored events in one order, which every watcher sees.

    feed       seq   content
    ─────────  ────  ─────────────────────────────────────────────────────────────
    events     n     a chunk of events, and the `seq` of the chunk before it
    head       0     the `seq` of the last chunk
    <topic>    n     the history index, by `watch/history.py`

A chunk and the new head are written together, on condition that the head is still the one that the writer read. So the
chunks form a chain without holes, whoever writes: whoever has read up to `n` has every event up to `n` that there will
ever be. `seq` grows with the time in milliseconds.
"""

import binascii
import logging
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from elasticrecode.aws.clients import pauses
from elasticrecode.aws.dynamodb import ConditionFailed, Conflict, Item, Table, is_current, key_of, number
from elasticrecode.contract.tables import FEED_KEYS, TTL
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Event
from elasticrecode.jobs.store import JobsTable, fill
from elasticrecode.watch.subscription import EVERYTHING, Cursor, FeedEvent, encoded, topics

_log = logging.getLogger(__name__)

_EVENTS, _HEAD = "events", "head"
_CHUNK_BYTES = 300_000
"""Events of one chunk before compression, so that they fit an item."""
_CHUNKS = 10
"""Chunks of one transaction, which may have 4 MB."""
_PAGE = 40
_REMEMBERED_JOBS = 10_000
_ROUNDS = 7


class Chunk(NamedTuple):
    """Some events with their cursors; `before` is the `seq` of the chunk before it, 0 for the first.

    It expires at the Unix second `expires`.
    """

    seq: int
    before: int
    expires: int
    events: list[tuple[Cursor, Event]]

    @property
    def end(self) -> Cursor:
        """The place behind the chunk."""
        return Cursor(self.seq)


class EventEncoder:
    """Fills in the jobs of the feed's events, which it remembers from call to call, and encodes the events."""

    def __init__(self, jobs: JobsTable) -> None:
        self._table = jobs
        self._jobs: dict[str, Raw] = {}

    def encode(
        self, events: Iterable[tuple[Cursor, Event]], watched: Collection[str] = (EVERYTHING,)
    ) -> list[FeedEvent]:
        """The events that belong to one of the topics in `watched`, encoded. Raises Unavailable when AWS refuses."""
        chosen = [pair for pair in events if EVERYTHING in watched or not topics([pair[1]]).isdisjoint(watched)]
        if len(self._jobs) > _REMEMBERED_JOBS:
            self._jobs.clear()
        whole = fill([event for _, event in chosen], self._table, self._jobs)
        return [encoded(cursor, event) for (cursor, _), event in zip(chosen, whole, strict=True)]


class Feed:
    """The feed in one table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, retention_seconds: int = 0) -> None:
        self._table = Table(table)
        self._retention_seconds = retention_seconds
        self._known_head = 0

    def append(self, events: Sequence[Event]) -> None:
        """Add events behind all others, in their order. Raises Unavailable when AWS refuses or others keep writing."""
        bodies = list(_bodies(events))
        for start in range(0, len(bodies), _CHUNKS):
            self._append(bodies[start : start + _CHUNKS])

    def _append(self, bodies: Sequence[bytes]) -> None:
        for pause in pauses(_ROUNDS):
            before = self._known_head
            now_ms = time.time_ns() // 1_000_000
            first = max(before + 1, now_ms)
            last = first + len(bodies) - 1
            expires = now_ms // 1000 + self._retention_seconds
            puts = [
                {
                    "Put": {
                        "TableName": self._table.name,
                        "Item": _item(first + n, first + n - 1 if n else before, body, expires),
                    }
                }
                for n, body in enumerate(bodies)
            ]
            try:
                self._table.transact([self._move_head(before, last), *puts], "writing the feed")
            except ConditionFailed:
                self._known_head = self.head()
            except Conflict:
                time.sleep(pause)
                self._known_head = self.head()
            else:
                self._known_head = last
                return
        raise Unavailable("The feed is being written by others; try again in a moment.")

    def _move_head(self, before: int, last: int) -> dict[str, Any]:
        condition = "#last = :before" if before else "attribute_not_exists(#last)"
        values = {":last": {"N": str(last)}} | ({":before": {"N": str(before)}} if before else {})
        return {
            "Update": {
                "TableName": self._table.name,
                "Key": _key(_HEAD, 0),
                "UpdateExpression": "SET #last = :last",
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {"#last": "last"},
                "ExpressionAttributeValues": values,
            }
        }

    def head(self) -> int:
        """The `seq` of the last chunk; 0 when there was none."""
        item = self._table.get(_key(_HEAD, 0), "reading the feed")
        return int(item["last"]["N"]) if item else 0

    def read(self, after: Cursor, limit: int) -> list[Chunk]:
        """Up to about `limit` chunks behind a cursor, without expired ones. Empty only when there are none."""
        first = after.seq + 1 if after.is_whole else after.seq
        chunks = self._chunks("feed = :feed AND seq >= :first", {":first": {"N": str(first)}}, limit)
        if chunks and chunks[0].seq == after.seq:
            chunks[0] = chunks[0]._replace(events=[pair for pair in chunks[0].events if pair[0] > after])
        return chunks

    def backwards(self, last: int) -> Iterator[Chunk]:
        """Chunks from `last` back to the first, in pages of growing size."""
        size = _PAGE
        while chunks := self._chunks("feed = :feed AND seq <= :last", {":last": {"N": str(last)}}, size, forward=False):
            yield from chunks
            last = chunks[-1].seq - 1
            size *= 2

    def at(self, places: Sequence[Cursor]) -> list[tuple[Cursor, Event]]:
        """The events at these places, in their order, without expired ones. One call for 100 chunks."""
        keys = [_key(_EVENTS, seq) for seq in dict.fromkeys(place.seq for place in places)]
        rows = self._table.get_all(keys, "reading the feed")
        events = {cursor: event for row in rows if is_current(row) for cursor, event in chunk_of(row).events}
        return [(place, events[place]) for place in places if place in events]

    def lost(self, after: Cursor, head: int) -> Cursor | None:
        """The end of the events behind a cursor that have expired; None when none has.

        `head` is the head as read before.
        """
        chunks = self.read(after, 1)
        last = Cursor(chunks[0].before if chunks else head)
        return last if last > after else None

    def _chunks(self, condition: str, values: dict[str, Any], limit: int, *, forward: bool = True) -> list[Chunk]:
        """The first page with a chunk that has not expired; empty when there is none."""
        pages = self._table.query_pages(
            "reading the feed",
            KeyConditionExpression=condition,
            ExpressionAttributeValues={":feed": {"S": _EVENTS}} | values,
            Limit=limit,
            ScanIndexForward=forward,
            ConsistentRead=True,
        )
        for rows in pages:
            chunks = [chunk_of(row) for row in rows if is_current(row)]
            if chunks:
                return chunks
        return []


def chunk_of(item: dict[str, Any]) -> Chunk:
    """The chunk in an item of the table or in a stream record. An unreadable one is logged and empty."""
    seq = int(item["seq"]["N"])
    try:
        events = msgspec.json.decode(zlib.decompress(_bytes(item["document"]["B"])), type=list[Event])
    except (zlib.error, msgspec.DecodeError, ValueError, KeyError, TypeError):
        _log.exception("chunk %s of the feed is unreadable; no watcher or webhook gets its events", seq)
        events = []
    pairs = [(Cursor(seq, n), event) for n, event in enumerate(events)]
    return Chunk(seq, int(item["before"]["N"]), int(item[TTL]["N"]), pairs)


def _bytes(value: bytes | str) -> bytes:
    """The bytes of a binary attribute, which a stream record has in base64."""
    return value if isinstance(value, bytes) else binascii.a2b_base64(value)


def _bodies(events: Iterable[Event]) -> Iterator[bytes]:
    """Events as compressed JSON arrays of at most about _CHUNK_BYTES before compression."""
    some: list[bytes] = []
    size = 0
    for event in events:
        body = msgspec.json.encode(event)
        if some and size + len(body) > _CHUNK_BYTES:
            yield _packed(some)
            some, size = [], 0
        some.append(body)
        size += len(body)
    if some:
        yield _packed(some)


def _packed(bodies: Sequence[bytes]) -> bytes:
    return zlib.compress(b"[" + b",".join(bodies) + b"]")


def _item(seq: int, before: int, document: bytes, expires: int) -> Item:
    return {**_key(_EVENTS, seq), "before": number(before), "document": {"B": document}, TTL: number(expires)}


def _key(feed: str, seq: int) -> Item:
    return key_of(FEED_KEYS, feed, seq)
