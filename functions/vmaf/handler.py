"""POST /v1/vmaf: submit one quality score."""

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


class SubmitScore:
    """The route that submits quality scores."""

    def __init__(self, settings: SubmitSettings) -> None:
        self._intake = JobsIntake(settings)

    def submit(self, request: http.Request) -> http.Response:
        """Store the job of a request; the answer has its profile resolved."""
        submission = self._intake.take(request, read_vmaf)
        logger.info("score submitted", extra={"jobs": 1, "refused": len(submission.refused)})
        (job,) = submission.jobs
        return http.Response(SubmittedScore(**asdict(job), status=submission.outcome(job)))


def build(settings: SubmitSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    return http.handler({SUBMIT_VMAF: SubmitScore(settings).submit}, settings, Rates(settings.rate).count)


handler = compose(build, SubmitSettings)
