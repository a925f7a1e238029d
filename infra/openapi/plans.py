"""Operations on plans."""

from elasticrecode.contract.routes import PLAN, SUBMIT_PLAN
from elasticrecode.jobs.requests import JobRequest
from elasticrecode.plans.plan import PlanRecord, PlanTaken
from infra.openapi import examples
from infra.openapi.operation import Area, Body, Link, Operation

_LINKS = [Link(PLAN, "planID", "$response.body#/planID")]

AREA = Area(
    "Plans",
    "What a job would make and cost, before it is submitted.",
    {
        SUBMIT_PLAN: Operation(
            "submitPlan",
            "Submit a plan",
            "Submits the plan of a job, with the body of that job. A worker probes short windows of the input, and "
            "writes no outputs. `DELETE /v1/jobs/{jobID}` cancels a plan, and `POST /v1/jobs/{jobID}/retry` retries "
            "it; no list shows it.",
            {202: PlanTaken},
            (409, 503),
            body=Body((JobRequest,), {"job": examples.JOB}),
            has_key=True,
            links=_LINKS,
        ),
        PLAN: Operation(
            "showPlan",
            "Show a plan",
            "Answers a plan: its outputs with their predicted quality and bytes, the seconds that one worker needs for "
            "the job, what they cost, and what was probed. These are null until the plan has finished.",
            {200: PlanRecord},
            (503,),
            links=_LINKS,
        ),
    },
)
