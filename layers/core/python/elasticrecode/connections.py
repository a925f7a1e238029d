"""The WebSocket connections: who is there, and posting to them."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain

from elasticrecode.aws import client, refusals, side_by_side
from elasticrecode.errors import Unavailable
from elasticrecode.settings import TTL

_log = logging.getLogger(__name__)

_EVERYTHING = "everything"
_OPENING_SECONDS = 30
_LIFETIME_SECONDS = 2 * 3600 + 600
"""API Gateway ends a connection after two hours; `$disconnect` is best effort."""


class ConnectionsTable:
    """Connections by the topic they watch."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dynamodb = client("dynamodb")

    def add(self, connection_id: str) -> None:
        """Remember a connection. Unavailable when AWS refuses."""
        with refusals("opening the connection"):
            self._dynamodb.put_item(
                TableName=self._name,
                Item={
                    **_key(connection_id),
                    "connected": {"N": str(int(time.time()))},
                    TTL: {"N": str(int(time.time()) + _LIFETIME_SECONDS)},
                },
            )

    def remove(self, connection_id: str) -> None:
        """Forget a connection."""
        with refusals("closing the connection"):
            self._dynamodb.delete_item(TableName=self._name, Key=_key(connection_id))

    def remove_gone(self, connection_id: str) -> None:
        """Forget a connection that was gone when it was posted to, unless it is only about to open.

        API Gateway answers 410 for a connection until its `$connect` has been answered, too.
        """
        with (
            refusals("closing the connection"),
            suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
        ):
            self._dynamodb.delete_item(
                TableName=self._name,
                Key=_key(connection_id),
                ConditionExpression="connected < :opened",
                ExpressionAttributeValues={":opened": {"N": str(int(time.time()) - _OPENING_SECONDS)}},
            )

    def watching(self) -> list[str]:
        """The connections that have not expired."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="topic = :topic",
            ExpressionAttributeValues={":topic": {"S": _EVERYTHING}},
        )
        with refusals("reading connections"):
            rows = list(chain.from_iterable(page["Items"] for page in pages))
        return [row["connectionID"]["S"] for row in rows if float(row[TTL]["N"]) > time.time()]


class Pusher:
    """Posts frames to connections, each connection's in order, connections side by side."""

    def __init__(self, table: ConnectionsTable, management_url: str) -> None:
        self._table = table
        self._management = client("apigatewaymanagementapi", management_url)

    def push(self, watching: Sequence[str], frames: Sequence[bytes]) -> None:
        """Post all frames to all connections. One that is gone is forgotten; one that fails is logged."""
        side_by_side(lambda connection_id: self._post(connection_id, frames), watching)

    def _post(self, connection_id: str, frames: Sequence[bytes]) -> None:
        try:
            for frame in frames:
                with refusals("posting an event"):
                    self._management.post_to_connection(ConnectionId=connection_id, Data=frame)
        except self._management.exceptions.GoneException:
            self._table.remove_gone(connection_id)
        except (Unavailable, self._management.exceptions.ClientError):
            _log.exception("connection %s was not reached", connection_id)


def _key(connection_id: str) -> dict[str, dict[str, str]]:
    return {"topic": {"S": _EVERYTHING}, "connectionID": {"S": connection_id}}
