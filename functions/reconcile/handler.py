"""Every minute: see that every job that has not ended has its message, and that dead letters are seen.

- A job whose message got lost is found: jobs wait for a queue, and the queue is empty. So is one that has waited longer
  than any message or stream record is kept for it. A job whose worker vanished together with the message is lost.
- A job that no queue took, or that was held because all its queues were paused, goes to a queue again.
- What waits on a queue that has had no ready worker for some minutes, or much more of it than elsewhere, goes to queues
  that are done with it sooner.
- A job whose message was received too often without an end becomes a failed job.
- An event that its consumer could not store goes back to the control queue, a few times; one that cannot be read is
  logged whole and counted.
"""

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from aws_lambda_powertools.metrics import Metrics, MetricUnit
from msgspec import Raw

from elasticrecode import wire
from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Letter, Message, Receiver, Sender
from elasticrecode.clock import now_ms
from elasticrecode.contract.metrics import (
    EVENTS_GIVEN_UP,
    EVENTS_RETURNED,
    JOBS_BURIED,
    JOBS_MOVED,
    JOBS_RESCUED,
    JOBS_RESENT,
    METRICS,
    UNREADABLE_MESSAGES,
)
from elasticrecode.contract.settings import ReconcileSettings
from elasticrecode.errors import Refused, UnreadableEvent
from elasticrecode.jobs import events, lifecycle
from elasticrecode.jobs.events import Action, Event, Failure, WorkerEvent
from elasticrecode.jobs.items import Waiting
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import Step
from elasticrecode.jobs.pages import JobLists
from elasticrecode.jobs.placement import GROUPS, Choice, Group, Want, wanted
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.fleet import Load, Queue, least_recently_measured
from elasticrecode.workers.registry import Registry
from elasticrecode.workers.routing import Router

T = TypeVar("T")
R = TypeVar("R")

_JOBS_A_RUN = 500
_LETTERS_A_RUN = 500
_RETURNS = 3
_RESEND_SECONDS = 20
_MOVE_SECONDS = 15
_HIDDEN_SECONDS = 60
"""So long nobody else receives what is about to be moved."""
_SHOWN = 4000
_LONGEST_WAIT_MS = 86_400_000
"""A stream keeps its records for a day: what was not sent by then is not going to be."""


