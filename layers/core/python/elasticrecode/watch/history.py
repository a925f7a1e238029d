"""The history index, in the feed's table: for each topic, where its events lie in the feed.

    feed       seq   content
    ─────────  ────  ──────────────────────────────────────────────────────────────────
    <topic>    n     action → which of chunk `n`'s events are of this topic, from 0
    indexed    0     the `seq` up to which every chunk is in the index

`publish` writes it: the one function that reads the chunks of the feed in order, one invocation at a time. Items expire
with their chunks. A watcher's history costs three calls: its places from here, their chunks, and the events' jobs.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, document, is_current, key_of, number, refused, text
from elasticrecode.contract.tables import FEED_KEYS, TTL
from elasticrecode.watch.feed import Chunk
from elasticrecode.watch.subscription import EVERYTHING, Cursor, topics

_INDEXED = "indexed"
_PAGES = 3
"""Query pages read for events of chosen actions, of 1 MB each: the places of about 20,000 chunks."""

_Places = dict[str, list[int]]


class Latest(NamedTuple):
    """The places of a topic's latest events, oldest first, and the place behind the topic's newest chunk."""

    places: list[Cursor]
    end: Cursor


class History:
    """The index in one table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str) -> None:
        self._table = Table(table)

    def index(self, chunks: Sequence[Chunk]) -> None:
        """Put the places of events into the index. `chunks` follow each other and the last call's; again is harmless.

        Costs an item for each topic of each chunk, 25 a call, and one more call.
        """
        if self._table.write([item for chunk in chunks for item in _items(chunk)], "indexing the feed"):
            raise refused("indexing the feed")
        with suppress(ConditionFailed):
            self._table.update(
                key_of(FEED_KEYS, _INDEXED, 0),
                "indexing the feed",
                UpdateExpression="SET #last = :last",
                ConditionExpression="attribute_not_exists(#last) OR #last < :last",
                ExpressionAttributeNames={"#last": "last"},
                ExpressionAttributeValues={":last": number(chunks[-1].seq)},
            )

    def indexed(self) -> Cursor:
        """The place up to which every chunk is in the index; before the first chunk when nothing is."""
        item = self._table.get(key_of(FEED_KEYS, _INDEXED, 0), "reading the index")
        return Cursor(int(item["last"]["N"]) if item else 0)

    def latest(self, topic: str, actions: Collection[str], count: int) -> Latest | None:
        """The places of the latest `count` events of a topic; None when the index has none of the topic.

        Only events of the `actions`, if any are given: these are looked for in the topic's latest 20,000 chunks or so.
        One call, or up to three with `actions`.
        """
        arguments = {} if actions else {"Limit": count}
        pages = self._table.query_pages(
            "reading the index",
            KeyConditionExpression="feed = :topic",
            ExpressionAttributeValues={":topic": text(topic)},
            ScanIndexForward=False,
            ConsistentRead=True,
            **arguments,
        )
        places: list[Cursor] = []
        newest = 0
        for _, page in zip(range(_PAGES), pages, strict=False):
            for item in filter(is_current, page):
                newest = newest or int(item["seq"]["N"])
                places += reversed(list(_places(item, actions)))
            if len(places) >= count:
                break
        return Latest(places[:count][::-1], Cursor(newest)) if newest else None

    def skip(self, topic: str, place: Cursor) -> Cursor:
        """A place as far behind `place` as the index knows that no event of the topic lies between them. Two calls."""
        indexed = self.indexed()
        answer = self._table.query(
            "reading the index",
            KeyConditionExpression="feed = :topic AND seq > :seq",
            ExpressionAttributeValues={":topic": text(topic), ":seq": number(place.seq)},
            Limit=1,
            ConsistentRead=True,
        )
        cursors = [Cursor(int(item["seq"]["N"]) - 1) for item in answer["Items"]]
        return max(place, min([indexed, *cursors]))


def _items(chunk: Chunk) -> Iterator[Item]:
    """The items of the index for one chunk."""
    by_topic: dict[str, _Places] = {}
    for cursor, event in chunk.events:
        for topic in topics([event]) - {EVERYTHING}:
            by_topic.setdefault(topic, {}).setdefault(event.action, []).append(cursor.nth)
    for topic, places in by_topic.items():
        yield {**key_of(FEED_KEYS, topic, chunk.seq), "places": document(places), TTL: number(chunk.expires)}


def _places(item: Item, actions: Collection[str]) -> Iterable[Cursor]:
    """The places in one item, in order."""
    by_action = msgspec.json.decode(item["places"]["S"], type=_Places)
    chosen = (nth for action, cursors in by_action.items() if not actions or action in actions for nth in cursors)
    return (Cursor(int(item["seq"]["N"]), nth) for nth in sorted(chosen))
