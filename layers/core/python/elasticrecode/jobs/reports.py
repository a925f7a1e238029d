"""Applies the reports of workers so that the events of a job are shown in the order in which its worker sent them.

SQS delivers messages twice and in any order, to several invocations at once. They meet at the job's record:

- A conditional write on the record shows a JobStart or a tick (`JobsTable.show`). Its condition: the attempt runs; the
  JobStart is its first event; a tick is newer than the event before. A refused tick is late and is discarded. A refused
  JobStart is stored for lists, and not shown.
- An event that ends an attempt moves the record before it is stored. After that no tick of the attempt is accepted.
- An event that finds its JobStart missing has that shown first, from the identity that it carries. The original is the
  same item when it arrives, so there is no second event.

First-generation workers send no identity and no attempt: a JobStart of theirs that arrives after the end of the job is
stored for lists, and not shown.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import ConditionFailed
from elasticrecode.clock import now_ms
from elasticrecode.errors import Unavailable
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.events import Action, Event, Failure, Report
from elasticrecode.jobs.items import Entry, latest_of
from elasticrecode.jobs.lifecycle import FAULT, LATEST, LATEST_AT, Step
from elasticrecode.jobs.store import JobsTable

_log = logging.getLogger(__name__)


class Reports:
    """Applies and stores the events of workers. `max_strikes` is the number of strikes that fails a job."""

    def __init__(self, table: JobsTable, retention_seconds: int, max_strikes: int) -> None:
        self._table = table
        self._retention_seconds = retention_seconds
        self._max_strikes = max_strikes

    def take(self, reports: Iterable[Report]) -> set[str]:
        """Apply the events of each job in order, jobs side by side; the eventIDs to be delivered again.

        Those are the events that AWS refused, and what follows them in their jobs. An event may be applied twice.
        """
        again: set[str] = set()
        jobs = by_job(reports)
        while jobs:
            entries = side_by_side(self._tried, [job[0] for job in jobs])
            unstored = self._store([some for some in entries if some])
            left: list[list[Report]] = []
            for job, some in zip(jobs, entries, strict=True):
                if some is None or not unstored.isdisjoint(entry.event.eventID for entry in some):
                    again |= {report.event.eventID for report in job}
                elif len(job) > 1:
                    left.append(job[1:])
            jobs = left
        return again

    def _store(self, entries: list[list[Entry]]) -> set[str]:
        """Store the events of several jobs, those of one job one after another; the eventIDs of those refused."""
        refused: set[str] = set()
        for n in range(max(map(len, entries), default=0)):
            turn = [some[n] for some in entries if n < len(some)]
            refused |= self._table.log(turn, self._retention_seconds)
            entries = [some for some in entries if refused.isdisjoint(entry.event.eventID for entry in some)]
        return refused

    def _tried(self, report: Report) -> list[Entry] | None:
        """Apply a report; the events to store, in order. None when AWS refused."""
        try:
            return self._apply(report)
        except Unavailable as error:
            _log.warning("an event could not be applied", extra={"job": report.event.jobID, "reason": str(error)})
            return None

    def _apply(self, report: Report) -> list[Entry]:
        event = report.event
        if event.action == Action.JOB_PROGRESS:
            return self._show_tick(report)
        if event.action == Action.JOB_START and event.attempt:
            return self._show_start(event)
        return self._move(report) if lifecycle.find(event.action, event.attempt or None) else [Entry(event)]

    def _show_tick(self, report: Report) -> list[Entry]:
        """Show a tick, after its JobStart where that has not come yet. A late tick is discarded."""
        entries: list[Entry] = []
        try:
            self._table.show(report.event)
        except ConditionFailed as failed:
            if report.start and lifecycle.awaits_start(failed.item, report.event.attempt or None):
                entries = self._show_start(report.start)
                with suppress(ConditionFailed):
                    self._table.show(report.event)
        return entries

    def _show_start(self, start: Event) -> list[Entry]:
        """Show the JobStart of a claimed attempt. `append` skips its stored event unless the job has no record."""
        try:
            self._table.show(start)
        except ConditionFailed as failed:
            return [Entry(start, is_live=not failed.item)]
        return [Entry(start, is_live=False)]

    def _move(self, report: Report) -> list[Entry]:
        """Make the move of an event; the events to store: the JobStart if missing, the event, then any JobFailed."""
        event, details = report.event, _details(report)
        attempt = event.attempt or None
        followers: list[Entry] = []
        is_strike = lifecycle.is_strike(event.action, details)
        moved_ms = now_ms() if is_strike else event.tsMs
        most = self._max_strikes if is_strike else None
        try:
            before = self._table.apply(
                event.jobID, lifecycle.write(event.action, attempt, moved_ms, details, max_strikes=most)
            )
        except ConditionFailed as failed:
            record: Any = failed.item
            if not is_strike:
                return _refused(report, record)
            try:
                before = self._exhaust(event, moved_ms)
            except ConditionFailed:
                return _refused(report, record)
            followers = [Entry(_failed(event, _exhausted(event, self._max_strikes)))]
        starts = [Entry(report.start)] if report.start and LATEST_AT not in before else []
        return [*starts, Entry(event, is_live=event.action != Action.JOB_START), *followers]

    def _exhaust(self, event: Event, moved_ms: int) -> Any:
        """Fail a job whose last allowed strike an event is; the record before. ConditionFailed when it is not."""
        details = {"failure": msgspec.json.encode(_exhausted(event, self._max_strikes)).decode()}
        attempt = event.attempt or None
        update = lifecycle.write(Step.EXHAUST, attempt, moved_ms, details, self._max_strikes, event.action)
        return self._table.apply(event.jobID, update)


def by_job(reports: Iterable[Report]) -> list[list[Report]]:
    """The reports of each job in order, each event once, and of an attempt's ticks the latest alone."""
    jobs: dict[str, list[Report]] = {}
    ticks: dict[tuple[str, int], str] = {}
    ordered = {(report.event.jobID, report.event.position): report for report in reports}
    for (job_id, position), report in sorted(ordered.items(), key=lambda pair: pair[0]):
        jobs.setdefault(job_id, []).append(report)
        if report.event.action == Action.JOB_PROGRESS:
            ticks[job_id, report.event.attempt or 0] = position
    return [
        [
            report
            for report in job
            if report.event.action != Action.JOB_PROGRESS
            or ticks[report.event.jobID, report.event.attempt or 0] == report.event.position
        ]
        for job in jobs.values()
    ]


