"""Changes of batches' jobs, as `dispatch` heard of them: counted in strips, until the last job of a batch has ended.

Counting twice, late or in another order comes to the same. The end is no event that could be missed but a state that is
looked for: whenever all jobs of a strip have ended, and whenever `survey` or `expand` say that it may have come.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Raw, structs

from elasticrecode.batches import counting
from elasticrecode.batches.counting import Change, Strip
from elasticrecode.batches.progress import Counts, Standing, has_ended, is_sample_due, sampled, summary
from elasticrecode.batches.store import Ledger
from elasticrecode.batches.tasks import Tally
from elasticrecode.contract.settings import TallySettings
from elasticrecode.jobs import events
from elasticrecode.jobs.events import BATCH_FINISHED
from elasticrecode.jobs.lifecycle import ENDED
from elasticrecode.jobs.store import put_of
from elasticrecode.log import logger
from elasticrecode.runtime import compose


def build(settings: TallySettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler; it reports the messages to be delivered again."""
    ledger = Ledger(settings.batches_table, settings.retention_days * 86_400)

    def tally(event: dict[str, Any], context: Any) -> dict[str, Any]:
        told: dict[str, list[Change]] = {}
        messages: dict[str, list[str]] = {}
        for message in event["Records"]:
            said = msgspec.json.decode(message["body"], type=Tally)
            told.setdefault(said.batchID, []).extend(said.changes)
            messages.setdefault(said.batchID, []).append(message["messageId"])
        again: list[str] = []
        for batch_id, changes in told.items():
            try:
                _count(batch_id, changes)
            except Exception:  # noqa: BLE001
                logger.exception("not counted", extra={"batch": batch_id})
                again += messages[batch_id]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}

    def _count(batch_id: str, changes: Iterable[Change]) -> None:
        touched = [ledger.count(batch_id, number, some) for number, some in _by_strip(changes)]
        standing = ledger.standing(batch_id)
        if not standing:
            return
        may_have_ended = not (touched and all(map(_has_open, touched)))
        now = time.time_ns() // 1_000_000
        if standing.endedMs:
            counts = ledger.counts(batch_id)
            if counts.moves > standing.moves:  # a job was retried since
                ledger.reopen(standing)
                _look(structs.replace(standing, endedMs=None), counts, now)
        elif may_have_ended or is_sample_due(standing, now):
            _look(standing, ledger.counts(batch_id), now)

    def _look(standing: Standing, counts: Counts, now: int) -> None:
        """Look whether the end has come."""
        if has_ended(standing, counts):
            _end(standing, counts, now)
        elif is_sample_due(standing, now):
            ledger.sample(standing.batch.batchID, sampled(standing, counts, now))

    def _end(standing: Standing, counts: Counts, now: int) -> None:
        batch = standing.batch
        ended = structs.replace(standing, endedMs=now)
        event = structs.replace(
            events.said(BATCH_FINISHED, batch.userID, batch.batchID, now, event_id=f"{batch.batchID}-{standing.round}"),
            batchID=batch.batchID,
            batch=Raw(msgspec.json.encode(summary(ended, counts))),
            error=standing.failure or msgspec.UNSET,
        )
        if ledger.end(standing, counts, now, put_of(settings.jobs_table, event, settings.event_retention_seconds)):
            logger.info("ended", extra={"batch": batch.batchID, **counts.states})

    return tally


def _by_strip(changes: Iterable[Change]) -> Iterator[tuple[int, list[Change]]]:
    """Changes by the number of their strip."""
    ordered = sorted(changes, key=lambda change: change.position)
    for number, some in groupby(ordered, key=lambda change: change.position // counting.SIZE):
        yield number, list(some)


def _has_open(strip: Strip) -> bool:
    """Whether a job of it has not ended."""
    return any(state not in ENDED for state in strip.counts())


handler = compose(build, TallySettings)
