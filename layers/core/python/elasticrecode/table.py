"""The jobs table: one item family per job.

    jobID  item              what
    ─────  ────────────────  ──────────────────────────────────────────────────────────
    id     job               the record; it also stands for the job's JobSummit
    id     log#<position>    one event; `position` follows from the event, so an event
                             that arrives twice is one item
    id     progress          the latest JobProgress, overwritten

The index `user` (userID, at) holds records and events of one user in time order. Its keys never change after the first
write. Every item has a TTL, and no read shows what has expired.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, structs

from elasticrecode.aws import PARALLEL, batched, client, refusals
from elasticrecode.errors import Unavailable
from elasticrecode.events import JOB_PROGRESS, Event, submitted
from elasticrecode.jobs import Job
from elasticrecode.settings import TTL, USER_INDEX

Item = dict[str, dict[str, str]]
"""A DynamoDB item in its wire form, strings and numbers only."""

RECORD = "job"
PROGRESS = "progress"
_LOG = "log#"

_WRITE_LIMIT = 25
_READ_LIMIT = 100
_ROUNDS = 6
_BACKOFF_SECONDS = 0.05


class Record(Struct, frozen=True):
    """A job as it is accepted: where it goes and when it came, in milliseconds."""

    job: Job
    queue: str
    created_ms: int


class Page(NamedTuple):
    """A page of events, oldest first; `after` leads to the next one and is empty on the last."""

    events: list[Event]
    after: str


class JobsTable:
    """Reads and writes of the jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dynamodb = client("dynamodb")

    def accept(self, records: Sequence[Record], retention_seconds: int) -> set[str]:
        """Store new jobs; the ids of those that could not be stored. Unavailable when none could."""
        items = [_record_item(record, retention_seconds) for record in records]
        if len(items) == 1:
            with refusals("storing the job"):
                self._dynamodb.put_item(TableName=self._name, Item=items[0])
            return set()
        refused = {item["jobID"]["S"] for item in self._write(items)}
        if len(refused) == len(records):
            raise Unavailable("AWS could not take it while storing the jobs. Try again in a moment.")
        return refused

    def log(self, events: Iterable[Event], retention_seconds: int) -> set[str]:
        """Store events; the eventIDs of those that could not be stored."""
        items: dict[tuple[str, str], tuple[Item, Event]] = {}
        for event in sorted(events, key=lambda event: event.position):
            item = _event_item(event, retention_seconds)
            items[item["jobID"]["S"], item["item"]["S"]] = item, event
        refused = self._write([item for item, _ in items.values()])
        return {items[item["jobID"]["S"], item["item"]["S"]][1].eventID for item in refused}

    def job_events(self, job_id: str, limit: int, after: str) -> Page:
        """A job's events; an empty page when there is no such job."""
        rows, more = self._query(
            {":job": job_id, ":after": after},
            limit,
            KeyConditionExpression="jobID = :job" + (" AND #item > :after" if after else ""),
            ExpressionAttributeNames={"#item": "item"} if after else {},
        )
        return Page(self._with_jobs(rows), rows[-1]["item"]["S"] if more else "")

    def user_events(self, user_id: str, limit: int, after: str) -> Page:
        """The events of all jobs of one user."""
        rows, more = self._query(
            {":user": user_id, ":after": after},
            limit,
            IndexName=USER_INDEX,
            KeyConditionExpression="userID = :user" + (" AND #at > :after" if after else ""),
            ExpressionAttributeNames={"#at": "at"} if after else {},
        )
        return Page(self._with_jobs(rows), rows[-1]["at"]["S"] if more else "")

    def jobs(self, job_ids: Iterable[str]) -> dict[str, Raw]:
        """The resolved jobs, as JSON, of those ids that have a record."""
        found: dict[str, Raw] = {}
        for some in batched(sorted(set(job_ids)), _READ_LIMIT):
            keys: Any = [{"jobID": {"S": job_id}, "item": {"S": RECORD}} for job_id in some]
            for pause in _pauses():
                with refusals("reading jobs"):
                    answer = self._dynamodb.batch_get_item(
                        RequestItems={self._name: {"Keys": keys, "ProjectionExpression": "jobID, job"}}
                    )
                for item in answer["Responses"][self._name]:
                    found[item["jobID"]["S"]] = Raw(item["job"]["S"].encode())
                keys = answer["UnprocessedKeys"].get(self._name, {}).get("Keys")
                if not keys:
                    break
                time.sleep(pause)
            else:
                raise Unavailable("AWS could not take it while reading jobs. Try again in a moment.")
        return found

    def _query(self, values: dict[str, str], limit: int, **query: Any) -> tuple[list[Item], bool]:
        """Up to `limit` items that have not expired, and whether there are more."""
        rows: list[Item] = []
        start: dict[str, Any] = {}
        now = time.time()
        if not query["ExpressionAttributeNames"]:
            del query["ExpressionAttributeNames"]
        used = {name: {"S": value} for name, value in values.items() if name in query["KeyConditionExpression"]}
        while len(rows) <= limit:
            with refusals("reading events"):
                answer = self._dynamodb.query(
                    TableName=self._name, ExpressionAttributeValues=used, Limit=limit + 1 - len(rows), **query, **start
                )
            rows += (item for item in answer["Items"] if float(item[TTL]["N"]) > now)
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return rows[:limit], len(rows) > limit

    def _with_jobs(self, rows: list[Item]) -> list[Event]:
        events = sorted((event for row in rows for event in [event_of(row)] if event), key=lambda event: event.position)
        return fill(events, self)

    def _write(self, items: Sequence[Item]) -> list[Item]:
        """Put items, 25 a call, several calls at once; those that could not be stored after retries."""
        batches = list(batched(items, _WRITE_LIMIT))
        if len(batches) == 1:
            return self._write_batch(batches[0])
        with ThreadPoolExecutor(min(PARALLEL, len(batches) or 1)) as threads:
            return [item for refused in threads.map(self._write_batch, batches) for item in refused]

    def _write_batch(self, items: Sequence[Item]) -> list[Item]:
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in items]
        for pause in _pauses():
            try:
                with refusals("storing"):
                    answer = self._dynamodb.batch_write_item(RequestItems={self._name: requests})
            except Unavailable:
                break
            requests = answer["UnprocessedItems"].get(self._name, [])
            if not requests:
                break
            time.sleep(pause)
        return [request["PutRequest"]["Item"] for request in requests]


