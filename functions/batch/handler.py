"""Batches of any size: taking them in, how they stand, and cancelling them."""

import time

from msgspec import structs

from elasticrecode import batches, http, idempotency, ids
from elasticrecode.batches import Batch, BatchRecord, Search, Standing, Task, read_batch
from elasticrecode.errors import NotFound, Refused, Unavailable
from elasticrecode.idempotency import Begun, Keys
from elasticrecode.jobs import BODY_LIMIT
from elasticrecode.ledger import Ledger
from elasticrecode.observe import logger
from elasticrecode.queues import Sender
from elasticrecode.registry import Registry
from elasticrecode.routing import wanted
from elasticrecode.settings import BATCH, CANCEL_BATCH, SUBMIT_BATCH, BatchSettings, compose

_DAY_SECONDS = 86_400


def build(settings: BatchSettings) -> http.LambdaHandler:
    """The handler over the batches table and the queues of what is done in the background."""
    ledger = Ledger(settings.batches_table, settings.retention_days * _DAY_SECONDS)
    keys = Keys(settings.jobs_table, settings.idempotency_days * _DAY_SECONDS)
    registry, sender = Registry(settings.registry_table, settings.queues), Sender()

    def submit(request: http.Request) -> http.Response:
        key = request.headers.get("idempotency-key")
        checked = key if key is None else idempotency.checked(key)
        body = request.body(BODY_LIMIT)
        batch, listed = read_batch(body, ids.new(), _now_ms())
        if checked is None:
            _begin(batch, listed)
            return _taken(batch)

        def named(begun: Begun) -> Batch:
            return structs.replace(batch, batchID=idempotency.identity(batch.userID, checked, begun.since))

        def make(begun: Begun) -> tuple[()]:
            _begin(named(begun), listed)
            return ()

        begun = keys.once(batch.userID, checked, request.path.encode() + body, make)
        return _taken(named(begun))

    def _begin(batch: Batch, listed: list[str]) -> None:
        """Store a batch and let its inputs be looked through. Refused where no queue would ever take its jobs."""
        registry.choose([wanted(batch.job(0, batch.output))])
        ledger.create(batch, ledger.save(batch, enumerate(listed, 1)) if listed else None)
        try:
            sender.hand(settings.surveys_queue, [Search(batch.batchID)], batch.userID)
        except Unavailable:
            ledger.withdraw(batch.batchID)
            raise
        logger.info("taken", extra={"batch": batch.batchID, "listed": len(listed)})

    def show(request: http.Request) -> http.Response:
        return http.Response(_record(_existing(request.parameters["batchID"])))

    def cancel(request: http.Request) -> http.Response:
        standing = _existing(request.parameters["batchID"])
        batch_id = standing.batch.batchID
        if not ledger.cancel(batch_id, _now_ms()):
            standing = _existing(batch_id)
            if standing.endedMs or standing.failure:
                raise Refused(f"The batch can't be cancelled: it is {standing.state} and all its jobs have ended.")
        # A cancellation is not taken before its message is, and asking for it again sends that again.
        sender.hand(settings.pages_queue, [Task(batch_id, "cancel")], standing.batch.userID)
        return http.Response(_record(_existing(batch_id)), 202)

    def _existing(batch_id: str) -> Standing:
        standing = ledger.standing(batch_id)
        if not standing:
            raise NotFound(f"There is no batch {batch_id}, or its time of retention has passed.")
        return standing

    def _record(standing: Standing) -> BatchRecord:
        return batches.record(standing, ledger.counts(standing.batch.batchID), _now_ms())

    return http.handler({SUBMIT_BATCH: submit, BATCH: show, CANCEL_BATCH: cancel}, cors=settings.cors)


def _taken(batch: Batch) -> http.Response:
    """The answer at once: what there is to say before anything was looked at."""
    return http.Response({"batchID": batch.batchID, "userID": batch.userID, "state": "expanding", "total": None}, 202)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


handler = compose(build, BatchSettings)