def build(settings: ReconcileSettings) -> Callable[[Any, Any], dict[str, int]]:
    """The handler; it answers with what it did, and counts the same as metrics."""
    lists = JobLists(settings.jobs_table)
    table, sender, receiver = JobsTable(settings.jobs_table), Sender(), Receiver()
    registry = Registry(settings.registry_table, settings.queues)
    metrics = Metrics(namespace=METRICS, service="reconcile")
    keep = settings.event_retention_seconds

    def reconcile(event: Any, context: Any) -> dict[str, int]:
        effort = _Effort()
        steps: dict[str, Callable[[_Effort], int]] = {
            JOBS_RESCUED: _rescue,
            JOBS_MOVED: _relieve,
            JOBS_RESENT: _resend_all,
            JOBS_BURIED: partial(_drain, settings.dead_letter_queue, _bury),
            EVENTS_RETURNED: partial(_drain, settings.events_dead_letter_queue, _give_back),
        }
        done = {name: effort.each(lambda step: step(effort), [step]) for name, step in steps.items()}
        for name, count in done.items():
            metrics.add_metric(name, MetricUnit.Count, count)
        metrics.flush_metrics()
        logger.info("reconciled", extra=done)
        if effort.failures:
            raise RuntimeError(
                f"{len(effort.failures)} things could not be seen to; the log has each, and the next run tries"
            )
        return done

    def _rescue(effort: "_Effort") -> int:
        """Look at the queues, and take back from them the jobs that have no message there."""
        queues = [queue for queue in registry.queues() if queue.url]
        loads: dict[str, Load] = {}
        effort.each(partial(_look, loads), least_recently_measured(queues))
        registry.save_loads({queue.name: queue.load for queue in queues} | loads)
        return effort.each(partial(_rescue_from, effort), loads.items())

    def _look(loads: dict[str, Load], queue: Queue) -> int:
        load = queue.load.with_counts(receiver.counts(queue.url), time.time())
        loads[queue.name] = load.with_oldest(lists.oldest(queue.name) if load.visible else None)
        return 1

    def _rescue_from(effort: "_Effort", looked_at: tuple[str, Load]) -> int:
        (queue, load), now = looked_at, now_ms()
        waiting = lists.waiting(queue, now if load.is_empty else now - _LONGEST_WAIT_MS, _JOBS_A_RUN)
        return effort.each(lambda found: _rescue_one(found, now), waiting)

    def _rescue_one(found: Waiting, now: int) -> bool:
        if found.state == "accepted":
            return _resend(found.job, now)
        if found.state == "queued":
            return bool(table.postpone([found.job.jobid], now)) and _resend(found.job, now)
        if found.lease is None and found.since_ms < now - _LONGEST_WAIT_MS:
            failure = Failure("worker-silent", "Its worker, which claims no jobs, has not been heard of for a day.")
            return table.move_and_log(Step.BURY, _failed(found.job, failure), keep)
        if found.lease is not None and found.lease < now:
            return not sender.send([Message(found.job.jobid, settings.control_queue, _lost(found, now))])
        return False

    def _relieve(effort: "_Effort") -> int:
        """Take what queues hold beyond what they should to others that are done with it sooner, small amounts first."""
        until = time.monotonic() + _MOVE_SECONDS
        queues = registry.queues(fresh=True)
        router, urls = Router(queues), {queue.name: queue.url for queue in queues if queue.url}
        surplus = sorted(router.surplus(time.time()).items(), key=lambda each: each[1])
        there = [(name, count) for name, count in surplus if name in urls]
        return effort.each(lambda each: _relieve_one(effort, router, urls[each[0]], *each, until), there)

    def _relieve_one(effort: "_Effort", router: Router, url: str, name: str, count: int, until: float) -> int:
        """Take up to so many jobs from a queue, no message twice: each time counts towards its being a dead letter."""
        moved, kept = 0, list[Letter]()
        try:
            while count > 0 and time.monotonic() < until:
                letters = receiver.take(url, count, _HIDDEN_SECONDS)
                count -= len(letters)
                planned = [effort.tried(partial(_elsewhere, router, name), letter) for letter in letters]
                moves = [move for move in planned if move]
                ends = side_by_side(partial(effort.tried, _make), moves)
                done = [move.letter for move, end in zip(moves, ends, strict=True) if end in ("moved", "ended")]
                moved += ends.count("moved")
                handles = {letter.handle for letter in done}
                kept += [letter for letter in letters if letter.handle not in handles]
                if not done:
                    break
                receiver.remove(url, done)
        finally:
            if kept:
                receiver.show(url, kept)
        return moved

    def _make(move: "_Move") -> Literal["moved", "ended", "stays"]:
        """Point a job's record to another queue. Only then, or when the job has ended, is its message one too many."""
        now = now_ms()
        table.postpone([move.job.jobid], now)
        if table.resume(move.job.jobid, move.choice, now):
            return "moved"
        record = table.record(move.job.jobid)
        return "ended" if record and record.state in lifecycle.ENDED else "stays"

    def _resend_all(effort: "_Effort") -> int:
        """Jobs without a message, and of those that are held the ones that are taken again: some of each in turn."""
        now, resent, until = now_ms(), 0, time.monotonic() + _RESEND_SECONDS
        sources: deque[Callable[[int, int], list[Waiting]]] = deque([lists.unsent])
        sources += [partial(lists.held, group) for group in GROUPS if _is_taken(group)]
        while sources and time.monotonic() < until:
            source = sources.popleft()
            waiting = source(now, _JOBS_A_RUN)
            resent += effort.each(lambda found: _rescue_one(found, now), waiting)
            if len(waiting) == _JOBS_A_RUN:
                sources.append(source)
        return resent

    def _is_taken(group: Group) -> bool:
        try:
            return bool(registry.choose([Want(group, "normal", 0)])[0].queue)
        except Refused:
            return False

    def _resend(job: Job, now: int) -> bool:
        try:
            (choice,) = registry.choose([wanted(job)])
        except Refused as error:
            logger.error("no queue", extra={"job": job.jobid, "reason": str(error)})
            choice = Choice("", str(error))
        if choice.queue:
            return table.resume(job.jobid, choice, now)
        table.hold(job, choice, now)
        return False

    def _drain(url: str, settle: Callable[[Letter], bool], effort: "_Effort") -> int:
        """Settle letters and remove them; how many were settled for good. One that can't be comes again."""
        settled = 0
        for letters in receiver.batches(url, _LETTERS_A_RUN):
            done: list[Letter] = []
            settled += effort.each(partial(_settle, settle, done), letters)
            if done:
                receiver.remove(url, done)
        return settled

    def _settle(settle: Callable[[Letter], bool], done: list[Letter], letter: Letter) -> bool:
        settled = settle(letter)
        done.append(letter)
        return settled

    def _bury(letter: Letter) -> bool:
        try:
            job = wire.decode(letter.body, Job)
        except msgspec.DecodeError as error:
            logger.error("a dead letter is no job", extra={"reason": str(error), "body": letter.body[:_SHOWN]})
            metrics.add_metric(UNREADABLE_MESSAGES, MetricUnit.Count, 1)
            return False
        failure = Failure("dead-letter", f"Its message was received {letter.receives} times without an end.")
        return table.move_and_log(Step.BURY, _failed(job, failure), keep)

    def _give_back(letter: Letter) -> bool:
        said = letter.attributes.get("returns", "0")
        returns = int(said) if len(said) == 1 and said.isdecimal() else 0
        try:
            events.read(letter.body.encode())
            reason = "" if returns < _RETURNS else f"it could not be stored, {_RETURNS} returns long"
        except UnreadableEvent as error:
            reason = str(error)
        if reason:
            logger.error("an event was given up", extra={"reason": reason, "body": letter.body[:_SHOWN]})
            metrics.add_metric(EVENTS_GIVEN_UP, MetricUnit.Count, 1)
            return False
        again = Message(letter.handle, settings.control_queue, letter.body, {"returns": str(returns + 1)})
        refused = sender.send([again])
        if refused:
            raise RuntimeError(f"the control queue took no event: {refused[letter.handle]}")
        return True

    return reconcile