def _details(report: Report) -> dict[str, str | int]:
    """Attributes that the move of an event sets on the record."""
    event = report.event
    details: dict[str, str | int] = {}
    if event.action == Action.JOB_START:
        return {LATEST: latest_of(event), LATEST_AT: event.order}
    if event.result:
        details["outputs"] = msgspec.json.encode(event.result.outputs).decode()
        if event.result.quality is not UNSET:
            details["quality"] = msgspec.json.encode(event.result.quality).decode()
    error = event.error
    if event.action == Action.JOB_FAILED and not error:
        error = Failure("worker-failed", event.msg or "Its worker gave no reason.")
    if error:
        details["failure"] = msgspec.json.encode(error).decode()
    if error and report.fault and event.action == Action.JOB_RETURNED:
        details[FAULT] = report.fault
    return details


def _refused(report: Report, record: Any) -> list[Entry]:
    """The events to store of one whose move the record does not allow: it is late, doubled, or of a lost attempt."""
    event = report.event
    if not record:
        return [Entry(event)]
    if event.action == Action.JOB_START or int(record["attempt"]["N"]) > (event.attempt or 10**9):
        return [Entry(event, is_live=False)]
    return [*([Entry(report.start)] if report.start else []), Entry(event)]


def _exhausted(event: Event, max_strikes: int) -> Failure:
    """The failure of a job after its last allowed strike, with the worker's own words."""
    last = event.error.message if event.error else "its worker stopped without a report, as if the job had killed it"
    log = event.error.log if event.error else []
    return Failure("attempts-exhausted", f"It went wrong {max_strikes} times; last: {last}", log)


def _failed(event: Event, failure: Failure) -> Event:
    """The JobFailed that follows from an event; the same for the same event, always."""
    return Event(
        ts=event.ts,
        userID=event.userID,
        jobID=event.jobID,
        action=Action.JOB_FAILED,
        nodeName=event.nodeName,
        podName=event.podName,
        eventID=f"{event.eventID}-last",
        tsMs=event.tsMs,
        attempt=event.attempt,
        error=failure,
    )
