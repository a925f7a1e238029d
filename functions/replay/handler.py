"""The stream of the connections table: watchers that are catching up get the events that they have not had.

Watchers are served side by side, in rounds of some chunks of the feed. A watcher that has everything is marked as
joining, for `push` to take over; when the feed has grown meanwhile, it catches up again, unless `push` has taken it
over and sends what lies between. A run that takes long leaves a watcher's cursor in the table, which the stream brings
up again.
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
from elasticrecode.watch.history import History
from elasticrecode.watch.sockets import Outcome, Poster
from elasticrecode.watch.subscription import (
    CATCHING_UP,
    EVERYTHING,
    JOINING,
    LATEST,
    Cursor,
    FeedEvent,
    Frame,
    Start,
    frames,
    gap,
)

_RUN_SECONDS = 10.0
"""Seconds in which an invocation starts new rounds."""
_POST_SECONDS = 5.0
"""Longest time that the posts of a round take."""
_OPENING_PAUSE_SECONDS = 0.05
"""Pause between rounds while a connection is opening."""
_ROUND_CHUNKS = 50
"""Chunks of one round at most."""
_ROUND_EVENTS = 300
"""Events of one round, about."""
_MOST_IDLE_ROUNDS = 6
"""Rounds in a row in which a watcher takes no frame before its connection is ended."""
_CLOCK_SKEW_MS = 60_000
"""How much older than its chunk an event may be, as clocks differ, and still be found by its time."""
_SEARCHED_CHUNKS = 1000
"""Chunks searched for the latest events of a watcher that the history index does not cover."""


class _Reader:
    """One watcher's progress: it has everything up to `at`, and is being sent `waiting`, which leads up to `end`."""

    def __init__(self, watcher: Watcher, at: Cursor, newer_than_ms: int = 0) -> None:
        self.watcher = watcher
        self.at = self.end = at
        self.newer_than_ms = newer_than_ms
        self.waiting: list[Frame] = []
        self.begun = False
        self.skips = False
        """Whether to look up the next chunk for the watcher in the history index."""
        self.idle_rounds = 0
        self.ended = False


