"""`Idempotency-Key`: the same key and body from the same user make the same jobs once.

Job ids follow from user, key and the time the key was first seen, so a second run can only make the jobs of the first,
and one after the key was forgotten makes others. What is kept is small: a fingerprint of the request, that time,
whether it is done, and which of its jobs could not be stored.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import structs

from elasticrecode.aws import client, refusals
from elasticrecode.errors import BadParameter, Busy, KeyReused
from elasticrecode.jobs import Job
from elasticrecode.settings import TTL

_NAMESPACE = uuid.UUID("6f8a0f5e-7a0e-5b0c-9c58-0d8a5e2d7b11")
_ITEM = "idempotency"
_KEY_LENGTH = 255
_LOCK_MS = 30_000
"""Longer than API Gateway waits, so that a lock still held after it belongs to an invocation that died."""


class Begun(NamedTuple):
    """A request under a key that was first seen at `since`, in milliseconds.

    `refused` is set when it was answered before; `again` when an earlier try was cut off.
    """

    since: int
    refused: set[str] | None = None
    again: bool = False


class Keys:
    """The idempotency keys, kept in the jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, retention_seconds: int) -> None:
        self._table = table
        self._retention_seconds = retention_seconds
        self._dynamodb = client("dynamodb")

    def once(self, user_id: str, key: str, request: bytes, make: Callable[[Begun], Collection[str]]) -> Begun:
        """Make what a request under the key asks for, unless that is done; what came of it is in `refused`.

        `make` answers with the ids of what could not be stored. KeyReused and Busy as in `begin`.
        """
        begun = self.begin(user_id, key, request)
        if begun.refused is not None:
            return begun
        try:
            refused = set(make(begun))
        except Exception:
            self.release(user_id, key)
            raise
        self.finish(user_id, key, refused)
        return begun._replace(refused=refused)

    def begin(self, user_id: str, key: str, request: bytes) -> Begun:
        """Take the key for this request. KeyReused when it was another request's, Busy while that is at work."""
        now = time.time_ns() // 1_000_000
        fingerprint = hashlib.sha256(request).hexdigest()
        locked = {"N": str(now + _LOCK_MS)}
        item = {
            **_key(user_id, key),
            "fingerprint": {"S": fingerprint},
            "since": {"N": str(now)},
            "locked": locked,
            TTL: {"N": str(now // 1000 + self._retention_seconds)},
        }
        try:
            with refusals("taking the Idempotency-Key"):
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(jobID) OR expires < :second",
                    ExpressionAttributeValues={":second": {"N": str(now // 1000)}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            known = error.response["Item"]
        else:
            return Begun(now)
        if known["fingerprint"]["S"] != fingerprint:
            raise KeyReused("This Idempotency-Key came with another request before. Use a new one.")
        since = int(known["since"]["N"])
        if "refused" in known:
            return Begun(since, set(msgspec.json.decode(known["refused"]["S"], type=list[str])))
        self._take_over(user_id, key, known["locked"], locked, now)
        return Begun(since, again=True)

    def _take_over(self, user_id: str, key: str, held: dict[str, str], locked: dict[str, str], now: int) -> None:
        """Go on with a request whose first try was cut off. Busy while that may still be at work."""
        if int(held["N"]) < now:
            with (
                refusals("taking the Idempotency-Key over"),
                suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
            ):
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key=_key(user_id, key),
                    UpdateExpression="SET locked = :locked",
                    ConditionExpression="locked = :held",
                    ExpressionAttributeValues={":locked": locked, ":held": held},
                )
                return
        raise Busy("The first request with this Idempotency-Key is still at work.")

    def finish(self, user_id: str, key: str, refused: Collection[str]) -> None:
        """Keep what came of it, for as long as keys are kept."""
        with refusals("keeping the Idempotency-Key"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id, key),
                UpdateExpression="SET refused = :refused REMOVE locked",
                ExpressionAttributeValues={":refused": {"S": msgspec.json.encode(sorted(refused)).decode()}},
            )

    def release(self, user_id: str, key: str) -> None:
        """Let the next try with the key begin at once: this one does not know what it has stored."""
        with refusals("giving the Idempotency-Key free"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id, key),
                UpdateExpression="SET locked = :never",
                ExpressionAttributeValues={":never": {"N": "0"}},
            )


def identified(jobs: Iterable[Job], key: str, since: int) -> list[Job]:
    """The jobs with the ids that a key first seen at `since` gives them."""
    return [structs.replace(job, jobid=identity(job.userid, key, since, n)) for n, job in enumerate(jobs)]


def identity(user_id: str, key: str, since: int, n: int = 0) -> str:
    """The id of the nth thing that a user's request made under a key first seen at `since`."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}\n{since}\n{n}"))


def checked(key: str) -> str:
    """A key as the header gives it. BadParameter when it is empty, too long or not plain text."""
    if not (0 < len(key) <= _KEY_LENGTH and key.isascii() and key.isprintable()):
        raise BadParameter(f"Idempotency-Key must be 1 to {_KEY_LENGTH} printable ASCII characters.")
    return key


def _key(user_id: str, key: str) -> dict[str, dict[str, str]]:
    return {"jobID": {"S": f"key#{user_id}#{hashlib.sha256(key.encode()).hexdigest()}"}, "item": {"S": _ITEM}}
