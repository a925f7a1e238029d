"""Tickets that open one WebSocket each. Browsers need them, as they send no `Authorization` header with a WebSocket."""

import hashlib
import secrets
import time

from elasticrecode.access.callers import Caller
from elasticrecode.aws.dynamodb import Item, Table, is_current, key_of, number, text
from elasticrecode.contract.tables import CONNECTIONS_KEYS, TTL
from elasticrecode.errors import Unauthorized

LIFETIME_SECONDS = 60
_ITEM = "ticket"
_BYTES = 32


class Tickets:
    """The tickets in the connections table, stored by their hashes. Methods raise Unavailable when AWS refuses."""

    def __init__(self, table: str) -> None:
        self._table = Table(table)

    def issue(self, caller: Caller) -> tuple[str, int]:
        """A new ticket and the Unix second in which it ends: LIFETIME_SECONDS from now, or with the caller's token."""
        ticket, expires = secrets.token_urlsafe(_BYTES), int(time.time()) + LIFETIME_SECONDS
        expires = min(expires, caller.expires or expires)
        context = {"M": {name: text(value) for name, value in caller.context().items()}}
        self._table.put({**key(ticket), "caller": context, TTL: number(expires)}, "creating the ticket")
        return ticket, expires

    def redeem(self, ticket: str) -> Caller:
        """Use up a ticket: the caller who got it. Raises Unauthorized when it is unknown, used or expired."""
        item = self._table.delete(key(ticket), "reading the ticket", ReturnValues="ALL_OLD").get("Attributes")
        if not item or not is_current(item):
            raise Unauthorized("The ticket is unknown, used or expired; get a new one.")
        return Caller.of_context({name: value["S"] for name, value in item["caller"]["M"].items()})


def key(ticket: str) -> Item:
    """The key of a ticket's item: its hash, so that a reader of the table cannot use the ticket."""
    digest = hashlib.sha256(ticket.encode()).hexdigest()
    return key_of(CONNECTIONS_KEYS, f"{_ITEM}#{digest}", _ITEM)
