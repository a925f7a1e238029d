"""The stream of the connections table, watchers that are catching up: each is sent what it has not had.

A watcher is caught up with in rounds, beside others, some chunks of the feed at a time. When there is no more, it is
handed to `push`; what came into the feed in between brings it back, unless `push` has taken it over and sends that
itself. A run that takes too long leaves off at a cursor, which the stream brings up again.
"""

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import WatchersSettings
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.watch.connections import ConnectionsTable, Watcher, watcher_of
from elasticrecode.watch.feed import Chunk, EventEncoder, Feed
from elasticrecode.watch.sockets import Outcome, Poster
from elasticrecode.watch.subscription import CATCHING_UP, JOINING, LATEST, Cursor, FeedEvent, Frame, Start, frames, gap

_RUN_SECONDS = 10.0
_ROUND_SECONDS = 5.0
_OPENING_PAUSE_SECONDS = 0.05
_CHUNKS = 50
_EVENTS = 300
"""Events a round, about, and chunks at the most."""
_PATIENCE = 6
"""Rounds in a row in which a watcher takes nothing before it is given up."""
_SKEW_MS = 60_000
"""How much later than it happened an event may come into the feed, by clocks that differ, and still be looked for."""
_LATEST_CHUNKS = 1000
"""Chunks looked through for the latest events that a watcher wants."""


class _Reader:
    """One watcher on its way: it has been sent all up to `at`, and is being sent `waiting`, which lead up to `end`."""

    def __init__(self, watcher: Watcher, at: Cursor, newer_than_ms: int = 0) -> None:
        self.watcher = watcher
        self.at = self.end = at
        self.newer_than_ms = newer_than_ms
        self.waiting: list[Frame] = []
        self.begun = False
        self.idle_rounds = 0
        self.ended = False


