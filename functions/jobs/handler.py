"""Where jobs stand, and a user's word on them: status, list, cancel, retry."""

import time
import uuid
from typing import Annotated, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode import http, jobs
from elasticrecode.errors import BadParameter, NotFound, Refused
from elasticrecode.events import Event
from elasticrecode.jobs import Job, Kind, UserID
from elasticrecode.lifecycle import JOB_CANCELLED, JOB_RETRIED, STATES
from elasticrecode.records import JobRecord
from elasticrecode.registry import Registry
from elasticrecode.routing import Choice, wanted
from elasticrecode.settings import CANCEL, JOB_STATUS, JOBS, RETRY, RETRY_FAILED, JobsSettings, compose
from elasticrecode.table import JobsTable
from elasticrecode.validation import Body, Reader

_BODY_LIMIT = 4096
_RETRY_SECONDS = 15
_RETRY_PAGE = 100


class RetryRequest(Struct, forbid_unknown_fields=True):
    """Whose failed jobs are to run again."""

    userID: UserID
    batchID: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET


_retry_request = Reader(RetryRequest, jobs.FORMATS)


def build(settings: JobsSettings) -> http.LambdaHandler:
    """The handler over both tables."""
    table, registry = JobsTable(settings.jobs_table), Registry(settings.registry_table, settings.queues)
    retention_seconds = settings.retention_days * 86_400

    def status(request: http.Request) -> http.Response:
        return http.Response(_existing(request.parameters["jobID"]))

    def listing(request: http.Request) -> http.Response:
        limit, after = request.page()
        user_id = request.query.get("userID")
        if not user_id:
            raise BadParameter("userID is required: records are listed for one user.")
        wanted = {
            "state": _choice(request, "state", STATES),
            "kind": _choice(request, "kind", get_args(Kind)),
            "batchID": request.query.get("batchID"),
        }
        records, after = table.records(user_id, limit, after, lambda record: _matches(record, wanted))
        return http.Response(records, headers=request.next_link(after))

    def cancel(request: http.Request) -> http.Response:
        record = _existing(request.parameters["jobID"])
        if not _change(record, JOB_CANCELLED):
            raise Refused(f"The job can't be cancelled: it is {_existing(record.jobID).state}.")
        return http.Response(_existing(record.jobID), 202)

    def retry(request: http.Request) -> http.Response:
        record = _existing(request.parameters["jobID"])
        if not _change(record, JOB_RETRIED):
            state = _existing(record.jobID).state
            raise Refused(f"Only failed and cancelled jobs can be retried; the job is {state}.")
        return http.Response(_existing(record.jobID), 202)

    def retry_failed(request: http.Request) -> http.Response:
        asked = _retry_request.read(Body(request.body(_BODY_LIMIT)))
        wanted = {"state": "failed", "batchID": asked.batchID or None}
        until, retried, after = time.monotonic() + _RETRY_SECONDS, 0, ""
        while True:
            failed, after = table.records(asked.userID, _RETRY_PAGE, after, lambda record: _matches(record, wanted))
            retried += sum(_retry_if_taken(record) for record in failed)
            if not after or time.monotonic() > until:
                break
        return http.Response({"retried": retried, **({"more": True} if after else {})}, 202)

    def _existing(job_id: str) -> JobRecord:
        record = table.record(job_id)
        if not record:
            raise NotFound(f"There is no job {job_id}, or its time of retention has passed.")
        return record

    def _change(record: JobRecord, action: str) -> bool:
        now = time.time_ns() // 1_000_000
        event = Event(
            ts=now // 1000,
            userID=record.userID,
            jobID=record.jobID,
            action=action,
            nodeName="",
            podName="",
            eventID=str(uuid.uuid4()),
            tsMs=now,
        )
        return table.move_and_log(
            action, event, retention_seconds, _choice_for(record) if action == JOB_RETRIED else None
        )

    def _retry_if_taken(record: JobRecord) -> bool:
        """Retry one of many; False where nothing serves it now."""
        try:
            return _change(record, JOB_RETRIED)
        except Refused:
            return False

    def _choice_for(record: JobRecord) -> Choice:
        job = msgspec.json.decode(table.jobs([record.jobID])[record.jobID], type=Job)
        (choice,) = registry.choose([wanted(job)])
        if not choice.queue:
            raise Refused(f"It can't be retried now: {choice.reason}.")
        return choice

    return http.handler(
        {JOB_STATUS: status, JOBS: listing, CANCEL: cancel, RETRY: retry, RETRY_FAILED: retry_failed},
        cors=settings.cors,
    )


def _choice(request: http.Request, name: str, choices: tuple[str, ...]) -> str | None:
    value = request.query.get(name)
    if value is not None and value not in choices:
        raise BadParameter(f"{name} must be one of {', '.join(choices)}, not {value[:40]!r}.")
    return value


def _matches(record: JobRecord, wanted: dict[str, str | None]) -> bool:
    return all(value is None or getattr(record, name) == value for name, value in wanted.items())


handler = compose(build, JobsSettings)
