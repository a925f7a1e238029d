"""A worker's claim on an attempt of a job, kept on the job's record.

The worker that holds the claim may work. A worker that fails to renew it has lost it and must stop at once. The lease
is the time until which nobody else may take the job, in Unix milliseconds by AWS's clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, document, key_of, number, text
from elasticrecode.clock import now_ms
from elasticrecode.contract.tables import DUE_KEYS, JOBS_KEYS, TTL
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.commits import Commit
from elasticrecode.jobs.events import Action, Failure, FaultOf, Progress
from elasticrecode.jobs.items import NO_QUEUE, due_shard
from elasticrecode.jobs.lifecycle import COMMIT, DIVISION, FAULT, PART_PROGRESS, RELEASED, SPENT, Step
from elasticrecode.jobs.record import Division


@dataclass(frozen=True)
class Claim:
    """The right to work on an attempt, counted from 1.

    `job` is the job as JSON and `expires` the TTL of its record, in Unix seconds. With a `commit` the attempt has
    uploaded its outputs, and what is left is to complete them. `division` is that of an earlier attempt, and `spent_ms`
    the time that workers have spent on the job before, where it has a budget.
    """

    attempt: int
    job: str = field(default="", compare=False)
    expires: int = field(default=0, compare=False)
    commit: Commit | None = field(default=None, compare=False)
    division: Division | None = field(default=None, compare=False)
    spent_ms: int = field(default=0, compare=False)


class Refusal(NamedTuple):
    """Why a job can't be claimed: its state, or another worker's lease, in Unix milliseconds."""

    state: str
    attempt: int
    lease: int | None

    @property
    def lost(self) -> bool:
        """Whether the lease of the worker that holds the job has run out."""
        return self.state == "running" and self.lease is not None and self.lease < now_ms()


class Claims:
    """Claims in one jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, lease_seconds: float) -> None:
        self._table = Table(table)
        self._lease_ms = int(lease_seconds * 1000)

    def claim(self, job_id: str, worker: str) -> Claim | Refusal | None:
        """Begin the next attempt, or adopt one that has committed its outputs.

        None for a job without a record: no worker can claim it, and any may run it.
        """
        try:
            return self._claim(Step.CLAIM, job_id, worker)
        except ConditionFailed as failed:
            record = failed.item
        if record and COMMIT in record and record["state"]["S"] == "queued":
            try:
                return self._claim(Step.ADOPT, job_id, worker)
            except ConditionFailed as failed:
                record = failed.item
        if not record:
            return None
        lease = int(record["lease"]["N"]) if "lease" in record else None
        return Refusal(record["state"]["S"], int(record["attempt"]["N"]), lease)

    def _claim(self, step: Step, job_id: str, worker: str) -> Claim:
        now = now_ms()
        update = lifecycle.write(step, None, now, {"lease": now + self._lease_ms, "worker": worker})
        record = self._table.update(
            _key(job_id),
            "claiming the job",
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **update,
        )["Attributes"]
        commit = msgspec.json.decode(record[COMMIT]["S"], type=Commit) if COMMIT in record else None
        division = msgspec.json.decode(record[DIVISION]["S"], type=Division) if DIVISION in record else None
        spent = int(record[SPENT]["N"]) if SPENT in record else 0
        return Claim(int(record["attempt"]["N"]), record["job"]["S"], int(record[TTL]["N"]), commit, division, spent)

    def release(self, job_id: str, attempt: int, failure: Failure | None = None, fault: FaultOf = "host") -> bool:
        """Return a job without a strike, so that it can be claimed at once; False when the claim is lost.

        `failure` is the host fault or service fault for which it returns, if any. Only after True may the worker send
        its JobReturned, which watchers get if the job still waits when it arrives.
        """
        details = {"failure": msgspec.json.encode(failure).decode(), FAULT: fault} if failure else {}
        update = lifecycle.write(Action.JOB_RETURNED, attempt, now_ms(), {**details, RELEASED: attempt})
        try:
            self._table.update(_key(job_id), "returning the job", **update)
        except ConditionFailed:
            return False
        return True

    def renew(
        self, job_id: str, attempt: int, progress: Progress | None = None, spent_ms: int | None = None
    ) -> str | None:
        """Extend the lease from now, and store the `progress` of a part, and the time spent on a job with a budget.

        Returns None when renewed; otherwise the job's state, or `forgotten` when it has no record.
        """
        change = "SET lease = :lease" + (", #progress = :progress" if progress else "")
        change += f", {SPENT} = :spent" if spent_ms is not None else ""
        try:
            self._table.update(
                _key(job_id),
                "renewing the claim",
                UpdateExpression=change,
                ConditionExpression="#state = :running AND attempt = :attempt AND attribute_exists(lease)",
                ExpressionAttributeNames={"#state": "state", **({"#progress": PART_PROGRESS} if progress else {})},
                ExpressionAttributeValues={
                    ":lease": number(now_ms() + self._lease_ms),
                    ":running": text("running"),
                    ":attempt": number(attempt),
                    **({":progress": document(progress)} if progress else {}),
                    **({":spent": number(spent_ms)} if spent_ms is not None else {}),
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return str(failed.item.get("state", {}).get("S", "forgotten"))
        return None

    def detach(self, job_id: str, attempt: int) -> bool:
        """Have `reconcile` send the job a new message when its lease runs out, since it has none any more.

        False when the attempt does not run.
        """
        try:
            self._table.update(
                _key(job_id),
                "marking the job as one without a message",
                UpdateExpression="SET #shard = :shard",
                ConditionExpression="#state = :running AND attempt = :attempt AND attribute_exists(lease)",
                ExpressionAttributeNames={"#state": "state", "#shard": DUE_KEYS[0]},
                ExpressionAttributeValues={
                    ":shard": text(due_shard(NO_QUEUE)),
                    ":running": text("running"),
                    ":attempt": number(attempt),
                },
            )
        except ConditionFailed:
            return False
        return True


def _key(job_id: str) -> Item:
    return key_of(JOBS_KEYS, job_id, "job")
