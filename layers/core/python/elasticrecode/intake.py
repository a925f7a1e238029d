"""Taking jobs in: the part that POST /v1/jobs and POST /v1/vmaf share."""

import time
from collections.abc import Callable
from typing import NamedTuple

from elasticrecode import idempotency
from elasticrecode.http import Request
from elasticrecode.idempotency import Begun, Keys
from elasticrecode.jobs import BODY_LIMIT, Job
from elasticrecode.registry import Registry
from elasticrecode.routing import wanted
from elasticrecode.settings import SubmitSettings
from elasticrecode.table import Accepted, JobsTable

_DAY_SECONDS = 86_400


class Taken(NamedTuple):
    """What a request asked for, and the ids of those jobs that could not be stored."""

    jobs: list[Job]
    refused: set[str]

    def status(self, job: Job) -> dict[str, str]:
        """How the contract says what became of a job that was submitted."""
        return {"event": "JobSummit", "status": "failed" if job.jobid in self.refused else "success"}


class Intake:
    """Checks a request, chooses queues and stores the jobs, once for each Idempotency-Key.

    The table's stream hands what is stored to `dispatch`, so nothing is sent here.
    """

    def __init__(self, settings: SubmitSettings) -> None:
        self._registry = Registry(settings.registry_table, settings.queues)
        self._retention_seconds = settings.retention_days * _DAY_SECONDS
        self._table = JobsTable(settings.jobs_table)
        self._keys = Keys(settings.jobs_table, settings.idempotency_days * _DAY_SECONDS)

    def take(self, request: Request, read: Callable[[bytes], list[Job]]) -> Taken:
        """The jobs of a request, stored. A Problem means that nothing was, or that it is not known."""
        key = request.headers.get("idempotency-key")
        checked = key if key is None else idempotency.checked(key)
        body = request.body(BODY_LIMIT)
        jobs = read(body)
        if checked is None:
            return Taken(jobs, self._accept(jobs))

        def make(begun: Begun) -> set[str]:
            return self._accept(idempotency.identified(jobs, checked, begun.since), again=begun.again)

        begun = self._keys.once(jobs[0].userid, checked, request.path.encode() + body, make)
        return Taken(idempotency.identified(jobs, checked, begun.since), begun.refused or set())

    def _accept(self, jobs: list[Job], *, again: bool = False) -> set[str]:
        choices = self._registry.choose([wanted(job) for job in jobs])
        now = time.time_ns() // 1_000_000
        accepted = [Accepted(job, choice, now) for job, choice in zip(jobs, choices, strict=True)]
        return self._table.accept(accepted, self._retention_seconds, again=again)
