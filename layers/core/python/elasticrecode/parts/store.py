"""Parts of a job: the rungs of a ladder, or the chunks of a film, encoded by as many workers as are free.

A part is a job itself: the same record, message, claim, lease and poison limit. The worker that holds the claim of the
whole job stores its parts, the first 99 in one transaction with the division on the job's record, and `dispatch` sends
them as any other jobs. What differs:

- Its record is in no list and counts in no batch, and none of its events is stored or shown.
- A worker that holds one part claims further ones without messages, as `share` assigns them.
- The worker finishes it by one write on its record, with the result: the objects that it has encoded. A worker that was
  frozen, and has lost the part, can't make this write.

A part is wanted while its job waits or runs with the division that it belongs to.
"""

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from elasticrecode.aws.clients import pauses, side_by_side
from elasticrecode.aws.dynamodb import ConditionFailed, Conflict, Item, Table, document, number, refused, text
from elasticrecode.clock import now_ms
from elasticrecode.contract.tables import DUE_KEYS, STATE_KEYS, TTL
from elasticrecode.ids import part_id
from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.commits import NotRunning
from elasticrecode.jobs.events import Action, Failure, Progress
from elasticrecode.jobs.items import due_shard, record_key
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import DIVISION, PART_PROGRESS, PART_RESULT, Step
from elasticrecode.jobs.record import Division
from elasticrecode.parts.part import MOST_PARTS, Part, PartJob, PartResult, StoredPart, Whole

_PARTS_OF_A_TRANSACTION = 99


