"""Lists of jobs and events, page by page, from the jobs table and its indexes.

A page ends early where an answer would exceed what a function may return, or where filling it takes too long.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, product
from typing import Any, NamedTuple

import msgspec

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import READ_LIMIT, Item, Table, is_current
from elasticrecode.contract.tables import (
    DUE_INDEX,
    DUE_KEYS,
    JOBS_KEYS,
    STATE_INDEX,
    STATE_KEYS,
    USER_INDEX,
    USER_KEYS,
)
from elasticrecode.jobs.events import Event
from elasticrecode.jobs.items import NO_QUEUE, RECORD, SHARDS, Waiting, events_of, held_queue, record_key, waiting_of
from elasticrecode.jobs.job import LISTED, Kind
from elasticrecode.jobs.lifecycle import STATES, State, state_shards
from elasticrecode.jobs.placement import Group
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.store import JobsTable, fill

_PAGE_SECONDS, _EMPTY_SECONDS = 4.0, 10.0
"""Seconds after which a page holds what matched so far, so that functions end in time where AWS is slow; and seconds
after which it may be empty."""
_PAGE_BYTES = 3_500_000
"""Bytes of a page. A function may return 6 MB, in which the quotes of our JSON are escaped."""
_JOB_BYTES = 2048
"""About what the job takes that each event gets."""
_NEWEST = 1000
"""Entries that `newest` reads of each partition."""


class Page(NamedTuple):
    """A page of events, oldest first; `after` leads to the next one and is empty on the last."""

    events: list[Event]
    after: str


class Filter(NamedTuple):
    """The jobs of a list: those of a user, and only those in a state, or of a kind, where these are given."""

    user_id: str
    state: State | None = None
    kind: Kind | None = None

    @property
    def stored_states(self) -> tuple[State, ...]:
        """The states of the records that may match: a running job whose lease has expired is seen as queued."""
        if self.state == "queued":
            return "queued", "running"
        return (self.state,) if self.state else STATES

    def matches(self, record: JobRecord) -> bool:
        """Whether a record is among the jobs."""
        wanted = zip(self, (record.userID, record.state, record.kind), strict=True)
        return all(value is None or value == actual for value, actual in wanted)


class JobLists:
    """Lists of records and events, and of jobs that wait. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)
        self._jobs = JobsTable(name)

    # Events

    def job_events(self, job_id: str, limit: int, after: str) -> Page:
        """A job's events; an empty page when there is no such job.

        The last page has the progress of the running attempt, where it has room.
        """
        rows, more = self._query(_Query(None, JOBS_KEYS, (job_id,), after), limit)
        events = [event for row in rows for event in events_of(row)[:1]]
        if not more and len(rows) < limit:
            records = self._table.get_all([record_key(job_id)], "reading jobs") if after else rows[:1]
            events += [event for record in records if is_current(record) for event in events_of(record)[1:]]
        return Page(self._with_jobs(events), more)

    def user_events(self, user_id: str, limit: int, after: str) -> Page:
        """The events of all jobs of one user, without progress."""
        rows, after = self._query_all(_of_user(user_id, after), limit)
        return Page(self._with_jobs([event for row in rows for event in events_of(row)[:1]]), after)

    def _with_jobs(self, events: list[Event]) -> list[Event]:
        return fill(sorted(events, key=lambda event: event.position), self._jobs)

    # Records

    def records(self, wanted: Filter, limit: int, after: str) -> tuple[list[JobRecord], str]:
        """A page of records, newest first, and the cursor of the next. A page may hold fewer than `limit`."""

        def find(count: int, after: str) -> tuple[dict[str, str], str]:
            if wanted.state or wanted.kind:
                queries = _in_states(wanted, after)
            else:
                queries = [query.backwards(records_only=True) for query in _of_user(wanted.user_id, after)]
            rows, after = self._query_all(queries, count)
            return {row["jobID"]["S"]: _place(row) for row in rows}, after

        return self._chosen(find, limit, after, wanted)

    def records_among(self, wanted: Filter, limit: int, job_ids: Iterable[str]) -> tuple[list[JobRecord], str]:
        """A page of the records of some jobs, in the order given; the cursor is the last job that was read."""
        left = iter(job_ids)
        read: list[str] = []  # one more than is answered, which shows whether there is a next page

        def find(count: int, _: str) -> tuple[dict[str, str], str]:
            read.extend(islice(left, count + 1 - len(read)))
            some, read[:] = read[:count], read[count:]
            return {job_id: job_id for job_id in some}, some[-1] if read else ""

        return self._chosen(find, limit, "", wanted)

    def newest(self, wanted: Filter) -> set[str]:
        """The ids of up to 1,000 jobs, the newest ones, in each partition of the index `state`."""
        parts = side_by_side(lambda query: self._query(query, _NEWEST)[0], _in_states(wanted, ""))
        return {row["jobID"]["S"] for rows in parts for row in rows}

    def _chosen(
        self, find: Callable[[int, str], tuple[dict[str, str], str]], limit: int, after: str, wanted: Filter
    ) -> tuple[list[JobRecord], str]:
        """Matching records of the jobs that `find` returns some at a time, until they fill a page or take too long.

        `find` returns job ids, each with the cursor behind it, and the cursor behind all. Where some do not match,
        more are read at a time.
        """
        chosen: list[JobRecord] = []
        count, size, started = limit, 0, time.monotonic()
        while True:
            places, after = find(min(count, READ_LIMIT), after)
            records = self._jobs.records_of(list(places))
            matching = list(filter(wanted.matches, records))
            room = limit - len(chosen)
            chosen += matching[:room]
            if len(matching) > room:
                return chosen, places[chosen[-1].jobID]
            size += len(msgspec.json.encode(matching))
            seconds = time.monotonic() - started
            is_late = seconds > (_PAGE_SECONDS if chosen else _EMPTY_SECONDS)
            if not after or len(chosen) == limit or size > _PAGE_BYTES or is_late:
                return chosen, after
            count = limit - len(chosen) if len(matching) == len(places) else 4 * count

    # Jobs that wait

    def unsent(self, before_ms: int, limit: int, matches: Callable[[Waiting], bool]) -> list[Waiting]:
        """Jobs without a message, due before `before_ms`, longest first in each shard."""
        return self.waiting(NO_QUEUE, before_ms, limit, matches)

    def held(self, group: Group, before_ms: int, limit: int, matches: Callable[[Waiting], bool]) -> list[Waiting]:
        """Held jobs of a group, due before `before_ms`."""
        return self.waiting(held_queue(group), before_ms, limit, matches)

    def waiting(self, queue: str, before_ms: int, limit: int, matches: Callable[[Waiting], bool]) -> list[Waiting]:
        """Up to `limit` matching jobs of a queue that have not ended, due before `before_ms`."""
        chosen: list[Waiting] = []
        for query in _of_queue(queue, str(before_ms)):
            for rows in self._table.query_pages("reading", **query.arguments(), Limit=limit):
                items = self._table.get_all([record_key(row["jobID"]["S"]) for row in rows], "reading jobs")
                chosen += filter(matches, map(waiting_of, items))
                if len(chosen) >= limit:
                    return chosen[:limit]
        return chosen

    def oldest(self, queue: str) -> int | None:
        """The time since which the oldest job of a queue waits for a worker, in milliseconds; None when no job waits.

        Running jobs are in the index too. Where the pages hold only those, the latest of them: no job waits longer.
        """
        pages = [self._query(query, READ_LIMIT // SHARDS) for query in _of_queue(queue, "")]
        rows = [row for page, _ in pages for row in page]
        items = self._table.get_all(
            [record_key(row["jobID"]["S"]) for row in rows], "reading jobs", "#state, queuedMs", {"#state": "state"}
        )
        waiting = [int(item["queuedMs"]["N"]) for item in items if item["state"]["S"] == "queued"]
        if waiting or not any(more for _, more in pages):
            return min(waiting, default=None)
        return max((int(item["queuedMs"]["N"]) for item in items), default=None)

    # Queries

    def _query_all(self, queries: Sequence["_Query"], limit: int) -> tuple[list[Item], str]:
        """A page of several partitions, in one order: up to the place to which all of them have been read."""
        newest_first = queries[0].newest_first
        parts = side_by_side(lambda query: self._query(query, limit), queries)
        rows = sorted((row for rows, _ in parts for row in rows), key=_place, reverse=newest_first)
        ends = [after for _, after in parts if after]
        if ends:
            end = max(ends) if newest_first else min(ends)
            rows = [row for row in rows if _place(row) == end or (_place(row) > end) == newest_first]
        chosen = rows[: min(limit, _fitting(rows) or 1)]
        return chosen, _place(chosen[-1]) if len(rows) > len(chosen) or ends else ""

    def _query(self, query: "_Query", limit: int) -> tuple[list[Item], str]:
        """Up to `limit` items that have not expired, and the sort key behind which the next ones are.

        Fewer where an answer with all of them would exceed what a function may return.
        """
        rows: list[Item] = []
        arguments, size = query.arguments(), limit if query.records_only else 0
        now = time.time()
        while len(rows) <= limit and _fitting(rows) == len(rows):
            size = min(1000, max(4 * size, limit + 1 - len(rows)))  # most of what was read may be events, or expired
            answer = self._table.query("reading", **arguments, Limit=size)
            rows += (item for item in answer["Items"] if query.of == DUE_INDEX or is_current(item, now))
            if "LastEvaluatedKey" not in answer:
                break
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        limit = min(limit, _fitting(rows) or 1)
        more = next(iter(rows[limit - 1][query.keys[-1]].values())) if len(rows) > limit else ""
        return rows[:limit], more


class _Query(NamedTuple):
    """Items of one partition of the table, or of an index, in the order of the sort key, behind `after`.

    `keys` names the attributes of the partition key, which have these `values`, and the sort key.
    """

    of: str | None
    keys: tuple[str, ...]
    values: tuple[str, ...]
    after: str
    newest_first: bool = False
    records_only: bool = False

    def backwards(self, *, records_only: bool = False) -> "_Query":
        """The same with the newest items first, and records without the events among them where that is wanted."""
        return self._replace(newest_first=True, records_only=records_only)

    def arguments(self) -> dict[str, Any]:
        names: dict[str, str] = {}
        values: dict[str, Mapping[str, str]] = {}
        conditions = []
        for n, (key, value) in enumerate(zip(self.keys, self.values, strict=False)):
            names[f"#key{n}"], values[f":key{n}"] = key, {"S": value}
            conditions.append(f"#key{n} = :key{n}")
        arguments: dict[str, Any] = {}
        if self.after:
            names["#sort"] = self.keys[-1]
            # Due jobs lie before `after`, a time; in lists the page goes on where the last one ended.
            values[":after"] = {"N" if self.of == DUE_INDEX else "S": self.after}
            before = self.newest_first or self.of == DUE_INDEX
            conditions.append(f"#sort {'<' if before else '>'} :after")
        arguments["KeyConditionExpression"] = " AND ".join(conditions)
        arguments |= {"IndexName": self.of} if self.of else {"ConsistentRead": True}
        if self.newest_first:
            arguments["ScanIndexForward"] = False
        if self.records_only:
            names["#item"], values[":record"] = "item", {"S": RECORD}
            arguments["FilterExpression"] = "#item = :record"
        return arguments | {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}


def _of_user(user_id: str, after: str) -> list[_Query]:
    """Queries for all records and events of a user, oldest first."""
    return [_Query(USER_INDEX, USER_KEYS, (f"{user_id}#{shard}",), after) for shard in range(SHARDS)]


def _in_states(wanted: Filter, after: str) -> list[_Query]:
    """Queries for the records that may match a filter, newest first."""
    kinds = [wanted.kind] if wanted.kind else LISTED
    shards = [shard for state in wanted.stored_states for shard in state_shards(state)]
    return [
        _Query(STATE_INDEX, STATE_KEYS, (wanted.user_id, *partition), after).backwards()
        for partition in product(kinds, shards)
    ]


def _of_queue(queue: str, before_ms: str) -> list[_Query]:
    """Queries for the jobs of a queue, those that are due before a time."""
    return [_Query(DUE_INDEX, DUE_KEYS, (f"{queue}#{shard}",), before_ms) for shard in range(SHARDS)]


def _place(row: Item) -> str:
    """The sort key of an item in the indexes `user` and `state`."""
    return str(row[USER_KEYS[1]]["S"])


def _fitting(rows: Sequence[Item]) -> int:
    """How many of the items fit into one answer as events, each with its job."""
    size = 0
    for n, row in enumerate(rows):
        size += len(row["event"]["S"] if "event" in row else "") + _JOB_BYTES
        if size > _PAGE_BYTES:
            return n
    return len(rows)
