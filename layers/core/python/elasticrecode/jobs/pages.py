"""Lists of jobs and events, page by page, from the jobs table and its indexes.

A page ends early where an answer would exceed what a function may return, or where filling it takes too long.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import READ_LIMIT, Item, Table, is_current
from elasticrecode.contract.tables import DUE_INDEX, DUE_KEYS, JOBS_KEYS, USER_INDEX, USER_KEYS
from elasticrecode.jobs.events import Event
from elasticrecode.jobs.items import NO_QUEUE, RECORD, SHARDS, Waiting, events_of, held_queue, record_key, waiting_of
from elasticrecode.jobs.placement import Group
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.store import JobsTable, fill

_PAGES = 20
"""Index pages read for one page of records at most; jobs that match rarely come with the next page."""
_PAGE_SECONDS = 4.0
"""Seconds after which a page holds what matched so far, so that functions end in time where AWS is slow."""
RECORDS_READ = _PAGES * READ_LIMIT
"""Records read for one page of records at most."""
_PAGE_BYTES = 3_500_000
"""Bytes of a page. A function may return 6 MB, in which the quotes of our JSON are escaped."""
_JOB_BYTES = 2048
"""About what the job takes that each event gets."""


class Page(NamedTuple):
    """A page of events, oldest first; `after` leads to the next one and is empty on the last."""

    events: list[Event]
    after: str


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
        rows, more = self._query(_Query(None, JOBS_KEYS, job_id, after), limit)
        events = [event for row in rows for event in events_of(row)[:1]]
        if not more and len(rows) < limit:
            records = self._table.get_all([record_key(job_id)], "reading jobs") if after else rows[:1]
            events += [event for record in records if is_current(record) for event in events_of(record)[1:]]
        return Page(self._with_jobs(events), more)

    def user_events(self, user_id: str, limit: int, after: str) -> Page:
        """The events of all jobs of one user, without progress."""
        rows, after = self._query_user(_Query(USER_INDEX, USER_KEYS, user_id, after), limit)
        return Page(self._with_jobs([event for row in rows for event in events_of(row)[:1]]), after)

    def _with_jobs(self, events: list[Event]) -> list[Event]:
        return fill(sorted(events, key=lambda event: event.position), self._jobs)

    # Records

    def records(
        self, user_id: str, limit: int, after: str, matches: Callable[[JobRecord], bool]
    ) -> tuple[list[JobRecord], str]:
        """A page of a user's records, newest first, and the cursor of the next. A page may hold fewer than `limit`."""

        def find(count: int, after: str) -> tuple[list[str], str]:
            query = _Query(USER_INDEX, USER_KEYS, user_id, after, newest_first=True, records_only=True)
            rows, after = self._query_user(query, count)
            return [row["jobID"]["S"] for row in rows], after

        return self._chosen(find, limit, after, matches)

    def records_among(
        self, job_ids: Sequence[str], limit: int, matches: Callable[[JobRecord], bool]
    ) -> tuple[list[JobRecord], str]:
        """A page of the records of some jobs, in the order given; the cursor is the last job that was read.

        At most RECORDS_READ records are read; the rest comes with the next page.
        """
        read = 0

        def find(count: int, _: str) -> tuple[list[str], str]:
            nonlocal read
            some = job_ids[read : read + count]
            read += count
            return list(some), some[-1] if read < len(job_ids) else ""

        return self._chosen(find, limit, "", matches)

    def _chosen(
        self,
        find: Callable[[int, str], tuple[list[str], str]],
        limit: int,
        after: str,
        matches: Callable[[JobRecord], bool],
    ) -> tuple[list[JobRecord], str]:
        """Matching records of the jobs that `find` returns some at a time, until they fill a page or take too long."""
        chosen: list[JobRecord] = []
        size, until = 0, time.monotonic() + _PAGE_SECONDS
        for _ in range(_PAGES):
            job_ids, after = find(min(limit - len(chosen), READ_LIMIT), after)
            records = list(filter(matches, self._jobs.records_of(job_ids)))
            chosen += records
            size += len(msgspec.json.encode(records))
            if not after or len(chosen) == limit or size > _PAGE_BYTES or time.monotonic() > until:
                break
        return chosen, after

    # Jobs that wait

    def unsent(self, before_ms: int, limit: int) -> list[Waiting]:
        """Jobs without a message, due before `before_ms`, longest first in each shard."""
        return self.waiting(NO_QUEUE, before_ms, limit)

    def held(self, group: Group, before_ms: int, limit: int) -> list[Waiting]:
        """Held jobs of a group, due before `before_ms`."""
        return self.waiting(held_queue(group), before_ms, limit)

    def waiting(self, queue: str, before_ms: int, limit: int) -> list[Waiting]:
        """Queued and running jobs of a queue, due before `before_ms`, longest first in each shard."""
        ids: list[str] = []
        for shard in range(SHARDS):
            query = _Query(DUE_INDEX, DUE_KEYS, f"{queue}#{shard}", str(before_ms))
            ids += (row["jobID"]["S"] for row in self._query(query, limit - len(ids))[0])
            if len(ids) >= limit:
                break
        return [
            waiting_of(item) for item in self._table.get_all([record_key(job_id) for job_id in ids], "reading jobs")
        ]

    def oldest(self, queue: str) -> int | None:
        """The time since which the oldest job of a queue waits for a worker, in milliseconds; None when no job waits.

        Running jobs are in the index too. Where the pages hold only those, the latest of them: no job waits longer.
        """
        shards = (_Query(DUE_INDEX, DUE_KEYS, f"{queue}#{shard}", "") for shard in range(SHARDS))
        pages = [self._query(query, READ_LIMIT // SHARDS) for query in shards]
        rows = [row for page, _ in pages for row in page]
        items = self._table.get_all(
            [record_key(row["jobID"]["S"]) for row in rows], "reading jobs", "#state, queuedMs", {"#state": "state"}
        )
        waiting = [int(item["queuedMs"]["N"]) for item in items if item["state"]["S"] == "queued"]
        if waiting or not any(more for _, more in pages):
            return min(waiting, default=None)
        return max((int(item["queuedMs"]["N"]) for item in items), default=None)

    # Queries

    def _query_user(self, query: "_Query", limit: int) -> tuple[list[Item], str]:
        """A page over all shards of a user, in one order: up to the place to which all shards have been read."""
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
        """Up to `limit` items that have not expired, and the sort key behind which the next ones are.

        Fewer where an answer with all of them would exceed what a function may return.
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
    """Items of one partition of the table, or of an index, in the order of the sort key, behind `after`."""

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
            # Due jobs lie before `after`, a time; in lists the page goes on where the last one ended.
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


def _place(row: Item) -> str:
    """The sort key of an item in the index by user."""
    return str(row[USER_KEYS[1]]["S"])


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