def fill(events: list[Event], table: JobsTable, known: dict[str, Raw] | None = None) -> list[Event]:
    """Give each event its job again. `known` remembers jobs between calls."""
    known = {} if known is None else known
    known.update((event.jobID, event.job) for event in events if event.job is not UNSET)
    missing = {event.jobID for event in events} - known.keys()
    if missing:
        known.update(table.jobs(missing))
    return [structs.replace(event, job=known.get(event.jobID) or _unknown(event)) for event in events]


def event_of(item: Item) -> Event | None:
    """The event an item stands for, without its job unless it is the record."""
    if "job" in item:
        position = item["at"]["S"]
        return submitted(
            item["job"]["S"].encode(), item["userID"]["S"], item["jobID"]["S"], int(position.split("#")[0])
        )
    return msgspec.json.decode(item["event"]["S"], type=Event) if "event" in item else None


def _unknown(event: Event) -> Raw:
    """What stands for the job of a worker that reports one this control plane never accepted."""
    return Raw(msgspec.json.encode({"userid": event.userID, "jobid": event.jobID}))


def _record_item(record: Record, retention_seconds: int) -> Item:
    job = record.job
    return {
        "jobID": {"S": job.jobid},
        "item": {"S": RECORD},
        "userID": {"S": job.userid},
        "at": {"S": submitted(b"", job.userid, job.jobid, record.created_ms).position},
        "kind": {"S": job.kind},
        "queue": {"S": record.queue},
        "job": {"S": msgspec.json.encode(job).decode()},
        TTL: {"N": str(record.created_ms // 1000 + retention_seconds)},
    }


def _event_item(event: Event, retention_seconds: int) -> Item:
    item = {
        "jobID": {"S": event.jobID},
        "event": {"S": msgspec.json.encode(event).decode()},
        TTL: {"N": str(int(time.time()) + retention_seconds)},
    }
    if event.action == JOB_PROGRESS:
        return {**item, "item": {"S": PROGRESS}}
    return {**item, "item": {"S": _LOG + event.position}, "userID": {"S": event.userID}, "at": {"S": event.position}}


def _pauses() -> Iterator[float]:
    """Growing, jittered pauses between rounds of a batch call that succeeded in part."""
    for round_ in range(_ROUNDS):
        yield random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**round_  # noqa: S311
