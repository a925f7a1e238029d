"""Waits for jobs: shows how they move, asks at Ctrl-C whether to cancel them, and says how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from elasticrecode_client.command.displays import Bars, Display, Lines
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.session import Session
from elasticrecode_client.states import ENDED, ENDINGS
from elasticrecode_client.watching import GAP

if TYPE_CHECKING:
    from elasticrecode_client.types import Event, JobRecord

_LOOK_SECONDS = 15.0
"""After so long without an event, the records are read: an event may have been missed."""
_NAMED = 5
"""Jobs that a command to type names."""


def display_for(session: Session, *, streams: bool = False) -> Display:
    """How this command shows jobs; `streams` writes each event as JSON with `--json`."""
    out = session.out
    if out.as_json and streams:
        return Lines(out)
    if out.shows_bars:
        return Bars(to_stderr=out.as_json)
    return Display() if out.as_json else Lines(out)


def follow(session: Session, job_ids: Sequence[str], *, streams: bool = False, timeout: float | None = None) -> Follow:
    """Follow jobs until all have ended. Raises KeyboardInterrupt after the question of Ctrl-C, and TimeoutError."""
    following = Follow(session, job_ids, timeout)
    try:
        with display_for(session, streams=streams) as display:
            following.run(display)
    except KeyboardInterrupt:
        _interrupted(session, following)
        raise
    except TimeoutError:
        rest = [job for job in job_ids if job not in following.ended]
        text = f"{len(rest)} of {len(job_ids)} jobs have not ended within {timeout:g} s. They go on: {watch_on(rest)}"
        raise TimeoutError(text) from None
    return following


class Follow:
    """The jobs that are followed, and the records of those that have ended."""

    def __init__(self, session: Session, job_ids: Sequence[str], timeout: float | None = None) -> None:
        self.session = session
        self.job_ids = list(dict.fromkeys(job_ids))
        self.ended: dict[str, JobRecord] = {}
        self._until = None if timeout is None else time.monotonic() + timeout

    @property
    def records(self) -> list[JobRecord]:
        """The records of the jobs, in their order, once all have ended."""
        return [self.ended[job] for job in self.job_ids if job in self.ended]

    @property
    def status(self) -> Exit:
        """How it ended: a job failed, a score is below its bar, or all is well."""
        return outcome(self.records)

    def run(self, display: Display) -> None:
        """Show all jobs until they have ended. Raises TimeoutError."""
        client = self.session.client
        first = client.job(self.job_ids[0])
        self.session.be_patient()
        with client.watch(self.job_ids, user_id=first["userID"]) as watch:
            watch.open()
            records = [first, *(client.job(job) for job in self.job_ids[1:])]
            display.begin(records)
            for record in records:
                self._take(record, display)
            while len(self.ended) < len(self.job_ids):
                event = watch.next_event(self._patience())
                if event is not None:
                    self._event(event, display)
                else:
                    self._look(display)

    def _patience(self) -> float:
        if self._until is None:
            return _LOOK_SECONDS
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, _LOOK_SECONDS)

    def _event(self, event: Event, display: Display) -> None:
        job = event.get("jobID", "")
        if event["action"] == GAP:
            self._look(display)
        if job not in self.job_ids or job in self.ended:
            return
        display.event(event)
        if event["action"] in ENDINGS:
            self._take(self.session.client.job(job), display)

    def _look(self, display: Display) -> None:
        for job in [job for job in self.job_ids if job not in self.ended]:
            self._take(self.session.client.job(job), display)

    def _take(self, record: JobRecord, display: Display) -> None:
        if record["state"] in ENDED and record["jobID"] not in self.ended:
            self.ended[record["jobID"]] = record
            display.end(record)


def outcome(records: Iterable[JobRecord]) -> Exit:
    """The exit status for jobs that have ended."""
    statuses = {_outcome(record) for record in records}
    return next((status for status in (Exit.JOB_FAILED, Exit.BELOW_BAR) if status in statuses), Exit.DONE)


def _outcome(record: JobRecord) -> Exit:
    error, quality = record["error"], record["quality"]
    if error and error["code"] == "quality-below-minimum":
        return Exit.BELOW_BAR
    if record["state"] != "finished":
        return Exit.JOB_FAILED
    return Exit.BELOW_BAR if quality and quality.get("passed") is False else Exit.DONE


def watch_on(job_ids: Sequence[str]) -> str:
    """The command that watches jobs."""
    if len(job_ids) > _NAMED:
        return "`elasticrecode list --state running` shows them."
    return f"`elasticrecode watch {' '.join(job_ids)}` watches on."


def _interrupted(session: Session, following: Follow) -> None:
    """Ask whether to cancel the jobs that have not ended; a second Ctrl-C leaves them running."""
    rest = [job for job in following.job_ids if job not in following.ended]
    if not rest:
        return
    count = "the job" if len(rest) == 1 else f"the {len(rest)} jobs"
    if wants_end(count, "it" if len(rest) == 1 else "them"):
        cancel_all(session, rest)
        return
    session.out.message(f"{count[0].upper()}{count[1:]} {'goes' if len(rest) == 1 else 'go'} on: {watch_on(rest)}")


def wants_end(thing: str, pronoun: str) -> bool:
    """Ask, on a terminal, whether to cancel what is waited for; a second Ctrl-C says no."""
    import sys

    if sys.stdin.isatty() and sys.stderr.isatty():
        with suppress(click.Abort, KeyboardInterrupt):
            return click.confirm(f"\nCancel {thing}? Ctrl-C leaves {pronoun} running", err=True)
    return False


def cancel_all(session: Session, job_ids: Iterable[str]) -> list[JobRecord]:
    """Cancel jobs, and say so; one that has ended, or that nobody knows, keeps no other from it."""
    from elasticrecode_client.problems import Conflict, NotFound

    cancelled = []
    for job in job_ids:
        try:
            cancelled.append(session.client.cancel(job))
            session.out.message(f"cancelled {job}")
        except (Conflict, NotFound) as error:
            session.out.message(f"{job}: {error.detail}")
    return cancelled
