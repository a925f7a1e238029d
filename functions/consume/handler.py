"""The control queue's consumer: reads workers' events and applies them to the jobs table, as `jobs.reports` decides.

A message without an event goes to the dead-letter queue of events, with the reason, and delays no other.
"""

from collections.abc import Callable
from typing import Any

from elasticrecode.aws.sqs import Message, Sender, failed_items
from elasticrecode.contract.settings import ConsumeSettings
from elasticrecode.errors import UnreadableEvent
from elasticrecode.jobs import events
from elasticrecode.jobs.events import Report
from elasticrecode.jobs.reports import Reports
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose


class EventConsumer:
    """Consumes messages of the control queue."""

    def __init__(self, settings: ConsumeSettings) -> None:
        self._dead_letter_queue = settings.events_dead_letter_queue
        table = JobsTable(settings.jobs_table)
        self._reports = Reports(table, settings.event_retention_seconds, settings.max_strikes)
        self._sender = Sender()

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Apply messages. Returns those to deliver again, in the shape that Lambda expects."""
        reports: dict[str, Report] = {}
        unreadable: list[Message] = []
        for message in event["Records"]:
            try:
                reports[message["messageId"]] = events.read_report(message["body"].encode())
            except UnreadableEvent as error:
                reason = {"reason": str(error)}
                logger.warning("a message is not an event and goes to the dead-letter queue", extra=reason)
                unreadable.append(Message(message["messageId"], self._dead_letter_queue, message["body"], reason))
        refused = self._reports.take(reports.values())
        again = {message_id for message_id, report in reports.items() if report.event.eventID in refused}
        if unreadable:
            again.update(self._sender.send(unreadable))
        return failed_items(sorted(again))


def build(settings: ConsumeSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler."""
    return EventConsumer(settings).handle


handler = compose(build, ConsumeSettings)
