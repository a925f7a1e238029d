"""POST /v1/jobs: one transcode, or several with one profile."""

from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.intake import JobsIntake
from elasticrecode.contract.routes import SUBMIT
from elasticrecode.contract.settings import SubmitSettings
from elasticrecode.jobs.answers import SubmittedJob
from elasticrecode.jobs.requests import read_jobs
from elasticrecode.log import logger
from elasticrecode.runtime import compose


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The handler over one table."""
    intake = JobsIntake(settings)

    def submit(request: http.Request) -> http.Response:
        taken = intake.take(request, read_jobs)
        logger.info("taken", extra={"jobs": len(taken.jobs), "refused": len(taken.refused)})
        return http.Response(
            [SubmittedJob(job.userid, job.jobid, job.input, job.output, taken.outcome(job)) for job in taken.jobs]
        )

    return http.handler({SUBMIT: submit}, settings, Rates(settings.rate).count)


handler = compose(build, SubmitSettings)
