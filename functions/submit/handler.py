"""POST /v1/jobs: submit one transcode, or several with one profile, or one by a plan."""

from functools import partial

from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.intake import JobsIntake
from elasticrecode.contract.routes import SUBMIT
from elasticrecode.contract.settings import SubmitSettings
from elasticrecode.jobs.answers import SubmittedJob
from elasticrecode.log import logger
from elasticrecode.plans.request import read_submission
from elasticrecode.plans.store import Plans
from elasticrecode.runtime import compose


class Submit:
    """The route that submits jobs."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._intake = JobsIntake(settings)
        self._read = partial(read_submission, prices=settings.prices, find_plan=Plans(settings.jobs_table).get)

    def submit(self, request: http.Request) -> http.Response:
        """Store the jobs of a request: an entry for each, also for those that could not be stored."""
        submission = self._intake.take(request, self._read)
        jobs, refused = submission
        logger.info("jobs submitted", extra={"jobs": len(jobs), "refused": len(refused)})
        return http.Response(
            [SubmittedJob(job.userid, job.jobid, job.input, job.output, submission.outcome(job)) for job in jobs]
        )


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    return http.handler({SUBMIT: Submit(settings).submit}, settings, Rates(settings.rate).count)


handler = compose(build, SubmitSettings)
