"""Each minute: end the connections whose tokens have expired. From that second on they are sent no new events."""

from collections.abc import Callable
from typing import Any

from elasticrecode.contract.settings import DisconnectSettings
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.watch.sockets import Poster


class Disconnecter:
    """Ends expired connections."""

    def __init__(self, settings: DisconnectSettings) -> None:
        self._connections = ConnectionsTable(settings.connections_table)
        self._poster = Poster(settings.socket_management_url)

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """End all expired connections. Those that API Gateway does not end stay for the next run."""
        for expired in self._connections.expired():
            left = self._poster.delete(*(connection_id for _, connection_id in expired))
            self._connections.discard(key for key in expired if key[1] not in left)
            logger.info("connections ended", extra={"connections": len(expired) - len(left), "left": len(left)})


def build(settings: DisconnectSettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return Disconnecter(settings).handle


handler = compose(build, DisconnectSettings)
