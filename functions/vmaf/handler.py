"""POST /v1/vmaf: one quality score."""

from msgspec.structs import asdict

from elasticrecode import http
from elasticrecode.intake import JobsIntake
from elasticrecode.jobs import SubmittedScore, read_vmaf
from elasticrecode.observe import logger
from elasticrecode.rates import Rates
from elasticrecode.settings import SUBMIT_VMAF, SubmitSettings, compose


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
