"""The jobs table: one item family per job.

    jobID  item              what
    ─────  ────────────────  ──────────────────────────────────────────────────────────
    id     job               the record; it also stands for the job's JobSummit
    id     log#<position>    one event; `position` follows from the event, so an event
                             that arrives twice is one item
    id     progress          the latest JobProgress, overwritten

The index `user` (userShard, at) holds records and events of one user in time order, in eight partitions; its keys never
change after the first write. The index `due` (dueShard, due) holds every job that has not ended, by its queue and the
time from which `reconcile` may look at it. Every item has a TTL, and no read shows what has expired.
"""

import random
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, structs

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import READ_LIMIT as _READ_LIMIT
from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, is_current, key_of
from elasticrecode.contract.tables import DUE_INDEX, DUE_KEYS, JOBS_KEYS, TTL, USER_INDEX, USER_KEYS
from elasticrecode.errors import Unavailable
from elasticrecode.ids import batch_of
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.events import Action, Event, Failure, submitted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import State, Step
from elasticrecode.jobs.placement import Choice, Group, wanted
from elasticrecode.jobs.record import JobRecord

RECORD = "job"
PROGRESS = "progress"
_LOG = "log#"

_PAGES = 20
"""Index pages read for one page of records at the most; a rarer kind of job comes with the next page."""
_PAGE_SECONDS = 4.0
"""After which a page holds what was found so far, so that functions end in time where AWS is slow."""
LOOKED_THROUGH = _PAGES * _READ_LIMIT
"""Records read for one page of records at the most."""

_PAGE_BYTES = 3_500_000
"""A function may answer 6 MB, in which the quotes of our JSON are escaped."""
_JOB_BYTES = 2048
"""About what a job takes that an event is given back."""

SHARDS = 8
"""Of a user, and of what waits for a queue. A partition takes 1,000 writes a second; a batch brings more."""
_NO_QUEUE = ""
_HELD = "held:"
"""What jobs are watched under that are on no queue; no queue can be called so."""
_TRY_AGAIN = "Try again in a moment."


class Accepted(Struct, frozen=True):
    """A job as it is accepted: where it goes, or is held, and when it came, in milliseconds."""

    job: Job
    choice: Choice
    created_ms: int


class Page(NamedTuple):
    """A page of events, oldest first; `after` leads to the next one and is empty on the last."""

    events: list[Event]
    after: str


class Waiting(NamedTuple):
    """A job that has not moved on. Times are in milliseconds; `lease` is None when nobody holds the job."""

    job: Job
    state: State
    since_ms: int
    attempt: int
    lease: int | None


