"""Surveys the inputs of batches: reads them once, and stores them in pages for `expand`.

No job is created before a survey is complete, so one that is cut off starts anew: each run stores pages of its own, and
the first to be complete counts.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.aws.sqs import Receiver, Sender
from elasticrecode.batches.inputs import InputReader
from elasticrecode.batches.messages import SurveyMessage, TallyMessage, page_messages
from elasticrecode.batches.request import Batch
from elasticrecode.batches.store import BatchesTable
from elasticrecode.batches.survey import Line, SurveyResult, check_permissions, is_selected
from elasticrecode.contract.settings import SurveySettings
from elasticrecode.errors import Unreadable
from elasticrecode.jobs.events import Failure
from elasticrecode.log import logger
from elasticrecode.runtime import compose

_HEARTBEAT_SECONDS = 20
_HIDDEN_SECONDS = 90
"""Visibility timeout while an invocation works. When it dies, another starts this soon; the queue's own timeout is as
long as the longest survey."""
_TRIES = 5


class Surveyor:
    """Surveys one batch for each message. When that fails, the queue delivers the message again."""

    def __init__(self, settings: SurveySettings) -> None:
        self._settings = settings
        self._table = BatchesTable(settings.batches_table, settings.retention_days * 86_400)
        self._inputs = InputReader()
        self._sender, self._receiver = Sender(), Receiver()
        self._prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """Survey the batch of one message, and send its pages to `expand`."""
        (message,) = event["Records"]
        batch_id = msgspec.json.decode(message["body"], type=SurveyMessage).batchID
        stored = self._table.get(batch_id)
        if stored and stored.state == "expanding" and not stored.survey:
            if int(message["attributes"]["ApproximateReceiveCount"]) > _TRIES:
                self._fail(batch_id, "survey-failed", f"Its inputs could not be read in {_TRIES} tries.")
            else:
                self.survey(stored.batch, self._heartbeat(message["receiptHandle"]))
            stored = self._table.get(batch_id)
        if not stored:
            logger.warning("a message names a batch that does not exist", extra={"batch": batch_id})
            return
        if stored.state == "expanding":
            self._sender.hand(self._settings.pages_queue, page_messages(stored, "make"), stored.batch.userID)
        else:
            self._sender.hand(self._settings.tally_queue, [TallyMessage(batch_id)])

    def survey(self, batch: Batch, heartbeat: Callable[[], None]) -> None:
        """Read the inputs of a batch and store its pages. A batch without a usable input fails."""
        heartbeat()
        try:
            lines = check_permissions(batch, self._lines(batch), self._prefixes)
            survey = self._table.store_pages(batch, lines, heartbeat)
        except Unreadable as error:
            self._fail(batch.batchID, error.code, error.message)
            return
        if survey.result.total:
            self._table.complete_survey(batch.batchID, survey)
            logger.info("batch surveyed", extra={"batch": batch.batchID, "jobs": survey.result.total})
        else:
            self._fail(batch.batchID, *_why_empty(batch, survey.result), survey.result)

    def _lines(self, batch: Batch) -> Iterable[Line]:
        if batch.manifest:
            return self._inputs.manifest_lines(batch.manifest)
        return (line for line in self._inputs.prefix_lines(batch.prefix) if is_selected(line.text, batch.suffixes))

    def _fail(self, batch_id: str, code: str, message: str, result: SurveyResult | None = None) -> None:
        logger.warning("batch failed", extra={"batch": batch_id, "code": code})
        self._table.fail(batch_id, Failure(code, message), result or SurveyResult())

    def _heartbeat(self, handle: str) -> Callable[[], None]:
        """Extends the visibility timeout of the message when called, every 20 s at most."""
        due = 0.0

        def heartbeat() -> None:
            nonlocal due
            if time.monotonic() >= due:
                self._receiver.hide(self._settings.surveys_queue, handle, _HIDDEN_SECONDS)
                due = time.monotonic() + _HEARTBEAT_SECONDS

        return heartbeat


def _why_empty(batch: Batch, result: SurveyResult) -> tuple[str, str]:
    """The code and the message for a batch without a usable input."""
    if result.faultCount:
        return "no-usable-input", f"None of its {result.faultCount} inputs can be transcoded; faults has the reasons."
    if batch.manifest:
        return "manifest-empty", f"{batch.manifest} has no line that is not blank."
    ending = f" that ends with {' or '.join(batch.suffixes)}" if batch.suffixes else ""
    return "prefix-empty", f"{batch.prefix} has no object{ending}."


def build(settings: SurveySettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return Surveyor(settings).handle


handler = compose(build, SurveySettings)
