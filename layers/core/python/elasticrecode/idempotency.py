"""`Idempotency-Key`: the same key and body from the same user make the same jobs once.

Job ids follow from user and key, so a second run can only make the jobs of the first. What is kept is small: a
fingerprint of the request, whether it is done, and which of its jobs could not be stored.
"""

import hashlib
import time
import uuid
from collections.abc import Collection
from itertools import count
from typing import NamedTuple

import msgspec

from elasticrecode.aws import client, refusals
from elasticrecode.errors import BadParameter, Busy, KeyReused
from elasticrecode.jobs import Identify
from elasticrecode.settings import TTL

_NAMESPACE = uuid.UUID("6f8a0f5e-7a0e-5b0c-9c58-0d8a5e2d7b11")
_ITEM = "idempotency"
_KEY_LENGTH = 255
_LOCK_SECONDS = 30
"""Longer than API Gateway waits, so that a lock still held after it belongs to an invocation that died."""


class Begun(NamedTuple):
    """A request under a key. `refused` is set when it was answered before; `again` when an earlier try was cut off."""

    refused: set[str] | None
    again: bool


class Keys:
    """The idempotency keys, kept in the jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, retention_seconds: int) -> None:
        self._table = table
        self._retention_seconds = retention_seconds
        self._dynamodb = client("dynamodb")

    def begin(self, user_id: str, key: str, request: bytes) -> Begun:
        """Take the key for this request. KeyReused when it was another request's, Busy while that is at work."""
        now = int(time.time())
        fingerprint = hashlib.sha256(request).hexdigest()
        try:
            with refusals("looking the Idempotency-Key up"):
                answer = self._dynamodb.put_item(
                    TableName=self._table,
                    Item={
                        **_key(user_id, key),
                        "fingerprint": {"S": fingerprint},
                        "locked": {"N": str(now + _LOCK_SECONDS)},
                        TTL: {"N": str(now + self._retention_seconds)},
                    },
                    ConditionExpression="attribute_not_exists(jobID) OR expires < :now"
                    " OR (fingerprint = :same AND locked < :now)",
                    ExpressionAttributeValues={":now": {"N": str(now)}, ":same": {"S": fingerprint}},
                    ReturnValues="ALL_OLD",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            known = error.response["Item"]
            if known["fingerprint"]["S"] != fingerprint:
                raise KeyReused("This Idempotency-Key came with another request before. Use a new one.") from None
            if "refused" not in known:
                raise Busy("The first request with this Idempotency-Key is still at work.") from None
            return Begun(set(msgspec.json.decode(known["refused"]["S"], type=list[str])), again=False)
        old = answer.get("Attributes")
        return Begun(None, again=bool(old) and float(old[TTL]["N"]) >= now)

    def finish(self, user_id: str, key: str, refused: Collection[str]) -> None:
        """Keep what came of it, for as long as keys are kept."""
        with refusals("keeping the Idempotency-Key"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id, key),
                UpdateExpression="SET refused = :refused REMOVE locked",
                ExpressionAttributeValues={":refused": {"S": msgspec.json.encode(sorted(refused)).decode()}},
            )

    def forget(self, user_id: str, key: str) -> None:
        """Give the key free: nothing came of the request."""
        with refusals("giving the Idempotency-Key free"):
            self._dynamodb.delete_item(TableName=self._table, Key=_key(user_id, key))


def job_ids(key: str) -> Identify:
    """The ids of the jobs that a request under a key makes."""
    return lambda user_id: (str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}\n{n}")) for n in count())


def checked(key: str) -> str:
    """A key as the header gives it. BadParameter when it is empty, too long or not plain text."""
    if not (0 < len(key) <= _KEY_LENGTH and key.isascii() and key.isprintable()):
        raise BadParameter(f"Idempotency-Key must be 1 to {_KEY_LENGTH} printable ASCII characters.")
    return key


def _key(user_id: str, key: str) -> dict[str, dict[str, str]]:
    return {"jobID": {"S": f"key#{user_id}#{hashlib.sha256(key.encode()).hexdigest()}"}, "item": {"S": _ITEM}}
