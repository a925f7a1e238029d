"""Taking in what requests ask for: the part that POST /v1/jobs, /v1/vmaf and /v1/batches share."""

import time
from collections.abc import Callable, Collection
from typing import Generic, NamedTuple, TypeVar

import msgspec

from elasticrecode.access.callers import Caller
from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.api import idempotency
from elasticrecode.api.http import Request
from elasticrecode.api.idempotency import Begun, Keys, identified
from elasticrecode.contract.settings import SubmitSettings
from elasticrecode.errors import Invalid
from elasticrecode.jobs.answers import Outcome
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import wanted
from elasticrecode.jobs.preset_store import Presets
from elasticrecode.jobs.requests import BODY_LIMIT
from elasticrecode.jobs.store import Accepted, JobsTable
from elasticrecode.media.presets import POINTER, Profiles
from elasticrecode.media.profiles import Profile
from elasticrecode.validation import Body
from elasticrecode.workers.registry import Registry

T = TypeVar("T")
Read = Callable[[bytes, Profiles, Prefixes], T]
"""Reads a body with the presets that it may name, and what users may read and write. Malformed or Invalid."""

_DAY_SECONDS = 86_400


class Way(NamedTuple, Generic[T]):
    """What becomes of a request: whose it is and with what profile, its names under a key, and making it.

    `make` answers with the ids of what could not be stored; it is told whether an earlier try was cut off.
    """

    owner: Callable[[T], tuple[str, Profile]]
    named: Callable[[T, str, Begun], T]
    make: Callable[[T, bool], Collection[str]]


class Intake:
    """Reads requests, whose profile may be a preset, and makes what they ask for, once for each Idempotency-Key."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._presets = Presets(settings.registry_table, settings.presets)
        self._prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))
        self._keys = Keys(settings.jobs_table, settings.idempotency_days * _DAY_SECONDS)

    def take(self, request: Request, read: Read[T], way: Way[T]) -> tuple[T, set[str]]:
        """What was asked for, made, and the ids of what could not be stored.

        A Problem means that nothing was made, or that it is not known.
        """
        key = request.headers.get("idempotency-key")
        checked = key if key is None else idempotency.checked(key)
        body = request.body(BODY_LIMIT)
        if checked is None:
            asked = read(body, self._presets, self._prefixes)
            request.caller.act_for(way.owner(asked)[0])
            return asked, set(way.make(asked, False))
        text = request.path.encode() + body
        asked = self._read(request.caller, body, read, checked, text)
        user_id, profile = way.owner(asked)
        request.caller.act_for(user_id)
        begun = self._keys.begin(user_id, checked, text, profile)
        asked = way.named(asked, checked, begun)
        if begun.refused is not None:
            return asked, begun.refused
        try:
            refused = set(way.make(asked, begun.again))
        except Exception:
            self._keys.release(user_id, checked)
            raise
        self._keys.finish(user_id, checked, refused)
        return asked, refused

    def _read(self, caller: Caller, body: bytes, read: Read[T], key: str, text: bytes) -> T:
        """What a request asks for, with the preset as it was when the key came first, should it be gone since."""
        try:
            return read(body, self._presets, self._prefixes)
        except Invalid as error:
            if any(fault.pointer != POINTER for fault in error.faults):
                raise
            fields = Body(body).fields
            caller.act_for(fields["userid"])
            kept = self._keys.profile(fields["userid"], key, text)
            if kept is None:
                raise
            return read(body, {fields["profile"]["preset"]: msgspec.to_builtins(kept)}, self._prefixes)


class Taken(NamedTuple):
    """What a request asked for, and the ids of those jobs that could not be stored."""

    jobs: list[Job]
    refused: set[str]

    def outcome(self, job: Job) -> Outcome:
        """What became of one of them."""
        return Outcome("JobSummit", "failed" if job.jobid in self.refused else "success")


class JobsIntake:
    """Chooses queues and stores jobs. The table's stream hands them to `dispatch`, so nothing is sent here."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._intake = Intake(settings)
        self._registry = Registry(settings.registry_table, settings.queues)
        self._retention_seconds = settings.retention_days * _DAY_SECONDS
        self._table = JobsTable(settings.jobs_table)
        self._way = Way[list[Job]](lambda jobs: (jobs[0].userid, jobs[0].profile), identified, self._accept)

    def take(self, request: Request, read: Read[list[Job]]) -> Taken:
        """The jobs of a request, stored. A Problem means that nothing was, or that it is not known."""
        return Taken(*self._intake.take(request, read, self._way))

    def _accept(self, jobs: list[Job], again: bool) -> set[str]:
        choices = self._registry.choose([wanted(job) for job in jobs])
        now = time.time_ns() // 1_000_000
        accepted = [Accepted(job, choice, now) for job, choice in zip(jobs, choices, strict=True)]
        return self._table.accept(accepted, self._retention_seconds, again=again)
