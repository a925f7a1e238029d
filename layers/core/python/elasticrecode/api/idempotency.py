"""`Idempotency-Key`: the same key and body from the same user create the same jobs once.

Job ids follow from the user, the key and the time of the key's first use, so a second run can only create the jobs of
the first, and a run after the key's retention creates others. An item holds a fingerprint of the request, that time,
the profile, as presets change, whether the request is done, and which of its jobs could not be stored.
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
from elasticrecode.clock import now_ms
from elasticrecode.contract.tables import TTL
from elasticrecode.errors import BadParameter, Busy, KeyReused
from elasticrecode.ids import plan_id
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.requests import IDEMPOTENCY_KEY
from elasticrecode.media.profiles import Profile

_NAMESPACE = uuid.UUID("6f8a0f5e-7a0e-5b0c-9c58-0d8a5e2d7b11")
_ITEM = "idempotency"
_LOCK_MS = 30_000
"""Longer than API Gateway waits for an answer: a lock held for longer belongs to an invocation that died."""


class KeyUse(NamedTuple):
    """A request under a key: the time of the key's first use, in Unix milliseconds, and the profile since then.

    `refused` has the ids of the jobs that could not be stored, once the request is done; None before. `again` is True
    when an earlier run did not finish.
    """

    since: int
    profile: Profile
    refused: set[str] | None = None
    again: bool = False


class Keys:
    """The idempotency keys, items of the jobs table. Methods raise Unavailable when AWS refuses."""

    def __init__(self, table: str, retention_seconds: int) -> None:
        self._table = table
        self._retention_seconds = retention_seconds
        self._dynamodb = client("dynamodb")

    def profile(self, user_id: str, key: str, request: bytes) -> Profile | None:
        """The profile of this request's first use of the key; None where there was none."""
        with refusals("reading the Idempotency-Key"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(user_id, key), ConsistentRead=True)
        item = answer.get("Item")
        if not item or int(item[TTL]["N"]) < time.time() or item["fingerprint"]["S"] != _fingerprint(request):
            return None
        return _profile(item)

    def begin(self, user_id: str, key: str, request: bytes, profile: Profile) -> KeyUse:
        """Take the key for this request.

        Raises KeyReused when it belongs to another request, and Busy while the first run of this one may be going on.
        """
        now = now_ms()
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
            stored = error.response["Item"]
        else:
            return KeyUse(now, profile)
        if stored["fingerprint"]["S"] != fingerprint:
            raise KeyReused("This Idempotency-Key belongs to another request; use a new one.")
        since, profile = int(stored["since"]["N"]), _profile(stored) or profile
        if "refused" in stored:
            return KeyUse(since, profile, set(msgspec.json.decode(stored["refused"]["S"], type=list[str])))
        self._take_over(user_id, key, stored["locked"], locked, now)
        return KeyUse(since, profile, again=True)

    def _take_over(self, user_id: str, key: str, held: dict[str, str], locked: dict[str, str], now: int) -> None:
        """Take the lock of a run that did not finish. Raises Busy while it may still be going on."""
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
        raise Busy("The first request with this Idempotency-Key is still running; repeat it later.")

    def finish(self, user_id: str, key: str, refused: Collection[str]) -> None:
        """Record that the request is done, and which of its jobs could not be stored."""
        with refusals("recording the Idempotency-Key"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id, key),
                UpdateExpression="SET refused = :refused REMOVE locked",
                ExpressionAttributeValues={":refused": {"S": msgspec.json.encode(sorted(refused)).decode()}},
            )

    def release(self, user_id: str, key: str) -> None:
        """Let the next request with the key run at once: this run failed without knowing which jobs it stored."""
        with refusals("releasing the Idempotency-Key"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id, key),
                UpdateExpression="SET locked = :never",
                ExpressionAttributeValues={":never": {"N": "0"}},
            )


def with_key(jobs: Iterable[Job], key: str, use: KeyUse) -> list[Job]:
    """The jobs with the ids and the profile that follow from the key."""
    keyed: list[Job] = []
    for n, job in enumerate(jobs):
        new = keyed_id(job.userid, key, use, n)
        keyed.append(structs.replace(job, jobid=plan_id(new) if job.planning else new, profile=use.profile))
    return keyed


def keyed_id(user_id: str, key: str, use: KeyUse, n: int = 0) -> str:
    """The id of the nth job, or of the batch, that a user's request creates under a key."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}\n{use.since}\n{n}"))


def checked(key: str) -> str:
    """A key from the header. Raises BadParameter unless it is 1 to 255 printable ASCII characters."""
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise BadParameter("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


def _fingerprint(request: bytes) -> str:
    return hashlib.sha256(request).hexdigest()


def _profile(item: Mapping[str, Mapping[str, str]]) -> Profile | None:
    """The profile in a key's item; None in an item of an earlier version."""
    return msgspec.json.decode(item["profile"]["S"], type=Profile) if "profile" in item else None


def _key(user_id: str, key: str) -> dict[str, dict[str, str]]:
    return {"jobID": {"S": f"key#{user_id}#{hashlib.sha256(key.encode()).hexdigest()}"}, "item": {"S": _ITEM}}