class JobsTable:
    """Reads and writes of the jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    # Writing

    def accept(self, jobs: Sequence[Accepted], retention_seconds: int, *, again: bool = False) -> set[str]:
        """Store new jobs; the ids of those that could not be stored. Unavailable when none could.

        `again` leaves alone what an earlier try has stored already.
        """
        known = self.jobs([accepted.job.jobid for accepted in jobs]).keys() if again else ()
        items = [_record_item(accepted, retention_seconds) for accepted in jobs if accepted.job.jobid not in known]
        if len(items) == 1:
            self._accept_one(items[0])
            return set()
        refused = {item["jobID"]["S"] for item in self._table.write(items, "storing the jobs")}
        if refused:
            refused -= self.jobs(refused).keys()  # stored, but the answer that said so got lost
        if refused and len(refused) == len(jobs):
            raise Unavailable(f"AWS could not take it while storing the jobs. {_TRY_AGAIN}")
        return refused

    def _accept_one(self, item: Item) -> None:
        """Store a new job. One that is there was stored by a try whose answer got lost, and may have moved since."""
        with suppress(ConditionFailed):
            self._table.put(item, "storing the job", ConditionExpression="attribute_not_exists(jobID)")

    def log(self, events: Iterable[Event], retention_seconds: int) -> set[str]:
        """Store events; the eventIDs of those that could not be stored."""
        items: dict[tuple[str, str], tuple[Item, Event]] = {}
        for event in sorted(events, key=lambda event: event.position):
            item = _event_item(event, retention_seconds)
            items[item["jobID"]["S"], item["item"]["S"]] = item, event
        refused = self._table.write([item for item, _ in items.values()], "storing events")
        return {items[item["jobID"]["S"], item["item"]["S"]][1].eventID for item in refused}

    def move(
        self,
        job_id: str,
        action: str,
        attempt: int | None,
        now_ms: int,
        details: Mapping[str, str | int] | None = None,
        max_strikes: int | None = None,
        because: str = "",
    ) -> bool:
        """Make an action's move in one conditional write; False when its condition does not hold."""
        update = lifecycle.write(action, attempt, now_ms, details or {}, max_strikes, because)
        try:
            self._table.update(_key(job_id), "changing the job's state", **update)
        except ConditionFailed:
            return False
        return True

    def move_and_log(self, action: str, event: Event, retention_seconds: int, choice: Choice | None = None) -> bool:
        """Make a move that names no attempt and store the event that tells of it, both or neither.

        With `choice` that is where the job waits, and is watched, from now on.
        """
        details = {"failure": msgspec.json.encode(event.error).decode()} if event.error else {}
        details |= _goes_to(choice) if choice else {}
        update = lifecycle.write(action, None, event.tsMs, details)
        change = {"TableName": self._table.name, "Key": _key(event.jobID), **update}
        put = put_of(self._table.name, event, retention_seconds)
        try:
            self._table.transact([{"Update": change}, put], "changing the job's state")
        except ConditionFailed:
            return False
        return True

    def postpone(self, job_ids: Iterable[str], now_ms: int) -> int:
        """Mark queued jobs that have no message, for `reconcile`; how many there were."""
        return sum(
            self.move(job_id, Step.POSTPONE, None, now_ms, {DUE_KEYS[0]: _due_shard(_NO_QUEUE)}) for job_id in job_ids
        )

    def resume(self, job_id: str, choice: Choice, now_ms: int) -> bool:
        """Hand a job without a message to a queue; False when it is not one any more."""
        return self.move(job_id, Step.RESUME, None, now_ms, _goes_to(choice))

    def hold(self, job: Job, choice: Choice, now_ms: int) -> bool:
        """Keep a job without a message until one of its queues is not paused; False when it is not one any more."""
        return self.move(job.jobid, Step.HOLD, None, now_ms, _goes_to(choice, job))

    # Reading

    def job_events(self, job_id: str, limit: int, after: str) -> Page:
        """A job's events; an empty page when there is no such job."""
        rows, after = self._query(_Query(None, JOBS_KEYS, job_id, after), limit)
        return Page(self._with_jobs(rows), after)

    def user_events(self, user_id: str, limit: int, after: str) -> Page:
        """The events of all jobs of one user."""
        rows, after = self._query_user(_Query(USER_INDEX, USER_KEYS, user_id, after), limit)
        return Page(self._with_jobs(rows), after)

    def record(self, job_id: str) -> JobRecord | None:
        """A job's record; None when there is no such job."""
        found = self.records_of([job_id])
        return found[0] if found else None

    def records(
        self, user_id: str, limit: int, after: str, matches: Callable[[JobRecord], bool]
    ) -> tuple[list[JobRecord], str]:
        """A page of a user's records, newest first, and what leads to the next. It may hold fewer than `limit`."""

        def find(count: int, after: str) -> tuple[list[str], str]:
            query = _Query(USER_INDEX, USER_KEYS, user_id, after, newest_first=True, records_only=True)
            rows, after = self._query_user(query, count)
            return [row["jobID"]["S"] for row in rows], after

        return self._chosen(find, limit, after, matches)

    def records_among(
        self, job_ids: Sequence[str], limit: int, matches: Callable[[JobRecord], bool]
    ) -> tuple[list[JobRecord], str]:
        """The same of some jobs, in the order given; what leads to the next is the last job that was looked at.

        Of more than LOOKED_THROUGH the rest is left for later, if so many don't match.
        """
        looked = 0

        def find(count: int, _: str) -> tuple[list[str], str]:
            nonlocal looked
            some = job_ids[looked : looked + count]
            looked += count
            return list(some), some[-1] if looked < len(job_ids) else ""

        return self._chosen(find, limit, "", matches)

    def _chosen(
        self,
        find: Callable[[int, str], tuple[list[str], str]],
        limit: int,
        after: str,
        matches: Callable[[JobRecord], bool],
    ) -> tuple[list[JobRecord], str]:
        """Records that match, of jobs that `find` gives so many of at a time, until they make a page or take long."""
        chosen: list[JobRecord] = []
        size, until = 0, time.monotonic() + _PAGE_SECONDS
        for _ in range(_PAGES):
            job_ids, after = find(min(limit - len(chosen), _READ_LIMIT), after)
            found = list(filter(matches, self.records_of(job_ids)))
            chosen += found
            size += len(msgspec.json.encode(found))
            if not after or len(chosen) == limit or size > _PAGE_BYTES or time.monotonic() > until:
                break
        return chosen, after

    def unsent(self, before_ms: int, limit: int) -> list[Waiting]:
        """Jobs without a message that have been due since before, longest first in each shard."""
        return self.waiting(_NO_QUEUE, before_ms, limit)

    def held(self, group: Group, before_ms: int, limit: int) -> list[Waiting]:
        """Such jobs of a group that wait for its queues not to be paused."""
        return self.waiting(_HELD + group, before_ms, limit)

    def waiting(self, queue: str, before_ms: int, limit: int) -> list[Waiting]:
        """Queued and running jobs of a queue that have been due since before, longest first in each shard."""
        ids: list[str] = []
        for shard in range(SHARDS):
            query = _Query(DUE_INDEX, DUE_KEYS, f"{queue}#{shard}", str(before_ms))
            ids += (row["jobID"]["S"] for row in self._query(query, limit - len(ids))[0])
            if len(ids) >= limit:
                break
        return [_waiting(item) for item in self._table.get_all([_key(job_id) for job_id in ids], "reading jobs")]

    def oldest(self, queue: str) -> int | None:
        """Since when the job waits that waits longest for a worker of a queue, in milliseconds; None when none does.

        Jobs that run lie among those that wait. Where only such are found, the latest of them: none waits longer.
        """
        shards = (_Query(DUE_INDEX, DUE_KEYS, f"{queue}#{shard}", "") for shard in range(SHARDS))
        pages = [self._query(query, _READ_LIMIT // SHARDS) for query in shards]
        rows = [row for page, _ in pages for row in page]
        found = self._table.get_all(
            [_key(row["jobID"]["S"]) for row in rows], "reading jobs", "#state, queuedMs", {"#state": "state"}
        )
        waiting = [int(item["queuedMs"]["N"]) for item in found if item["state"]["S"] == "queued"]
        if waiting or not any(more for _, more in pages):
            return min(waiting, default=None)
        return max((int(item["queuedMs"]["N"]) for item in found), default=None)

    def jobs(self, job_ids: Iterable[str]) -> dict[str, Raw]:
        """The resolved jobs, as JSON, of those ids that have a record."""
        items = self._table.get_all([_key(job_id) for job_id in sorted(set(job_ids))], "reading jobs", "jobID, job")
        return {item["jobID"]["S"]: Raw(item["job"]["S"].encode()) for item in items}

    def records_of(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """The records that there are, in the order of the ids, with their progress."""
        family = [_key(job_id, item) for job_id in job_ids for item in (RECORD, PROGRESS)]
        items = {(item["jobID"]["S"], item["item"]["S"]): item for item in self._table.get_all(family, "reading jobs")}
        now = time.time()
        return [
            _record(items[job_id, RECORD], items.get((job_id, PROGRESS)), now)
            for job_id in job_ids
            if (job_id, RECORD) in items and is_current(items[job_id, RECORD], now)
        ]

    def _with_jobs(self, rows: list[Item]) -> list[Event]:
        events = sorted((event for row in rows for event in [event_of(row)] if event), key=lambda event: event.position)
        return fill(events, self)

    def _query_user(self, query: "_Query", limit: int) -> tuple[list[Item], str]:
        """The same over all shards of a user, in one order: up to where all of them have been read."""
        shards = [query._replace(value=f"{query.value}#{shard}") for shard in range(SHARDS)]
        parts = side_by_side(lambda shard: self._query(shard, limit), shards)
        rows = sorted((row for rows, _ in parts for row in rows), key=_place, reverse=query.newest_first)
        ends = [after for _, after in parts if after]
        if ends:
            end = max(ends) if query.newest_first else min(ends)
            rows = [row for row in rows if _place(row) == end or (_place(row) > end) == query.newest_first]
        chosen = rows[: min(limit, _fitting(rows) or 1)]
        return chosen, _place(chosen[-1]) if len(rows) > len(chosen) or ends else ""

    def _query(self, query: "_Query", limit: int) -> tuple[list[Item], str]:
        """Up to `limit` items that have not expired, and the sort key that leads to the next ones.

        Fewer where an answer with all of them would be more than a function may give.
        """
        rows: list[Item] = []
        arguments = query.arguments()
        now = time.time()
        while len(rows) <= limit and _fitting(rows) == len(rows):
            answer = self._table.query("reading", **arguments, Limit=_page_size(query, limit + 1 - len(rows)))
            rows += (item for item in answer["Items"] if query.of == DUE_INDEX or is_current(item, now))
            if "LastEvaluatedKey" not in answer:
                break
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        limit = min(limit, _fitting(rows) or 1)
        more = next(iter(rows[limit - 1][query.keys[1]].values())) if len(rows) > limit else ""
        return rows[:limit], more


class _Query(NamedTuple):
    """Items of one partition of the table, or of an index, in the order of the sort key, from behind `after`."""

    of: str | None
    keys: tuple[str, str]
    value: str
    after: str
    newest_first: bool = False
    records_only: bool = False

    def arguments(self) -> dict[str, Any]:
        names, values = {"#key": self.keys[0]}, {":key": {"S": self.value}}
        arguments: dict[str, Any] = {"KeyConditionExpression": "#key = :key"}
        if self.after:
            names["#sort"] = self.keys[1]
            # What is due is what lies before now; elsewhere the page goes on from where the last one ended.
            values[":after"] = {"N" if self.of == DUE_INDEX else "S": self.after}
            before = self.newest_first or self.of == DUE_INDEX
            arguments["KeyConditionExpression"] += f" AND #sort {'<' if before else '>'} :after"
        arguments |= {"IndexName": self.of} if self.of else {"ConsistentRead": True}
        if self.newest_first:
            arguments["ScanIndexForward"] = False
        if self.records_only:
            names["#item"], values[":record"] = "item", {"S": RECORD}
            arguments["FilterExpression"] = "#item = :record"
        return arguments | {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}


def put_of(table: str, event: Event, retention_seconds: int) -> dict[str, Any]:
    """The part of a transaction that stores an event."""
    return {"Put": {"TableName": table, "Item": _event_item(event, retention_seconds)}}


def fill(events: list[Event], table: JobsTable, known: dict[str, Raw] | None = None) -> list[Event]:
    """Give each event its job again. `known` remembers jobs between calls."""
    known = {} if known is None else known
    known.update((event.jobID, event.job) for event in events if event.job is not UNSET)
    missing = {event.jobID for event in events if event.action != Action.BATCH_FINISHED} - known.keys()
    if missing:
        known.update(table.jobs(missing))
    return [_filled(event, known.get(event.jobID) or _unknown(event)) for event in events]


def _filled(event: Event, job: Raw) -> Event:
    if event.action == Action.BATCH_FINISHED:
        return event
    return structs.replace(event, job=job, batchID=batch_of(event.jobID) or UNSET)


def event_of(item: Item) -> Event | None:
    """The event an item stands for, without its job unless it is the record."""
    if "job" in item:
        return submitted(item["job"]["S"].encode(), item["userID"]["S"], item["jobID"]["S"], _created_ms(item))
    return msgspec.json.decode(item["event"]["S"], type=Event) if "event" in item else None


def _unknown(event: Event) -> Raw:
    """What stands for the job of a worker that reports one this control plane never accepted."""
    return Raw(msgspec.json.encode({"userid": event.userID, "jobid": event.jobID}))


def _place(row: Item) -> str:
    """Where an item stands in the index by user."""
    return str(row[USER_KEYS[1]]["S"])


def _user_keys(user_id: str, job_id: str, at: str) -> Item:
    """Where an item is found by its user."""
    return {USER_KEYS[0]: {"S": f"{user_id}#{zlib.crc32(job_id.encode()) % SHARDS}"}, USER_KEYS[1]: {"S": at}}


def _key(job_id: str, item: str = RECORD) -> Item:
    return key_of(JOBS_KEYS, job_id, item)


def _created_ms(item: Item) -> int:
    return int(item["at"]["S"].split("#", 1)[0])


def _fitting(rows: Sequence[Item]) -> int:
    """How many of the items fit into one answer as events, each with its job."""
    size = 0
    for n, row in enumerate(rows):
        size += len(row["event"]["S"] if "event" in row else "") + _JOB_BYTES
        if size > _PAGE_BYTES:
            return n
    return len(rows)


def _page_size(query: _Query, count: int) -> int:
    """How many items to read for so many: with records among events, a few events go with each."""
    return min(1000, 4 * count) if query.records_only else count


def _record_item(accepted: Accepted, retention_seconds: int) -> Item:
    job = accepted.job
    batch_id = batch_of(job.jobid)
    state: State = "queued" if accepted.choice.queue else "accepted"
    return {
        **_key(job.jobid),
        "userID": {"S": job.userid},
        **({"batchID": {"S": batch_id}} if batch_id else {}),
        **_user_keys(job.userid, job.jobid, submitted(b"", job.userid, job.jobid, accepted.created_ms).position),
        "kind": {"S": job.kind},
        **{name: {"S": value} for name, value in _goes_to(accepted.choice, job).items()},
        DUE_KEYS[1]: {"N": str(accepted.created_ms + lifecycle.WATCHED_AFTER_MS[state])},
        "state": {"S": state},
        "attempt": {"N": "0"},
        "strikes": {"N": "0"},
        "queuedMs": {"N": str(accepted.created_ms)},
        "job": {"S": msgspec.json.encode(job).decode()},
        TTL: {"N": str(accepted.created_ms // 1000 + retention_seconds)},
    }


def _event_item(event: Event, retention_seconds: int) -> Item:
    item = {
        "jobID": {"S": event.jobID},
        "event": {"S": msgspec.json.encode(event).decode()},
        TTL: {"N": str(int(time.time()) + retention_seconds)},
    }
    if event.action == Action.JOB_PROGRESS:
        return {**item, "item": {"S": PROGRESS}}
    keys = _user_keys(event.userID, event.jobID, event.position)
    return {**item, "item": {"S": _LOG + event.position}, "userID": {"S": event.userID}, **keys}


def _goes_to(choice: Choice, job: Job | None = None) -> dict[str, str]:
    """Attributes of the record of a job that goes to a queue, or is held; only for the latter `job` must be given."""
    watched = choice.queue or (_HELD + wanted(job).group if job else _NO_QUEUE)
    return {"queue": choice.queue, "why": choice.reason, DUE_KEYS[0]: _due_shard(watched)}


def _due_shard(queue: str) -> str:
    """Where a job of a queue is watched."""
    return f"{queue}#{random.randrange(SHARDS)}"  # noqa: S311


def _waiting(item: Item) -> Waiting:
    state: Any = item["state"]["S"]
    lease = int(item["lease"]["N"]) if "lease" in item else None
    since = item.get("startedMs", item["queuedMs"])
    job = msgspec.json.decode(item["job"]["S"], type=Job)
    return Waiting(job, state, int(since["N"]), int(item["attempt"]["N"]), lease)


def _record(item: Item, progress: Item | None, now: float) -> JobRecord:
    job = msgspec.json.decode(item["job"]["S"], type=Job)
    state: Any = item["state"]["S"]
    attempt = int(item["attempt"]["N"])
    seconds = {name: int(item[name]["N"]) / 1000 for name in ("queuedMs", "startedMs", "endedMs") if name in item}
    latest = msgspec.json.decode(progress["event"]["S"], type=Event) if progress else None
    current = latest and (latest.attempt is UNSET or latest.attempt == attempt)
    return JobRecord(
        jobID=job.jobid,
        userID=job.userid,
        kind=job.kind,
        state=lifecycle.as_seen(state, int(item["lease"]["N"]) if "lease" in item else None, int(now * 1000)),
        attempt=attempt,
        priority=job.priority or 0,
        queue=item["queue"]["S"] or None,
        queueReason=item["why"]["S"] if "why" in item else None,
        input=job.input,
        origin=job.origin or None,
        output=job.output,
        profile=Raw(msgspec.json.encode(job.profile)),
        batchID=batch_of(job.jobid),
        createdAt=_created_ms(item) / 1000,
        queuedAt=seconds.get("queuedMs"),
        startedAt=seconds.get("startedMs"),
        endedAt=seconds.get("endedMs"),
        progress=latest.progress or None if latest and current and state == "running" else None,
        outputs=Raw(item["outputs"]["S"].encode()) if "outputs" in item else None,
        quality=Raw(item["quality"]["S"].encode()) if "quality" in item else None,
        error=msgspec.json.decode(item["failure"]["S"], type=Failure) if "failure" in item else None,
    )
