"""Plans in the jobs table."""

import time

import msgspec
from msgspec import Raw

from elasticrecode.aws.dynamodb import Table, is_current
from elasticrecode.ids import is_plan
from elasticrecode.jobs.items import record_key, record_of
from elasticrecode.jobs.job import Job, dollars_of
from elasticrecode.jobs.lifecycle import PLANNED
from elasticrecode.media.planned import Planned
from elasticrecode.plans.plan import Plan, PlanRecord, planned_profile


class Plans:
    """The plans in a jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str) -> None:
        self._table = Table(table)

    def get(self, plan_id: str) -> Plan | None:
        """A plan; None when there is none, or it has expired."""
        items = self._table.get_all([record_key(plan_id)], "reading the plan") if is_plan(plan_id) else []
        now = time.time()
        if not items or not is_current(items[0], now):
            return None
        record, job = record_of(items[0], now), msgspec.json.decode(items[0]["job"]["S"], type=Job)
        stored = items[0].get(PLANNED)
        planned = msgspec.json.decode(stored["S"], type=Planned) if stored and record.state == "finished" else None
        shown = PlanRecord(
            planID=record.jobID,
            userID=record.userID,
            state=record.state,
            input=record.input,
            output=record.output,
            profile=Raw(msgspec.json.encode(planned_profile(job.profile, planned) if planned else job.profile)),
            budget=job.budget or None,
            rungs=planned.rungs if planned else None,
            seconds=planned.seconds if planned else None,
            dollars=dollars_of(planned.seconds, job.price) if planned and job.price else None,
            basis=planned.basis if planned else None,
            createdAt=record.createdAt,
            progress=record.progress,
            error=record.error,
        )
        return Plan(job, shown, planned)
