"""Batches to be expanded: their inputs are looked through once, and stored in pages for `expand`.

No job is made before that is done, so it may be cut off and made again: each look stores pages of its own, and the
first that comes to its end counts.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.aws.sqs import Receiver, Sender
from elasticrecode.batches.inputs import Objects
from elasticrecode.batches.request import Batch
from elasticrecode.batches.store import Ledger
from elasticrecode.batches.survey import Findings, Line, allowed, is_wanted
from elasticrecode.batches.tasks import Search, Tally, tasks
from elasticrecode.contract.settings import SurveySettings
from elasticrecode.errors import Unreadable
from elasticrecode.jobs.events import Failure
from elasticrecode.log import logger
from elasticrecode.runtime import compose

_BEAT_SECONDS = 20
_HIDDEN_SECONDS = 90
"""So soon another takes it up when this one has died; its queue would have it wait for the longest a look may take."""
_TRIES = 5


def build(settings: SurveySettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over one message. When it fails, the queue delivers it again."""
    ledger, objects = Ledger(settings.batches_table, settings.retention_days * 86_400), Objects()
    sender, receiver = Sender(), Receiver()
    prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))

    def survey(event: dict[str, Any], context: Any) -> None:
        (message,) = event["Records"]
        batch_id = msgspec.json.decode(message["body"], type=Search).batchID
        standing = ledger.standing(batch_id)
        if standing and standing.state == "expanding" and not standing.found:
            if int(message["attributes"]["ApproximateReceiveCount"]) > _TRIES:
                _fail(batch_id, "survey-failed", f"Its inputs could not be looked through in {_TRIES} tries.")
            else:
                _look(standing.batch, _beat(message["receiptHandle"]))
            standing = ledger.standing(batch_id)
        if not standing:
            logger.warning("no such batch", extra={"batch": batch_id})
            return
        if standing.state == "expanding":
            sender.hand(settings.pages_queue, tasks(standing, "make"), standing.batch.userID)
        else:
            sender.hand(settings.tally_queue, [Tally(batch_id)])

    def _look(batch: Batch, beat: Callable[[], None]) -> None:
        beat()
        try:
            saved = ledger.save(batch, allowed(batch, _inputs(batch), prefixes), beat)
        except Unreadable as error:
            _fail(batch.batchID, error.code, error.message)
            return
        if saved.found.total:
            ledger.surveyed(batch.batchID, saved)
            logger.info("surveyed", extra={"batch": batch.batchID, "jobs": saved.found.total})
        else:
            _fail(batch.batchID, *_nothing(batch, saved.found), saved.found)

    def _inputs(batch: Batch) -> Iterable[Line]:
        if batch.manifest:
            return objects.lines(batch.manifest)
        return (found for found in objects.listing(batch.prefix) if is_wanted(found.text, batch.suffixes))

    def _fail(batch_id: str, code: str, message: str, found: Findings | None = None) -> None:
        logger.warning("a batch failed", extra={"batch": batch_id, "code": code})
        ledger.fail(batch_id, Failure(code, message), found or Findings())

    def _beat(handle: str) -> Callable[[], None]:
        """Keep the message, when it is time to."""
        due = 0.0

        def beat() -> None:
            nonlocal due
            if time.monotonic() >= due:
                receiver.hide(settings.surveys_queue, handle, _HIDDEN_SECONDS)
                due = time.monotonic() + _BEAT_SECONDS

        return beat

    return survey


def _nothing(batch: Batch, found: Findings) -> tuple[str, str]:
    """The code and the sentence of a batch without a job."""
    if found.faultCount:
        return (
            "no-usable-input",
            f"Nothing of what is named can be transcoded, {found.faultCount} in all; faults says why.",
        )
    if batch.manifest:
        return "manifest-empty", f"{batch.manifest} has no line that is not blank."
    called = f" called …{' or …'.join(batch.suffixes)}" if batch.suffixes else ""
    return "prefix-empty", f"Nothing{called} lies under {batch.prefix}."


handler = compose(build, SurveySettings)
