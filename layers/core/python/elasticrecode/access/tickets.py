"""One-use tickets, with which browsers open WebSockets: they can't send a header with one."""

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
    """The tickets in the table of connections, which knows each by its hash. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._dynamodb = client("dynamodb")

    def issue(self, caller: Caller) -> tuple[str, int]:
        """A new ticket and the Unix second in which it ends, no later than the caller's own token."""
        ticket, expires = secrets.token_urlsafe(_BYTES), int(time.time()) + LIFETIME_SECONDS
        expires = min(expires, caller.expires or expires)
        told = {"caller": {"M": {name: {"S": value} for name, value in caller.context().items()}}}
        with refusals("making the ticket"):
            self._dynamodb.put_item(TableName=self._table, Item={**key(ticket), **told, TTL: {"N": str(expires)}})
        return ticket, expires

    def redeem(self, ticket: str) -> Caller:
        """Whose ticket it is, this once. Unauthorized when it is none, has been used or has ended."""
        with refusals("reading the ticket"):
            answer = self._dynamodb.delete_item(TableName=self._table, Key=key(ticket), ReturnValues="ALL_OLD")
        item = answer.get("Attributes")
        if not item or float(item[TTL]["N"]) <= time.time():
            raise Unauthorized("The ticket is none, has been used, or has ended.")
        return Caller.of_context({name: value["S"] for name, value in item["caller"]["M"].items()})


def key(ticket: str) -> dict[str, Any]:
    """Under which a ticket lies: its hash, so that who reads the table can't use it."""
    digest = hashlib.sha256(ticket.encode()).hexdigest()
    return {CONNECTIONS_KEYS[0]: {"S": f"{_ITEM}#{digest}"}, CONNECTIONS_KEYS[1]: {"S": _ITEM}}
