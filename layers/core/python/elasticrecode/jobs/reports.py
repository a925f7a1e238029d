"""Applies the reports of workers, so that watchers see the attempts of a job one after another, each in its order.

SQS delivers messages twice and in any order, to several invocations at once, and a worker that lost its claim may still
send. They meet at the job's record:

- A conditional write on the record shows a JobStart or a tick (`JobsTable.show`). Its condition: the attempt runs; the
  JobStart is its first event; a tick is newer than the event before. A refused tick is late and is discarded. A refused
  JobStart is stored for lists, and not shown.
- An event that ends an attempt is stored in the transaction that moves the record. So it is shown before everything
  that follows the move, such as JobRetried or the next JobStart. Where the record does not allow the move, the event
  changes nothing, and is logged instead of stored: a client that reads it would take it for the end of the job.
- An event that finds its JobStart missing has that shown first, from the identity that it carries. The original is the
  same item when it arrives, so there is no second event.
- An event of an unknown action is shown if its attempt runs, and is else stored for lists.

First-generation workers send no identity and no attempt, so nothing tells a late event of theirs from one of the run in
progress. A JobStart of theirs that arrives after the end of the job is stored for lists, and not shown.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import ConditionFailed, Item
from elasticrecode.clock import now_ms
from elasticrecode.errors import Unavailable
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.events import Action, Event, Failure, Report
from elasticrecode.jobs.items import Entry, latest_of
from elasticrecode.jobs.lifecycle import FAULT, LATEST, LATEST_AT, PLANNED, Step
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
        if lifecycle.find(event.action, event.attempt or None):
            return self._move(report)
        if event.action in set(Action):
            return _discarded(event, "workers report none, or name its attempt")
        return self._show_other(report)

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

    def _show_other(self, report: Report) -> list[Entry]:
        """Store an event of an unknown action. It is shown, after its JobStart, if its attempt runs or is not named."""
        event = report.event
        if not event.attempt:
            return [Entry(event)]
        entries: list[Entry] = []
        update = lifecycle.while_running(event.attempt)
        try:
            self._write(update, Entry(event))
        except ConditionFailed as failed:
            if not failed.item:
                return [Entry(event)]
            if report.start and lifecycle.awaits_start(failed.item, event.attempt):
                entries = self._show_start(report.start)
            entries += self._log_if(update, event)
        return entries

    def _show_start(self, start: Event) -> list[Entry]:
        """Show the JobStart of a claimed attempt. `append` skips its stored event unless the job has no record."""
        try:
            self._table.show(start)
        except ConditionFailed as failed:
            return [Entry(start, is_live=not failed.item)]
        return [Entry(start, is_live=False)]

    def _move(self, report: Report) -> list[Entry]:
        """Make the move of an event, which stores it, after its JobStart where that has not come yet."""
        entries: list[Entry] = []
        record = self._moved(report)
        if report.start and record and lifecycle.awaits_start(record, report.event.attempt or None):
            entries = self._show_start(report.start)
            record = self._moved(report)
        return entries if record is None else [*entries, *self._refused(report, record)]

    def _moved(self, report: Report) -> Item | None:
        """Make the move of an event; None when made, else the record that does not allow it, empty without a record."""
        event, details = report.event, _details(report)
        is_strike = lifecycle.is_strike(event.action, details)
        moved_ms = now_ms() if is_strike else event.tsMs
        most = self._max_strikes if is_strike else None
        attempt, follows = event.attempt or None, report.start is not None
        update = lifecycle.write(event.action, attempt, moved_ms, details, most, after_start=follows)
        try:
            self._write(update, Entry(event, is_live=event.action != Action.JOB_START))
        except ConditionFailed as failed:
            return self._exhausted(report, moved_ms) if is_strike else failed.item
        return None

    def _exhausted(self, report: Report, moved_ms: int) -> Item | None:
        """Fail a job whose last allowed strike an event is, with a JobFailed behind the event. Returns as `_moved`."""
        event, failure = report.event, _exhaustion(report.event, self._max_strikes)
        details = {"failure": msgspec.json.encode(failure).decode()}
        attempt, follows = event.attempt or None, report.start is not None
        update = lifecycle.write(
            Step.EXHAUST, attempt, moved_ms, details, self._max_strikes, event.action, after_start=follows
        )
        try:
            self._write(update, Entry(event), Entry(_failed(event, failure)))
        except ConditionFailed as failed:
            return failed.item
        return None

    def _write(self, update: dict[str, Any], *entries: Entry) -> None:
        self._table.apply_and_log(update, entries, self._retention_seconds)

    def _log_if(self, update: dict[str, Any], event: Event) -> list[Entry]:
        """Store and show an event if the update of its record can be made; else it is left to store for lists."""
        try:
            self._write(update, Entry(event))
        except ConditionFailed:
            return [Entry(event, is_live=False)]
        return []

    def _refused(self, report: Report, record: Item) -> list[Entry]:
        """The events to store of one whose move the record does not allow: it is late, doubled, or its attempt over."""
        event = report.event
        if not record:
            return [*([Entry(report.start)] if report.start else []), Entry(event)]
        if event.action == Action.JOB_START:
            return [Entry(event, is_live=False)]
        if event.action == Action.JOB_RETURNED and event.attempt and not (event.error and not report.fault):
            return self._log_if(lifecycle.while_released(event.attempt), event)
        state, attempt = record["state"]["S"], record["attempt"]["N"]
        return _discarded(event, f"the job is {state}, its attempt {attempt}")


def _discarded(event: Event, reason: str) -> list[Entry]:
    """No entries for an event that changes nothing: clients would take it for a change of the job."""
    words = {"job": event.jobID, "event": event.action, "attempt": event.attempt or None, "reason": reason}
    _log.info("an event changes nothing and is not stored", extra=words)
    return []


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
        if event.result.ladder is not UNSET:
            details["ladder"] = msgspec.json.encode(event.result.ladder).decode()
        if event.result.warnings:
            details["warnings"] = msgspec.json.encode(event.result.warnings).decode()
        if event.result.copyOf:
            details["copyOf"] = event.result.copyOf
        if event.result.plan is not UNSET:
            details[PLANNED] = msgspec.json.encode(event.result.plan).decode()
    error = event.error
    if event.action == Action.JOB_FAILED and not error:
        error = Failure("worker-failed", event.msg or "Its worker gave no reason.")
    if error:
        details["failure"] = msgspec.json.encode(error).decode()
    if error and report.fault and event.action == Action.JOB_RETURNED:
        details[FAULT] = report.fault
    return details


def _exhaustion(event: Event, max_strikes: int) -> Failure:
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
