"""Where jobs stand, and a user's word on them: status, list, cancel, retry."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TypeVar, get_args

import msgspec
from msgspec import UNSET, Raw

from elasticrecode import ids
from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.aws.clients import side_by_side
from elasticrecode.batches.store import BatchesTable
from elasticrecode.batches.survey import JOBS_LIMIT
from elasticrecode.clock import now_ms
from elasticrecode.contract.routes import CANCEL, JOB_STATUS, JOBS, RETRY, RETRY_FAILED
from elasticrecode.contract.settings import JobsSettings
from elasticrecode.errors import BadParameter, NotFound, Refused
from elasticrecode.jobs import events
from elasticrecode.jobs.answers import Retried
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.job import Job, Kind
from elasticrecode.jobs.lifecycle import STATES, State
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.requests import RetryRequest
from elasticrecode.jobs.store import LOOKED_THROUGH, JobsTable
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader
from elasticrecode.workers.registry import Registry

_BODY_LIMIT = 4096
_RETRY_SECONDS = 10
_RETRY_PAGE = 500

C = TypeVar("C", bound=str)


_retry_request = Reader(RetryRequest, FORMATS)


def build(settings: JobsSettings) -> http.LambdaHandler:
    """The handler over both tables."""
    table, registry = JobsTable(settings.jobs_table), Registry(settings.registry_table, settings.queues)
    batches = BatchesTable(settings.batches_table)
    retention_seconds = settings.retention_days * 86_400

    def status(request: http.Request) -> http.Response:
        return http.Response(_own(request))

    def listing(request: http.Request) -> http.Response:
        batch_id, user_id = request.query.get("batchID"), request.query.get("userID")
        if batch_id == "":
            raise BadParameter("batchID must be the id of a batch.")
        limit, after = request.page(cursor=ids.JOB) if batch_id else request.page()
        if not user_id:
            raise BadParameter("userID is required: records are listed for one user.")
        request.caller.act_for(user_id)
        state = _choice(request, "state", STATES)
        matches = partial(
            _matches, {"userID": user_id, "state": state, "kind": _choice(request, "kind", get_args(Kind))}
        )
        if not batch_id:
            records, after = table.records(user_id, limit, after, matches)
        elif _is_of(batch_id, user_id):
            records, after = table.records_among(_of_batch(batch_id, state, after), limit, matches)
        else:
            return http.Response([])
        return http.Response(records, headers=request.next_link(after))

    def cancel(request: http.Request) -> http.Response:
        record = _own(request)
        if not _change(Action.JOB_CANCELLED, record):
            raise Refused(f"The job can't be cancelled: it is {_existing(record.jobID).state}.")
        return http.Response(_existing(record.jobID), 202)

    def retry(request: http.Request) -> http.Response:
        record = _own(request)
        if not _change(Action.JOB_RETRIED, record, _choice_for(table.jobs([record.jobID])[record.jobID])):
            state = _existing(record.jobID).state
            raise Refused(f"Only failed and cancelled jobs can be retried; the job is {state}.")
        return http.Response(_existing(record.jobID), 202)

    def retry_failed(request: http.Request) -> http.Response:
        asked = _retry_request.read(Body(request.body(_BODY_LIMIT)))
        request.caller.act_for(asked.userID)
        matches = partial(_matches, {"userID": asked.userID, "state": "failed"})
        if asked.batchID and not _is_of(asked.batchID, asked.userID):
            raise NotFound(f"There is no batch {asked.batchID} of this user, or its time of retention has passed.")
        until, retried, after = time.monotonic() + _RETRY_SECONDS, 0, ""
        while True:
            if asked.batchID:
                failed, after = table.records_among(_of_batch(asked.batchID, "failed", after), _RETRY_PAGE, matches)
            else:
                failed, after = table.records(asked.userID, _RETRY_PAGE, after, matches)
            retried += _retry_all(failed)
            if not after or time.monotonic() > until:
                break
        return http.Response(Retried(retried, True if after else UNSET), 202)

    def _is_of(batch_id: str, user_id: str) -> bool:
        """Whether there is such a batch, of this user. What it holds is nobody else's to know."""
        batch = batches.get(batch_id)
        return batch is not None and batch.batch.userID == user_id

    def _of_batch(batch_id: str, state: State | None, after: str) -> list[str]:
        """Jobs of a batch, the last ones first, from behind one of them; with a state, those counted in it.

        One more than are looked through at a time, so that it shows whether there are more.
        """
        end = ids.position(after) if after else JOBS_LIMIT
        found = (
            position
            for strip in reversed(batches.strips(batch_id))
            for position in sorted(
                chain.from_iterable(map(strip.positions, [state] if state else STATES)), reverse=True
            )
            if position < end
        )
        return [ids.job_id(batch_id, position) for position in islice(found, LOOKED_THROUGH + 1)]

    def _own(request: http.Request) -> JobRecord:
        """The job of a request, which to others than its user and operators is not there."""
        return _existing(request.parameters["jobID"], request.caller)

    def _existing(job_id: str, caller: Caller = ANYBODY) -> JobRecord:
        record = table.record(job_id)
        if not record or not caller.may_act_for(record.userID):
            raise NotFound(f"There is no job {job_id}, or its time of retention has passed.")
        return record

    def _change(action: str, record: JobRecord, choice: Choice | None = None) -> bool:
        event = events.said(action, record.userID, record.jobID, now_ms())
        return table.move_and_log(action, event, retention_seconds, choice)

    def _retry_all(records: Sequence[JobRecord]) -> int:
        """Retry those that a queue takes now; how many."""
        known = table.jobs(record.jobID for record in records)
        planned: list[tuple[JobRecord, Choice]] = []
        for record in records:
            with suppress(Refused, KeyError):
                planned.append((record, _choice_for(known[record.jobID])))
        return sum(side_by_side(lambda each: _change(Action.JOB_RETRIED, *each), planned))

    def _choice_for(job: Raw) -> Choice:
        (choice,) = registry.choose([wanted(msgspec.json.decode(job, type=Job))])
        if not choice.queue:
            raise Refused(f"It can't be retried now: {choice.reason}.")
        return choice

    return http.handler(
        {JOB_STATUS: status, JOBS: listing, CANCEL: cancel, RETRY: retry, RETRY_FAILED: retry_failed},
        settings,
        Rates(settings.rate).count,
    )


def _choice(request: http.Request, name: str, choices: tuple[C, ...]) -> C | None:
    value = request.query.get(name)
    if value is None:
        return None
    for choice in choices:
        if choice == value:
            return choice
    raise BadParameter(f"{name} must be one of {', '.join(choices)}, not {value[:40]!r}.")


def _matches(wanted: Mapping[str, str | None], record: JobRecord) -> bool:
    return all(value is None or getattr(record, name) == value for name, value in wanted.items())


handler = compose(build, JobsSettings)
