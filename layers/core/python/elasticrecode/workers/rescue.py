"""Jobs without a message: finds them, and hands them to queues again.

Every job that has not ended is in the index `due`. A job whose queue is empty has lost its message; so has one that has
waited longer than any message or stream record is kept. A job is lost whose lease expired and whose message is gone.
"""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import Raw

from elasticrecode.aws.sqs import Message, Receiver, Sender
from elasticrecode.clock import now_ms
from elasticrecode.effort import Effort
from elasticrecode.errors import Refused
from elasticrecode.jobs.events import Action, Failure, WorkerEvent
from elasticrecode.jobs.items import Waiting
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.letters import bury
from elasticrecode.jobs.placement import GROUPS, Choice, Group, Want, wanted
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.waiting import WaitingJobs
from elasticrecode.workers.fleet import Load, Queue, least_recently_measured
from elasticrecode.workers.registry import Registry

_log = logging.getLogger(__name__)

_JOBS_A_RUN = 500
_RESEND_SECONDS = 20
_LONGEST_WAIT_MS = 86_400_000
"""A stream keeps its records for a day: a message that was not sent by then never will be."""


class Rescue:
    """Takes jobs without a message back from queues, and sends them again."""

    def __init__(
        self, table: JobsTable, waiting: WaitingJobs, registry: Registry, control_queue: str, retention_seconds: int
    ) -> None:
        self._table, self._waiting, self._registry = table, waiting, registry
        self._sender, self._receiver = Sender(), Receiver()
        self._control_queue = control_queue
        self._retention_seconds = retention_seconds

    def rescue_all(self, effort: Effort) -> int:
        """Measure the queues, and rescue the jobs that have no message there; how many."""
        queues = [queue for queue in self._registry.queues() if queue.url]
        loads: dict[str, Load] = {}
        effort.each(partial(self._measure, loads), least_recently_measured(queues))
        self._registry.save_loads({queue.name: queue.load for queue in queues} | loads)
        return effort.each(partial(self._rescue_from, effort), loads.items())

    def _measure(self, loads: dict[str, Load], queue: Queue) -> int:
        load = queue.load.with_counts(self._receiver.counts(queue.url), time.time())
        loads[queue.name] = load.with_oldest(self._waiting.oldest(queue.name) if load.visible else None)
        return 1

    def _rescue_from(self, effort: Effort, measured: tuple[str, Load]) -> int:
        (queue, load), now = measured, now_ms()
        before = now if load.is_empty else now - _LONGEST_WAIT_MS
        waiting = self._waiting.waiting(queue, before, _JOBS_A_RUN, partial(_waits_in_vain, now=now))
        return effort.each(lambda waiting_job: self.rescue(waiting_job, now), waiting)

    def rescue(self, waiting_job: Waiting, now: int) -> bool:
        """Bring a job on that waits in vain at `now`, in milliseconds; False when there is nothing to do."""
        if waiting_job.state == "accepted":
            return self._resend(waiting_job.job, now)
        if waiting_job.state == "queued":
            return bool(self._table.postpone([waiting_job.job.jobid], now)) and self._resend(waiting_job.job, now)
        if not _waits_in_vain(waiting_job, now):
            return False
        if waiting_job.lease is None:
            failure = Failure("worker-silent", "Its worker, which claims no jobs, has not been heard of for a day.")
            return bury(self._table, waiting_job.job, failure, self._retention_seconds)
        return not self._sender.send([Message(waiting_job.job.jobid, self._control_queue, _lost(waiting_job, now))])

    def resend_all(self, effort: Effort) -> int:
        """Send jobs without a message, and held jobs of groups that take jobs again, some of each in turn; how many."""
        now, resent, until = now_ms(), 0, time.monotonic() + _RESEND_SECONDS
        sources: deque[Callable[[int, int, Callable[[Waiting], bool]], list[Waiting]]] = deque([self._waiting.unsent])
        sources += [partial(self._waiting.held, group) for group in GROUPS if self._takes_jobs(group)]
        while sources and time.monotonic() < until:
            source = sources.popleft()
            waiting = source(now, _JOBS_A_RUN, partial(_waits_in_vain, now=now))
            resent += effort.each(lambda waiting_job: self.rescue(waiting_job, now), waiting)
            if len(waiting) == _JOBS_A_RUN:
                sources.append(source)
        return resent

    def _takes_jobs(self, group: Group) -> bool:
        try:
            return bool(self._registry.choose([Want(group, "normal", 0)])[0].queue)
        except Refused:
            return False

    def _resend(self, job: Job, now: int) -> bool:
        try:
            (choice,) = self._registry.choose([wanted(job)])
        except Refused as error:
            _log.error("no queue serves the job", extra={"job": job.jobid, "reason": str(error)})
            choice = Choice("", str(error))
        if choice.queue:
            return self._table.resume(job.jobid, choice, now)
        self._table.hold(job, choice, now)
        return False


def _waits_in_vain(waiting_job: Waiting, now: int) -> bool:
    """Whether no worker has a job at `now`, in milliseconds: none renews its lease, or has been heard of for a day."""
    if waiting_job.state != "running":
        return True
    if waiting_job.lease is None:
        return waiting_job.since_ms < now - _LONGEST_WAIT_MS
    return waiting_job.lease < now


def _lost(waiting_job: Waiting, now: int) -> str:
    """The message with the JobLost of a job whose lease has expired."""
    event = WorkerEvent(
        action=Action.JOB_LOST,
        job=Raw(msgspec.json.encode(waiting_job.job)),
        msg="its lease ran out, and its message is gone",
        ts=now // 1000,
        tsMs=now,
        eventID=str(uuid.uuid4()),
        attempt=waiting_job.attempt,
    )
    return msgspec.json.encode(event).decode()
