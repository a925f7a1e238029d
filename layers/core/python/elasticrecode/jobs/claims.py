"""A worker's claim on an attempt of a job, kept on the job's record.

Who holds the claim may work; who fails to renew it has lost it and must stop at once. The lease is the time until which
nobody else may take the job away, in milliseconds since the epoch.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, key_of, number, text
from elasticrecode.clock import now_ms
from elasticrecode.contract.tables import JOBS_KEYS
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.lifecycle import Step


@dataclass(frozen=True)
class Claim:
    """This worker may work on this attempt, counted from 1; `job` is the job as JSON, as it was accepted."""

    attempt: int
    job: str = field(default="", compare=False)


class Refusal(NamedTuple):
    """The job can't be claimed: it is in another state, or held by another worker until `lease`, in milliseconds."""

    state: str
    attempt: int
    lease: int | None

    @property
    def lost(self) -> bool:
        """Whether the worker that holds it has let its lease run out."""
        return self.state == "running" and self.lease is not None and self.lease < now_ms()


class Claims:
    """Claims in one jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, lease_seconds: float) -> None:
        self._table = Table(table)
        self._lease_ms = int(lease_seconds * 1000)

    def claim(self, job_id: str, worker: str) -> Claim | Refusal | None:
        """Begin the next attempt. None for a job without a record, which nobody can claim and anybody may do."""
        now = now_ms()
        update = lifecycle.write(Step.CLAIM, None, now, {"lease": now + self._lease_ms, "worker": worker})
        try:
            record = self._table.update(
                _key(job_id),
                "claiming the job",
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **update,
            )["Attributes"]
        except ConditionFailed as failed:
            record = failed.item
            if not record:
                return None
            lease = int(record["lease"]["N"]) if "lease" in record else None
            return Refusal(record["state"]["S"], int(record["attempt"]["N"]), lease)
        return Claim(int(record["attempt"]["N"]), record["job"]["S"])

    def release(self, job_id: str, attempt: int) -> None:
        """Give an unharmed job back, so that it can be claimed at once. Nothing happens when the claim is lost."""
        update = lifecycle.write(Action.JOB_RETURNED, attempt, now_ms(), {})
        with suppress(ConditionFailed):
            self._table.update(_key(job_id), "giving the job back", **update)

    def renew(self, job_id: str, attempt: int) -> str | None:
        """Extend the lease from now. None, or when the claim is lost the state that the job is in."""
        try:
            self._table.update(
                _key(job_id),
                "renewing the claim",
                UpdateExpression="SET lease = :lease",
                ConditionExpression="#state = :running AND attempt = :attempt AND attribute_exists(lease)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":lease": number(now_ms() + self._lease_ms),
                    ":running": text("running"),
                    ":attempt": number(attempt),
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return str(failed.item.get("state", {}).get("S", "forgotten"))
        return None


def _key(job_id: str) -> Item:
    return key_of(JOBS_KEYS, job_id, "job")
