"""Deliveries: each is posted to its webhook, a job's events in order, webhooks and jobs side by side.

One that is not taken comes again, after a pause that grows with the time it has been waiting, for a day; what follows
it in its job waits behind it. Then it is kept with the reason, for its owner to see and to send again. A receiver that
takes nothing is left alone for a while as a whole, and asked again with one delivery or a few.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from elasticrecode.aws.clients import side_by_side
from elasticrecode.contract.metrics import DELIVERIES_GIVEN_UP, METRICS
from elasticrecode.contract.settings import DeliverSettings
from elasticrecode.errors import Unavailable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.webhooks.addresses import networks
from elasticrecode.webhooks.courier import DAY_SECONDS, Courier, Undeliverable, pause
from elasticrecode.webhooks.store import Deliveries, Delivery, Head, Webhook, WebhooksTable, head

_SECONDS = 25.0
"""So long an invocation begins new posts; what is left comes again at once."""
_UNKNOWN_SECONDS = 60.0
"""So long a delivery waits that failed for a reason of our own."""
_CLOSE_MS = 60_000
"""A success is noted when the last one that was is so long ago."""


class _Message(NamedTuple):
    """A message received: since when it has been on the queue, in Unix seconds, and its delivery with its event."""

    id: str
    handle: str
    since: float
    delivery: Delivery
    event: Head


def build(settings: DeliverSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over the table of webhooks and the queue of deliveries."""
    table, deliveries = WebhooksTable(settings.webhooks_table), Deliveries(settings.deliveries_queue)
    courier = Courier(networks(settings.networks))
    metrics = Metrics(namespace=METRICS, service="deliver")

    def deliver(batch: dict[str, Any], context: Any) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        lanes: dict[str, list[_Message]] = {}
        for record in batch["Records"]:
            try:
                lanes.setdefault(record["attributes"]["MessageGroupId"], []).append(_read(record))
            except msgspec.DecodeError:
                logger.exception("not a delivery")
                _count()
        left = side_by_side(lambda lane: _run(_in_order(lane), until), list(lanes.values()))
        return {"batchItemFailures": [{"itemIdentifier": message.id} for lane in left for message in lane]}

    def _run(lane: Sequence[_Message], until: float) -> Sequence[_Message]:
        """Deliver a job's messages in order up to the first that has to wait; those that are left."""
        for n, message in enumerate(lane):
            wait = _settle(message) if time.monotonic() < until else 0.0
            if wait is None:
                continue
            try:
                deliveries.hide({message.handle: wait} | {later.handle: 0 for later in lane[n + 1 :]})
            except Exception:  # noqa: BLE001
                logger.exception("deliveries come again when the queue has it")
            return lane[n:]
        return ()

    def _settle(message: _Message) -> float | None:
        """None when a delivery is done with, else the seconds until it is to come again."""
        try:
            webhook = table.find(message.delivery.userID, message.delivery.webhookID)
            return _try(webhook, message) if webhook else None
        except Exception:  # noqa: BLE001
            logger.exception("a delivery was not made")
            return _UNKNOWN_SECONDS

    def _try(webhook: Webhook, message: _Message) -> float | None:
        event, waited = bytes(message.delivery.event), time.time() - message.since
        if webhook.disabled:
            _give_up(webhook, event, f"the webhook is disabled: {webhook.disabled}")
            return None
        held = webhook.pausedUntilMs / 1000 - time.time()
        if held > 0:
            reason = f"not tried, as its receiver takes nothing; last: {webhook.lastFailure}"
            return _later(webhook, event, reason, waited, held)
        try:
            courier.post(webhook.url, webhook.secret, message.event.eventID, event)
        except Undeliverable as error:
            return _not_taken(webhook, event, error, waited)
        if webhook.strikes or webhook.lastSuccessMs < time.time() * 1000 - _CLOSE_MS:
            _note(lambda: table.succeeded(webhook))
        return None

    def _not_taken(webhook: Webhook, event: bytes, error: Undeliverable, waited: float) -> float | None:
        reason = str(error)
        logger.info("not taken", extra={"webhook": webhook.webhookID, "reason": reason})
        if error.gone:
            table.disable(webhook, reason)
            _give_up(webhook, event, reason)
            return None
        paused_until = table.failed(webhook, reason, error.after)
        wait = max(pause(waited), paused_until / 1000 - time.time())
        return _later(webhook, event, reason, waited, wait)

    def _later(webhook: Webhook, event: bytes, reason: str, waited: float, wait: float) -> float | None:
        """When it is tried again, the last time when its day is over; None after that: it is given up."""
        left = DAY_SECONDS - waited
        if left > 0:
            return max(1.0, min(wait, left))
        _give_up(webhook, event, reason)
        return None

    def _give_up(webhook: Webhook, event: bytes, reason: str) -> None:
        table.give_up(webhook.webhookID, event, reason)
        logger.warning("given up", extra={"webhook": webhook.webhookID, "reason": reason})
        _count()

    def _count() -> None:
        metrics.add_metric(DELIVERIES_GIVEN_UP, MetricUnit.Count, 1)
        metrics.flush_metrics()

    return deliver


def _read(record: dict[str, Any]) -> _Message:
    delivery = msgspec.json.decode(record["body"], type=Delivery)
    since = int(record["attributes"]["SentTimestamp"]) / 1000
    return _Message(record["messageId"], record["receiptHandle"], since, delivery, head(delivery.event))


def _in_order(lane: Sequence[_Message]) -> list[_Message]:
    """As it happened: what the bus shuffled comes together here, as the queue hands nothing out at once."""
    return sorted(lane, key=lambda message: message.event.position)


def _note(do: Callable[[], None]) -> None:
    """What does not make a delivery fail that was made."""
    try:
        do()
    except Unavailable:
        logger.exception("not noted")


handler = compose(build, DeliverSettings)
