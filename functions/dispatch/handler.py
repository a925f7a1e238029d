"""The jobs table's stream, new records only: each accepted job is sent to its queue.

The stream is the outbox. A job is sent because it was stored, so there is no moment in which one has happened and the
other can be forgotten.
"""

from collections.abc import Callable
from typing import Any

from elasticrecode.observe import logger
from elasticrecode.queues import Message, Sender
from elasticrecode.settings import DispatchSettings, compose


def build(settings: DispatchSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler; it reports the records to be delivered again."""
    sender = Sender()
    urls = {name: url for members in settings.queues.values() for name, url in members.items()}

    def dispatch(batch: dict[str, Any], context: Any) -> dict[str, Any]:
        messages = []
        for record in batch["Records"]:
            stored = record["dynamodb"]
            image = stored["NewImage"]
            messages.append(Message(stored["SequenceNumber"], urls[image["queue"]["S"]], image["job"]["S"]))
        failed = sender.send(messages)
        if failed:
            logger.error("jobs were not sent", extra={"reasons": sorted(set(failed.values())), "jobs": len(failed)})
        return {"batchItemFailures": [{"itemIdentifier": number} for number in sorted(failed)]}

    return dispatch


handler = compose(build, DispatchSettings)
