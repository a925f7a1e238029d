"""The feed's stream: new chunks go to the watchers that want something of them.

The chunks of the feed come one behind the other and to one invocation at a time, so each watcher is sent them in order.
A watcher that does not take its frames in time is left to `replay` and delays nobody.
"""

from collections.abc import Callable, Sequence
from typing import Any

from elasticrecode.connections import ConnectionsTable, Watcher
from elasticrecode.feed import Chunk, Feed, Teller, chunk_of
from elasticrecode.observe import logger
from elasticrecode.posting import Poster
from elasticrecode.settings import WatchersSettings, compose
from elasticrecode.table import JobsTable
from elasticrecode.watching import JOINING, Cursor, Frame, Told, Watch, frames, topics

_SECONDS = 2.0
_SECONDS_A_FRAME = 0.02
_MOST_SECONDS = 15.0


def build(settings: WatchersSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the tables and the WebSocket API's management endpoint."""
    feed, teller = Feed(settings.feed_table), Teller(JobsTable(settings.jobs_table))
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
        new = teller.tell((pair for chunk in chunks for pair in chunk.events), watched)
        first = Cursor(chunks[0].before)
        live: dict[tuple[Watch, Cursor], list[Frame]] = {}
        gaps: dict[Cursor, list[Told]] = {}
        queued: dict[Watcher, list[Frame]] = {}
        for watcher in watchers:
            watch, at = watcher.watch, watcher.at if isinstance(watcher.at, Cursor) else first
            behind = max(at, first)
            if (watch, behind) not in live:
                live[watch, behind] = frames(watch, (event for event in new if event.cursor > behind))
            queued[watcher] = live[watch, behind]
            if watcher.through >= chunks[0].seq:
                if at not in gaps:
                    gaps[at] = teller.tell(feed.between(at, chunks[0].before), watched)
                queued[watcher] = frames(watch, gaps[at]) + queued[watcher]
        return queued

    def _post(queued: dict[Watcher, list[Frame]]) -> None:
        most = max((len(found) for found in queued.values()), default=0)
        seconds = min(_MOST_SECONDS, _SECONDS + most * _SECONDS_A_FRAME)
        watchers = {watcher.connection_id: watcher for watcher in queued}
        bodies = {watcher.connection_id: [frame.body for frame in found] for watcher, found in queued.items()}
        opening = {watcher for watcher in queued if watcher.is_opening()}  # the posts may take longer than that
        for connection_id, outcome in poster.post(bodies, seconds).items():
            watcher = watchers[connection_id]
            if outcome.ended == "gone" and watcher not in opening:
                connections.forget(watcher)
            elif outcome.ended:
                connections.fall_behind(watcher, queued[watcher][outcome.delivered].before)
                logger.info("a watcher fell behind", extra={"connection": connection_id})

    return push


handler = compose(build, WatchersSettings)
