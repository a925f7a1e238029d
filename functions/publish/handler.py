"""The feed's stream: new events become deliveries to webhooks, go to the event bus, and into the history index.

JobProgress goes into the index alone. One invocation at a time reads the feed's chunks, in their order. When the
deliveries queue refuses something, the stream brings the chunks from there on again, and SQS discards the deliveries
that it took before. Events that the bus refuses go onto the deliveries queue, for `deliver` to try again: the bus holds
no webhook back.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw

from elasticrecode.contract.settings import PublishSettings
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.watch.feed import EventEncoder, chunk_of
from elasticrecode.watch.history import History
from elasticrecode.watch.subscription import FeedEvent
from elasticrecode.webhooks.bus import Bus
from elasticrecode.webhooks.cache import WebhookCache
from elasticrecode.webhooks.queue import Addressed, Deliveries
from elasticrecode.webhooks.store import WebhooksTable
from elasticrecode.webhooks.webhook import BUS, Delivery

_BUS_PAUSE_SECONDS = 30.0
"""After the bus refused an event, for this long events go to the deliveries queue without a call to the bus."""


class Publisher:
    """Hands the events of chunks to webhooks, to the bus and to the index."""

    def __init__(self, settings: PublishSettings) -> None:
        self._encoder = EventEncoder(JobsTable(settings.jobs_table))
        self._webhooks = WebhookCache(WebhooksTable(settings.webhooks_table))
        self._deliveries = Deliveries(settings.deliveries_queue)
        self._bus = Bus(settings.event_bus)
        self._history = History(settings.feed_table)
        self._bus_pauses_until = 0.0

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Publish the chunks in stream records. Returns the first record to deliver again, if any.

        Raises Unavailable when AWS refuses a read or the index; then all come again.
        """
        numbers, chunks = {}, []
        for record in event["Records"]:
            chunks.append(chunk_of(record["dynamodb"]["NewImage"]))
            numbers[chunks[-1].seq] = record["dynamodb"]["SequenceNumber"]
        pairs = (pair for chunk in chunks for pair in chunk.events if pair[1].action != Action.JOB_PROGRESS)
        events = self._encoder.encode(pairs)
        failed = self.deliver(events)
        self.copy_to_bus([event for event in events if not failed or event.cursor.seq < failed])
        done = [chunk for chunk in chunks if not failed or chunk.seq < failed]
        if done:
            self._history.index(done)
        return {"batchItemFailures": [{"itemIdentifier": numbers[failed]}] if failed else []}

    def deliver(self, events: Sequence[FeedEvent]) -> int:
        """Send deliveries for events, in order. Returns the `seq` of the first chunk that is to come again, or 0."""
        webhooks = self._webhooks.of(event.event.userID for event in events)
        return self._send(
            {
                f"{event.cursor} {webhook.webhookID}": (event, webhook.webhookID)
                for event in events
                for webhook in webhooks[event.event.userID]
                if webhook.wants(event.event)
            }
        )

    def copy_to_bus(self, events: Sequence[FeedEvent]) -> None:
        """Put events on the bus; those that it refuses go onto the deliveries queue.

        Raises RuntimeError when the queue refuses them too, so that the stream brings the chunks again.
        """
        left = events
        if time.monotonic() >= self._bus_pauses_until:
            refused = self._bus.put([event.body for event in events])
            left = [event for event in events if event.event.eventID in refused]
            if refused:
                logger.error("the event bus refuses", extra={"reasons": sorted(set(refused.values()))[:10]})
                self._bus_pauses_until = time.monotonic() + _BUS_PAUSE_SECONDS
        if left and self._send({str(event.cursor): (event, BUS) for event in left}):
            raise RuntimeError(f"Neither the event bus nor the deliveries queue takes {len(left)} events.")

    def _send(self, deliveries: Mapping[str, tuple[FeedEvent, str]]) -> int:
        """Send events to webhooks by id. Returns the `seq` of the first chunk with one that failed, 0 for none."""
        refused = self._deliveries.send(
            {
                key: Addressed(Delivery(userID=e.event.userID, webhookID=webhook_id, event=Raw(e.body)), e.event)
                for key, (e, webhook_id) in deliveries.items()
            }
        )
        if refused:
            reasons = sorted(set(refused.values()))[:10]
            logger.error("the deliveries queue refuses", extra={"deliveries": len(refused), "reasons": reasons})
        return min((deliveries[key][0].cursor.seq for key in refused), default=0)


def build(settings: PublishSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler."""
    return Publisher(settings).handle


handler = compose(build, PublishSettings)
