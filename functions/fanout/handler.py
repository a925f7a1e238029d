"""The jobs table's stream: every event that was stored goes to every WebSocket that watches."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from elasticrecode.connections import ConnectionsTable, Pusher
from elasticrecode.settings import FanoutSettings, compose
from elasticrecode.table import JobsTable, event_of, fill

_REMEMBERED_JOBS = 10_000


def build(settings: FanoutSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over both tables and the WebSocket API's management endpoint."""
    table = JobsTable(settings.jobs_table)
    connections = ConnectionsTable(settings.connections_table)
    pusher = Pusher(connections, settings.socket_management_url)
    known: dict[str, Raw] = {}

    def push(batch: dict[str, Any], context: Any) -> None:
        watching = connections.watching()
        if not watching:
            return
        if len(known) > _REMEMBERED_JOBS:
            known.clear()
        stored = (event_of(record["dynamodb"]["NewImage"]) for record in batch["Records"])
        events = fill([event for event in stored if event], table, known)
        pusher.push(watching, [msgspec.json.encode(event) for event in events])

    return push


handler = compose(build, FanoutSettings)
