"""Submission: what POST /v1/jobs, /v1/vmaf and /v1/batches share."""

from collections.abc import Callable, Collection
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import structs

from elasticrecode.access.callers import Caller
from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.api import idempotency
from elasticrecode.api.http import Request
from elasticrecode.api.idempotency import Keys, KeyUse, with_key
from elasticrecode.clock import now_ms
from elasticrecode.contract.settings import SubmitSettings
from elasticrecode.errors import Invalid
from elasticrecode.jobs.answers import Outcome
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.keys import Sealer
from elasticrecode.jobs.placement import wanted
from elasticrecode.jobs.preset_store import Presets
from elasticrecode.jobs.requests import BODY_LIMIT
from elasticrecode.jobs.store import JobsTable
from elasticrecode.media.presets import POINTER, Profiles
from elasticrecode.media.profiles import Profile
from elasticrecode.validation import Body
from elasticrecode.workers.registry import Registry

T = TypeVar("T")
Read = Callable[[bytes, Profiles, Prefixes], T]
"""Reads a body, given the presets that it may name and the prefixes of users. Raises Malformed or Invalid."""

_DAY_SECONDS = 86_400


class Steps(NamedTuple, Generic[T]):
    """The steps that differ between submissions.

    `owner` returns the user and the profile, `with_profile` the submission with another profile, `with_key` the same
    submission with the ids that follow from an Idempotency-Key. `store` stores it and returns the ids of the jobs that
    could not be stored; its second argument is True when an earlier run did not finish.
    """

    owner: Callable[[T], tuple[str, Profile]]
    with_profile: Callable[[T, Profile], T]
    with_key: Callable[[T, str, KeyUse], T]
    store: Callable[[T, bool], Collection[str]]


class Intake:
    """Reads submissions and stores what they ask for, once for each Idempotency-Key."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._presets = Presets(settings.registry_table, settings.presets)
        self._prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))
        self._sealer = Sealer(settings.sealing_key)
        self._keys = Keys(settings.jobs_table, settings.idempotency_days * _DAY_SECONDS)

    def take(self, request: Request, read: Read[T], steps: Steps[T]) -> tuple[T, set[str]]:
        """The submission, stored, and the ids of the jobs that could not be stored.

        Raises Malformed, Invalid, TooLarge, Forbidden, KeyReused or Busy, when nothing was stored, and Unavailable or
        Refused.
        """
        key = request.headers.get("idempotency-key")
        checked = key if key is None else idempotency.checked(key)
        body = request.body(BODY_LIMIT)
        if checked is None:
            submission = self._sealed(request.caller, read(body, self._presets, self._prefixes), steps)
            return submission, set(steps.store(submission, False))
        text = request.path.encode() + body
        submission = self._sealed(request.caller, self._read(request.caller, body, read, checked, text), steps)
        user_id, profile = steps.owner(submission)
        use = self._keys.begin(user_id, checked, text, profile)
        submission = steps.with_key(submission, checked, use)
        if use.refused is not None:
            return submission, use.refused
        try:
            refused = set(steps.store(submission, use.again))
        except Exception:
            self._keys.release(user_id, checked)
            raise
        self._keys.finish(user_id, checked, refused)
        return submission, refused

    def _sealed(self, caller: Caller, submission: T, steps: Steps[T]) -> T:
        """The submission with its key sealed, before anything is stored of it."""
        user_id, profile = steps.owner(submission)
        caller.act_for(user_id)
        return steps.with_profile(submission, self._sealer.sealed(profile, user_id, caller))

    def _read(self, caller: Caller, body: bytes, read: Read[T], key: str, text: bytes) -> T:
        """The submission; where its preset is gone or changed, with the profile of the key's first use."""
        try:
            return read(body, self._presets, self._prefixes)
        except Invalid as error:
            if any(fault.pointer != POINTER for fault in error.faults):
                raise
            fields = Body(body).fields
            caller.act_for(fields["userid"])
            profile = self._keys.profile(fields["userid"], key, text)
            if profile is None:
                raise
            return read(body, {fields["profile"]["preset"]: msgspec.to_builtins(profile)}, self._prefixes)


class Submission(NamedTuple):
    """Submitted jobs, and the ids of those that could not be stored."""

    jobs: list[Job]
    refused: set[str]

    def outcome(self, job: Job) -> Outcome:
        """The outcome of one of the jobs."""
        return Outcome("JobSummit", "failed" if job.jobid in self.refused else "success")


class JobsIntake:
    """Chooses queues for submitted jobs and stores them. The table's stream hands them to `dispatch`."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._intake = Intake(settings)
        self._registry = Registry(settings.registry_table, settings.queues, settings.first_generation)
        self._retention_seconds = settings.retention_days * _DAY_SECONDS
        self._table = JobsTable(settings.jobs_table)
        self._steps = Steps[list[Job]](
            lambda jobs: (jobs[0].userid, jobs[0].profile),
            lambda jobs, profile: [structs.replace(job, profile=profile) for job in jobs],
            with_key,
            self._store,
        )

    def take(self, request: Request, read: Read[list[Job]]) -> Submission:
        """The jobs of a request, stored. Raises what `Intake.take` raises."""
        return Submission(*self._intake.take(request, read, self._steps))

    def _store(self, jobs: list[Job], again: bool) -> set[str]:
        """Store the jobs, each with its queue; the ids of those that could not be stored."""
        choices = self._registry.choose([wanted(job) for job in jobs])
        now = now_ms()
        accepted = [Accepted(job, choice, now) for job, choice in zip(jobs, choices, strict=True)]
        return self._table.accept(accepted, self._retention_seconds, again=again)
