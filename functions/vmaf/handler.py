"""POST /v1/vmaf: one quality score."""

from msgspec.structs import asdict

from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.intake import JobsIntake
from elasticrecode.contract.routes import SUBMIT_VMAF
from elasticrecode.contract.settings import SubmitSettings
from elasticrecode.jobs.answers import SubmittedScore
from elasticrecode.jobs.requests import read_vmaf
from elasticrecode.log import logger
from elasticrecode.runtime import compose


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The handler over one table."""
    intake = JobsIntake(settings)

    def submit(request: http.Request) -> http.Response:
        taken = intake.take(request, read_vmaf)
        logger.info("taken", extra={"jobs": 1, "refused": len(taken.refused)})
        (job,) = taken.jobs
        return http.Response(SubmittedScore(**asdict(job), status=taken.outcome(job)))

    return http.handler({SUBMIT_VMAF: submit}, settings, Rates(settings.rate).count)


handler = compose(build, SubmitSettings)
