"""The events of a job, GET /v1/jobs/{jobID}, and of a user, GET /v1/{userID}/jobs and /v1/logs/{userID}."""

from elasticrecode import http
from elasticrecode.errors import NotFound, Refused
from elasticrecode.settings import JOB_EVENTS, USER_EVENTS, USER_LOGS, LogsSettings, compose
from elasticrecode.table import JobsTable, Page


def build(settings: LogsSettings) -> http.LambdaHandler:
    """The handler over one table."""
    table = JobsTable(settings.jobs_table)

    def job_events(request: http.Request) -> http.Response:
        job_id = request.parameters["jobID"]
        limit, after = _page(request)
        page = table.job_events(job_id, limit, after)
        if not page.events and not table.record(job_id):
            raise NotFound(f"There is no job {job_id}, or its time of retention has passed.")
        return _answer(request, page)

    def user_events(request: http.Request) -> http.Response:
        limit, after = _page(request)
        return _answer(request, table.user_events(request.parameters["userID"], limit, after))

    def _page(request: http.Request) -> tuple[int, str]:
        if not settings.job_logs:
            raise Refused("This deployment keeps no job logs: its option jobLogs is off.")
        return request.page()

    return http.handler({JOB_EVENTS: job_events, USER_EVENTS: user_events, USER_LOGS: user_events}, cors=settings.cors)


def _answer(request: http.Request, page: Page) -> http.Response:
    return http.Response(page.events, headers=request.next_link(page.after))


handler = compose(build, LogsSettings)
