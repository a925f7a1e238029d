"""POST /v1/socket-tickets: create a ticket that opens one WebSocket within a minute."""

from elasticrecode.access.rates import Rates
from elasticrecode.access.tickets import Tickets
from elasticrecode.api import http
from elasticrecode.api.answers import SocketTicket
from elasticrecode.contract.routes import SOCKET_TICKET
from elasticrecode.contract.settings import TicketsSettings
from elasticrecode.runtime import compose


def build(settings: TicketsSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    tickets = Tickets(settings.connections_table)

    def issue(request: http.Request) -> http.Response:
        return http.Response(SocketTicket(*tickets.issue(request.caller)))

    return http.handler({SOCKET_TICKET: issue}, settings, Rates(settings.rate).count)


handler = compose(build, TicketsSettings)
