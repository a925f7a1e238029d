"""The control queue's consumer: worker events into the jobs table, whose stream pushes them on.

An event that cannot be read goes to its dead-letter queue with the reason and delays no other.
"""

from collections.abc import Callable
from typing import Any

from elasticrecode import events
from elasticrecode.errors import UnreadableEvent
from elasticrecode.observe import logger
from elasticrecode.queues import Message, Sender
from elasticrecode.settings import EventsSettings, compose
from elasticrecode.table import JobsTable


def build(settings: EventsSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over one table and one dead-letter queue; it reports the messages to be delivered again."""
    table, sender = JobsTable(settings.jobs_table), Sender()

    def consume(batch: dict[str, Any], context: Any) -> dict[str, Any]:
        read: dict[str, events.Event] = {}
        unreadable: list[Message] = []
        for message in batch["Records"]:
            try:
                read[message["messageId"]] = events.read(message["body"].encode())
            except UnreadableEvent as error:
                logger.warning("unreadable event", extra={"reason": str(error)})
                reason = {"reason": str(error)}
                unreadable.append(
                    Message(message["messageId"], settings.events_dead_letter_queue, message["body"], reason)
                )
        refused = table.log(read.values(), settings.event_retention_seconds)
        again = {message_id for message_id, event in read.items() if event.eventID in refused}
        if unreadable:
            again.update(sender.send(unreadable))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in sorted(again)]}

    return consume


handler = compose(build, EventsSettings)
