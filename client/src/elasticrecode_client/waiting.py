"""Waits for the ends of jobs by their events, and for that of a plan, which has none, by reading it now and then."""

from __future__ import annotations

import time
from collections.abc import Sequence

from elasticrecode_client.calls import Call, Flow, Pause
from elasticrecode_client.exchange import Exchange
from elasticrecode_client.following import Following
from elasticrecode_client.states import ENDED, ENDINGS
from elasticrecode_client.types import JobRecord, PlanRecord
from elasticrecode_client.watching import GAP

_LOOK_SECONDS = 60.0
"""Records are read again after so long without an event, should an event have been lost."""
_PLAN_SECONDS = 0.5, 5.0


def ends(
    exchange: Exchange, following: Following, job_ids: Sequence[str], timeout: float | None
) -> Flow[list[JobRecord]]:
    """The records of jobs once all have ended, in their order. Raises TimeoutError.

    Whatever happens once the watch is open has an event, and what has happened before is in the records, which are read
    then: when the watch has opened, has a gap, or has opened again.
    """
    until = None if timeout is None else time.monotonic() + timeout
    records: dict[str, JobRecord] = {}
    connections = 0
    waiting = set(job_ids)
    while True:
        yield from following.open()
        if connections != following.connections:
            connections, waiting = following.connections, set(job_ids) - records.keys()
        for job_id in sorted(waiting):
            record = yield from exchange.call(Call[JobRecord]("GET /v1/jobs/{jobID}/status", path={"jobID": job_id}))
            if record["state"] in ENDED:
                records[job_id] = record
        left = set(job_ids) - records.keys()
        if not left:
            return [records[job_id] for job_id in job_ids]
        seconds = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, until - time.monotonic())
        if seconds <= 0:
            raise TimeoutError(f"{len(left)} of {len(job_ids)} jobs have not ended: {', '.join(sorted(left)[:3])}")
        event = yield from following.next_event(seconds)
        if event is None or event["action"] == GAP:
            waiting = left
        else:
            waiting = {event["jobID"]} & left if event["action"] in ENDINGS else set()


def plan_end(exchange: Exchange, plan_id: str, timeout: float | None) -> Flow[PlanRecord]:
    """A plan once it has ended. Raises TimeoutError."""
    until = None if timeout is None else time.monotonic() + timeout
    pause, longest = _PLAN_SECONDS
    while True:
        plan = yield from exchange.call(Call[PlanRecord]("GET /v1/plans/{planID}", path={"planID": plan_id}))
        if plan["state"] in ENDED:
            return plan
        if until is not None and time.monotonic() + pause > until:
            raise TimeoutError(f"The plan {plan_id} has not ended; it is {plan['state']}.")
        yield Pause(pause)
        pause = min(longest, pause * 1.5)
