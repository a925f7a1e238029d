"""Batches of any size: taking them in, how they stand, and cancelling them."""

import time
from itertools import starmap

from msgspec import structs

from elasticrecode import ids
from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.access.prefixes import Prefixes
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.idempotency import KeyUse, keyed_id
from elasticrecode.api.intake import Intake, Steps
from elasticrecode.aws.sqs import Sender
from elasticrecode.batches.progress import BatchRecord, BatchTaken, Standing, record
from elasticrecode.batches.request import Order, read_batch
from elasticrecode.batches.store import Ledger
from elasticrecode.batches.survey import Line
from elasticrecode.batches.tasks import Search, Task
from elasticrecode.contract.routes import BATCH, CANCEL_BATCH, SUBMIT_BATCH
from elasticrecode.contract.settings import BatchSettings
from elasticrecode.errors import NotFound, Refused
from elasticrecode.jobs.placement import wanted
from elasticrecode.log import logger
from elasticrecode.media.presets import Profiles
from elasticrecode.runtime import compose
from elasticrecode.workers.registry import Registry


def build(settings: BatchSettings) -> http.LambdaHandler:
    """The handler over the batches table and the queues of what is done in the background."""
    ledger = Ledger(settings.batches_table, settings.retention_days * 86_400)
    registry, sender = Registry(settings.registry_table, settings.queues), Sender()
    intake = Intake(settings)

    def submit(request: http.Request) -> http.Response:
        steps = Steps[Order](lambda order: (order.batch.userID, order.batch.profile), _named, _begin)
        (batch, _), _ = intake.take(request, _read, steps)
        return http.Response(BatchTaken(batch.batchID, batch.userID), 202)

    def _begin(order: Order, again: bool) -> tuple[()]:
        """Store a batch and let its inputs be looked through. Refused where no queue would ever take its jobs."""
        batch, listed = order
        registry.choose([wanted(batch.job(0, batch.output))])
        ledger.create(batch, ledger.save(batch, starmap(Line, enumerate(listed, 1))) if listed else None)
        # Where this fails, the message may have come all the same: the batch stays, for who asks again with its key.
        sender.hand(settings.surveys_queue, [Search(batch.batchID)], batch.userID)
        logger.info("taken", extra={"batch": batch.batchID, "listed": len(listed), "again": again})
        return ()

    def show(request: http.Request) -> http.Response:
        return http.Response(_record(_own(request)))

    def cancel(request: http.Request) -> http.Response:
        standing = _own(request)
        batch_id = standing.batch.batchID
        while not ledger.cancel(batch_id, _now_ms()):
            standing = _existing(batch_id)
            if standing.endedMs or standing.failure:
                raise Refused(f"The batch can't be cancelled: it has ended, and is {standing.state}.")
            if standing.cancelledMs:
                break  # else it had ended, and a job that was retried lets it go on
        # A cancellation is not taken before its message is, and asking for it again sends that again.
        sender.hand(settings.pages_queue, [Task(batch_id, "cancel")], standing.batch.userID)
        return http.Response(_record(_existing(batch_id)), 202)

    def _own(request: http.Request) -> Standing:
        """The batch of a request, which to others than its user and operators is not there."""
        return _existing(request.parameters["batchID"], request.caller)

    def _existing(batch_id: str, caller: Caller = ANYBODY) -> Standing:
        standing = ledger.standing(batch_id)
        if not standing or not caller.may_act_for(standing.batch.userID):
            raise NotFound(f"There is no batch {batch_id}, or its time of retention has passed.")
        return standing

    def _record(standing: Standing) -> BatchRecord:
        return record(standing, ledger.counts(standing.batch.batchID), _now_ms())

    return http.handler({SUBMIT_BATCH: submit, BATCH: show, CANCEL_BATCH: cancel}, settings, Rates(settings.rate).count)


def _read(text: bytes, presets: Profiles, prefixes: Prefixes) -> Order:
    return read_batch(text, ids.new(), _now_ms(), presets, prefixes)


def _named(order: Order, key: str, use: KeyUse) -> Order:
    """A batch with the id and the profile that an Idempotency-Key gives it."""
    batch_id = keyed_id(order.batch.userID, key, use)
    return order._replace(batch=structs.replace(order.batch, batchID=batch_id, profile=use.profile))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


handler = compose(build, BatchSettings)