def build(settings: WatchersSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the tables and the WebSocket API's management endpoint."""
    feed, encoder = Feed(settings.feed_table), EventEncoder(JobsTable(settings.jobs_table))
    connections = ConnectionsTable(settings.connections_table)
    poster = Poster(settings.socket_management_url)

    def replay(batch: dict[str, Any], context: Any) -> None:
        told = (watcher_of(record["dynamodb"]["NewImage"]) for record in batch["Records"])
        named = {(watcher.topic, watcher.connection_id) for watcher in told if watcher}
        found = (connections.get(*key) for key in sorted(named))
        # One that is joining already was handed over by a run that did not come to look for what came in meanwhile.
        mine = (w for w in found if w and (w.state == CATCHING_UP or (w.state == JOINING and _is_taken_back(w))))
        readers = [_begun(watcher) for watcher in mine]
        until = time.monotonic() + _RUN_SECONDS
        while readers and time.monotonic() < until:
            pages: dict[Cursor, list[Chunk]] = {}
            for reader in readers:
                if not reader.waiting:
                    _fill(reader, pages)
            _send([reader for reader in readers if reader.waiting])
            readers = [reader for reader in readers if not reader.ended and time.time() < reader.watcher.expires]
        for reader in readers:
            connections.go_on(reader.watcher, reader.at if reader.begun else reader.watcher.at)

    def _begun(watcher: Watcher) -> _Reader:
        """A reader at the place where the watcher wants to begin, with the news that something is missing there."""
        start = watcher.at
        if isinstance(start, Cursor):
            return _Reader(watcher, start)
        if start.kind == "latest":
            head = Cursor(feed.head())
            latest = _latest(watcher, head.seq)
            reader = _Reader(watcher, latest[0].before if latest else head)
            reader.waiting, reader.end, reader.begun = latest, head, True
            # Noted before the first is sent: whoever goes on after this run must not begin with later ones.
            connections.go_on(watcher, reader.at)
            return reader
        asked, head = Cursor.read(start.value), Cursor(feed.head())
        since = asked.seq if start.kind == "since" else 0
        begin = Cursor(max(0, since - _SKEW_MS)) if since else asked
        reader = _Reader(watcher, min(begin, head), since)  # clocks differ: nothing that comes may lie before it
        lost = head if start.kind == "after" and asked > head else feed.lost(asked, head.seq)
        if lost:
            _tell_of_gap(reader, start, lost)
        return reader

    def _tell_of_gap(reader: _Reader, start: Start, lost: Cursor) -> None:
        """What lies between a reader's place and this one is not retained."""
        reader.waiting = [Frame(gap(start, lost, now_ms()), lost, reader.at), *reader.waiting]
        reader.end = max(reader.end, lost)

    def _latest(watcher: Watcher, head: int) -> list[Frame]:
        """The last events of those that a watcher wants, oldest first."""
        found: list[FeedEvent] = []
        for chunk in islice(feed.backwards(head), _LATEST_CHUNKS):
            wanted = [(cursor, event) for cursor, event in chunk.events if watcher.watch.wants(event)]
            found[:0] = encoder.encode(wanted)
            if len(found) >= LATEST:
                break
        return frames(watcher.watch, found[-LATEST:])

    def _fill(reader: _Reader, pages: dict[Cursor, list[Chunk]]) -> None:
        """Give a reader its next frames, or hand it over where there are no more events."""
        if reader.at not in pages:
            pages[reader.at] = _some(feed.read(reader.at, _CHUNKS))
        chunks = pages[reader.at]
        if chunks:
            new = (pair for chunk in chunks for pair in chunk.events if pair[1].tsMs > reader.newer_than_ms)
            reader.waiting = frames(reader.watcher.watch, encoder.encode(new, {reader.watcher.watch.topic}))
            reader.end = chunks[-1].end
            lost = Cursor(chunks[0].before)
            if lost > max(reader.at, Cursor(reader.newer_than_ms)):
                _tell_of_gap(reader, Start("after", str(reader.at)), lost)
            if not reader.waiting:
                reader.at, reader.begun = reader.end, True
        else:
            reader.ended = _hand_over(reader)

    def _hand_over(reader: _Reader) -> bool:
        """Whether the watcher is `push`'s from now on, or gone. What came in meanwhile makes it ours again."""
        if not connections.join(reader.watcher, reader.at):
            return True
        return not _is_taken_back(reader.watcher._replace(at=reader.at))

    def _is_taken_back(watcher: Watcher) -> bool:
        """Whether a watcher that was to join is not there yet, and `push` has not taken it over."""
        at = watcher.at
        return isinstance(at, Cursor) and bool(feed.read(at, 1)) and connections.take_back(watcher, at)

    def _send(readers: Sequence[_Reader]) -> None:
        if not readers:
            return
        bodies = {reader.watcher.connection_id: [frame.body for frame in reader.waiting] for reader in readers}
        opening = [reader for reader in readers if reader.watcher.is_opening()]  # a round may take longer than that
        expires = {reader.watcher.connection_id: reader.watcher.expires for reader in readers}
        outcomes = poster.post(bodies, _ROUND_SECONDS, expires)
        for reader in readers:
            _settle(reader, outcomes[reader.watcher.connection_id], may_open=reader in opening)
        if any(reader.waiting for reader in opening):
            time.sleep(_OPENING_PAUSE_SECONDS)

    def _settle(reader: _Reader, outcome: Outcome, *, may_open: bool) -> None:
        """Note what a reader was sent. One whose connection is gone, or takes nothing for long, is given up."""
        watcher = reader.watcher
        if outcome.delivered:
            reader.begun = True
            reader.at = reader.waiting[outcome.delivered - 1].cursor
            reader.waiting = reader.waiting[outcome.delivered :]
            if not reader.waiting:
                reader.at = reader.end
        reader.idle_rounds = reader.idle_rounds + 1 if outcome.ended == "late" and not outcome.delivered else 0
        # One that is opening answers as one that is gone; but who has left is not in the table any more.
        gone = outcome.ended == "gone" and not (may_open and connections.get(watcher.topic, watcher.connection_id))
        given_up = outcome.ended == "late" and reader.idle_rounds >= _PATIENCE
        if given_up:
            logger.warning("a watcher takes nothing and is given up", extra={"connection": watcher.connection_id})
            poster.delete(watcher.connection_id)
        if gone or given_up:
            connections.forget(watcher)
            reader.ended = True

    return replay


def _some(chunks: Sequence[Chunk]) -> list[Chunk]:
    """As many of the chunks as make a round."""
    events = 0
    for n, chunk in enumerate(chunks):
        events += len(chunk.events)
        if events >= _EVENTS:
            return list(chunks[: n + 1])
    return list(chunks)


handler = compose(build, WatchersSettings)