class PartsTable:
    """The parts in a jobs table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str) -> None:
        self._table = Table(table)

    def decide(self, job: Job, attempt: int, division: Division) -> None:
        """Store on the job's record that it is not divided, and why. Raises NotRunning when the attempt is lost."""
        try:
            self._table.update(
                record_key(job.jobid),
                "storing the division of the job",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_division(attempt, division),
            )
        except ConditionFailed as failed:
            raise NotRunning(failed.item.get("state", {}).get("S", "forgotten")) from None

    def divide(self, job: Job, attempt: int, division: Division, parts: Sequence[Part], queue: str) -> None:
        """Store the division of a job whose `attempt` runs, and those of its parts that are not stored yet.

        `queue` is where `dispatch` sends them. The first transaction stores the division with 99 parts, and each
        further one 99 more while the attempt runs and the division is this one. So few parts are stored all or none; of
        many some may be missing when the worker dies, and the next attempt passes the same division and parts again.
        Raises NotRunning when the worker has lost the attempt; ValueError for more than MOST_PARTS.
        """
        if not 0 < len(parts) <= MOST_PARTS:
            raise ValueError(f"{len(parts)} parts")
        record = self._record(job.jobid)
        stored = self._numbers(job.jobid, division, record)
        ordered = sorted(parts, key=lambda each: each.turn)  # in which their messages are sent
        while left := [part for part in ordered if part.number not in stored][:_PARTS_OF_A_TRANSACTION]:
            if not record:
                raise NotRunning("forgotten")
            change = {"TableName": self._table.name, "Key": record_key(job.jobid), **_division(attempt, division)}
            writes = [{"Update": change}, *(self._new(job, division, part, queue, record) for part in left)]
            try:
                self._transact(writes)
            except ConditionFailed:
                record = self._record(job.jobid)
                before, stored = stored, self._numbers(job.jobid, division, record)
                if stored <= before:
                    raise NotRunning(_whole(record).state) from None  # else another worker, or a lost answer
            else:
                stored |= {part.number for part in left}

    def _transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        for pause in pauses():
            try:
                self._table.transact(writes, "dividing the job")
            except Conflict:  # the lease is renewed
                time.sleep(pause)
            else:
                return
        raise refused("dividing the job")

    def _numbers(self, job_id: str, division: Division, record: Item) -> set[int]:
        """The numbers of the stored parts of a division, given the record of the job."""
        if _whole(record).division != division:
            return set()
        return {each.part.number for each in self.read(job_id, division)[1]}

    def _new(self, job: Job, division: Division, part: Part, queue: str, record: Item) -> dict[str, Any]:
        """The write that creates the record of a part. It has no place in the indexes `user` and `state`."""
        now, job_id = now_ms(), part_id(job.jobid, division.attempt, part.number)
        fields = {each.name: getattr(job, each.name) for each in structs.fields(Job)}
        attributes: Item = {
            "userID": text(job.userid),
            "kind": text(job.kind),
            "queue": text(queue),
            "why": text("the queue of the whole job"),
            DUE_KEYS[0]: text(due_shard(queue)),
            DUE_KEYS[1]: number(now + lifecycle.WATCHED_AFTER_MS["queued"]),
            "state": text("queued"),
            STATE_KEYS[2]: text(random.choice(lifecycle.state_shards("queued"))),  # noqa: S311
            "attempt": number(0),
            "strikes": number(0),
            "queuedMs": number(now),
            "job": document(PartJob(**{**fields, "jobid": job_id}, part=part)),
            TTL: record[TTL],
        }
        sets = ", ".join(f"#{name} = :{name}" for name in attributes)
        return {
            "Update": {
                "TableName": self._table.name,
                "Key": record_key(job_id),
                "UpdateExpression": f"SET {sets}",
                "ConditionExpression": "attribute_not_exists(jobID)",
                "ExpressionAttributeNames": {f"#{name}": name for name in attributes},
                "ExpressionAttributeValues": {f":{name}": value for name, value in attributes.items()},
            }
        }

    def whole(self, job_id: str) -> Whole:
        """The state and the division of a job."""
        return _whole(self._record(job_id))

    def _record(self, job_id: str) -> Item:
        """A job's record, empty without one. Workers may read by BatchGetItem alone."""
        return next(iter(self._table.get_all([record_key(job_id)], "reading the job")), {})

    def read(self, job_id: str, division: Division, known: Sequence[StoredPart] = ()) -> tuple[Whole, list[StoredPart]]:
        """A job and the parts of a division of it, in the order of their numbers: one call for each 100.

        Parts that have finished among `known` are not read again, as nothing changes them.
        """
        finished = {each.part.number: each for each in known if each.state == "finished"}
        ids = {number: part_id(job_id, division.attempt, number) for number in range(division.parts)}
        keys = [record_key(each) for each in (job_id, *(ids[number] for number in ids if number not in finished))]
        items = {item["jobID"]["S"]: item for item in self._table.get_all(keys, "reading the parts")}
        parts = [
            finished[number] if number in finished else _stored(items[each])
            for number, each in ids.items()
            if number in finished or each in items
        ]
        return _whole(items.get(job_id, {})), parts

    def finish(self, job_id: str, attempt: int, result: PartResult, worker: str) -> bool:
        """Finish a part with its result; False when the worker has lost it."""
        details = {PART_RESULT: msgspec.json.encode(result).decode(), "worker": worker}
        return self._move(job_id, Action.JOB_FINISHED, attempt, details)

    def resume(self, job_id: str) -> None:
        """Make a part that no queue took one that a worker can claim."""
        self._move(job_id, Step.RESUME, None, {})

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel parts that have not ended: their job needs them no more."""
        side_by_side(lambda job_id: self._move(job_id, Action.JOB_CANCELLED, None, {}), list(job_ids))

    def _move(self, job_id: str, action: Action | Step, attempt: int | None, details: Mapping[str, str | int]) -> bool:
        update = lifecycle.write(action, attempt, now_ms(), details)
        try:
            self._table.update(
                record_key(job_id), "moving a part", ReturnValuesOnConditionCheckFailure="ALL_OLD", **update
            )
        except ConditionFailed as failed:  # a lost answer to the same write is no failure
            return PART_RESULT in details and failed.item.get(PART_RESULT) == text(str(details[PART_RESULT]))
        return True


def _division(attempt: int, division: Division) -> dict[str, Any]:
    """The update that stores a division on the record of a job whose attempt runs, unless it has another with parts."""
    stored = document(division)
    return {
        "UpdateExpression": "SET #division = :division",
        "ConditionExpression": "#state = :running AND attempt = :attempt AND attribute_exists(lease)"
        " AND (attribute_not_exists(#division) OR begins_with(#division, :whole) OR #division = :division)",
        "ExpressionAttributeNames": {"#state": "state", "#division": DIVISION},
        "ExpressionAttributeValues": {
            ":running": text("running"),
            ":attempt": number(attempt),
            ":division": stored,
            ":whole": text('{"parts":0,'),
        },
    }


def _whole(record: Item) -> Whole:
    division = msgspec.json.decode(record[DIVISION]["S"], type=Division) if DIVISION in record else None
    return Whole(record.get("state", {}).get("S", "forgotten"), record.get("worker", {}).get("S", ""), division)


def _stored(item: Item) -> StoredPart:
    state: Any = item["state"]["S"]

    def milliseconds(name: str) -> int | None:
        return int(item[name]["N"]) if name in item else None

    def decoded(name: str, kind: Any) -> Any:
        return msgspec.json.decode(item[name]["S"], type=kind) if name in item else None

    return StoredPart(
        job=msgspec.json.decode(item["job"]["S"], type=PartJob),
        state=state,
        attempt=int(item["attempt"]["N"]),
        worker=item.get("worker", {}).get("S", ""),
        lease=milliseconds("lease"),
        queued_ms=int(item["queuedMs"]["N"]),
        started_ms=milliseconds("startedMs"),
        ended_ms=milliseconds("endedMs"),
        progress=decoded(PART_PROGRESS, Progress),
        result=decoded(PART_RESULT, PartResult),
        failure=decoded("failure", Failure),
    )
