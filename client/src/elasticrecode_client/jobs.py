"""The methods of both clients for jobs, plans, scores and batches, one for each route of the API.

On `Client` a method returns what its `Call` names, on `AsyncClient` it is a coroutine of that; lists are iterators that
read page after page. `user_id` is by default the client's own user. Every method raises a Problem where the API
refuses, ConnectionFailed where no answer comes, and SignInFailed where no token can be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NoReturn

from elasticrecode_client.calls import ME, Call, Listing, Method
from elasticrecode_client.problems import Unavailable
from elasticrecode_client.states import State
from elasticrecode_client.types import (
    BatchRecord,
    BatchTaken,
    Budget,
    Event,
    JobRecord,
    Links,
    Overview,
    PartRecord,
    PlanRecord,
    PlanTaken,
    Profile,
    Retried,
    SubmittedJob,
    SubmittedScore,
)


class Jobs:
    """The routes of jobs, plans, scores and batches."""

    # Jobs

    @Method
    def submit(
        self,
        input: str,  # noqa: A002
        output: str,
        profile: Profile | str,
        *,
        priority: int | None = None,
        budget: Budget | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> Call[SubmittedJob]:
        """Submit one job: transcode or package `input`, an `s3://` URI, into the prefix `output`.

        `profile` is a profile, or the name of a preset. `priority` is 0 to 100. `key` is the Idempotency-Key, by
        default a new one for each call. Raises Invalid with every fault of the request.
        """
        body = {"userid": user_id or ME, "input": input, "output": output, "profile": _profile(profile)}
        return Call("POST /v1/jobs", body={**body, "priority": priority, "budget": budget}, key=key, read=_one_stored)

    @Method
    def submit_many(
        self,
        inputs: Iterable[str],
        output: str,
        profile: Profile | str,
        *,
        priority: int | None = None,
        budget: Budget | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> Call[list[SubmittedJob]]:
        """Submit up to 1,000 jobs with one profile. A job whose `status` has `status` `failed` was not stored."""
        body = {"userid": user_id or ME, "batchInputs": list(inputs), "output": output, "profile": _profile(profile)}
        return Call("POST /v1/jobs", body={**body, "priority": priority, "budget": budget}, key=key)

    @Method
    def carry_out(
        self,
        plan_id: str,
        *,
        output: str | None = None,
        priority: int | None = None,
        budget: Budget | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> Call[SubmittedJob]:
        """Submit the job of a finished plan. Raises Conflict for a plan that has not finished."""
        body = {"userid": user_id or ME, "plan": plan_id, "output": output, "priority": priority, "budget": budget}
        return Call("POST /v1/jobs", body=body, key=key, read=_one_stored)

    @Method
    def score(
        self,
        input: str,  # noqa: A002
        origin: str,
        output: str,
        profile: Profile | str,
        *,
        priority: int | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> Call[SubmittedScore]:
        """Submit one quality score of `input` against `origin`."""
        body = {"userid": user_id or ME, "input": input, "origin": origin, "output": output, "priority": priority}
        return Call("POST /v1/vmaf", body={**body, "profile": _profile(profile)}, key=key, read=_stored)

    @Method
    def submit_plan(
        self,
        input: str,  # noqa: A002
        output: str,
        profile: Profile | str,
        *,
        priority: int | None = None,
        budget: Budget | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> Call[PlanTaken]:
        """Submit the plan of a job: what the job would make and cost."""
        body = {"userid": user_id or ME, "input": input, "output": output, "profile": _profile(profile)}
        return Call("POST /v1/plans", body={**body, "priority": priority, "budget": budget}, key=key)

    @Method
    def plan(self, plan_id: str) -> Call[PlanRecord]:
        """A plan as it stands. `wait_for_plan` returns it once it has ended."""
        return Call("GET /v1/plans/{planID}", path={"planID": plan_id})

    @Method
    def job(self, job_id: str) -> Call[JobRecord]:
        """The record of a job."""
        return Call("GET /v1/jobs/{jobID}/status", path={"jobID": job_id})

    @Listing
    def jobs(
        self,
        *,
        user_id: str | None = None,
        state: State | None = None,
        kind: str | None = None,
        batch_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        text: str | None = None,
        code: str | None = None,
        order: Literal["newest", "oldest"] | None = None,
        limit: int | None = None,
    ) -> Call[list[JobRecord]]:
        """The records of the jobs that match every filter, newest first. `limit` is the size of a page, 1 to 1000."""
        query = {"userID": user_id or ME, "state": state, "kind": kind, "batchID": batch_id, "text": text, "code": code}
        times = {"since": _time(since), "until": _time(until)}
        return Call("GET /v1/jobs", query={**query, **times, "order": order, "limit": limit})

    @Listing
    def job_events(self, job_id: str, *, limit: int | None = None) -> Call[list[Event]]:
        """The events of a job, oldest first."""
        return Call("GET /v1/jobs/{jobID}", path={"jobID": job_id}, query={"limit": limit})

    @Listing
    def user_events(self, user_id: str | None = None, *, limit: int | None = None) -> Call[list[Event]]:
        """The events of all jobs of a user."""
        return Call("GET /v1/{userID}/jobs", path={"userID": user_id or ME}, query={"limit": limit})

    @Listing
    def user_logs(self, user_id: str | None = None, *, limit: int | None = None) -> Call[list[Event]]:
        """The same under the first generation's other path."""
        return Call("GET /v1/logs/{userID}", path={"userID": user_id or ME}, query={"limit": limit})

    @Method
    def parts(self, job_id: str) -> Call[list[PartRecord]]:
        """The parts of a divided job, by their number; empty for a job without parts."""
        return Call("GET /v1/jobs/{jobID}/parts", path={"jobID": job_id})

    @Method
    def links(self, job_id: str) -> Call[Links]:
        """Links of S3, for 15 minutes, to the input and outputs of a job. Whoever has a link can read that file."""
        return Call("GET /v1/jobs/{jobID}/links", path={"jobID": job_id})

    @Method
    def package_links(self, job_id: str, uris: Iterable[str]) -> Call[Links]:
        """The same for up to 200 files of the job's packages."""
        return Call("POST /v1/jobs/{jobID}/links", path={"jobID": job_id}, body={"uris": list(uris)})

    @Method
    def overview(self, user_id: str | None = None, *, everyone: bool = False) -> Call[Overview]:
        """How many jobs of a user are in each state; with `everyone` those of all users, for operators."""
        return Call("GET /v1/overview", query={} if everyone else {"userID": user_id or ME})

    @Method
    def cancel(self, job_id: str) -> Call[JobRecord]:
        """Cancel a job, or a plan. Raises Conflict where it has ended."""
        return Call("DELETE /v1/jobs/{jobID}", path={"jobID": job_id})

    @Method
    def retry(self, job_id: str) -> Call[JobRecord]:
        """Run a failed or cancelled job again. Raises Conflict for others."""
        return Call("POST /v1/jobs/{jobID}/retry", path={"jobID": job_id})

    @Method
    def retry_failed(self, *, batch_id: str | None = None, user_id: str | None = None) -> Call[Retried]:
        """Run some hundreds of the failed jobs of a user, or batch, again: repeat it while the answer has `more`."""
        return Call("POST /v1/jobs/retry", body={"userID": user_id or ME, "batchID": batch_id})

    # Batches

    @Method
    def submit_batch(
        self,
        output: str,
        profile: Profile | str,
        *,
        inputs: Iterable[str] | None = None,
        manifest: str | None = None,
        prefix: str | None = None,
        suffixes: Iterable[str] | None = None,
        priority: int | None = None,
        user_id: str | None = None,
        key: str | None = None,
    ) -> Call[BatchTaken]:
        """Submit up to a million jobs by one of `inputs`, `manifest` and `prefix`, the last with `suffixes`."""
        body = {"userid": user_id or ME, "output": output, "profile": _profile(profile), "priority": priority}
        source = {"inputs": _listed(inputs), "manifest": manifest, "prefix": prefix, "suffixes": _listed(suffixes)}
        return Call("POST /v1/batches", body={**body, **source}, key=key)

    @Method
    def batch(self, batch_id: str) -> Call[BatchRecord]:
        """A batch: its state, counts, progress and failures."""
        return Call("GET /v1/batches/{batchID}", path={"batchID": batch_id})

    @Listing
    def batches(self, user_id: str | None = None, *, limit: int | None = None) -> Call[list[BatchRecord]]:
        """The batches of a user, newest first."""
        return Call("GET /v1/batches", query={"userID": user_id or ME, "limit": limit})

    @Method
    def cancel_batch(self, batch_id: str) -> Call[BatchRecord]:
        """Cancel every job of a batch that has not ended. Raises Conflict where the batch has ended."""
        return Call("DELETE /v1/batches/{batchID}", path={"batchID": batch_id})


def _profile(profile: Profile | str) -> Mapping[str, Any]:
    return {"preset": profile} if isinstance(profile, str) else profile


def _listed(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.3f}"


def _one_stored(jobs: list[SubmittedJob]) -> SubmittedJob:
    """The only job of an answer. Raises Unavailable where it could not be stored."""
    return jobs[0] if jobs[0]["status"]["status"] != "failed" else _not_stored()


def _stored(score: SubmittedScore) -> SubmittedScore:
    return score if score["status"]["status"] != "failed" else _not_stored()


def _not_stored() -> NoReturn:
    raise Unavailable(503, "Unavailable", "the job could not be stored; submit it again.")
