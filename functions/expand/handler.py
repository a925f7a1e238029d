"""Pages of batches: each becomes jobs, or is cancelled.

A page is one invocation's at a time, by a lease longer than it can run. A page that was cut off is made again, and what
it has stored is left as it is: job ids follow from the batch and the position.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Sender
from elasticrecode.batches.store import Ledger
from elasticrecode.batches.tasks import Tally, Task, tasks
from elasticrecode.contract.settings import ExpandSettings
from elasticrecode.errors import Refused, Unavailable
from elasticrecode.jobs import events
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import JOB_CANCELLED
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.store import Accepted, JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.registry import Registry

_MARGIN_SECONDS = 5
_DAY_SECONDS = 86_400


def build(settings: ExpandSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over one message. When it fails, the queue delivers it again."""
    table, ledger, sender = JobsTable(settings.jobs_table), Ledger(settings.batches_table), Sender()
    registry = Registry(settings.registry_table, settings.queues)

    def expand(event: dict[str, Any], context: Any) -> None:
        (message,) = event["Records"]
        task = msgspec.json.decode(message["body"], type=Task)
        if task.do == "cancel":
            standing = ledger.standing(task.batchID)
            if standing:
                sender.hand(settings.pages_queue, tasks(standing, "sweep"), standing.batch.userID)
        else:
            _work(task)
        sender.hand(settings.tally_queue, [Tally(task.batchID)])

    def _work(task: Task) -> None:
        """Do with a page what is to be done, now that nobody else is at it."""
        now = _now_ms()
        held = ledger.hold(task, now, now + 1000 * (settings.time_limit + _MARGIN_SECONDS))
        if not held:
            raise Unavailable("Another invocation is at this page.")
        standing = ledger.standing(task.batchID)
        if not standing:
            logger.warning("no such batch", extra={"batch": task.batchID})
            return
        jobs = [standing.batch.job(held.page.first + n, uri) for n, uri in enumerate(held.page.inputs)]
        if standing.cancelledMs:
            if not held.settled:
                made = table.jobs(job.jobid for job in jobs) if held.tries > 1 else {}
                unmade = len(jobs) - len(made)
                jobs = [job for job in jobs if job.jobid in made]
            side_by_side(_cancel, jobs)
            if not held.settled:
                ledger.settle(task, unmade)
        elif not held.settled:
            _make(jobs, again=held.tries > 1)
            ledger.settle(task)

    def _make(jobs: list[Job], *, again: bool) -> None:
        want = wanted(jobs[0])
        try:
            choices = registry.choose([want] * len(jobs))
        except Refused as error:  # what served it when the batch was taken may again
            choices = [Choice("", error.detail)] * len(jobs)
        now = _now_ms()
        accepted = [Accepted(job, choice, now) for job, choice in zip(jobs, choices, strict=True)]
        refused = table.accept(accepted, settings.retention_days * _DAY_SECONDS, again=again)
        if refused:
            raise Unavailable(f"{len(refused)} of {len(jobs)} jobs could not be stored.")
        logger.info("made", extra={"jobs": len(jobs), "again": again})

    def _cancel(job: Job) -> None:
        event = events.said(JOB_CANCELLED, job.userid, job.jobid, _now_ms())
        table.move_and_log(JOB_CANCELLED, event, settings.event_retention_seconds)

    return expand


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


handler = compose(build, ExpandSettings)
