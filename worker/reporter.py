"""Sends the events of a job to the control queue."""

import uuid
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from elasticrecode.clock import now_ms
from elasticrecode.jobs.events import Action, Failure, FaultOf, Progress, Result, StartReference, WorkerEvent
from worker.settings import Settings

_ENDS = (Action.JOB_FINISHED, Action.JOB_FAILED, Action.JOB_RETURNED)


class Reporter:
    """Sends the events of one job: those after its JobStart with the identity of that, as SQS may deliver them first.

    Each carries `job`, the JSON of the message as received or, once claimed, of the record, and the `attempt`.
    """

    def __init__(self, sqs: Any, control_url: str, settings: Settings, job: str) -> None:
        self._sqs = sqs
        self._url = control_url
        self._settings = settings
        self.job = job
        self.attempt: int | UnsetType = UNSET
        self.has_ended = False
        """Whether an event has been sent that ends the attempt."""
        self._start: StartReference | UnsetType = UNSET

    def send(
        self,
        action: str,
        *,
        msg: str = "",
        progress: Progress | UnsetType = UNSET,
        result: Result | UnsetType = UNSET,
        error: Failure | UnsetType = UNSET,
        fault: FaultOf | UnsetType = UNSET,
        attempt: int | UnsetType = UNSET,
    ) -> None:
        """Send an event. Raises botocore's errors if SQS does not accept it after retries."""
        now = now_ms()
        event = WorkerEvent(
            workerType=self._settings.kind,
            nodeName=self._settings.node,
            podName=self._settings.pod,
            action=action,
            job=Raw(self.job.encode()),
            msg=msg,
            ts=now // 1000,
            eventID=str(uuid.uuid4()),
            tsMs=now,
            attempt=attempt or self.attempt,
            start=self._start,
            progress=progress,
            result=result,
            error=error,
            fault=fault,
        )
        self._sqs.send_message(QueueUrl=self._url, MessageBody=msgspec.json.encode(event).decode())
        self.has_ended = self.has_ended or action in _ENDS
        if action == Action.JOB_START and event.eventID and event.tsMs:
            self._start = StartReference(event.eventID, event.tsMs)
