"""The jobs table's stream, records that need a message: each is sent to its queue.

The stream is the outbox. A job is sent because it was stored, so there is no moment in which one has happened and the
other can be forgotten. A job that its queue does not take is marked for `reconcile` and holds nobody up.
"""

import time
from collections.abc import Callable
from typing import Any

from elasticrecode.observe import logger
from elasticrecode.queues import Message, Sender
from elasticrecode.settings import DispatchSettings, compose
from elasticrecode.table import JobsTable


def build(settings: DispatchSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the workers' queues. When it fails, the stream delivers the same records again."""
    table, sender = JobsTable(settings.jobs_table), Sender()
    urls = {name: url for members in settings.queues.values() for name, url in members.items()}

    def dispatch(batch: dict[str, Any], context: Any) -> None:
        images = [record["dynamodb"]["NewImage"] for record in batch["Records"]]
        known = [image for image in images if image["queue"]["S"] in urls]
        messages = [Message(image["jobID"]["S"], urls[image["queue"]["S"]], image["job"]["S"]) for image in known]
        failed = {image["jobID"]["S"]: "its queue is not one of this deployment" for image in images}
        failed = {job_id: why for job_id, why in failed.items() if job_id not in {message.key for message in messages}}
        failed |= sender.send(messages)
        if failed:
            logger.error("not sent", extra={"jobs": len(failed), "reasons": sorted(set(failed.values()))[:10]})
            table.postpone(failed, time.time_ns() // 1_000_000)

    return dispatch


handler = compose(build, DispatchSettings)
