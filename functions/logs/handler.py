"""The events of a job, GET /v1/jobs/{jobID}, and of a user, GET /v1/{userID}/jobs and /v1/logs/{userID}."""

from elasticrecode.api import http
from elasticrecode.contract.routes import JOB_EVENTS, USER_EVENTS, USER_LOGS
from elasticrecode.contract.settings import LogsSettings
from elasticrecode.errors import NotFound, Refused
from elasticrecode.jobs.store import JobsTable, Page
from elasticrecode.runtime import compose


def build(settings: LogsSettings) -> http.LambdaHandler:
    """The handler over one table."""
    table = JobsTable(settings.jobs_table)

    def job_events(request: http.Request) -> http.Response:
        job_id = request.parameters["jobID"]
        limit, after = _page(request)
        page = table.job_events(job_id, limit, after)
        owners = {event.userID for event in page.events}
        if not owners:
            record = table.record(job_id)
            owners = {record.userID} if record else set()
        if not owners or not all(map(request.caller.may_act_for, owners)):
            raise NotFound(f"There is no job {job_id}, or its time of retention has passed.")
        return _answer(request, page)

    def user_events(request: http.Request) -> http.Response:
        user_id = request.parameters["userID"]
        request.caller.act_for(user_id)
        limit, after = _page(request)
        return _answer(request, table.user_events(user_id, limit, after))

    def _page(request: http.Request) -> tuple[int, str]:
        if not settings.job_logs:
            raise Refused("This deployment keeps no job logs: its option jobLogs is off.")
        return request.page()

    return http.handler({JOB_EVENTS: job_events, USER_EVENTS: user_events, USER_LOGS: user_events}, settings)


def _answer(request: http.Request, page: Page) -> http.Response:
    return http.Response(page.events, headers=request.next_link(page.after))


handler = compose(build, LogsSettings)
