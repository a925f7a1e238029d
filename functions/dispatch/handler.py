"""The jobs table's stream, records that need a message: each is sent to its queue.

The stream is the outbox. A job is sent because it was stored, so there is no moment in which one has happened and the
other can be forgotten. A job that its queue does not take is marked for `reconcile` and holds nobody up.

Jobs that are finished come here too. Whoever sends, and hears of what becomes of it, measures the queues: how much they
are sent, how long their jobs take, and every few seconds how much they hold. `submit` routes by that.
"""

import time
from collections.abc import Callable
from typing import Any

from elasticrecode.errors import Unavailable
from elasticrecode.observe import logger
from elasticrecode.queues import Message, Sender
from elasticrecode.registry import Lookout, Registry
from elasticrecode.settings import DispatchSettings, compose
from elasticrecode.table import Item, JobsTable


def build(settings: DispatchSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the workers' queues. When it fails, the stream delivers the same records again."""
    table, sender = JobsTable(settings.jobs_table), Sender()
    registry = Registry(settings.registry_table, settings.queues)
    lookout = Lookout(registry)

    def dispatch(batch: dict[str, Any], context: Any) -> None:
        images = [record["dynamodb"]["NewImage"] for record in batch["Records"]]
        _send([image for image in images if image["state"]["S"] == "queued"])
        for image in images:
            if image["state"]["S"] == "finished" and "startedMs" in image:
                seconds = (int(image["endedMs"]["N"]) - int(image["startedMs"]["N"])) / 1000
                lookout.finished(image["queue"]["S"], seconds)
        try:
            lookout.look(measuring=True)
        except Unavailable:
            logger.exception("the queues could not be looked at")

    def _send(images: list[Item]) -> None:
        if not images:
            return
        urls = registry.urls(image["queue"]["S"] for image in images)
        messages = [_message(image, urls[image["queue"]["S"]]) for image in images if image["queue"]["S"] in urls]
        failed = {image["jobID"]["S"]: "its queue is not one of this deployment" for image in images}
        failed = {job_id: why for job_id, why in failed.items() if job_id not in {message.key for message in messages}}
        failed |= sender.send(messages)
        for image in images:
            if image["jobID"]["S"] not in failed:
                lookout.sent(image["queue"]["S"])
        if failed:
            logger.error("not sent", extra={"jobs": len(failed), "reasons": sorted(set(failed.values()))[:10]})
            table.postpone(failed, time.time_ns() // 1_000_000)

    return dispatch


def _message(image: Item, url: str) -> Message:
    """A job's message. Its group is its user, so that nobody's many jobs keep another's one waiting."""
    return Message(image["jobID"]["S"], url, image["job"]["S"], group=image["userID"]["S"])


handler = compose(build, DispatchSettings)
