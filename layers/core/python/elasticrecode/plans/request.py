"""Requests for plans, and for jobs that carry plans out, with their readers."""

from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from elasticrecode import ids
from elasticrecode.access.prefixes import UNRESTRICTED, Prefixes
from elasticrecode.contract.settings import Prices
from elasticrecode.errors import Fault, Invalid, Refused
from elasticrecode.jobs.formats import FORMATS, ObjectURI, PrefixURI, Priority, UserID
from elasticrecode.jobs.job import Budget, Job, Limits, PlanReference, dollars_of
from elasticrecode.jobs.requests import (
    FREE,
    JobRequest,
    budget_faults,
    job_faults,
    output_faults,
    prefix_faults,
    price_of,
    read_jobs,
)
from elasticrecode.media.presets import BUILT_IN, ProfileBody, Profiles
from elasticrecode.media.profiles import resolve
from elasticrecode.plans.plan import Plan, planned_profile
from elasticrecode.validation import Body, Reader

PlanID = Annotated[str, Meta(min_length=1, max_length=128)]
FindPlan = Callable[[str], Plan | None]
"""Finds a plan by its id; None where there is none."""


class PlannedRequest(Struct, forbid_unknown_fields=True):
    """One transcode by a plan, which has its input and its profile.

    `input`, where given, must be the plan's. Without `output`, `priority` or `budget` the job has those of the plan.
    """

    userid: UserID
    plan: PlanID
    input: ObjectURI | UnsetType = UNSET
    output: PrefixURI | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    budget: Limits | UnsetType = UNSET


_job = Reader(JobRequest, FORMATS)
_planned = Reader(PlannedRequest, FORMATS)


def read_submission(
    text: bytes,
    presets: Profiles = BUILT_IN,
    prefixes: Prefixes = UNRESTRICTED,
    *,
    prices: Prices = FREE,
    find_plan: FindPlan = lambda _: None,
) -> list[Job]:
    """The resolved jobs of a `POST /v1/jobs` body: those of `read_jobs`, or the one that carries a plan out.

    Raises Malformed, Invalid, and Refused where the plan has not finished.
    """
    if b'"plan"' in text and "plan" in (body := Body(text)).fields:
        return [_read_planned(body, prefixes, prices, find_plan)]
    return read_jobs(text, presets, prefixes, prices=prices)


def read_plan(
    text: bytes, presets: Profiles = BUILT_IN, prefixes: Prefixes = UNRESTRICTED, *, prices: Prices = FREE
) -> list[Job]:
    """The one job of kind `plan` of a `POST /v1/plans` body, with a new id. Raises Malformed or Invalid."""
    body = ProfileBody(text, presets)
    given = [("/input", body.fields.get("input"))]
    request = _job.read(body, [*job_faults(body, given, prefixes), *_unplannable(body)])
    profile = resolve(request.profile)
    return [
        Job(
            userid=request.userid,
            jobid=ids.plan_id(ids.new()),
            input=request.input,
            output=request.output,
            priority=request.priority,
            profile=profile,
            planning=True,
            budget=request.budget,
            price=price_of(profile, prices),
        )
    ]


def _unplannable(body: Body) -> Iterator[Fault]:
    """Faults of a job that no worker can plan."""
    profile = body.part("profile") or {}
    if "audio" in profile and not {"ffmpeg", "package"} & profile.keys():
        yield Fault("/profile/audio", "has no plan alone: plans are for pictures")
    if body.fields.get("batchInputs"):
        yield Fault("/batchInputs", "has no plan: plan one input at a time")
    for part in ("ffmpeg", "ec2"):
        if (body.part("profile", part) or {}).get("platform") == "gpu":
            yield Fault(f"/profile/{part}/platform", "must be cpu for a plan: probes are encoded on cpu workers")


def _read_planned(body: Body, prefixes: Prefixes, prices: Prices, find_plan: FindPlan) -> Job:
    """The job that carries out the plan that a body names. Raises Invalid or Refused."""
    beside = [
        Fault(f"/{name}", f"does not go with plan, which has its own {own}")
        for name, own in (("profile", "profile"), ("batchInputs", "input"))
        if name in body.fields
    ]
    request = _planned.read(body, [*beside, *budget_faults(body)])
    plan = find_plan(request.plan)
    if not plan or plan.job.userid != request.userid:
        raise Refused(f"There is no plan {request.plan} of this user, or its retention has ended.")
    if not plan.planned:
        failure = plan.record.error
        reason = f": {failure.message}" if failure else ""
        raise Refused(f"The plan is {plan.record.state}{reason}. Only a finished plan can be carried out.")
    job = structs.replace(
        plan.job,
        jobid=ids.new(),
        output=request.output or plan.job.output,
        priority=plan.job.priority if request.priority is UNSET else request.priority,
        profile=planned_profile(plan.job.profile, plan.planned),
        planning=UNSET,
        plan=PlanReference(request.plan, plan.planned.basis.etag),
        budget=request.budget or plan.job.budget,
        price=price_of(plan.job.profile, prices),
    )
    faults = list(_over_budget(job, plan.planned.seconds))
    if request.input not in (UNSET, job.input):
        faults.append(Fault("/input", f"must be that of the plan, {job.input}"))
    asked_for = Body(msgspec.json.encode(job))
    inputs = [("/plan", job.input)]
    faults += [*output_faults(asked_for, inputs), *prefix_faults(asked_for, inputs, prefixes)]
    if faults:
        raise Invalid(faults)
    return job if job.budget else structs.replace(job, price=UNSET)


def _over_budget(job: Job, seconds: float) -> Iterator[Fault]:
    """Faults of a budget that is less than a plan says."""
    budget, dollars = job.budget or Budget(), dollars_of(seconds, job.price or 0.0)
    if budget.seconds and budget.seconds < seconds:
        yield Fault("/budget/seconds", f"is {budget.seconds:g}, and the plan says {seconds:g}")
    if budget.dollars and budget.dollars < dollars:
        yield Fault("/budget/dollars", f"is {budget.dollars:g}, and the plan says {dollars:g}")
