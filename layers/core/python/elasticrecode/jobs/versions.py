"""Versions of packages that no entry file refers to any more, until a worker of their queue has removed them.

jobID                item     content
───────────────────  ───────  ──────────────────────────────────────────────────────────────────────────
version#<SHA-256>    version  `uri`, the folder; `job`, a job that may write there, as JSON; the time in the
                              index `due` from which the folder may be removed
"""

import hashlib
from contextlib import suppress
from typing import NamedTuple

import msgspec

from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, key_of, number, text
from elasticrecode.contract.tables import DUE_INDEX, DUE_KEYS, JOBS_KEYS, TTL
from elasticrecode.jobs.commits import Commit
from elasticrecode.jobs.items import record_key
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import COMMIT

GRACE_MS = 24 * 3_600_000
"""For how long a player that has an old entry file finds what it refers to."""
_ITEM = "version"


class OldVersion(NamedTuple):
    """The folder of a version, a URI that ends in `/`; a job that may write there; when it is due, in Unix ms."""

    folder: str
    job: Job
    due_ms: int


class Versions:
    """Retired versions in one jobs table, for the workers of one queue. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, queue: str) -> None:
        self._table = Table(table)
        self._shard = f"#versions#{queue}"

    def retire(self, folder: str, job: Job, due_ms: int) -> None:
        """Have a folder removed when it is due, unless an entry file refers to it then."""
        self._table.update(
            _key(folder),
            "retiring a version",
            UpdateExpression=f"SET uri = :uri, job = :job, #shard = :shard, due = :due REMOVE {TTL}",
            ExpressionAttributeNames={"#shard": DUE_KEYS[0]},
            ExpressionAttributeValues={
                ":uri": text(folder),
                ":job": text(msgspec.json.encode(job).decode()),
                ":shard": text(self._shard),
                ":due": number(due_ms),
            },
        )

    def due(self, now_ms: int, limit: int) -> list[OldVersion]:
        """Up to `limit` versions that are due, longest first."""
        entries = self._table.query(
            "looking for versions to remove",
            IndexName=DUE_INDEX,
            KeyConditionExpression="#shard = :shard AND due < :now",
            ExpressionAttributeNames={"#shard": DUE_KEYS[0]},
            ExpressionAttributeValues={":shard": text(self._shard), ":now": number(now_ms)},
            Limit=limit,
        )["Items"]
        keys = [{name: item[name] for name in JOBS_KEYS} for item in entries]
        items = self._table.get_all(keys, "reading versions to remove")
        waiting = [item for item in items if DUE_KEYS[1] in item]
        return sorted((_old_version(item) for item in waiting), key=lambda retired: retired.due_ms)

    def is_committed(self, retired: OldVersion) -> bool:
        """Whether the job is about to publish this version after all."""
        records = self._table.get_all([record_key(retired.job.jobid)], "reading the job")
        commits = (msgspec.json.decode(record[COMMIT]["S"], type=Commit) for record in records if COMMIT in record)
        return any(commit.version == retired.folder for commit in commits)

    def forget(self, retired: OldVersion, now_ms: int) -> None:
        """Let the item of a version go that is removed or in use, unless it was retired again meanwhile."""
        with suppress(ConditionFailed):
            self._table.update(
                _key(retired.folder),
                "forgetting a version",
                UpdateExpression=f"SET {TTL} = :now REMOVE #shard, due",
                ConditionExpression="due = :due",
                ExpressionAttributeNames={"#shard": DUE_KEYS[0]},
                ExpressionAttributeValues={":now": number(now_ms // 1000), ":due": number(retired.due_ms)},
            )


def _key(folder: str) -> Item:
    return key_of(JOBS_KEYS, f"version#{hashlib.sha256(folder.encode()).hexdigest()}", _ITEM)


def _old_version(item: Item) -> OldVersion:
    job = msgspec.json.decode(item["job"]["S"], type=Job)
    return OldVersion(item["uri"]["S"], job, int(item[DUE_KEYS[1]]["N"]))
