"""Reader of the jobs table's stream: sends each job that needs a message to its queue.

The stream is the outbox: a job is sent because it was stored, so neither can happen without the other. A job that its
queue does not take is marked for `reconcile` and delays no other.

Jobs pass here at every change of their state, and when they expire: `tally`, which counts them, gets one message for
each batch and invocation, and one for all jobs. Finished jobs pass too: this function measures how long the jobs of
each queue take, how many are sent, and every few seconds how many wait. Routing uses these figures.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from elasticrecode import wire
from elasticrecode.aws.dynamodb import Item
from elasticrecode.aws.sqs import Message, Sender
from elasticrecode.batches.counting import change_of
from elasticrecode.batches.messages import TallyMessage
from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import DispatchSettings
from elasticrecode.errors import Refused, Unavailable
from elasticrecode.jobs import streams
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import wanted
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.media.generations import first_generation_message
from elasticrecode.overview.moves import MovesMessage, counted_moves
from elasticrecode.overview.store import OverviewTable
from elasticrecode.runtime import compose
from elasticrecode.workers.fleet import Queue
from elasticrecode.workers.loads import LoadMeter
from elasticrecode.workers.registry import Registry


class Dispatcher:
    """Sends jobs to their queues, measures the queues, and reports moves of jobs to `tally`."""

    def __init__(self, settings: DispatchSettings) -> None:
        self._table, self._sender = JobsTable(settings.jobs_table), Sender()
        self._registry = Registry(settings.registry_table, settings.queues, settings.first_generation)
        self._meter = LoadMeter(self._registry)
        self._tally_queue = settings.tally_queue
        self._overview = OverviewTable(settings.batches_table, settings.retention_days * 86_400)

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """Dispatch the jobs in stream records. The stream delivers the same records again when this raises."""
        records = event["Records"]
        changes = [record["dynamodb"] for record in records]
        self.send([record["dynamodb"]["NewImage"] for record in records if streams.needs_message(record)])
        for image in (change["NewImage"] for change in changes if _has_finished(change)):
            if "startedMs" in image:
                seconds = (int(image["endedMs"]["N"]) - int(image["startedMs"]["N"])) / 1000
                self._meter.record_finished(image["queue"]["S"], seconds)
        try:
            self._meter.measure(traffic=True)
        except Unavailable:
            logger.exception("the queues could not be measured")
        self._report(changes)

    def _report(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Report the moves of jobs to `tally`. Those of the overview are counted here where its queue takes none.

        They are told from each other, so it does not matter whether the queue has taken them all the same.
        """
        tallies, moves = _tallies(changes), counted_moves(changes)
        documents: list[Struct] = [*tallies, *([MovesMessage(moves)] if moves else [])]
        if not documents:
            return
        try:
            self._sender.hand(self._tally_queue, documents)
        except Unavailable:
            self._overview.count(moves)
            if tallies:
                raise
            logger.exception("moves were counted without their queue", extra={"users": len(moves)})

    def send(self, images: list[Item]) -> None:
        """Send the messages of jobs, given their records. A job that its queue does not take waits for `reconcile`."""
        if not images:
            return
        queues = self._registry.by_name(image["queue"]["S"] for image in images)
        messages, failed = list[Message](), dict[str, str]()
        for image in images:
            try:
                messages.append(_message(image, queues.get(image["queue"]["S"])))
            except Refused as refusal:
                failed[image["jobID"]["S"]] = refusal.detail
        failed |= self._sender.send(messages)
        for image in images:
            if image["jobID"]["S"] not in failed:
                self._meter.record_sent(image["queue"]["S"])
        if failed:
            logger.error(
                "the messages of jobs were not sent",
                extra={"jobs": len(failed), "reasons": sorted(set(failed.values()))[:10]},
            )
            self._table.postpone(failed, now_ms())


def _has_finished(change: Mapping[str, Any]) -> bool:
    """Whether a change of a record is that of a job that finishes."""
    before, after = (change[name]["state"]["S"] if name in change else "" for name in ("OldImage", "NewImage"))
    return after == "finished" != before


def _tallies(changes: Iterable[Mapping[str, Any]]) -> list[TallyMessage]:
    """The moves of batches' jobs, one message a batch. A change of attributes without a move is not among them."""
    tallies: dict[str, TallyMessage] = {}
    for change in changes:
        image, before = change.get("NewImage", {}), change.get("OldImage")
        if "batchID" in image and (before is None or before.get("moves") != image.get("moves")):
            batch_id = image["batchID"]["S"]
            tallies.setdefault(batch_id, TallyMessage(batch_id)).changes.append(change_of(image))
    return list(tallies.values())


def _message(image: Item, queue: Queue | None) -> Message:
    """The message of a job, in its user's group: fair queues keep one user's jobs from delaying another's.

    Raises Refused where the queue is not known, or has workers that cannot do the job: their generation may have
    changed since the queue was chosen.
    """
    if queue is None:
        raise Refused("its queue is not one of this deployment")
    body = image["job"]["S"]
    if queue.generation == 1:
        if beyond := wanted(wire.decode(body, Job)).beyond:
            raise Refused(f"the workers of its queue do not know {beyond}")
        body = first_generation_message(body)
    return Message(image["jobID"]["S"], queue.url, body, group=image["userID"]["S"])


def build(settings: DispatchSettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return Dispatcher(settings).handle


handler = compose(build, DispatchSettings)
