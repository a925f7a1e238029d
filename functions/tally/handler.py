"""Counts the moves of jobs, as `dispatch` reports them: of each batch until its last job has ended, and of each user.

Counting a change twice, late or in another order has the same result. The end of a batch is not an event that could be
missed but a state that is checked: whenever all jobs of a strip have ended, and whenever `survey` or `expand` ask.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw, structs

from elasticrecode.aws.clients import pauses
from elasticrecode.aws.dynamodb import refused
from elasticrecode.aws.sqs import failed_items
from elasticrecode.batches.counting import Change, Strip
from elasticrecode.batches.messages import TallyMessage
from elasticrecode.batches.progress import JobCounts, StoredBatch, add_sample, batch_summary, has_ended, is_sample_due
from elasticrecode.batches.store import BatchesTable
from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import TallySettings
from elasticrecode.jobs import events
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.items import Entry, put_of
from elasticrecode.jobs.lifecycle import ENDED
from elasticrecode.log import logger
from elasticrecode.overview.moves import CountedMove, MovesMessage
from elasticrecode.overview.store import OverviewTable
from elasticrecode.runtime import compose


class JobCounter:
    """Counts the changes in messages, batch by batch, and the moves of all jobs."""

    def __init__(self, settings: TallySettings) -> None:
        self._settings = settings
        retention_seconds = settings.retention_days * 86_400
        self._table = BatchesTable(settings.batches_table, retention_seconds)
        self._overview = OverviewTable(settings.batches_table, retention_seconds)

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Count the changes in messages. Returns those to deliver again, in the shape that Lambda expects."""
        changes: dict[str, list[Change]] = {}
        moves: dict[str, list[CountedMove]] = {}
        batches: dict[str, list[str]] = {}
        users: list[str] = []
        for record in event["Records"]:
            message = _read(record["body"])
            if isinstance(message, MovesMessage):
                users.append(record["messageId"])
                for user, some in message.users.items():
                    moves.setdefault(user, []).extend(some)
            else:
                batches.setdefault(message.batchID, []).append(record["messageId"])
                changes.setdefault(message.batchID, []).extend(message.changes)
        failed: list[str] = []
        for batch_id, batch_changes in changes.items():
            try:
                self.count(batch_id, batch_changes)
            except Exception:  # noqa: BLE001
                logger.exception("the changes of a batch could not be counted", extra={"batch": batch_id})
                failed += batches[batch_id]
        try:
            self._overview.count(moves)
        except Exception:  # noqa: BLE001
            logger.exception("the moves of jobs could not be counted", extra={"users": len(moves)})
            failed += users
        return failed_items(failed)

    def count(self, batch_id: str, changes: Iterable[Change]) -> None:
        """Merge changes into the strips of a batch, and end the batch, reopen it or take a sample where due."""
        strips = self._table.count_all(batch_id, changes)
        may_have_ended = not (strips and all(map(_has_open_jobs, strips)))
        for pause in pauses():
            stored = self._table.get(batch_id)
            if not stored or self._bring_on(stored, may_have_ended, now_ms()):
                return
            time.sleep(pause)
        raise refused("ending the batch")

    def _bring_on(self, stored: StoredBatch, may_have_ended: bool, now: int) -> bool:
        """End a batch, reopen it or take a sample where due. False where the batch has changed since it was read."""
        if stored.endedMs:
            if self._table.counts(stored.batch.batchID).moves <= stored.moves:
                return True
            self._table.reopen(stored)  # a job was retried since the batch ended, and may have ended again
            return False
        if not (may_have_ended or is_sample_due(stored, now)):
            return True
        counts = self._table.counts(stored.batch.batchID)
        if has_ended(stored, counts):
            return self._end(stored, counts, now)
        if is_sample_due(stored, now):
            self._table.sample(stored.batch.batchID, add_sample(stored, counts, now))
        return True

    def _end(self, stored: StoredBatch, counts: JobCounts, now: int) -> bool:
        batch = stored.batch
        summary = batch_summary(structs.replace(stored, endedMs=now), counts)
        event = structs.replace(
            events.control_event(
                Action.BATCH_FINISHED, batch.userID, batch.batchID, now, event_id=f"{batch.batchID}-{stored.round}"
            ),
            batchID=batch.batchID,
            batch=Raw(msgspec.json.encode(summary)),
            error=stored.failure or msgspec.UNSET,
        )
        put = put_of(self._settings.jobs_table, Entry(event), self._settings.event_retention_seconds)
        if not self._table.end(stored, counts, now, put):
            return False
        logger.info("batch ended", extra={"batch": batch.batchID, **counts.states})
        return True


def _read(body: str) -> TallyMessage | MovesMessage:
    """A message: changes of one batch's jobs, or moves of any."""
    try:
        return msgspec.json.decode(body, type=TallyMessage)
    except msgspec.ValidationError:
        return msgspec.json.decode(body, type=MovesMessage)


def _has_open_jobs(strip: Strip) -> bool:
    """Whether a job of a strip has not ended."""
    return any(state not in ENDED for state in strip.counts())


def build(settings: TallySettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler."""
    return JobCounter(settings).handle


handler = compose(build, TallySettings)
