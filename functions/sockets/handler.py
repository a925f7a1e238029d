"""The WebSocket API: clients connect with what they want to watch, disconnect, and get `pong` for any message."""

from collections.abc import Callable
from typing import Any

import msgspec

from elasticrecode.access import callers
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.contract.settings import SocketsSettings
from elasticrecode.errors import Problem
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.watch import subscription
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.watch.sockets import Poster

_PONG = b"pong"
_PONG_SECONDS = 5.0


class Sockets:
    """Stores and forgets watchers. `replay` follows the table and sends the history that they ask for."""

    def __init__(self, settings: SocketsSettings) -> None:
        self._auth = settings.auth
        self._connections = ConnectionsTable(settings.connections_table)
        self._poster = Poster(settings.socket_management_url)
        self._rates = Rates(settings.rate)

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one event of a connection: 200, or a problem, which refuses a connection."""
        request = event["requestContext"]
        try:
            if request["eventType"] == "CONNECT":
                self.connect(request, event.get("queryStringParameters") or {})
            elif request["eventType"] == "DISCONNECT":
                self._connections.remove(request["connectionId"])
            else:
                self._poster.post({request["connectionId"]: [_PONG]}, _PONG_SECONDS)
        except Problem as error:
            logger.info("a connection or its message was refused", extra={"reason": error.detail})
            answer = http.problem(error, request.get("requestId", ""))
            return {"statusCode": answer.status, "body": msgspec.json.encode(answer.content).decode()}
        return {"statusCode": 200}

    def connect(self, request: dict[str, Any], query: dict[str, str]) -> None:
        """Store a watcher. Raises a Problem when the query is wrong, or the caller may not watch that."""
        caller = callers.of_connection(self._auth, request)
        self._rates.count(caller)
        watch, start = subscription.read(query, caller)
        self._connections.add(request["connectionId"], watch, start, caller.expires)


def build(settings: SocketsSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler."""
    return Sockets(settings).handle


handler = compose(build, SocketsSettings)
