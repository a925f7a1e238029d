"""POST /v1/plans: have a worker find out what a job would make and cost; GET /v1/plans/{planID}: its answer."""

from functools import partial

from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.intake import JobsIntake
from elasticrecode.contract.routes import PLAN, SUBMIT_PLAN
from elasticrecode.contract.settings import SubmitSettings
from elasticrecode.errors import NotFound, Unavailable
from elasticrecode.log import logger
from elasticrecode.plans.plan import PlanTaken
from elasticrecode.plans.request import read_plan
from elasticrecode.plans.store import Plans
from elasticrecode.runtime import compose


class PlanHandler:
    """Answers the requests about plans."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._intake = JobsIntake(settings)
        self._plans = Plans(settings.jobs_table)
        self._read = partial(read_plan, prices=settings.prices)

    def submit(self, request: http.Request) -> http.Response:
        """Store a plan, which a worker makes. Raises what `Intake.take` raises, and Unavailable if it is not stored."""
        (job,), _ = self._intake.take(request, self._read)
        plan = self._plans.get(job.jobid)
        if not plan:
            raise Unavailable("The plan could not be stored; repeat the request.")
        logger.info("plan submitted", extra={"plan": job.jobid})
        return http.Response(PlanTaken(job.jobid, plan.record.state), 202)

    def show(self, request: http.Request) -> http.Response:
        """A plan's record. Raises NotFound unless the caller is its user or an operator."""
        plan_id = request.parameters["planID"]
        plan = self._plans.get(plan_id)
        if not plan or not request.caller.may_act_for(plan.job.userid):
            raise NotFound(f"There is no plan {plan_id}, or its retention has ended.")
        return http.Response(plan.record)


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    plans = PlanHandler(settings)
    return http.handler({SUBMIT_PLAN: plans.submit, PLAN: plans.show}, settings, Rates(settings.rate).count)


handler = compose(build, SubmitSettings)
