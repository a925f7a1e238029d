"""Expands batches: creates the jobs of a page, or cancels them.

One invocation at a time holds the lease of a page, which is longer than the invocation can run. A page that was cut off
is done again, and leaves the jobs as they are that are stored already: job ids follow from batch and position.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Sender
from elasticrecode.batches.messages import PageMessage, TallyMessage, page_messages
from elasticrecode.batches.store import BatchesTable
from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import ExpandSettings
from elasticrecode.errors import Refused, Unavailable
from elasticrecode.jobs import events
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice, wanted
from elasticrecode.jobs.store import JobsTable
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.registry import Registry

_MARGIN_SECONDS = 5
_DAY_SECONDS = 86_400


class Expander:
    """Creates or cancels the jobs of one message's page. The queue delivers the message again when that fails."""

    def __init__(self, settings: ExpandSettings) -> None:
        self._settings = settings
        self._jobs, self._batches = JobsTable(settings.jobs_table), BatchesTable(settings.batches_table)
        self._registry, self._sender = (
            Registry(settings.registry_table, settings.queues, settings.first_generation),
            Sender(),
        )

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """Work on one PageMessage, and have `tally` check whether the batch has ended."""
        (record,) = event["Records"]
        message = msgspec.json.decode(record["body"], type=PageMessage)
        if message.do == "cancel":
            stored = self._batches.get(message.batchID)
            if stored:
                self._sender.hand(self._settings.pages_queue, page_messages(stored, "sweep"), stored.batch.userID)
        else:
            self.work_on_page(message)
        self._sender.hand(self._settings.tally_queue, [TallyMessage(message.batchID)])

    def work_on_page(self, message: PageMessage) -> None:
        """Create the jobs of a page, or cancel them where the batch is cancelled, and settle the page.

        Raises Unavailable while another invocation holds the page, or when AWS does not store all jobs.
        """
        now = now_ms()
        leased = self._batches.lease_page(message, now, now + 1000 * (self._settings.time_limit + _MARGIN_SECONDS))
        if not leased:
            raise Unavailable("Another invocation works on this page.")
        stored = self._batches.get(message.batchID)
        if not stored:
            logger.warning("a message names a batch that does not exist", extra={"batch": message.batchID})
            return
        jobs = [stored.batch.job(leased.page.first + n, uri) for n, uri in enumerate(leased.page.inputs)]
        if stored.cancelledMs:
            skipped = 0
            if not leased.settled:
                created = self._jobs.jobs(job.jobid for job in jobs) if leased.tries > 1 else {}
                skipped = len(jobs) - len(created)
                jobs = [job for job in jobs if job.jobid in created]
            side_by_side(self._cancel, jobs)
            if not leased.settled:
                self._batches.settle_page(message, skipped)
        elif not leased.settled:
            self._create(jobs, again=leased.tries > 1)
            self._batches.settle_page(message)

    def _create(self, jobs: list[Job], *, again: bool) -> None:
        want = wanted(jobs[0])
        try:
            choices = self._registry.choose([want] * len(jobs))
        except Refused as error:  # the queue that served it when the batch was taken in may serve it again
            choices = [Choice("", error.detail)] * len(jobs)
        now = now_ms()
        accepted = [Accepted(job, choice, now) for job, choice in zip(jobs, choices, strict=True)]
        refused = self._jobs.accept(accepted, self._settings.retention_days * _DAY_SECONDS, again=again)
        if refused:
            raise Unavailable(f"{len(refused)} of {len(jobs)} jobs could not be stored.")
        logger.info("jobs created", extra={"jobs": len(jobs), "again": again})

    def _cancel(self, job: Job) -> None:
        event = events.control_event(Action.JOB_CANCELLED, job.userid, job.jobid, now_ms())
        self._jobs.move_and_log(Action.JOB_CANCELLED, event, self._settings.event_retention_seconds)


def build(settings: ExpandSettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return Expander(settings).handle


handler = compose(build, ExpandSettings)
