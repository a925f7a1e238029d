"""Taking jobs in: the part that POST /v1/jobs and POST /v1/vmaf share."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from elasticrecode import idempotency, routing
from elasticrecode.http import Request
from elasticrecode.idempotency import Keys
from elasticrecode.jobs import BODY_LIMIT, Identify, Job
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
        self._queues = settings.queues
        self._retention_seconds = settings.retention_days * _DAY_SECONDS
        self._table = JobsTable(settings.jobs_table)
        self._keys = Keys(settings.jobs_table, settings.idempotency_days * _DAY_SECONDS)

    def take(self, request: Request, read: Callable[[bytes, Identify], list[Job]]) -> Taken:
        """The jobs of a request, stored. Any Problem means that nothing was."""
        body = request.body(BODY_LIMIT)
        if "idempotency-key" not in request.headers:
            jobs = read(body, _random_ids)
            return Taken(jobs, self._accept(jobs))
        key = idempotency.checked(request.headers["idempotency-key"])
        jobs = read(body, idempotency.job_ids(key))
        user_id = jobs[0].userid
        begun = self._keys.begin(user_id, key, request.path.encode() + body)
        if begun.refused is not None:
            return Taken(jobs, begun.refused)
        try:
            refused = self._accept(jobs, again=begun.again)
        except Exception:
            self._keys.forget(user_id, key)
            raise
        self._keys.finish(user_id, key, refused)
        return Taken(jobs, refused)

    def _accept(self, jobs: list[Job], *, again: bool = False) -> set[str]:
        now = time.time_ns() // 1_000_000
        accepted = [Accepted(job, routing.choose(job, self._queues), now) for job in jobs]
        return self._table.accept(accepted, self._retention_seconds, again=again)


def _random_ids(_: str) -> Iterator[str]:
    return iter(lambda: str(uuid.uuid4()), None)
