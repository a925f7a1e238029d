"""Lists of jobs and events, page by page, from the jobs table and its indexes.

A page ends early where an answer would exceed what a function may return, or where filling it takes too long.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, product
from typing import NamedTuple

import msgspec

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import READ_LIMIT, Item, Table, is_current
from elasticrecode.contract.tables import JOBS_KEYS, STATE_INDEX, STATE_KEYS, USER_INDEX, USER_KEYS
from elasticrecode.ids import is_job
from elasticrecode.jobs.events import Event
from elasticrecode.jobs.items import SHARDS, events_of, record_key
from elasticrecode.jobs.job import LISTED
from elasticrecode.jobs.lifecycle import state_shards
from elasticrecode.jobs.queries import PAGE_BYTES, Query, Reads, merged, place
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.store import JobsTable, fill
from elasticrecode.lists.filters import Filter

_PAGE_SECONDS, _EMPTY_SECONDS = 4.0, 10.0
"""Seconds after which a page holds what matched so far, so that functions end in time where AWS is slow; and seconds
after which it may be empty."""
_SIFTED_SECONDS, _SIFTED_JOBS = 2.0, 5000
"""Seconds, and jobs read, after which a page of a search ends, with fewer jobs than asked for, or none."""
_NEWEST = 1000
"""Entries that `newest` reads of each partition."""


class Page(NamedTuple):
    """A page of events, oldest first; `after` leads to the next one and is empty on the last."""

    events: list[Event]
    after: str


class _Candidates(NamedTuple):
    """Some of the jobs that may be on a page: their ids, each with the cursor behind it, and the cursor behind all.

    `read` counts the jobs that were read for them.
    """

    places: Mapping[str, str]
    after: str
    read: int


class JobLists:
    """Lists of records and events. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)
        self._reads = Reads(self._table)
        self._jobs = JobsTable(name)

    # Events

    def job_events(self, job_id: str, limit: int, after: str) -> Page:
        """A job's events; an empty page when there is no such job.

        The last page has the progress of the running attempt, where it has room.
        """
        rows, more = self._reads.read(Query(None, JOBS_KEYS, (job_id,), after), limit)
        events = [event for row in rows for event in events_of(row)[:1]]
        if not more and len(rows) < limit:
            records = self._table.get_all([record_key(job_id)], "reading jobs") if after else rows[:1]
            events += [event for record in records if is_current(record) for event in events_of(record)[1:]]
        return Page(self._with_jobs(events), more)

    def user_events(self, user_id: str, limit: int, after: str) -> Page:
        """The events of all jobs of one user, without progress."""
        rows, after = self._reads.read_all(_of_user(user_id, after), limit)
        return Page(self._with_jobs([event for row in rows for event in events_of(row)[:1]]), after)

    def _with_jobs(self, events: list[Event]) -> list[Event]:
        return fill(sorted(events, key=lambda event: event.position), self._jobs)

    # Records

    def records(self, wanted: Filter, limit: int, after: str) -> tuple[list[JobRecord], str]:
        """A page of records, newest first unless the filter says otherwise, and the cursor of the next.

        A page may hold fewer than `limit`, and none at all where the filter is sifted. The whole id of a job finds
        that job alone.
        """
        if is_job(wanted.text) and (alone := self._alone(wanted)):
            return alone, ""
        by_state = bool(wanted.state or wanted.kind)

        def find(count: int, after: str) -> _Candidates:
            if by_state:
                return _candidates(*self._reads.read_all(_in_states(wanted, after), count))
            queries = [_of_records(query, wanted) for query in _of_user(wanted.user_id, after)]
            if wanted.text:
                return self._search(queries, wanted, count)
            return _candidates(*self._reads.read_all(queries, count, 3 * count // (2 * SHARDS) + SHARDS))

        return self._chosen(find, limit, after, wanted)

    def _search(self, queries: Sequence[Query], wanted: Filter, count: int) -> _Candidates:
        """The first `count` jobs in whose records, as the index `user` has them, the text is, of 1 MB a partition."""
        rows, after = merged(side_by_side(self._reads.read_once, queries), not wanted.oldest_first)
        matching = [row for row in rows if wanted.is_in(row["job"]["S"])]
        if len(matching) > count:
            matching = matching[:count]
            after = place(matching[-1])
        return _candidates(matching, after)._replace(read=len(rows))

    def _alone(self, wanted: Filter) -> list[JobRecord]:
        """The job whose id the filter's text is, if it matches."""
        return list(filter(wanted.matches, self._jobs.records_of([wanted.text])))

    def records_among(self, wanted: Filter, limit: int, job_ids: Iterable[str]) -> tuple[list[JobRecord], str]:
        """A page of the records of some jobs, in the order given; the cursor is the last job that was read."""
        left = iter(job_ids)
        read: list[str] = []  # one more than is answered, which shows whether there is a next page

        def find(count: int, _: str) -> _Candidates:
            read.extend(islice(left, count + 1 - len(read)))
            some, read[:] = read[:count], read[count:]
            return _Candidates({job_id: job_id for job_id in some}, some[-1] if read else "", len(some))

        return self._chosen(find, limit, "", wanted)

    def newest(self, wanted: Filter) -> set[str]:
        """The ids of up to 1,000 jobs, the newest ones, in each partition of the index `state`."""
        wanted = wanted._replace(oldest_first=False)
        parts = side_by_side(lambda query: self._reads.read(query, _NEWEST)[0], _in_states(wanted, ""))
        return {row["jobID"]["S"] for rows in parts for row in rows}

    def _chosen(
        self, find: Callable[[int, str], _Candidates], limit: int, after: str, wanted: Filter
    ) -> tuple[list[JobRecord], str]:
        """Matching records of the jobs that `find` returns some at a time, until they fill a page or take too long.

        Where some do not match, more are read at a time.
        """
        chosen: list[JobRecord] = []
        count, read, size, started = limit, 0, 0, time.monotonic()
        while True:
            some = find(min(count, READ_LIMIT), after)
            places, after, read = some.places, some.after, read + some.read
            records = self._jobs.records_of(list(places))
            matching = list(filter(wanted.matches, records))
            room = limit - len(chosen)
            chosen += matching[:room]
            if len(matching) > room:
                return chosen, places[chosen[-1].jobID]
            size += len(msgspec.json.encode(matching))
            seconds = time.monotonic() - started
            most = _SIFTED_SECONDS if wanted.is_sifted else _PAGE_SECONDS if chosen else _EMPTY_SECONDS
            is_late = seconds > most or (wanted.is_sifted and read >= _SIFTED_JOBS)
            if not after or len(chosen) == limit or size > PAGE_BYTES or is_late:
                return chosen, after
            count = limit - len(chosen) if len(matching) == len(places) else 4 * count


def _of_user(user_id: str, after: str) -> list[Query]:
    """Queries for all records and events of a user, oldest first."""
    return [Query(USER_INDEX, USER_KEYS, (f"{user_id}#{shard}",), after) for shard in range(SHARDS)]


def _in_states(wanted: Filter, after: str) -> list[Query]:
    """Queries for the records that may match a filter, in its order."""
    kinds = [wanted.kind] if wanted.kind else LISTED
    shards = [shard for state in wanted.stored_states for shard in state_shards(state)]
    return [
        _in_order(Query(STATE_INDEX, STATE_KEYS, (wanted.user_id, *partition), after), wanted)
        for partition in product(kinds, shards)
    ]


def _in_order(query: Query, wanted: Filter) -> Query:
    """A query in the order and the time of a filter."""
    return query._replace(newest_first=not wanted.oldest_first, since=wanted.since, until=wanted.until)


def _of_records(query: Query, wanted: Filter) -> Query:
    """The same, without the events that stand among records."""
    return _in_order(query, wanted)._replace(records_only=True)


def _candidates(rows: Sequence[Item], after: str) -> _Candidates:
    return _Candidates({row["jobID"]["S"]: place(row) for row in rows}, after, len(rows))