class Replayer:
    """Sends history to watchers."""

    def __init__(self, settings: WatchersSettings) -> None:
        self._feed, self._history = Feed(settings.feed_table), History(settings.feed_table)
        self._encoder = EventEncoder(JobsTable(settings.jobs_table))
        self._connections = ConnectionsTable(settings.connections_table)
        self._poster = Poster(settings.socket_management_url)

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """Serve the watchers in stream records. Raises Unavailable when AWS refuses; the records come again."""
        changed = (watcher_of(record["dynamodb"]["NewImage"]) for record in event["Records"])
        keys = {(watcher.topic, watcher.connection_id) for watcher in changed if watcher}
        stored = [self._connections.get(*key) for key in sorted(keys)]
        readers = [self.begin(watcher) for watcher in stored if watcher and self._is_due(watcher)]
        until = time.monotonic() + _RUN_SECONDS
        while readers and time.monotonic() < until:
            pages: dict[Cursor, list[Chunk]] = {}
            for reader in readers:
                if not reader.waiting:
                    self.fill(reader, pages)
            self.send([reader for reader in readers if reader.waiting])
            readers = [reader for reader in readers if not reader.ended and time.time() < reader.watcher.expires]
        for reader in readers:
            self._connections.go_on(reader.watcher, reader.at if reader.begun else reader.watcher.at)

    def _is_due(self, watcher: Watcher) -> bool:
        """Whether a watcher is this function's.

        A watcher is joining when a run handed it over and died before it looked for newer events.
        """
        return watcher.state == CATCHING_UP or (watcher.state == JOINING and self._takes_back(watcher))

    # Where a watcher begins

    def begin(self, watcher: Watcher) -> _Reader:
        """A reader at the place where the watcher wants to begin, with a gap frame when events there have expired."""
        start = watcher.at
        if isinstance(start, Cursor):
            return _Reader(watcher, start)
        if start.kind == "latest":
            return self._begin_with_latest(watcher)
        wanted, head = Cursor.read(start.value), Cursor(self._feed.head())
        since = wanted.seq if start.kind == "since" else 0
        begin = Cursor(max(0, since - _CLOCK_SKEW_MS)) if since else wanted
        reader = _Reader(watcher, min(begin, head), since)  # clocks differ: nothing that comes may lie before it
        lost = head if start.kind == "after" and wanted > head else self._feed.lost(wanted, head.seq)
        if lost:
            _add_gap(reader, start, lost)
        return reader

    def _begin_with_latest(self, watcher: Watcher) -> _Reader:
        """A reader that is to send the latest events.

        Its place is stored before the first is sent: another run must not begin with later ones.
        """
        reader = self._latest_by_index(watcher) or self._latest_by_search(watcher)
        reader.begun = True
        self._connections.go_on(watcher, reader.at)
        return reader

    def _latest_by_index(self, watcher: Watcher) -> _Reader | None:
        """The latest events of a job, batch or user, in three calls; None when there is no index for them."""
        watch = watcher.watch
        if watch.topic == EVERYTHING:
            return None
        latest = self._history.latest(watch.topic, watch.actions, LATEST)
        if not latest:
            begin = self._history.skip(watch.topic, Cursor(0))
            return _Reader(watcher, begin) if begin > Cursor(0) else None
        events = [(cursor, event) for cursor, event in self._feed.at(latest.places) if watch.wants(event)]
        waiting = frames(watch, self._encoder.encode(events))
        reader = _Reader(watcher, waiting[0].before if waiting else latest.end)
        reader.waiting, reader.end, reader.skips = waiting, latest.end, True
        return reader

    def _latest_by_search(self, watcher: Watcher) -> _Reader:
        """The latest events, searched for from the feed's end back."""
        head = Cursor(self._feed.head())
        events: list[FeedEvent] = []
        for chunk in islice(self._feed.backwards(head.seq), _SEARCHED_CHUNKS):
            wanted = [(cursor, event) for cursor, event in chunk.events if watcher.watch.wants(event)]
            events[:0] = self._encoder.encode(wanted)
            if len(events) >= LATEST:
                break
        waiting = frames(watcher.watch, events[-LATEST:])
        reader = _Reader(watcher, waiting[0].before if waiting else head)
        reader.waiting, reader.end = waiting, head
        return reader

    # What it is sent

    def fill(self, reader: _Reader, pages: dict[Cursor, list[Chunk]]) -> None:
        """Give a reader its next frames, or hand it over when there are no more events.

        `pages` has the chunks that were read in this round, by the place behind which they lie.
        """
        watch = reader.watcher.watch
        if reader.skips:
            reader.at, reader.skips = self._history.skip(watch.topic, reader.at), False
        if reader.at not in pages:
            pages[reader.at] = _round_of(self._feed.read(reader.at, _ROUND_CHUNKS))
        chunks = pages[reader.at]
        if not chunks:
            reader.ended = self._hand_over(reader)
            return
        new = (pair for chunk in chunks for pair in chunk.events if pair[1].tsMs > reader.newer_than_ms)
        reader.waiting = frames(watch, self._encoder.encode(new, {watch.topic}))
        reader.end = chunks[-1].end
        lost = Cursor(chunks[0].before)
        if lost > max(reader.at, Cursor(reader.newer_than_ms)):
            _add_gap(reader, Start("after", str(reader.at)), lost)
        if not reader.waiting:
            reader.at, reader.begun = reader.end, True

    def _hand_over(self, reader: _Reader) -> bool:
        """Whether the watcher is `push`'s from now on, or gone. Newer events make it catch up again."""
        if not self._connections.join(reader.watcher, reader.at):
            return True
        return not self._takes_back(reader.watcher._replace(at=reader.at))

    def _takes_back(self, watcher: Watcher) -> bool:
        """Whether a joining watcher lacks events, and `push` has not taken it over."""
        at = watcher.at
        return isinstance(at, Cursor) and bool(self._feed.read(at, 1)) and self._connections.take_back(watcher, at)

    def send(self, readers: Sequence[_Reader]) -> None:
        """Post the frames that are waiting, for a round at most."""
        if not readers:
            return
        bodies = {reader.watcher.connection_id: [frame.body for frame in reader.waiting] for reader in readers}
        opening = [reader for reader in readers if reader.watcher.is_opening()]  # a round may take longer than that
        expires = {reader.watcher.connection_id: reader.watcher.expires for reader in readers}
        outcomes = self._poster.post(bodies, _POST_SECONDS, expires)
        for reader in readers:
            self._record(reader, outcomes[reader.watcher.connection_id], may_open=reader in opening)
        if any(reader.waiting for reader in opening):
            time.sleep(_OPENING_PAUSE_SECONDS)

    def _record(self, reader: _Reader, outcome: Outcome, *, may_open: bool) -> None:
        """Record the frames that a watcher took. Forget one whose connection is gone, or that takes none for long."""
        watcher = reader.watcher
        if outcome.delivered:
            reader.begun = True
            reader.at = reader.waiting[outcome.delivered - 1].cursor
            reader.waiting = reader.waiting[outcome.delivered :]
            if not reader.waiting:
                reader.at = reader.end
        reader.idle_rounds = reader.idle_rounds + 1 if outcome.ended == "late" and not outcome.delivered else 0
        # A connection that is opening answers like one that is gone; but a client that left is no longer in the table.
        gone = outcome.ended == "gone" and not (
            may_open and self._connections.get(watcher.topic, watcher.connection_id)
        )
        given_up = outcome.ended == "late" and reader.idle_rounds >= _MOST_IDLE_ROUNDS
        if given_up:
            logger.warning(
                "a watcher takes no frames; its connection is ended", extra={"connection": watcher.connection_id}
            )
            self._poster.delete(watcher.connection_id)
        if gone or given_up:
            self._connections.forget(watcher)
            reader.ended = True


def _add_gap(reader: _Reader, start: Start, lost: Cursor) -> None:
    """Put a frame in front that says that events between the reader's place and `lost` have expired."""
    reader.waiting = [Frame(gap(start, lost, now_ms()), lost, reader.at), *reader.waiting]
    reader.end = max(reader.end, lost)


def _round_of(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The first chunks that hold _ROUND_EVENTS together."""
    events = 0
    for n, chunk in enumerate(chunks):
        events += len(chunk.events)
        if events >= _ROUND_EVENTS:
            return list(chunks[: n + 1])
    return list(chunks)


def build(settings: WatchersSettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return Replayer(settings).handle


handler = compose(build, WatchersSettings)
