"""`Idempotency-Key`: the same key and body from the same user make the same jobs once.

Job ids follow from user, key and the time the key was first seen, so a second run can only make the jobs of the first,
and one after the key was forgotten makes others. What is kept is small: a fingerprint of the request, that time,
the profile it was taken with, as presets change, whether it is done, and which of its jobs could not be stored.
"""

import hashlib
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import structs

from elasticrecode.aws.clients import client, refusals
from elasticrecode.contract.tables import TTL
from elasticrecode.errors import BadParameter, Busy, KeyReused
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.requests import IDEMPOTENCY_KEY
from elasticrecode.media.profiles import Profile

_NAMESPACE = uuid.UUID("6f8a0f5e-7a0e-5b0c-9c58-0d8a5e2d7b11")
_ITEM = "idempotency"
_LOCK_MS = 30_000
"""Longer than API Gateway waits, so that a lock still held after it belongs to an invocation that died."""


class Begun(NamedTuple):
    """A request under a key that was first seen at `since`, in milliseconds, with the profile it has since then.

    `refused` is set when it was answered before; `again` when an earlier try was cut off.
    """

    since: int
    profile: Profile
    refused: set[str] | None = None
    again: bool = False


class Keys:
    """The idempotency keys, kept in the jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, retention_seconds: int) -> None:
        self._table = table
        self._retention_seconds = retention_seconds
        self._dynamodb = client("dynamodb")

    def profile(self, user_id: str, key: str, request: bytes) -> Profile | None:
        """The profile that this request was taken with, under this key; None when it was not."""
        with refusals("reading the Idempotency-Key"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(user_id, key), ConsistentRead=True)
        known = answer.get("Item")
        if not known or int(known[TTL]["N"]) < time.time() or known["fingerprint"]["S"] != _fingerprint(request):
            return None
        return _profile(known)

    def begin(self, user_id: str, key: str, request: bytes, profile: Profile) -> Begun:
        """Take the key for this request. KeyReused when it was another request's, Busy while that is at work."""
        now = time.time_ns() // 1_000_000
        fingerprint = _fingerprint(request)
        locked = {"N": str(now + _LOCK_MS)}
        item = {
            **_key(user_id, key),
            "fingerprint": {"S": fingerprint},
            "since": {"N": str(now)},
            "profile": {"S": msgspec.json.encode(profile).decode()},
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
            return Begun(now, profile)
        if known["fingerprint"]["S"] != fingerprint:
            raise KeyReused("This Idempotency-Key came with another request before. Use a new one.")
        since, profile = int(known["since"]["N"]), _profile(known) or profile
        if "refused" in known:
            return Begun(since, profile, set(msgspec.json.decode(known["refused"]["S"], type=list[str])))
        self._take_over(user_id, key, known["locked"], locked, now)
        return Begun(since, profile, again=True)

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


def identified(jobs: Iterable[Job], key: str, begun: Begun) -> list[Job]:
    """The jobs with the ids and the profile that a key gives them which was first seen then."""
    return [
        structs.replace(job, jobid=identity(job.userid, key, begun, n), profile=begun.profile)
        for n, job in enumerate(jobs)
    ]


def identity(user_id: str, key: str, begun: Begun, n: int = 0) -> str:
    """The id of the nth thing that a user's request made under a key that was first seen then."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}\n{begun.since}\n{n}"))


def checked(key: str) -> str:
    """A key as the header gives it. BadParameter when it is empty, too long or not plain text."""
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise BadParameter("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


def _fingerprint(request: bytes) -> str:
    return hashlib.sha256(request).hexdigest()


def _profile(known: Mapping[str, Mapping[str, str]]) -> Profile | None:
    """The profile that is kept with a key; None where an earlier version kept none."""
    return msgspec.json.decode(known["profile"]["S"], type=Profile) if "profile" in known else None


def _key(user_id: str, key: str) -> dict[str, dict[str, str]]:
    return {"jobID": {"S": f"key#{user_id}#{hashlib.sha256(key.encode()).hexdigest()}"}, "item": {"S": _ITEM}}
