"""Tickets that open one WebSocket each. Browsers need them, as they send no `Authorization` header with a WebSocket."""

import hashlib
import secrets
import time
from typing import Any

from elasticrecode.access.callers import Caller
from elasticrecode.aws.clients import client, refusals
from elasticrecode.contract.tables import CONNECTIONS_KEYS, TTL
from elasticrecode.errors import Unauthorized

LIFETIME_SECONDS = 60
_ITEM = "ticket"
_BYTES = 32


class Tickets:
    """The tickets in the connections table, stored by their hashes. Methods raise Unavailable when AWS refuses."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._dynamodb = client("dynamodb")

    def issue(self, caller: Caller) -> tuple[str, int]:
        """A new ticket and the Unix second in which it ends: LIFETIME_SECONDS from now, or with the caller's token."""
        ticket, expires = secrets.token_urlsafe(_BYTES), int(time.time()) + LIFETIME_SECONDS
        expires = min(expires, caller.expires or expires)
        item = {"caller": {"M": {name: {"S": value} for name, value in caller.context().items()}}}
        with refusals("creating the ticket"):
            self._dynamodb.put_item(TableName=self._table, Item={**key(ticket), **item, TTL: {"N": str(expires)}})
        return ticket, expires

    def redeem(self, ticket: str) -> Caller:
        """Use up a ticket: the caller who got it. Raises Unauthorized when it is unknown, used or expired."""
        with refusals("reading the ticket"):
            answer = self._dynamodb.delete_item(TableName=self._table, Key=key(ticket), ReturnValues="ALL_OLD")
        item = answer.get("Attributes")
        if not item or float(item[TTL]["N"]) <= time.time():
            raise Unauthorized("The ticket is unknown, used or expired; get a new one.")
        return Caller.of_context({name: value["S"] for name, value in item["caller"]["M"].items()})


def key(ticket: str) -> dict[str, Any]:
    """The key of a ticket's item: its hash, so that a reader of the table cannot use the ticket."""
    digest = hashlib.sha256(ticket.encode()).hexdigest()
    return {CONNECTIONS_KEYS[0]: {"S": f"{_ITEM}#{digest}"}, CONNECTIONS_KEYS[1]: {"S": _ITEM}}
