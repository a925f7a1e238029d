"""POST /v1/socket-tickets: a ticket with which a WebSocket can be opened, once and within a minute."""

from elasticrecode import http
from elasticrecode.answers import SocketTicket
from elasticrecode.rates import Rates
from elasticrecode.settings import SOCKET_TICKET, TicketsSettings, compose
from elasticrecode.tickets import Tickets


def build(settings: TicketsSettings) -> http.LambdaHandler:
    """The handler over the table of connections."""
    tickets = Tickets(settings.connections_table)

    def issue(request: http.Request) -> http.Response:
        return http.Response(SocketTicket(*tickets.issue(request.caller)))

    return http.handler({SOCKET_TICKET: issue}, settings, Rates(settings.rate).count)


handler = compose(build, TicketsSettings)
