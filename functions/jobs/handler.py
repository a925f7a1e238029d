"""The requests about stored jobs: status, list, cancel, retry."""

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
from elasticrecode.jobs.lifecycle import ENDED, STATES, State
from elasticrecode.jobs.pages import RECORDS_READ, JobLists
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.requests import RetryRequest
from elasticrecode.jobs.store import JobsTable
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader
from elasticrecode.workers.registry import Registry

_BODY_LIMIT = 4096
_RETRY_SECONDS = 10
_RETRY_PAGE = 500

C = TypeVar("C", bound=str)


_retry_request = Reader(RetryRequest, FORMATS)


class JobHandler:
    """Answers the requests about stored jobs: status, list, cancel, retry."""

    def __init__(self, settings: JobsSettings) -> None:
        self._jobs, self._lists = JobsTable(settings.jobs_table), JobLists(settings.jobs_table)
        self._batches = BatchesTable(settings.batches_table)
        self._registry = Registry(settings.registry_table, settings.queues)
        self._retention_seconds = settings.retention_days * 86_400

    def status(self, request: http.Request) -> http.Response:
        """A job's record."""
        return http.Response(self._own(request))

    def listing(self, request: http.Request) -> http.Response:
        """A page of a user's records, newest first; with `batchID`, of those in one of the user's batches."""
        batch_id, user_id = request.query.get("batchID"), request.query.get("userID")
        if batch_id == "":
            raise BadParameter("batchID must be the id of a batch.")
        if not user_id:
            beside = " beside batchID, which names one of that user's batches" if batch_id else ""
            raise BadParameter(f"userID is required{beside}: jobs are listed for one user. Add userID to the query.")
        limit, after = request.page(cursor=ids.JOB) if batch_id else request.page()
        request.caller.act_for(user_id)
        state = _choice(request, "state", STATES)
        matches = partial(
            _matches, {"userID": user_id, "state": state, "kind": _choice(request, "kind", get_args(Kind))}
        )
        if not batch_id:
            records, after = self._lists.records(user_id, limit, after, matches)
        elif self._owns_batch(user_id, batch_id):
            records, after = self._lists.records_among(self._of_batch(batch_id, state, after), limit, matches)
        else:
            return http.Response([])
        return http.Response(records, headers=request.next_link(after))

    def cancel(self, request: http.Request) -> http.Response:
        """Cancel a job that has not ended; its record. Raises Refused for one that has."""
        record = self._own(request)
        if not self._change(Action.JOB_CANCELLED, record):
            state = self._existing(record.jobID).state
            reason = f"it is {state}" if state in ENDED else "its outputs are being published, and it ends in a moment"
            raise Refused(f"The job can't be cancelled: {reason}.")
        return http.Response(self._existing(record.jobID), 202)

    def retry(self, request: http.Request) -> http.Response:
        """Run a failed or cancelled job again; its record. Raises Refused for others, and where no queue serves it."""
        record = self._own(request)
        choice = self._choose(self._jobs.jobs([record.jobID])[record.jobID])
        if not self._change(Action.JOB_RETRIED, record, choice):
            state = self._existing(record.jobID).state
            raise Refused(f"Only failed and cancelled jobs can be retried; the job is {state}.")
        return http.Response(self._existing(record.jobID), 202)

    def retry_failed(self, request: http.Request) -> http.Response:
        """Run the failed jobs of a user, or of a batch, again, as many as _RETRY_SECONDS allow; their number."""
        body = _retry_request.read(Body(request.body(_BODY_LIMIT)))
        request.caller.act_for(body.userID)
        matches = partial(_matches, {"userID": body.userID, "state": "failed"})
        if body.batchID and not self._owns_batch(body.userID, body.batchID):
            raise NotFound(f"There is no batch {body.batchID} of this user, or its retention has ended.")
        until, retried, after = time.monotonic() + _RETRY_SECONDS, 0, ""
        while True:
            if body.batchID:
                job_ids = self._of_batch(body.batchID, "failed", after)
                failed, after = self._lists.records_among(job_ids, _RETRY_PAGE, matches)
            else:
                failed, after = self._lists.records(body.userID, _RETRY_PAGE, after, matches)
            retried += self._retry_all(failed)
            if not after or time.monotonic() > until:
                break
        return http.Response(Retried(retried, True if after else UNSET), 202)

    def _owns_batch(self, user_id: str, batch_id: str) -> bool:
        """Whether the batch exists and is this user's; other users learn nothing about it."""
        stored = self._batches.get(batch_id)
        return stored is not None and stored.batch.userID == user_id

    def _of_batch(self, batch_id: str, state: State | None, after: str) -> list[str]:
        """Job ids of a batch, the last ones first, behind `after`; with a state, the ids that the batch counts in it.

        One more than a page reads, which shows whether there is a next page.
        """
        end = ids.position(after) if after else JOBS_LIMIT
        positions = (
            position
            for strip in reversed(self._batches.strips(batch_id))
            for position in sorted(
                chain.from_iterable(map(strip.positions, [state] if state else STATES)), reverse=True
            )
            if position < end
        )
        return [ids.job_id(batch_id, position) for position in islice(positions, RECORDS_READ + 1)]

    def _own(self, request: http.Request) -> JobRecord:
        """The record of the requested job. Raises NotFound unless the caller is its user or an operator."""
        return self._existing(request.parameters["jobID"], request.caller)

    def _existing(self, job_id: str, caller: Caller = ANYBODY) -> JobRecord:
        record = self._jobs.record(job_id)
        if not record or not caller.may_act_for(record.userID):
            raise NotFound(f"There is no job {job_id}, or its retention has ended.")
        return record

    def _change(self, action: Action, record: JobRecord, choice: Choice | None = None) -> bool:
        event = events.control_event(action, record.userID, record.jobID, now_ms())
        return self._jobs.move_and_log(action, event, self._retention_seconds, choice)

    def _retry_all(self, records: Sequence[JobRecord]) -> int:
        """Retry the jobs that a queue takes now; their number."""
        jobs = self._jobs.jobs(record.jobID for record in records)
        planned: list[tuple[JobRecord, Choice]] = []
        for record in records:
            with suppress(Refused, KeyError):
                planned.append((record, self._choose(jobs[record.jobID])))
        return sum(side_by_side(lambda each: self._change(Action.JOB_RETRIED, *each), planned))

    def _choose(self, job: Raw) -> Choice:
        (choice,) = self._registry.choose([wanted(msgspec.json.decode(job, type=Job))])
        if not choice.queue:
            raise Refused(f"The job can't be retried now: {choice.reason}.")
        return choice


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


def build(settings: JobsSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    jobs = JobHandler(settings)
    routes = {
        JOB_STATUS: jobs.status,
        JOBS: jobs.listing,
        CANCEL: jobs.cancel,
        RETRY: jobs.retry,
        RETRY_FAILED: jobs.retry_failed,
    }
    return http.handler(routes, settings, Rates(settings.rate).count)


handler = compose(build, JobsSettings)
