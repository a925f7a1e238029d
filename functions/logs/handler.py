"""The events of a job, GET /v1/jobs/{jobID}, and of a user, GET /v1/{userID}/jobs and /v1/logs/{userID}."""

from elasticrecode.api import http
from elasticrecode.contract.routes import JOB_EVENTS, USER_EVENTS, USER_LOGS
from elasticrecode.contract.settings import LogsSettings
from elasticrecode.errors import NotFound, Refused
from elasticrecode.jobs.store import JobsTable
from elasticrecode.lists.pages import JobLists, Page
from elasticrecode.runtime import compose


class EventLists:
    """Answers the requests for lists of events."""

    def __init__(self, settings: LogsSettings) -> None:
        self._job_logs = settings.job_logs
        self._lists, self._jobs = JobLists(settings.jobs_table), JobsTable(settings.jobs_table)

    def job_events(self, request: http.Request) -> http.Response:
        """A page of a job's events, oldest first. Raises NotFound for an unknown job and for another user's."""
        job_id = request.parameters["jobID"]
        limit, after = self._page(request)
        page = self._lists.job_events(job_id, limit, after)
        owners = {event.userID for event in page.events}
        if not owners:
            record = self._jobs.record(job_id)
            owners = {record.userID} if record else set()
        if not owners or not all(map(request.caller.may_act_for, owners)):
            raise NotFound(f"There is no job {job_id}, or its retention has ended.")
        return _answer(request, page)

    def user_events(self, request: http.Request) -> http.Response:
        """A page of the events of all jobs of a user, oldest first."""
        user_id = request.parameters["userID"]
        request.caller.act_for(user_id)
        limit, after = self._page(request)
        return _answer(request, self._lists.user_events(user_id, limit, after))

    def _page(self, request: http.Request) -> tuple[int, str]:
        if not self._job_logs:
            raise Refused("This deployment keeps no job logs: its option jobLogs is off.")
        return request.page()


def _answer(request: http.Request, page: Page) -> http.Response:
    return http.Response(page.events, headers=request.next_link(page.after))


def build(settings: LogsSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    lists = EventLists(settings)
    routes = {JOB_EVENTS: lists.job_events, USER_EVENTS: lists.user_events, USER_LOGS: lists.user_events}
    return http.handler(routes, settings)


handler = compose(build, LogsSettings)
