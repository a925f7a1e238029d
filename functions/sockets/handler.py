"""The WebSocket API: who begins to watch what, who leaves, and a pong for who asks whether somebody is there."""

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


def build(settings: SocketsSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over the table of connections. What comes before now is sent by `replay`, which follows the table."""
    connections, poster = ConnectionsTable(settings.connections_table), Poster(settings.socket_management_url)
    rates = Rates(settings.rate)

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = event["requestContext"]
        try:
            if request["eventType"] == "CONNECT":
                caller = callers.of_connection(settings.auth, request)
                rates.count(caller)
                watch, start = subscription.read(event.get("queryStringParameters") or {}, caller)
                connections.add(request["connectionId"], watch, start, caller.expires)
            elif request["eventType"] == "DISCONNECT":
                connections.remove(request["connectionId"])
            else:
                poster.post({request["connectionId"]: [_PONG]}, _PONG_SECONDS)
        except Problem as error:
            logger.info("refused", extra={"reason": error.detail})
            answer = http.problem(error, request.get("requestId", ""))
            return {"statusCode": answer.status, "body": msgspec.json.encode(answer.content).decode()}
        return {"statusCode": 200}

    return handle


handler = compose(build, SocketsSettings)
