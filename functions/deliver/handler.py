"""The deliveries queue: each delivery is posted to its webhook.

The events of one job go in order; webhooks and jobs go side by side. A delivery that fails comes again after a pause
that grows with the time it has waited, for a day; the deliveries behind it in its message group wait. Then it is kept,
with the reason, among the failed deliveries of its webhook. A webhook whose receiver fails each time pauses as a whole
and is tried with one delivery or a few. Events that the event bus refused come this way too.

A message that is not a delivery stays on the queue until SQS moves it to the dead-letter queue. A delivery that was
received very often, because its consumer died each time, fails without another try.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import failed_items
from elasticrecode.contract.metrics import DELIVERIES_GIVEN_UP, METRICS
from elasticrecode.contract.settings import DeliverSettings
from elasticrecode.errors import Unavailable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.webhooks.addresses import networks
from elasticrecode.webhooks.bus import Bus
from elasticrecode.webhooks.courier import DAY_SECONDS, Courier, Undeliverable, pause
from elasticrecode.webhooks.queue import Deliveries
from elasticrecode.webhooks.store import WebhooksTable
from elasticrecode.webhooks.webhook import BUS, Delivery, EventHead, Webhook, head

_SECONDS = 25.0
"""Seconds in which an invocation starts new posts; the deliveries left come again at once."""
_UNKNOWN_SECONDS = 60.0
"""The shortest pause after a failure inside this function."""
_MOST_RECEIVES = 250
"""Receives of one delivery. Its pauses make at most about 190 in a day, so one with more kills its consumer."""
_RECENT_MS = 60_000
"""A success is recorded when the last recorded one is older than this."""


class _Message(NamedTuple):
    """A received message with its delivery and event; `since` is the Unix second in which it was sent."""

    id: str
    handle: str
    since: float
    receives: int
    delivery: Delivery
    event: EventHead

    @property
    def body(self) -> bytes:
        return bytes(self.delivery.event)


class Deliverer:
    """Posts deliveries, and decides when those that fail come again."""

    def __init__(self, settings: DeliverSettings) -> None:
        self._table = WebhooksTable(settings.webhooks_table)
        self._deliveries = Deliveries(settings.deliveries_queue)
        self._courier = Courier(networks(settings.networks))
        self._bus = Bus(settings.event_bus)
        self._metrics = Metrics(namespace=METRICS, service="deliver")

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Handle messages of the queue. Returns those to deliver again, in the shape that Lambda expects."""
        until = time.monotonic() + _SECONDS
        groups: dict[str, list[_Message]] = {}
        unreadable: list[str] = []
        for record in event["Records"]:
            try:
                message = _read(record)
            except msgspec.DecodeError:
                logger.exception("a message is not a delivery and goes to the dead-letter queue")
                unreadable.append(record["messageId"])
            else:
                groups.setdefault(record["attributes"]["MessageGroupId"], []).append(message)
        left = side_by_side(lambda messages: self.deliver(messages, until), list(groups.values()))
        again = [*unreadable, *(message.id for messages in left for message in messages)]
        return failed_items(again)

    def deliver(self, messages: Sequence[_Message], until: float) -> Sequence[_Message]:
        """Deliver the messages of one group up to the first that has to wait. Returns those that are left."""
        for n, message in enumerate(messages):
            wait = self._try(message) if time.monotonic() < until else 0.0
            if wait is None:
                continue
            try:
                self._deliveries.hide({message.handle: wait} | {later.handle: 0 for later in messages[n + 1 :]})
            except Exception:  # noqa: BLE001
                logger.exception("deliveries could not be put off; they come again when their visibility timeout ends")
            return messages[n:]
        return ()

    def _try(self, message: _Message) -> float | None:
        """Try a delivery once. Returns the seconds until it is to come again; None when it is done with."""
        waited = time.time() - message.since
        try:
            if message.delivery.webhookID == BUS:
                return self._put_on_bus(message, waited)
            webhook = self._table.find(message.delivery.userID, message.delivery.webhookID)
            return self._post(webhook, message, waited) if webhook else None
        except Exception:  # noqa: BLE001
            logger.exception("a delivery could not be tried")
            return max(_UNKNOWN_SECONDS, pause(waited))

    def _put_on_bus(self, message: _Message, waited: float) -> float | None:
        refused = self._bus.put([message.body])
        if refused and waited < DAY_SECONDS:
            return pause(waited)
        if refused:
            logger.error("the event bus accepted an event in no try of a day", extra={"event": message.event.eventID})
            self._count_given_up()
        return None

    def _post(self, webhook: Webhook, message: _Message, waited: float) -> float | None:
        if webhook.disabled:
            return self._give_up(webhook, message, f"the webhook is disabled: {webhook.disabled}")
        if message.receives > _MOST_RECEIVES:
            return self._give_up(webhook, message, f"{message.receives - 1} tries were cut off before they ended")
        paused = webhook.pausedUntilMs / 1000 - time.time()
        if paused > 0:
            reason = f"not tried, as the receiver accepts no deliveries; last: {webhook.lastFailure}"
            return self._later(webhook, message, reason, waited, max(paused, pause(waited) / 4))
        try:
            self._courier.post(webhook.url, webhook.secret, message.event.eventID, message.body)
        except Undeliverable as error:
            return self._refused(webhook, message, error, waited)
        if webhook.failures or webhook.lastSuccessMs < time.time() * 1000 - _RECENT_MS:
            _try_to(lambda: self._table.succeeded(webhook))
        return None

    def _refused(self, webhook: Webhook, message: _Message, error: Undeliverable, waited: float) -> float | None:
        """Record that a receiver did not accept a delivery. Returns the seconds until the next try; None for none."""
        reason = str(error)
        logger.info("a delivery failed", extra={"webhook": webhook.webhookID, "reason": reason})
        if error.gone:
            self._table.disable(webhook, reason)
            return self._give_up(webhook, message, reason)
        paused_until = self._table.failed(webhook, reason, error.after)
        wait = max(pause(waited), paused_until / 1000 - time.time())
        return self._later(webhook, message, reason, waited, wait)

    def _later(self, webhook: Webhook, message: _Message, reason: str, waited: float, wait: float) -> float | None:
        """Seconds until the next try, the last when the delivery's day ends; after that it fails."""
        left = DAY_SECONDS - waited
        return max(1.0, min(wait, left)) if left > 0 else self._give_up(webhook, message, reason)

    def _give_up(self, webhook: Webhook, message: _Message, reason: str) -> float | None:
        """Keep a delivery among the failed deliveries of its webhook. Returns None: it does not come again."""
        self._table.give_up(webhook.webhookID, message.body, reason)
        logger.warning("a delivery failed for good", extra={"webhook": webhook.webhookID, "reason": reason})
        self._count_given_up()
        return None

    def _count_given_up(self) -> None:
        self._metrics.add_metric(DELIVERIES_GIVEN_UP, MetricUnit.Count, 1)
        self._metrics.flush_metrics()


def _read(record: dict[str, Any]) -> _Message:
    delivery = msgspec.json.decode(record["body"], type=Delivery)
    attributes = record["attributes"]
    return _Message(
        record["messageId"],
        record["receiptHandle"],
        int(attributes["SentTimestamp"]) / 1000,
        int(attributes["ApproximateReceiveCount"]),
        delivery,
        head(delivery.event),
    )


def _try_to(do: Callable[[], None]) -> None:
    """Call `do`. Its failure must not make a delivery fail that succeeded."""
    try:
        do()
    except Unavailable:
        logger.exception("the success of a delivery could not be recorded")


def build(settings: DeliverSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler."""
    return Deliverer(settings).handle


handler = compose(build, DeliverSettings)
