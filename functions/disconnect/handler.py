"""Each minute: connections whose tokens have ended are ended. What is new is not sent to them from that second on."""

from collections.abc import Callable
from typing import Any

from elasticrecode.contract.settings import DisconnectSettings
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.watch.sockets import Poster


def build(settings: DisconnectSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the table of connections and the WebSocket API's management endpoint."""
    connections, poster = ConnectionsTable(settings.connections_table), Poster(settings.socket_management_url)

    def hang_up(event: dict[str, Any], context: Any) -> None:
        for ended in connections.ended():
            left = poster.delete(*(connection_id for _, connection_id in ended))
            connections.discard(key for key in ended if key[1] not in left)
            logger.info("hung up", extra={"connections": len(ended) - len(left), "left": len(left)})

    return hang_up


handler = compose(build, DisconnectSettings)
