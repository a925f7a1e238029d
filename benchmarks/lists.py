"""Lists of jobs: AWS calls and milliseconds of a filtered list, and the write units that its index costs a job.

3,000 jobs of one user have finished, but for the oldest, which failed. The functions run in this process, on moto,
which looks at every item for each query: DynamoDB takes a few milliseconds. The time is the CPU's, as nothing waits,
and the machine may be busy. A job's write units are those of its record and its events, from the request to its end,
with one `JobStart` and no tick; a write in a transaction counts as one outside.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

from botocore.client import BaseClient
from moto import mock_aws
from msgspec import structs

from benchmarks.prices import INDEXES, written
from elasticrecode.aws.dynamodb import Table
from elasticrecode.clock import now_ms
from elasticrecode.contract import routes, tables
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.items import Accepted, record_item
from elasticrecode.jobs.lifecycle import State, state_shards
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.requests import read_jobs
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call

_JOBS, _TRIES = 3000, 5
_DAY = 86_400
_CHOICE = Choice("ffmpeg_job", "")


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Calls and time of the list, then write units a job."""
    with mock_aws():
        stack = Stack()
        yield from _list(stack)
        stack.changes()
        yield _units(stack, "JobFinished")
        yield _units(stack, "JobFailed")


def _list(stack: Stack) -> Iterator[tuple[str, str, str, float, float]]:
    (job,) = read_jobs(json.dumps(contract("job")).encode())
    items = []
    for n in range(_JOBS):
        state: State = "finished" if n else "failed"
        item = record_item(Accepted(structs.replace(job, jobid=f"job-{n}"), _CHOICE, now_ms() - _JOBS + n), _DAY)
        items.append(item | {"state": {"S": state}, tables.STATE_KEYS[2]: {"S": state_shards(state)[0]}})
    if Table("jobs").write(items, "storing jobs"):
        raise RuntimeError("moto did not store the jobs")
    counted: Counter[str] = Counter()
    real = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001

    def count(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        counted[operation] += 1
        return real(client, operation, arguments)

    query = {"userID": job.userid, "state": "failed", "limit": "1"}
    call(stack.jobs, routes.JOBS, query=query)  # warms up
    seconds = []
    with mock.patch.object(BaseClient, "_make_api_call", count):
        for _ in range(_TRIES):
            started = time.process_time()
            answer = call(stack.jobs, routes.JOBS, query=query)
            seconds.append(time.process_time() - started)
            if len(answer.body) != 1:
                raise RuntimeError(f"not listed: {answer}")
    figure, calls, milliseconds = f"the one failed job of {_JOBS:,}", counted.total() // _TRIES, 1000 * min(seconds)
    yield f"calls, {figure}", str(calls), "14,040 without the index", calls, 3
    yield f"time, {figure}", f"{milliseconds:.0f} ms", "594 s without the index", milliseconds, 200


def _units(stack: Stack, action: str) -> tuple[str, str, str, float, float]:
    """Write units of a job that runs once."""
    (submitted,) = call(stack.submit, routes.SUBMIT, contract("job")).body
    if not Claims("jobs", lease_seconds=30).claim(submitted["jobid"], "w"):
        raise RuntimeError("the job could not be claimed")
    for each in ("JobStart", action):
        event = contract("worker_event")
        event["job"] = event["job"] | {"jobid": submitted["jobid"]}
        event |= {"action": each, "eventID": str(uuid.uuid4()), "tsMs": now_ms(), "attempt": 1}
        if stack.say(event):
            raise RuntimeError(f"{each} was refused")
    writes = [(change["dynamodb"].get("OldImage", {}), change["dynamodb"]["NewImage"]) for change in stack.changes()]
    units, before = (
        sum(written(old, new, indexes) for old, new in writes)
        for indexes in (INDEXES, INDEXES.keys() - {tables.STATE_INDEX})
    )
    return f"write units a job, to its {action}", str(units), f"{before} without the index `state`", units, before + 5
