"""The budget of a job: what its workers have spent, and the end of the job before that passes the budget."""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Self

from elasticrecode.clock import now_ms
from elasticrecode.jobs.claims import Claim
from elasticrecode.jobs.job import Job, budget_seconds
from elasticrecode.parts.part import StoredPart
from worker.errors import PermanentError
from worker.lease import RENEWALS, Lease
from worker.sandbox.runner import Runner

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 0.5
"""What stopping the programs of this worker takes at most."""


class Spending:
    """The seconds that workers spend on a job, as a context manager that stops `runner` before they pass its budget.

    They are those of earlier attempts, as the record has them, of this worker in this attempt, and of other workers in
    parts of the job. A job without a budget is not watched.
    """

    def __init__(self, job: Job, claim: Claim, worker: str, lease_seconds: float, lease: Lease, runner: Runner) -> None:
        """`worker` is this worker's name."""
        self._limit, self._worker, self._lease, self._runner = budget_seconds(job), worker, lease, runner
        self._before, self._started = claim.spent_ms / 1000, monotonic()
        self._notice = lease_seconds / RENEWALS + 1.0
        self._counted: float | None = None if claim.division else 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="budget", daemon=True)
        self.parts: Callable[[], Sequence[StoredPart]] = list
        """The parts of the job, as last read."""

    def __enter__(self) -> Self:
        if self._limit is not None:
            self._lease.spent = self.seconds
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._limit is not None:
            self._thread.join()

    def seconds(self) -> float:
        """The seconds that all workers have spent on the job."""
        return self._before + monotonic() - self._started + self._by_others()

    def _by_others(self) -> float:
        """The seconds of other workers in parts of the job, without those that earlier attempts have counted."""
        now = now_ms()
        parts = [each for each in self.parts() if each.started_ms is not None and each.worker != self._worker]
        spent = sum(
            ((each.ended_ms or now) - (each.started_ms or now)) / 1000 for each in parts if not each.is_lost(now)
        )
        if self._counted is None:
            if not parts:
                return 0.0
            self._counted = spent
        return max(0.0, spent - self._counted)

    def _watch(self) -> None:
        """Stop the job early enough: each other worker goes on until it notices the end."""
        while self._limit is not None and not self._ended.wait(_LOOK_SECONDS):
            now = now_ms()
            others = sum(each.is_held(now) and each.worker != self._worker for each in self.parts())
            if self.seconds() + _STOP_SECONDS + others * self._notice >= self._limit:
                message = (
                    f"The job was stopped after {self.seconds():.1f} s of its workers, before it passes its budget"
                )
                self._runner.stop(PermanentError("budget-exceeded", f"{message} of {self._limit:g} s."))
                return
