"""Operations on events."""

from elasticrecode.api.answers import SocketTicket
from elasticrecode.api.http import CURSOR
from elasticrecode.contract.routes import JOB_EVENTS, SOCKET_TICKET, USER_EVENTS, USER_LOGS
from elasticrecode.jobs.events import Event
from infra.openapi.operation import Area, Operation

_LISTED = {200: list[Event]}
_LOGS_OFF = "Answers 409 where the deployment keeps no job logs."

AREA = Area(
    "Events",
    "What happened to jobs.",
    {
        JOB_EVENTS: Operation(
            "listJobEvents",
            "List the events of a job",
            f"Lists the events of a job, oldest first. {_LOGS_OFF}",
            _LISTED,
            (409, 503),
            cursor=CURSOR.pattern,
        ),
        USER_EVENTS: Operation(
            "listUserEvents",
            "List the events of a user",
            f"Lists the events of all jobs of a user, oldest first. {_LOGS_OFF}",
            _LISTED,
            (409, 503),
            cursor=CURSOR.pattern,
        ),
        USER_LOGS: Operation(
            "listUserLogs",
            "List the logs of a user",
            f"Lists the same events as `listUserEvents`. {_LOGS_OFF}",
            _LISTED,
            (409, 503),
            cursor=CURSOR.pattern,
        ),
        SOCKET_TICKET: Operation(
            "makeTicket",
            "Create a WebSocket ticket",
            "Creates a ticket that opens one WebSocket, as `/ws?ticket=`, within a minute. Browsers "
            "need one, as they send no `Authorization` header with a WebSocket.",
            {200: SocketTicket},
            (503,),
        ),
    },
)
