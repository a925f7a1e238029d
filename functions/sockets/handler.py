"""The WebSocket API's `$connect` and `$disconnect`: who is watching."""

from collections.abc import Callable
from typing import Any

from elasticrecode.connections import ConnectionsTable
from elasticrecode.observe import logger
from elasticrecode.settings import SocketsSettings, compose


def build(settings: SocketsSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over the table of connections."""
    connections = ConnectionsTable(settings.connections_table)

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = event["requestContext"]
        if request["eventType"] == "CONNECT":
            connections.add(request["connectionId"])
        elif request["eventType"] == "DISCONNECT":
            connections.remove(request["connectionId"])
        logger.debug("socket", extra={"type": request["eventType"], "connection": request["connectionId"]})
        return {"statusCode": 200}

    return handle


handler = compose(build, SocketsSettings)
