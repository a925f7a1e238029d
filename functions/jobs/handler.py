"""The requests about stored jobs: status, parts, list, overview, cancel, retry."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import merge
from itertools import chain, groupby
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, structs

from elasticrecode import ids
from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.aws.clients import side_by_side
from elasticrecode.batches.counting import Change, change_of
from elasticrecode.batches.progress import StoredBatch
from elasticrecode.batches.store import BatchesTable
from elasticrecode.batches.survey import JOBS_LIMIT
from elasticrecode.clock import now_ms
from elasticrecode.contract.routes import CANCEL, JOB_PARTS, JOB_STATUS, JOBS, OVERVIEW, RETRY, RETRY_FAILED
from elasticrecode.contract.settings import JobsSettings
from elasticrecode.errors import BadParameter, NotFound, Refused
from elasticrecode.jobs import events
from elasticrecode.jobs.answers import Retried
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.job import LISTED, Job, dollars_of
from elasticrecode.jobs.lifecycle import ENDED, STATES
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.requests import RetryRequest, price_of
from elasticrecode.jobs.store import JobsTable
from elasticrecode.lists.filters import ORDERS, TIME, Filter
from elasticrecode.lists.pages import JobLists
from elasticrecode.media.profiles import Profile
from elasticrecode.overview.store import ALL, OverviewTable
from elasticrecode.parts.store import PartsTable
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader
from elasticrecode.workers.registry import Registry

_BODY_LIMIT = 4096
_RETRY_SECONDS = 10
_RETRY_PAGE = 500

C = TypeVar("C", bound=str)


_retry_request = Reader(RetryRequest, FORMATS)


class JobHandler:
    """Answers the requests about stored jobs: status, parts, list, cancel, retry."""

    def __init__(self, settings: JobsSettings) -> None:
        self._jobs, self._lists = JobsTable(settings.jobs_table), JobLists(settings.jobs_table)
        self._parts = PartsTable(settings.jobs_table)
        self._retention_seconds = settings.retention_days * 86_400
        self._overview = OverviewTable(settings.batches_table)
        self._batches = BatchesTable(settings.batches_table, self._retention_seconds)
        self._prices = settings.prices
        self._registry = Registry(settings.registry_table, settings.queues, settings.first_generation)

    def status(self, request: http.Request) -> http.Response:
        """A job's record, with its cost."""
        record = self._own(request)
        return http.Response(structs.replace(record, dollars=self._dollars(record)))

    def _dollars(self, record: JobRecord) -> float | None:
        """What the workers of a job's latest attempt have cost by now; None before it starts."""
        if not record.startedAt:
            return None
        now = now_ms()
        seconds = (record.endedAt or now / 1000) - record.startedAt
        if record.division and record.division.parts:
            _, parts = self._parts.read(record.jobID, record.division)
            seconds = sum(part.shown(now).seconds or 0.0 for part in parts)
        price = price_of(msgspec.json.decode(record.profile, type=Profile), self._prices)
        return dollars_of(max(0.0, seconds), price)

    def parts(self, request: http.Request) -> http.Response:
        """The parts of a job, in the order of their numbers; none for a job that is not divided."""
        record = self._own(request)
        if not record.division or not record.division.parts:
            return http.Response([])
        _, parts = self._parts.read(record.jobID, record.division)
        now = now_ms()
        return http.Response([part.shown(now) for part in parts])

    def listing(self, request: http.Request) -> http.Response:
        """A page of a user's records, newest first by default; with `batchID`, of those in one of the user's batches.

        Raises BadParameter for a filter that is not one.
        """
        batch_id, user_id = request.query.get("batchID"), request.query.get("userID")
        if batch_id == "":
            raise BadParameter("batchID must be the id of a batch.")
        if not user_id:
            beside = " beside batchID, which names one of that user's batches" if batch_id else ""
            raise BadParameter(f"userID is required{beside}: jobs are listed for one user. Add userID to the query.")
        limit, after = request.page(cursor=ids.JOB) if batch_id else request.page()
        request.caller.act_for(user_id)
        wanted = _filter(request, user_id)
        if not batch_id:
            records, after = self._lists.records(wanted, limit, after)
        elif stored := self._batch(user_id, batch_id):
            records, after = self._lists.records_among(wanted, limit, self._of_batch(stored, wanted, after))
        else:
            return http.Response([])
        return http.Response(records, headers=request.next_link(after))

    def overview(self, request: http.Request) -> http.Response:
        """The counts of a user's jobs; without `userID`, for operators, those of all."""
        user_id = request.query.get("userID")
        if user_id == "":
            raise BadParameter("userID must be the id of a user; leave it out for all jobs.")
        if user_id is None:
            request.caller.operate()
        else:
            request.caller.act_for(user_id)
        return http.Response(self._overview.counts(ALL if user_id is None else user_id).shown(time.time()))

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
        self._reopen_batches([record.jobID])
        return http.Response(self._existing(record.jobID), 202)

    def retry_failed(self, request: http.Request) -> http.Response:
        """Run the failed jobs of a user, or of a batch, again, as many as _RETRY_SECONDS allow; their number."""
        body = _retry_request.read(Body(request.body(_BODY_LIMIT)))
        request.caller.act_for(body.userID)
        wanted = Filter(body.userID, "failed")
        stored = self._batch(body.userID, body.batchID) if body.batchID else None
        if body.batchID and not stored:
            raise NotFound(f"There is no batch {body.batchID} of this user, or its retention has ended.")
        until, retried, after = time.monotonic() + _RETRY_SECONDS, 0, ""
        while True:
            if stored:
                job_ids = self._of_batch(stored, wanted, after)
                failed, after = self._lists.records_among(wanted, _RETRY_PAGE, job_ids)
            else:
                failed, after = self._lists.records(wanted, _RETRY_PAGE, after)
            retried += self._retry_all(failed)
            if not after or time.monotonic() > until:
                break
        return http.Response(Retried(retried, True if after else UNSET), 202)

    def _batch(self, user_id: str, batch_id: str) -> StoredBatch | None:
        """A user's batch; None where there is none, or it is another user's."""
        stored = self._batches.get(batch_id)
        return stored if stored and stored.batch.userID == user_id else None

    def _of_batch(self, stored: StoredBatch, wanted: Filter, after: str) -> Iterator[str]:
        """Ids of a batch's jobs that may match, in the order of their positions, behind `after`.

        Once a batch is expanded, it has a job at each position. Before, and with a state, those jobs are read that the
        strips have counted, and the newest of the index `state`: the strips are a few seconds behind.
        """
        batch, newest_first = stored.batch, not wanted.oldest_first
        first, end = 0, JOBS_LIMIT
        if after:
            first, end = (0, ids.position(after)) if newest_first else (ids.position(after) + 1, JOBS_LIMIT)
        kind = batch.job(0, batch.output).kind
        if wanted.kind not in (None, kind):
            return iter(())
        wanted = wanted._replace(kind=kind)
        positions: Iterator[int]
        if not wanted.state and stored.state in ("running", "finished"):
            every = range(first, min(end, stored.total or 0))
            positions = iter(every[::-1] if newest_first else every)
        else:
            newest = (job_id for job_id in self._lists.newest(wanted) if ids.batch_of(job_id) == batch.batchID)
            positions = merge(
                self._counted(batch.batchID, wanted),
                sorted(map(ids.position, newest), reverse=newest_first),
                reverse=newest_first,
            )
        return (ids.job_id(batch.batchID, position) for position, _ in groupby(positions) if first <= position < end)

    def _counted(self, batch_id: str, wanted: Filter) -> Iterator[int]:
        """The positions of the jobs that the strips have counted in the states of a filter, in its order."""
        newest_first, strips = not wanted.oldest_first, self._batches.strips(batch_id)
        for strip in strips[::-1] if newest_first else strips:
            yield from sorted(chain.from_iterable(map(strip.positions, wanted.stored_states)), reverse=newest_first)

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
        moved = side_by_side(lambda each: self._change(Action.JOB_RETRIED, *each), planned)
        self._reopen_batches([record.jobID for (record, _), has_moved in zip(planned, moved, strict=True) if has_moved])
        return sum(moved)

    def _reopen_batches(self, job_ids: Sequence[str]) -> None:
        """Count retried jobs in their batches, which have not finished until these jobs have ended again.

        `tally` does the same a little later, so nothing is lost where this is cut off.
        """
        changes: dict[str, list[Change]] = {}
        for record in self._jobs.moves(job_id for job_id in job_ids if ids.batch_of(job_id)):
            changes.setdefault(record["batchID"]["S"], []).append(change_of(record))
        side_by_side(lambda each: self._batches.recount(*each), list(changes.items()))

    def _choose(self, job: Raw) -> Choice:
        (choice,) = self._registry.choose([wanted(msgspec.json.decode(job, type=Job))])
        if not choice.queue:
            raise Refused(f"The job can't be retried now: {choice.reason}.")
        return choice


