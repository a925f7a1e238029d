"""Taking jobs in: the part that POST /v1/jobs and POST /v1/vmaf share."""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from elasticrecode import idempotency
from elasticrecode.errors import Invalid
from elasticrecode.http import Request
from elasticrecode.idempotency import Keys
from elasticrecode.jobs import BODY_LIMIT, Job
from elasticrecode.presets import POINTER, Profiles
from elasticrecode.registry import Presets, Registry
from elasticrecode.routing import wanted
from elasticrecode.settings import SubmitSettings
from elasticrecode.table import Accepted, JobsTable
from elasticrecode.validation import Body

Read = Callable[[bytes, Profiles], list[Job]]
"""Reads a body with the presets that it may name. Malformed or Invalid."""

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
        self._presets = Presets(settings.registry_table, settings.presets)
        self._retention_seconds = settings.retention_days * _DAY_SECONDS
        self._table = JobsTable(settings.jobs_table)
        self._keys = Keys(settings.jobs_table, settings.idempotency_days * _DAY_SECONDS)

    def take(self, request: Request, read: Read) -> Taken:
        """The jobs of a request, stored. A Problem means that nothing was, or that it is not known."""
        key = request.headers.get("idempotency-key")
        checked = key if key is None else idempotency.checked(key)
        body = request.body(BODY_LIMIT)
        if checked is None:
            jobs = read(body, self._presets)
            return Taken(jobs, self._accept(jobs))
        asked = request.path.encode() + body
        jobs = self._read(body, read, checked, asked)
        user_id = jobs[0].userid
        begun = self._keys.begin(user_id, checked, asked, jobs[0].profile)
        jobs = idempotency.identified(jobs, checked, begun)
        if begun.refused is not None:
            return Taken(jobs, begun.refused)
        try:
            refused = self._accept(jobs, again=begun.again)
        except Exception:
            self._keys.release(user_id, checked)
            raise
        self._keys.finish(user_id, checked, refused)
        return Taken(jobs, refused)

    def _read(self, body: bytes, read: Read, key: str, asked: bytes) -> list[Job]:
        """The jobs of a request, with the preset as it was when the key came first, should it be gone since."""
        try:
            return read(body, self._presets)
        except Invalid as error:
            if any(fault.pointer != POINTER for fault in error.faults):
                raise
            fields = Body(body).fields
            kept = self._keys.profile(fields["userid"], key, asked)
            if kept is None:
                raise
            return read(body, {fields["profile"]["preset"]: msgspec.to_builtins(kept)})

    def _accept(self, jobs: list[Job], *, again: bool = False) -> set[str]:
        choices = self._registry.choose([wanted(job) for job in jobs])
        now = time.time_ns() // 1_000_000
        accepted = [Accepted(job, choice, now) for job, choice in zip(jobs, choices, strict=True)]
        return self._table.accept(accepted, self._retention_seconds, again=again)