class _Effort:
    """One run. What fails is logged and counted, and keeps nothing else from being seen to."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def each(self, do: Callable[[T], int], things: Iterable[T]) -> int:
        """Do it to each thing; the sum of what came of it."""
        return sum(self.tried(do, thing) or 0 for thing in things)

    def tried(self, do: Callable[[T], R], thing: T) -> R | None:
        """What came of doing it to a thing; None when it failed."""
        try:
            return do(thing)
        except Exception as error:  # noqa: BLE001
            self.failures.append(error)
            logger.exception("not seen to")
            return None


class _Move(NamedTuple):
    """A job that is taken elsewhere, with its message."""

    letter: Letter
    job: Job
    choice: Choice


def _elsewhere(router: Router, queue: str, letter: Letter) -> _Move | None:
    """Where a job goes that waits on a queue; None when it should stay."""
    job = wire.decode(letter.body, Job)
    try:
        choice = router.choose(wanted(job), time.time(), queue)
    except Refused:
        return None
    return _Move(letter, job, choice) if choice.queue else None


def _failed(job: Job, failure: Failure) -> Event:
    return events.said(Action.JOB_FAILED, job.userid, job.jobid, now_ms(), error=failure)


def _lost(found: Waiting, now: int) -> str:
    """The event that tells of a vanished worker."""
    job = msgspec.json.encode(found.job)
    lost = WorkerEvent(
        action=Action.JOB_LOST,
        job=Raw(job),
        msg="its lease ran out, and its message is gone",
        ts=now // 1000,
        tsMs=now,
        eventID=str(uuid.uuid4()),
        attempt=found.attempt,
    )
    return msgspec.json.encode(lost).decode()


handler = compose(build, ReconcileSettings)
