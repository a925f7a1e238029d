"""Events from the bus: each becomes a delivery for every webhook of its user that wants it.

The bus keeps no order. What comes together is put into the order in which it happened; the queue of deliveries keeps
that for each webhook and job, and holds back what it is given, for `deliver` to sort what came apart.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from elasticrecode import wire
from elasticrecode.aws.clients import side_by_side
from elasticrecode.contract.settings import AnnounceSettings
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.webhooks.store import Deliveries, Delivery, Head, WebhooksTable, head


class _Envelope(Struct):
    """What is read of an EventBridge event."""

    detail: Raw


class _Told(Struct):
    """An event that came: its message, its bytes, and what is read of them."""

    message_id: str
    detail: bytes
    event: Head


def build(settings: AnnounceSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over the table of webhooks and the queue of deliveries."""
    table, deliveries = WebhooksTable(settings.webhooks_table), Deliveries(settings.deliveries_queue)

    def announce(batch: dict[str, Any], context: Any) -> dict[str, Any]:
        told = sorted(filter(None, map(_read, batch["Records"])), key=lambda told: told.event.position)
        users = sorted({each.event.userID for each in told})
        webhooks = dict(zip(users, side_by_side(table.of, users), strict=True))
        wanted = {
            f"{each.message_id} {webhook.webhookID}": (
                each.event.jobID,
                Delivery(userID=webhook.userID, webhookID=webhook.webhookID, event=Raw(each.detail)),
            )
            for each in told
            for webhook in webhooks[each.event.userID]
            if webhook.wants(each.event)
        }
        failed = deliveries.send(wanted)
        if failed:
            logger.error("not sent", extra={"deliveries": len(failed), "reasons": sorted(set(failed.values()))[:10]})
        again = sorted({name.split(" ")[0] for name in failed})
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}

    return announce


def _read(message: dict[str, Any]) -> _Told | None:
    """The event in a message; None for what is none, which somebody else has put on the bus."""
    try:
        detail = bytes(wire.decode(message["body"], _Envelope).detail)
        return _Told(message["messageId"], detail, head(detail))
    except msgspec.DecodeError as error:
        logger.warning("not an event", extra={"reason": str(error)})
        return None


handler = compose(build, AnnounceSettings)
