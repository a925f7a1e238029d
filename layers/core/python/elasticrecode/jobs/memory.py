"""What workers have learnt from a source, for later jobs of the same user: items of the jobs table that expire.

jobID               item      content
──────────────────  ────────  ──────────────────────────────────────────
memory#<SHA-256>    memory    `content`: JSON; the digest is that of its user and of the facts that it is about
"""

import hashlib
import logging
import time
from typing import Any, TypeVar

import msgspec

from elasticrecode.aws.dynamodb import Table, document, is_current, key_of, number
from elasticrecode.contract.tables import JOBS_KEYS, TTL
from elasticrecode.errors import Unavailable

_log = logging.getLogger(__name__)
T = TypeVar("T")

KEPT_DAYS = 30
"""Days for which an item stays after its last write."""
_MOST_BYTES = 300_000
"""DynamoDB's items have at most 400 KB."""
_MEMORY = "memory"
_DAY_SECONDS = 86_400


class Memory:
    """What the workers of one user's jobs have learnt. It only saves work, so nothing is raised when AWS refuses.

    Without a table it remembers nothing. One that does not recall keeps what is new all the same.
    """

    def __init__(self, table: str, user_id: str, *, recalls: bool = True) -> None:
        self._table, self._user, self._recalls = Table(table) if table else None, user_id, recalls

    def recall(self, facts: object, kind: type[T]) -> T | None:
        """What is known about facts that can be written as JSON, their order included; None without anything."""
        if not (self._table and self._recalls):
            return None
        try:
            items = self._table.get_all([self._key(facts)], "reading what is known of a source")
            known = [item for item in items if is_current(item)]
            return msgspec.json.decode(known[0]["content"]["S"], type=kind) if known else None
        except Unavailable as error:
            _log.warning("what is known of a source is not used: %s", error)
        except (msgspec.DecodeError, KeyError) as error:
            _log.warning("what is known of a source cannot be read: %s", error)
        return None

    def keep(self, facts: object, content: object) -> None:
        """Store what is known about facts, in place of what was."""
        stored: dict[str, Any] = document(content)
        if not self._table or len(stored["S"].encode()) > _MOST_BYTES:
            return
        try:
            self._table.update(
                self._key(facts),
                "storing what is known of a source",
                UpdateExpression="SET content = :content, #ttl = :until",
                ExpressionAttributeNames={"#ttl": TTL},
                ExpressionAttributeValues={
                    ":content": stored,
                    ":until": number(int(time.time()) + KEPT_DAYS * _DAY_SECONDS),
                },
            )
        except Unavailable as error:
            _log.warning("what is known of a source is not kept: %s", error)

    def _key(self, facts: object) -> dict[str, dict[str, Any]]:
        digest = hashlib.sha256(msgspec.json.encode([self._user, facts], order="deterministic")).hexdigest()
        return key_of(JOBS_KEYS, f"{_MEMORY}#{digest}", _MEMORY)
