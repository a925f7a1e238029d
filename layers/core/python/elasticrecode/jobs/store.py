"""The jobs table: storing jobs and events, moving jobs from state to state, and reading jobs by their ids.

`items` describes what is stored, `pages` reads lists and indexes, `reports` applies what workers send.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Raw, structs

from elasticrecode.aws.clients import pauses
from elasticrecode.aws.dynamodb import ConditionFailed, Conflict, Item, Table, is_current, refused
from elasticrecode.contract.tables import DUE_KEYS
from elasticrecode.ids import batch_of, is_part, is_unlisted
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.events import Action, Event
from elasticrecode.jobs.items import (
    NO_QUEUE,
    Accepted,
    Entry,
    destination,
    due_shard,
    event_item,
    latest_of,
    put_of,
    record_item,
    record_key,
    record_of,
    unknown_job,
)
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import Step
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.record import JobRecord


class JobsTable:
    """Writes of the jobs table, and reads by id. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    # Storing

    def accept(self, jobs: Sequence[Accepted], retention_seconds: int, *, again: bool = False) -> set[str]:
        """Store new jobs; the ids of those that could not be stored. Raises Unavailable when none could.

        `again` leaves alone what an earlier try has stored already.
        """
        known = self.jobs([accepted.job.jobid for accepted in jobs]).keys() if again else ()
        items = [record_item(accepted, retention_seconds) for accepted in jobs if accepted.job.jobid not in known]
        if len(items) == 1:
            self._accept_one(items[0])
            return set()
        left = {item["jobID"]["S"] for item in self._table.write(items, "storing the jobs")}
        if left:
            left -= self.jobs(left).keys()  # stored, but the answer that said so got lost
        if left and len(left) == len(jobs):
            raise refused("storing the jobs")
        return left

    def _accept_one(self, item: Item) -> None:
        """Store a new job. One that is there was stored by a try whose answer got lost, and may have moved since."""
        with suppress(ConditionFailed):
            self._table.put(item, "storing the job", ConditionExpression="attribute_not_exists(jobID)")

    def log(self, entries: Iterable[Entry], retention_seconds: int) -> set[str]:
        """Store events; the eventIDs of those that could not be stored. Those of parts and plans are not stored."""
        items: dict[tuple[str, str], tuple[Item, Event]] = {}
        for entry in entries:
            if is_unlisted(entry.event.jobID):
                continue
            item = event_item(entry, retention_seconds)
            items[item["jobID"]["S"], item["item"]["S"]] = item, entry.event
        left = self._table.write([item for item, _ in items.values()], "storing events")
        return {items[item["jobID"]["S"], item["item"]["S"]][1].eventID for item in left}

    # Moving

    def move(
        self, job_id: str, action: str, attempt: int | None, now_ms: int, details: Mapping[str, str | int] | None = None
    ) -> bool:
        """Make an action's move in one conditional write; False when its condition does not hold."""
        try:
            self.apply(job_id, lifecycle.write(action, attempt, now_ms, details or {}))
        except ConditionFailed:
            return False
        return True

    def apply(self, job_id: str, update: Mapping[str, Any]) -> Item:
        """Make an update of `lifecycle`; the record before it. Raises ConditionFailed with the record as it is."""
        answer = self._table.update(
            record_key(job_id),
            "changing the job's state",
            ReturnValues="ALL_OLD",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **update,
        )
        before: Item = answer.get("Attributes", {})
        return before

    def show(self, event: Event) -> None:
        """Make a JobStart or JobProgress the latest event of its attempt, from where the record and the feed have it.

        Raises ConditionFailed, with the record as it is, when the attempt does not run or the event is not its next.
        """
        is_start = event.action == Action.JOB_START
        update = lifecycle.latest(event.attempt or None, event.order, latest_of(event), is_start=is_start)
        self.apply(event.jobID, update)

    def move_and_log(self, action: str, event: Event, retention_seconds: int, choice: Choice | None = None) -> bool:
        """Make a move that names no attempt and store its event, both or neither; False when the move is not allowed.

        With `choice` that is where the job waits, and is watched, from now on.
        """
        details = {"failure": msgspec.json.encode(event.error).decode()} if event.error else {}
        details |= destination(choice) if choice else {}
        try:
            self.apply_and_log(lifecycle.write(action, None, event.tsMs, details), [Entry(event)], retention_seconds)
        except ConditionFailed:
            return False
        return True

    def apply_and_log(self, update: Mapping[str, Any], entries: Sequence[Entry], retention_seconds: int) -> None:
        """Make an update of `lifecycle` and store the events of its job, all or nothing.

        So the stream has an event between the changes of the record that came before and after it: no event of an
        attempt can follow what ended the attempt. The events of a part or a plan are not stored. Raises ConditionFailed
        with the record as it is.
        """
        if is_unlisted(entries[0].event.jobID):
            self.apply(entries[0].event.jobID, update)
            return
        change = {
            "TableName": self._table.name,
            "Key": record_key(entries[0].event.jobID),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **update,
        }
        puts = [put_of(self._table.name, entry, retention_seconds) for entry in entries]
        for pause in pauses():
            try:
                self._table.transact([{"Update": change}, *puts], "changing the job's state")
            except Conflict:
                time.sleep(pause)  # a worker renews its claim, or reports progress
            else:
                return
        raise refused("changing the job's state")

    def postpone(self, job_ids: Iterable[str], now_ms: int) -> int:
        """Mark queued jobs without a message for `reconcile`; the number of jobs marked."""
        return sum(
            self.move(job_id, Step.POSTPONE, None, now_ms, {DUE_KEYS[0]: due_shard(NO_QUEUE)}) for job_id in job_ids
        )

    def resume(self, job_id: str, choice: Choice, now_ms: int) -> bool:
        """Hand a job without a message to a queue; False when it has moved on."""
        return self.move(job_id, Step.RESUME, None, now_ms, destination(choice))

    def hold(self, job: Job, choice: Choice, now_ms: int) -> bool:
        """Keep a job without a message until one of its queues is not paused; False when it has moved on."""
        return self.move(job.jobid, Step.HOLD, None, now_ms, destination(choice, job))

    # Reading by id

    def jobs(self, job_ids: Iterable[str]) -> dict[str, Raw]:
        """The resolved jobs, as JSON, of those ids that have a record."""
        keys = [record_key(job_id) for job_id in sorted(set(job_ids))]
        items = self._table.get_all(keys, "reading jobs", "jobID, job")
        return {item["jobID"]["S"]: Raw(item["job"]["S"].encode()) for item in items}

    def moves(self, job_ids: Iterable[str]) -> list[Item]:
        """How often jobs have moved, and where to: attributes of those records that exist, as they are stored."""
        keys = [record_key(job_id) for job_id in job_ids]
        names = {"#state": "state", "#moves": "moves", "#failure": "failure"}
        return self._table.get_all(keys, "reading jobs", "jobID, batchID, #state, #moves, #failure", names)

    def record(self, job_id: str) -> JobRecord | None:
        """A job's record; None when there is no such job."""
        records = self.records_of([job_id])
        return records[0] if records else None

    def records_of(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """The records that exist and have not expired, in the order of the ids. Parts are left out."""
        job_ids = [job_id for job_id in job_ids if not is_part(job_id)]
        rows = self._table.get_all([record_key(job_id) for job_id in job_ids], "reading jobs")
        items = {item["jobID"]["S"]: item for item in rows}
        now = time.time()
        return [
            record_of(items[job_id], now) for job_id in job_ids if job_id in items and is_current(items[job_id], now)
        ]


def fill(events: list[Event], table: JobsTable, known: dict[str, Raw] | None = None) -> list[Event]:
    """Copies of the events with their jobs. `known` remembers jobs between calls."""
    known = {} if known is None else known
    known.update((event.jobID, event.job) for event in events if event.job is not UNSET)
    missing = {event.jobID for event in events if event.action != Action.BATCH_FINISHED} - known.keys()
    if missing:
        known.update(table.jobs(missing))
    return [_filled(event, known.get(event.jobID) or unknown_job(event)) for event in events]


def _filled(event: Event, job: Raw) -> Event:
    if event.action == Action.BATCH_FINISHED:
        return event
    return structs.replace(event, job=job, batchID=batch_of(event.jobID) or UNSET)
