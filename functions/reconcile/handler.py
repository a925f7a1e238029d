"""Every minute: gives each job that has not ended a message, relieves queues, and settles dead letters.

- The queues are measured, and a sample of them is kept (`workers.history`).
- A job whose message got lost, or whose lease expired without a message, is sent again (`workers.rescue`).
- A job that no queue took, or that was held because all its queues were paused, goes to a queue (`workers.rescue`).
- Jobs leave queues that others would finish sooner (`workers.relief`).
- A job whose message was received too often becomes a failed job. An event that could not be stored goes back to the
  control queue a few times; an unreadable one is logged whole and counted (`jobs.letters`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from elasticrecode.contract.metrics import (
    EVENTS_RETURNED,
    JOBS_BURIED,
    JOBS_MOVED,
    JOBS_RESCUED,
    JOBS_RESENT,
    METRICS,
)
from elasticrecode.contract.settings import ReconcileSettings
from elasticrecode.effort import Effort
from elasticrecode.jobs.letters import DeadLetters
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.waiting import WaitingJobs
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.history import History
from elasticrecode.workers.registry import Registry
from elasticrecode.workers.relief import Relief
from elasticrecode.workers.rescue import Rescue


class Reconciler:
    """Runs the steps; a step that fails keeps no other from running."""

    def __init__(self, settings: ReconcileSettings) -> None:
        table = JobsTable(settings.jobs_table)
        self._registry = registry = Registry(settings.registry_table, settings.queues, settings.first_generation)
        self._history = History(settings.registry_table)
        retention_seconds = settings.event_retention_seconds
        self._metrics = Metrics(namespace=METRICS, service="reconcile")
        self._rescue = Rescue(
            table, WaitingJobs(settings.jobs_table), registry, settings.control_queue, retention_seconds
        )
        letters = DeadLetters(table, settings.control_queue, retention_seconds, self._count)
        self._steps: dict[str, Callable[[Effort], int]] = {
            JOBS_RESCUED: self._rescue_and_sample,
            JOBS_MOVED: Relief(table, registry).relieve_all,
            JOBS_RESENT: self._rescue.resend_all,
            JOBS_BURIED: partial(letters.bury_all, settings.dead_letter_queue),
            EVENTS_RETURNED: partial(letters.return_all, settings.events_dead_letter_queue),
        }

    def handle(self, event: Any, context: Any) -> dict[str, int]:
        """Run all steps; how many jobs or events each has settled, by its metric.

        Raises RuntimeError at the end when something failed, which the log has.
        """
        effort = Effort()
        done = {name: effort.each(lambda step: step(effort), [step]) for name, step in self._steps.items()}
        for name, count in done.items():
            self._count(name, count)
        self._metrics.flush_metrics()
        logger.info("reconciled", extra=done)
        if effort.failures:
            raise RuntimeError(
                f"{len(effort.failures)} steps or jobs failed: see the log; the next run tries them again"
            )
        return done

    def _rescue_and_sample(self, effort: Effort) -> int:
        """Rescue jobs, which measures the queues, and keep a sample of them; how many jobs."""
        rescued = self._rescue.rescue_all(effort)
        effort.tried(self._history.keep, self._registry.queues(fresh=True))
        return rescued

    def _count(self, metric: str, count: int = 1) -> None:
        self._metrics.add_metric(metric, MetricUnit.Count, count)


def build(settings: ReconcileSettings) -> Callable[[Any, Any], dict[str, int]]:
    """The Lambda handler."""
    return Reconciler(settings).handle


handler = compose(build, ReconcileSettings)
