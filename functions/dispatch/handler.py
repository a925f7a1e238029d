"""The jobs table's stream, records that need a message: each is sent to its queue.

The stream is the outbox. A job is sent because it was stored, so there is no moment in which one has happened and the
other can be forgotten. A job that its queue does not take is marked for `reconcile` and holds nobody up.

Jobs of batches come here whenever their state changes. `tally`, which counts them, is told in one message for each
batch and invocation, after the jobs were sent.

Jobs that are finished come here too. Whoever sends, and hears of what becomes of it, measures the queues: how much they
are sent, how long their jobs take, and every few seconds how much they hold. `submit` routes by that.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from elasticrecode import ids
from elasticrecode.aws.dynamodb import Item
from elasticrecode.aws.sqs import Message, Sender
from elasticrecode.batches.counting import Change
from elasticrecode.batches.messages import TallyMessage
from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import DispatchSettings
from elasticrecode.errors import Unavailable
from elasticrecode.jobs import streams
from elasticrecode.jobs.events import Failure
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.loads import LoadMeter
from elasticrecode.workers.registry import Registry

_CODE_LENGTH = 64


def build(settings: DispatchSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the workers' queues. When it fails, the stream delivers the same records again."""
    table, sender = JobsTable(settings.jobs_table), Sender()
    registry = Registry(settings.registry_table, settings.queues)
    meter = LoadMeter(registry)

    def dispatch(batch: dict[str, Any], context: Any) -> None:
        records = batch["Records"]
        images = [record["dynamodb"]["NewImage"] for record in records]
        _send([image for record, image in zip(records, images, strict=True) if streams.needs_message(record)])
        for image in images:
            if image["state"]["S"] == "finished" and "startedMs" in image:
                seconds = (int(image["endedMs"]["N"]) - int(image["startedMs"]["N"])) / 1000
                meter.record_finished(image["queue"]["S"], seconds)
        try:
            meter.measure(traffic=True)
        except Unavailable:
            logger.exception("the queues could not be measured")
        tallies = _tallies(record["dynamodb"] for record in records)
        if tallies:
            sender.hand(settings.tally_queue, tallies)

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
                meter.record_sent(image["queue"]["S"])
        if failed:
            logger.error("not sent", extra={"jobs": len(failed), "reasons": sorted(set(failed.values()))[:10]})
            table.postpone(failed, now_ms())

    return dispatch


def _tallies(changes: Iterable[Mapping[str, Any]]) -> list[TallyMessage]:
    """What has become of the jobs of batches, for each batch; an attribute that changes without a move is nothing."""
    tallies: dict[str, TallyMessage] = {}
    for change in changes:
        image, before = change["NewImage"], change.get("OldImage")
        moves = _moves(image)
        if "batchID" in image and (before is None or _moves(before) != moves):
            batch_id = image["batchID"]["S"]
            failure = msgspec.json.decode(image["failure"]["S"], type=Failure).code if "failure" in image else ""
            moved = Change(ids.position(image["jobID"]["S"]), moves, image["state"]["S"], failure[:_CODE_LENGTH])
            tallies.setdefault(batch_id, TallyMessage(batch_id)).changes.append(moved)
    return list(tallies.values())


def _moves(image: Item) -> int:
    """How often a job has moved; one that was just stored has not."""
    return int(image["moves"]["N"]) if "moves" in image else 0


def _message(image: Item, url: str) -> Message:
    """A job's message. Its group is its user, so that nobody's many jobs keep another's one waiting."""
    return Message(image["jobID"]["S"], url, image["job"]["S"], group=image["userID"]["S"])


handler = compose(build, DispatchSettings)
