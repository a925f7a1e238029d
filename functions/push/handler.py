"""The feed's stream: new chunks go to the watchers that want some of their events.

The chunks come one behind the other and to one invocation at a time, so each watcher is sent them in order. A watcher
that does not take its frames in time is left to `replay` and delays nobody.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from elasticrecode.contract.settings import WatchersSettings
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.watch.connections import ConnectionsTable, Watcher
from elasticrecode.watch.feed import Chunk, EventEncoder, Feed, chunk_of
from elasticrecode.watch.sockets import Poster
from elasticrecode.watch.subscription import JOINING, Cursor, FeedEvent, Frame, Watch, frames, topics

_SECONDS = 2.0
_SECONDS_A_FRAME = 0.02
_MOST_SECONDS = 15.0
"""Seconds that posts may take: _SECONDS, more for many frames to one watcher, at most this."""
_MISSED_CHUNKS = 40
"""Limit of the chunks read to find the events that watchers missed while they joined."""


class Pusher:
    """Posts new events to watchers."""

    def __init__(self, settings: WatchersSettings) -> None:
        self._feed = Feed(settings.feed_table)
        self._encoder = EventEncoder(JobsTable(settings.jobs_table))
        self._connections = ConnectionsTable(settings.connections_table)
        self._poster = Poster(settings.socket_management_url)

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """Push the chunks in stream records. Raises Unavailable when AWS refuses; the records come again."""
        chunks = [chunk_of(record["dynamodb"]["NewImage"]) for record in event["Records"]]
        watchers = self.watchers(chunks)
        if watchers:
            queued = self.queue(watchers, chunks)
            self.post({watcher: waiting for watcher, waiting in queued.items() if waiting})

    def watchers(self, chunks: Sequence[Chunk]) -> list[Watcher]:
        """The watchers that may want events of these chunks: live ones, and joining ones, which it takes over."""
        through = chunks[-1].seq
        candidates = self._connections.watching(topics(event for chunk in chunks for _, event in chunk.events))
        return [
            watcher._replace(through=through) if watcher.state == JOINING else watcher
            for watcher in candidates
            if watcher.state != JOINING or self._connections.take_over(watcher, through)
        ]

    def queue(self, watchers: Sequence[Watcher], chunks: Sequence[Chunk]) -> dict[Watcher, list[Frame]]:
        """The frames for each watcher: of the chunks, and for one just taken over of the events since its place."""
        watched = {watcher.watch.topic for watcher in watchers}
        new = self._encoder.encode((pair for chunk in chunks for pair in chunk.events), watched)
        first = Cursor(chunks[0].before)
        places = {watcher: watcher.at if isinstance(watcher.at, Cursor) else first for watcher in watchers}
        taken_over = {watcher for watcher in watchers if watcher.through >= chunks[0].seq}
        behind_all = any(places[watcher] < first for watcher in taken_over)
        reaches_to, missed = self._missed(first, watched) if behind_all else (first, [])
        live: dict[tuple[Watch, Cursor], list[Frame]] = {}
        queued: dict[Watcher, list[Frame]] = {}
        for watcher, at in places.items():
            watch = watcher.watch
            behind = max(at, first)
            if (watch, behind) not in live:
                live[watch, behind] = frames(watch, (event for event in new if event.cursor > behind))
            queued[watcher] = live[watch, behind]
            if watcher in taken_over and at < reaches_to:
                self._connections.fall_behind(watcher, at)
                del queued[watcher]
            elif watcher in taken_over:
                queued[watcher] = frames(watch, (event for event in missed if event.cursor > at)) + queued[watcher]
        return queued

    def _missed(self, until: Cursor, watched: set[str]) -> tuple[Cursor, list[FeedEvent]]:
        """The latest events before these chunks, and how far back they reach.

        A watcher that needs more, because nothing was for it for long, goes back to `replay`.
        """
        latest = list(islice(self._feed.backwards(until.seq), _MISSED_CHUNKS))[::-1]
        reaches_to = Cursor(latest[0].before) if latest else until
        return reaches_to, self._encoder.encode((pair for chunk in latest for pair in chunk.events), watched)

    def post(self, queued: dict[Watcher, list[Frame]]) -> None:
        """Post frames to watchers. Forget those that are gone, and leave those that are late to `replay`."""
        most = max((len(waiting) for waiting in queued.values()), default=0)
        seconds = min(_MOST_SECONDS, _SECONDS + most * _SECONDS_A_FRAME)
        watchers = {watcher.connection_id: watcher for watcher in queued}
        bodies = {watcher.connection_id: [frame.body for frame in waiting] for watcher, waiting in queued.items()}
        expires = {watcher.connection_id: watcher.expires for watcher in queued}
        opening = {watcher for watcher in queued if watcher.is_opening()}  # the posts may take longer than that
        for connection_id, outcome in self._poster.post(bodies, seconds, expires).items():
            watcher = watchers[connection_id]
            if outcome.ended == "gone" and watcher not in opening:
                self._connections.forget(watcher)
            elif outcome.ended:
                self._connections.fall_behind(watcher, queued[watcher][outcome.delivered].before)
                logger.info("a watcher fell behind", extra={"connection": connection_id})


def build(settings: WatchersSettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return Pusher(settings).handle


handler = compose(build, WatchersSettings)
