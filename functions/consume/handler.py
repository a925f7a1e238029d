"""The control queue's consumer: worker events into the log, and the moves they make.

The log comes first, so that what was said is kept whether or not it changes anything. Both writes may be repeated. An
event that cannot be read goes to its dead-letter queue with the reason and delays no other.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Message, Sender, failed_items
from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import ConsumeSettings
from elasticrecode.errors import Unavailable, UnreadableEvent
from elasticrecode.jobs import events, lifecycle
from elasticrecode.jobs.events import Action, Event, Failure
from elasticrecode.jobs.lifecycle import Step
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose


def build(settings: ConsumeSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler; it reports the messages to be delivered again."""
    table, sender = JobsTable(settings.jobs_table), Sender()

    def consume(batch: dict[str, Any], context: Any) -> dict[str, Any]:
        read: dict[str, Event] = {}
        unreadable: list[Message] = []
        for message in batch["Records"]:
            try:
                read[message["messageId"]] = events.read(message["body"].encode())
            except UnreadableEvent as error:
                why = {"reason": str(error)}
                logger.warning("unreadable event", extra=why)
                unreadable.append(
                    Message(message["messageId"], settings.events_dead_letter_queue, message["body"], why)
                )
        unsaid = table.log(read.values(), settings.event_retention_seconds)
        unsaid |= _move([event for event in read.values() if event.eventID not in unsaid])
        again = {message_id for message_id, event in read.items() if event.eventID in unsaid}
        if unreadable:
            again.update(sender.send(unreadable))
        return failed_items(sorted(again))

    def _move(said: Iterable[Event]) -> set[str]:
        """Make the moves, each job's in order, jobs side by side; the eventIDs of those that AWS refused."""
        by_job: dict[str, list[Event]] = {}
        for event in sorted(said, key=lambda event: event.position):
            if lifecycle.find(event.action, event.attempt or None):
                by_job.setdefault(event.jobID, []).append(event)
        return {event_id for refused in side_by_side(_move_job, list(by_job.values())) for event_id in refused}

    def _move_job(said: list[Event]) -> list[str]:
        for n, event in enumerate(said):
            try:
                _apply(event)
            except Unavailable as error:
                logger.warning("move refused", extra={"job": event.jobID, "reason": str(error)})
                return [later.eventID for later in said[n:]]
        return []

    def _apply(event: Event) -> None:
        attempt = event.attempt or None
        details: dict[str, str | int] = {}
        if event.result is not UNSET:
            details["outputs"] = msgspec.json.encode(event.result.outputs).decode()
            if event.result.quality is not UNSET:
                details["quality"] = msgspec.json.encode(event.result.quality).decode()
        error = event.error
        if event.action == Action.JOB_FAILED and error is UNSET:
            error = Failure("worker-failed", event.msg or "Its worker gave no reason.")
        if error is not UNSET:
            details["failure"] = msgspec.json.encode(error).decode()
        if not lifecycle.is_strike(event.action, details):
            table.move(event.jobID, event.action, attempt, event.tsMs, details)
            return
        now = now_ms()
        if table.move(event.jobID, event.action, attempt, now, details, settings.max_strikes):
            return
        failure = _exhausted(event, settings.max_strikes)
        last = {"failure": msgspec.json.encode(failure).decode()}
        if table.move(event.jobID, Step.EXHAUST, attempt, now, last, settings.max_strikes, event.action):
            table.log([_failed(event, failure)], settings.event_retention_seconds)

    return consume


def _exhausted(event: Event, max_strikes: int) -> Failure:
    """The reason of a job that went wrong for the last time allowed, with what its worker said."""
    why = f"last: {event.error.message}" if event.error else "its worker vanished, as if the job had killed it"
    log = event.error.log if event.error else []
    return Failure("attempts-exhausted", f"It went wrong {max_strikes} times; {why}", log)


def _failed(event: Event, failure: Failure) -> Event:
    """The JobFailed that follows from an event; the same for the same event, always."""
    return Event(
        ts=event.ts,
        userID=event.userID,
        jobID=event.jobID,
        action=Action.JOB_FAILED,
        nodeName=event.nodeName,
        podName=event.podName,
        eventID=f"{event.eventID}-last",
        tsMs=event.tsMs,
        attempt=event.attempt,
        error=failure,
    )


handler = compose(build, ConsumeSettings)
