"""Answers requests about batches: takes them in, shows their progress, and cancels them."""

import time
from itertools import starmap

import msgspec
from msgspec import structs

from elasticrecode import ids
from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.access.prefixes import Prefixes
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.idempotency import KeyUse, keyed_id
from elasticrecode.api.intake import Intake, Steps
from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import READ_LIMIT
from elasticrecode.aws.sqs import Sender
from elasticrecode.batches.messages import PageMessage, SurveyMessage
from elasticrecode.batches.progress import BatchRecord, BatchTaken, StoredBatch, batch_record
from elasticrecode.batches.request import PLACE, Submission, read_batch
from elasticrecode.batches.store import BatchesTable
from elasticrecode.batches.survey import Line
from elasticrecode.clock import now_ms
from elasticrecode.contract.routes import BATCH, BATCHES, CANCEL_BATCH, SUBMIT_BATCH
from elasticrecode.contract.settings import BatchSettings
from elasticrecode.errors import BadParameter, NotFound, Refused
from elasticrecode.jobs.placement import wanted
from elasticrecode.jobs.queries import PAGE_BYTES
from elasticrecode.log import logger
from elasticrecode.media.presets import Profiles
from elasticrecode.media.profiles import Profile
from elasticrecode.runtime import compose
from elasticrecode.workers.registry import Registry

_PAGE_SECONDS = 4
"""Seconds after which a page of batches holds what was read so far."""


class Batches:
    """The routes about batches."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._table = BatchesTable(settings.batches_table, settings.retention_days * 86_400)
        self._registry, self._sender = (
            Registry(settings.registry_table, settings.queues, settings.first_generation),
            Sender(),
        )
        self._intake = Intake(settings)
        self._steps = Steps[Submission](
            lambda submission: (submission.batch.userID, submission.batch.profile),
            _with_profile,
            _with_identity,
            self._begin,
        )

    def submit(self, request: http.Request) -> http.Response:
        """Take a batch in. Raises Refused where no queue serves its jobs, whatever the load."""
        (batch, _), _ = self._intake.take(request, _read, self._steps)
        return http.Response(BatchTaken(batch.batchID, batch.userID), 202)

    def _begin(self, submission: Submission, again: bool) -> tuple[()]:
        """Store a batch and have its inputs surveyed. `again` says that an earlier try was cut off."""
        batch, inputs = submission
        self._registry.choose([wanted(batch.job(0, batch.output))])
        survey = self._table.store_pages(batch, starmap(Line, enumerate(inputs, 1))) if inputs else None
        self._table.create(batch, survey)
        # When this fails, SQS may have the message all the same. The batch stays, for a client that repeats its key.
        self._sender.hand(self._settings.surveys_queue, [SurveyMessage(batch.batchID)], batch.userID)
        logger.info("batch taken in", extra={"batch": batch.batchID, "listed": len(inputs), "again": again})
        return ()

    def list(self, request: http.Request) -> http.Response:
        """A page of a user's batches, newest first. It ends early where records are large or AWS is slow."""
        user_id = request.query.get("userID")
        if not user_id:
            raise BadParameter("userID is required: batches are listed for one user. Add userID to the query.")
        limit, after = request.page(cursor=PLACE)
        request.caller.act_for(user_id)
        records: list[BatchRecord] = []
        last, size, until = "", 0, time.monotonic() + _PAGE_SECONDS
        while True:
            some, after = self._table.of_user(user_id, min(limit - len(records), READ_LIMIT), after)
            for stored, record in zip(some, side_by_side(self._listed, some), strict=True):
                size += len(msgspec.json.encode(record))
                if size > PAGE_BYTES and records:
                    return http.Response(records, headers=request.next_link(last))
                records.append(record)
                last = stored.batch.place
            if not after or len(records) == limit or time.monotonic() > until:
                return http.Response(records, headers=request.next_link(after))

    def show(self, request: http.Request) -> http.Response:
        """A batch and its progress."""
        return http.Response(self._record(self._requested(request)))

    def cancel(self, request: http.Request) -> http.Response:
        """Cancel a batch, or a second time one that is cancelled. Raises Refused for one that has ended."""
        stored = self._requested(request)
        batch_id = stored.batch.batchID
        while not self._table.cancel(batch_id, now_ms()):
            stored = self._existing(batch_id)
            if stored.endedMs or stored.failure:
                raise Refused(f"The batch can't be cancelled: it has ended, and is {stored.state}.")
            if stored.cancelledMs:
                break  # otherwise it had ended, and the retry of a job reopened it: try again
        # A repeated request sends the message again, as the first may have failed here.
        self._sender.hand(self._settings.pages_queue, [PageMessage(batch_id, "cancel")], stored.batch.userID)
        return http.Response(self._record(self._existing(batch_id)), 202)

    def _requested(self, request: http.Request) -> StoredBatch:
        """The batch of a request. Raises NotFound where it is another user's and the caller is no operator."""
        return self._existing(request.parameters["batchID"], request.caller)

    def _existing(self, batch_id: str, caller: Caller = ANYBODY) -> StoredBatch:
        stored = self._table.get(batch_id)
        if not stored or not caller.may_act_for(stored.batch.userID):
            raise NotFound(f"There is no batch {batch_id}, or its retention has ended.")
        return stored

    def _listed(self, stored: StoredBatch) -> BatchRecord:
        """The record of a batch in a list: one that has ended keeps its counts, until `tally` reopens it."""
        counts = stored.counts if stored.endedMs else None
        return batch_record(stored, counts, now_ms()) if counts else self._record(stored)

    def _record(self, stored: StoredBatch) -> BatchRecord:
        return batch_record(stored, self._table.counts(stored.batch.batchID), now_ms())


def _read(text: bytes, presets: Profiles, prefixes: Prefixes) -> Submission:
    return read_batch(text, ids.new(), now_ms(), presets, prefixes)


def _with_profile(submission: Submission, profile: Profile) -> Submission:
    return submission._replace(batch=structs.replace(submission.batch, profile=profile))


def _with_identity(submission: Submission, key: str, use: KeyUse) -> Submission:
    """A batch with the id and the profile that belong to an Idempotency-Key."""
    batch_id = keyed_id(submission.batch.userID, key, use)
    return submission._replace(batch=structs.replace(submission.batch, batchID=batch_id, profile=use.profile))


def build(settings: BatchSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    batches = Batches(settings)
    routes = {SUBMIT_BATCH: batches.submit, BATCHES: batches.list, BATCH: batches.show, CANCEL_BATCH: batches.cancel}
    return http.handler(routes, settings, Rates(settings.rate).count)


handler = compose(build, BatchSettings)
