"""Dead letters: messages that were received too often. A job's fails the job; an event's is sent again a few times."""

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from elasticrecode import wire
from elasticrecode.aws.sqs import Letter, Message, Receiver, Sender
from elasticrecode.clock import now_ms
from elasticrecode.contract.metrics import EVENTS_GIVEN_UP, UNREADABLE_MESSAGES
from elasticrecode.effort import Effort
from elasticrecode.errors import UnreadableEvent
from elasticrecode.jobs import events
from elasticrecode.jobs.events import Action, Failure
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import Step
from elasticrecode.jobs.store import JobsTable

_log = logging.getLogger(__name__)

_LETTERS_A_RUN = 500
_RETURNS = 3
"""Times that an event goes back to the control queue."""
_LOGGED = 4000
"""Characters of an unreadable message that are logged."""


class DeadLetters:
    """Settles dead letters. `count` takes the name of a metric for each message that is not sent again."""

    def __init__(
        self, table: JobsTable, control_queue: str, retention_seconds: int, count: Callable[[str], None]
    ) -> None:
        self._table, self._sender, self._receiver = table, Sender(), Receiver()
        self._control_queue = control_queue
        self._retention_seconds = retention_seconds
        self._count = count

    def bury_all(self, url: str, effort: Effort) -> int:
        """Fail the jobs of the dead letters on a queue; how many."""
        return self._settle_all(url, self.bury, effort)

    def return_all(self, url: str, effort: Effort) -> int:
        """Send the events on a dead-letter queue to the control queue again; how many."""
        return self._settle_all(url, self.return_event, effort)

    def _settle_all(self, url: str, settle: Callable[[Letter], bool], effort: Effort) -> int:
        """Settle letters and remove them; how many `settle` returned True for. A letter whose settling fails stays."""
        settled = 0
        for letters in self._receiver.drain(url, _LETTERS_A_RUN):
            done: list[Letter] = []
            settled += effort.each(partial(_settle, settle, done), letters)
            if done:
                self._receiver.remove(url, done)
        return settled

    def bury(self, letter: Letter) -> bool:
        """Fail the job of a dead letter; False when it has ended, a worker has it, or the letter is not a job."""
        try:
            job = wire.decode(letter.body, Job)
        except msgspec.DecodeError as error:
            _log.error("a dead letter is not a job", extra={"reason": str(error), "body": letter.body[:_LOGGED]})
            self._count(UNREADABLE_MESSAGES)
            return False
        return bury(self._table, job, self._failure_of(job.jobid, letter.receives), self._retention_seconds)

    def _failure_of(self, job_id: str, receives: int) -> Failure:
        """The failure of a job whose message was received so often, with the cause of its last return."""
        record = self._table.record(job_id)
        last = record.error if record else None
        message = f"No worker finished it: its message was received {receives} times"
        if not last:
            return Failure("dead-letter", f"{message}.")
        return Failure("dead-letter", f"{message}; last: {last.code}: {last.message}", last.log)

    def return_event(self, letter: Letter) -> bool:
        """Send an event to the control queue again; False when it is unreadable or has been sent too often.

        Raises RuntimeError when the control queue does not take it.
        """
        attribute = letter.attributes.get("returns", "0")
        returns = int(attribute) if len(attribute) == 1 and attribute.isdecimal() else 0
        try:
            events.read(letter.body.encode())
            reason = "" if returns < _RETURNS else f"it was sent again {_RETURNS} times and could not be stored"
        except UnreadableEvent as error:
            reason = str(error)
        if reason:
            _log.error(
                "an event could not be stored and is not sent again",
                extra={"reason": reason, "body": letter.body[:_LOGGED]},
            )
            self._count(EVENTS_GIVEN_UP)
            return False
        again = Message(letter.handle, self._control_queue, letter.body, {"returns": str(returns + 1)})
        refused = self._sender.send([again])
        if refused:
            raise RuntimeError(f"the control queue does not take an event: {refused[letter.handle]}")
        return True


def bury(table: JobsTable, job: Job, failure: Failure, retention_seconds: int) -> bool:
    """Fail a job that no worker has, with its JobFailed; False when it has ended or a worker has it."""
    event = events.control_event(Action.JOB_FAILED, job.userid, job.jobid, now_ms(), error=failure)
    return table.move_and_log(Step.BURY, event, retention_seconds)


def _settle(settle: Callable[[Letter], bool], done: list[Letter], letter: Letter) -> bool:
    settled = settle(letter)
    done.append(letter)
    return settled
