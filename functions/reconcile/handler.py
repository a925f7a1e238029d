"""Every minute: send what could not be sent, and bring dead letters back to where they are seen.

- A job that no queue took goes to a queue again.
- A job whose message was received too often without an end becomes a failed job.
- An event that its consumer could not store goes back to the control queue, a few times; one that cannot be read is
  logged whole and counted.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from elasticrecode import events, lifecycle, routing
from elasticrecode.errors import Refused, UnreadableEvent
from elasticrecode.events import JOB_FAILED, Event, Failure
from elasticrecode.jobs import Job
from elasticrecode.observe import logger
from elasticrecode.queues import Letter, Message, Receiver, Sender
from elasticrecode.settings import ReconcileSettings, compose
from elasticrecode.table import JobsTable

_JOBS_A_RUN = 500
_LETTERS_A_RUN = 500
_RETURNS = 3
_SHOWN = 4000


def build(settings: ReconcileSettings) -> Callable[[Any, Any], dict[str, int]]:
    """The handler; it answers with what it did, and counts the same as metrics."""
    table, sender, receiver = JobsTable(settings.jobs_table), Sender(), Receiver()
    metrics = Metrics(namespace="ElasticRecode", service="reconcile")

    def reconcile(event: Any, context: Any) -> dict[str, int]:
        done = {
            "JobsResent": _resend(),
            "JobsBuried": _drain(settings.dead_letter_queue, _bury),
            "EventsReturned": _drain(settings.events_dead_letter_queue, _give_back),
        }
        for name, count in done.items():
            metrics.add_metric(name, MetricUnit.Count, count)
        metrics.flush_metrics()
        logger.info("reconciled", extra=done)
        return done

    def _resend() -> int:
        now, resent = _now_ms(), 0
        for job_id, job in table.due(now, _JOBS_A_RUN):
            try:
                queue = routing.choose(job, settings.queues)
            except Refused as error:
                logger.error("no queue", extra={"job": job_id, "reason": str(error)})
                continue
            resent += table.move(job_id, lifecycle.RESUME, None, now, {"queue": queue})
        return resent

    def _drain(url: str, settle: Callable[[Letter], bool]) -> int:
        """Settle letters and remove them; how many were settled for good."""
        settled = 0
        for letters in receiver.batches(url, _LETTERS_A_RUN):
            settled += sum([settle(letter) for letter in letters])
            receiver.remove(url, letters)
        return settled

    def _bury(letter: Letter) -> bool:
        try:
            job = msgspec.json.decode(letter.body, type=Job)
        except msgspec.DecodeError as error:
            logger.error("a dead letter is no job", extra={"reason": str(error), "body": letter.body[:_SHOWN]})
            metrics.add_metric("UnreadableMessages", MetricUnit.Count, 1)
            return False
        now = _now_ms()
        failure = Failure("dead-letter", f"Its message was received {letter.receives} times without an end.")
        failed = Event(
            ts=now // 1000,
            userID=job.userid,
            jobID=job.jobid,
            action=JOB_FAILED,
            nodeName="",
            podName="",
            eventID=str(uuid.uuid4()),
            tsMs=now,
            error=failure,
        )
        return table.move_and_log(lifecycle.BURY, failed, settings.event_retention_seconds)

    def _give_back(letter: Letter) -> bool:
        said = letter.attributes.get("returns", "0")
        returns = int(said) if len(said) == 1 and said.isdecimal() else 0
        try:
            events.read(letter.body.encode())
            reason = "" if returns < _RETURNS else f"it could not be stored, {_RETURNS} returns long"
        except UnreadableEvent as error:
            reason = str(error)
        if reason:
            logger.error("an event was given up", extra={"reason": reason, "body": letter.body[:_SHOWN]})
            metrics.add_metric("EventsGivenUp", MetricUnit.Count, 1)
            return False
        again = Message(letter.handle, settings.control_queue, letter.body, {"returns": str(returns + 1)})
        refused = sender.send([again])
        if refused:
            raise RuntimeError(f"the control queue took no event: {refused[letter.handle]}")
        return True

    return reconcile


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


handler = compose(build, ReconcileSettings)
