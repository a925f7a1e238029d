"""The feed's stream: new chunks go to the watchers that want something of them.

The chunks of the feed come one behind the other and to one invocation at a time, so each watcher is sent them in order.
A watcher that does not take its frames in time is left to `replay` and delays nobody.
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
_GAP_CHUNKS = 40


def build(settings: WatchersSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the tables and the WebSocket API's management endpoint."""
    feed, encoder = Feed(settings.feed_table), EventEncoder(JobsTable(settings.jobs_table))
    connections = ConnectionsTable(settings.connections_table)
    poster = Poster(settings.socket_management_url)

    def push(batch: dict[str, Any], context: Any) -> None:
        chunks = [chunk_of(record["dynamodb"]["NewImage"]) for record in batch["Records"]]
        watchers = _watchers(chunks)
        if watchers:
            _post({watcher: found for watcher, found in _queued(watchers, chunks).items() if found})

    def _watchers(chunks: Sequence[Chunk]) -> list[Watcher]:
        """Who is to be sent these chunks: those who are live, and those who are taken over with them."""
        through = chunks[-1].seq
        found = connections.watching(topics(event for chunk in chunks for _, event in chunk.events))
        return [
            watcher._replace(through=through) if watcher.state == JOINING else watcher
            for watcher in found
            if watcher.state != JOINING or connections.take_over(watcher, through)
        ]

    def _queued(watchers: Sequence[Watcher], chunks: Sequence[Chunk]) -> dict[Watcher, list[Frame]]:
        """What each is to be sent: the chunks, and who was taken over with them what came since it left off."""
        watched = {watcher.watch.topic for watcher in watchers}
        new = encoder.encode((pair for chunk in chunks for pair in chunk.events), watched)
        first = Cursor(chunks[0].before)
        places = {watcher: watcher.at if isinstance(watcher.at, Cursor) else first for watcher in watchers}
        taken_over = {watcher for watcher in watchers if watcher.through >= chunks[0].seq}
        behind_all = any(places[watcher] < first for watcher in taken_over)
        reaches_to, missed = _missed(first, watched) if behind_all else (first, [])
        live: dict[tuple[Watch, Cursor], list[Frame]] = {}
        queued: dict[Watcher, list[Frame]] = {}
        for watcher, at in places.items():
            watch = watcher.watch
            behind = max(at, first)
            if (watch, behind) not in live:
                live[watch, behind] = frames(watch, (event for event in new if event.cursor > behind))
            queued[watcher] = live[watch, behind]
            if watcher in taken_over and at < reaches_to:
                connections.fall_behind(watcher, at)
                del queued[watcher]
            elif watcher in taken_over:
                queued[watcher] = frames(watch, (event for event in missed if event.cursor > at)) + queued[watcher]
        return queued

    def _missed(until: Cursor, watched: set[str]) -> tuple[Cursor, list[FeedEvent]]:
        """The latest events before these chunks, for all who were taken over, and how far back they reach.

        Who needs more, as nothing was for it for long, goes back to `replay`.
        """
        latest = list(islice(feed.backwards(until.seq), _GAP_CHUNKS))[::-1]
        reaches_to = Cursor(latest[0].before) if latest else until
        return reaches_to, encoder.encode((pair for chunk in latest for pair in chunk.events), watched)

    def _post(queued: dict[Watcher, list[Frame]]) -> None:
        most = max((len(found) for found in queued.values()), default=0)
        seconds = min(_MOST_SECONDS, _SECONDS + most * _SECONDS_A_FRAME)
        watchers = {watcher.connection_id: watcher for watcher in queued}
        bodies = {watcher.connection_id: [frame.body for frame in found] for watcher, found in queued.items()}
        expires = {watcher.connection_id: watcher.expires for watcher in queued}
        opening = {watcher for watcher in queued if watcher.is_opening()}  # the posts may take longer than that
        for connection_id, outcome in poster.post(bodies, seconds, expires).items():
            watcher = watchers[connection_id]
            if outcome.ended == "gone" and watcher not in opening:
                connections.forget(watcher)
            elif outcome.ended:
                connections.fall_behind(watcher, queued[watcher][outcome.delivered].before)
                logger.info("a watcher fell behind", extra={"connection": connection_id})

    return push


handler = compose(build, WatchersSettings)