def _filter(request: http.Request, user_id: str) -> Filter:
    """The filter in a query. Raises BadParameter."""
    for name, example in (("text", "a part of a URI"), ("code", "the code of a failure")):
        if request.query.get(name) == "":
            raise BadParameter(f"{name} must be {example}; leave it out to list all jobs.")
    state, code = _choice(request, "state", STATES), request.query.get("code", "")
    if code and state not in (None, "failed"):
        raise BadParameter(f"code finds failed jobs, and state says {state}. Leave one of them out.")
    since, until = _milliseconds(request, "since"), _milliseconds(request, "until")
    if since is not None and until is not None and since >= until:
        raise BadParameter("since must be before until: jobs are listed that were created from since on, before until.")
    return Filter(
        user_id,
        "failed" if code else state,
        _choice(request, "kind", LISTED),
        since,
        until,
        request.query.get("text", "").casefold(),
        code,
        _choice(request, "order", ORDERS) == "oldest",
    )


def _milliseconds(request: http.Request, name: str) -> int | None:
    """A time of the query, in Unix milliseconds; None where it has none."""
    text = request.query.get(name)
    if text is None:
        return None
    if not TIME.fullmatch(text):
        raise BadParameter(f"{name} must be Unix seconds with up to three decimals, not {text[:40]!r}.")
    seconds, _, decimals = text.partition(".")
    return 1000 * int(seconds) + int(decimals.ljust(3, "0"))


def _choice(request: http.Request, name: str, choices: tuple[C, ...]) -> C | None:
    value = request.query.get(name)
    if value is None:
        return None
    for choice in choices:
        if choice == value:
            return choice
    raise BadParameter(f"{name} must be one of {', '.join(choices)}, not {value[:40]!r}.")


def build(settings: JobsSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    jobs = JobHandler(settings)
    routes = {
        JOB_STATUS: jobs.status,
        JOB_PARTS: jobs.parts,
        JOBS: jobs.listing,
        OVERVIEW: jobs.overview,
        CANCEL: jobs.cancel,
        RETRY: jobs.retry,
        RETRY_FAILED: jobs.retry_failed,
    }
    return http.handler(routes, settings, Rates(settings.rate).count)


handler = compose(build, JobsSettings)
