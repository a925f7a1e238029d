"""Many jobs at once, written as the stack stores them: nothing runs them."""

import json
from typing import Any

from msgspec import structs

from elasticrecode.aws.clients import side_by_side
from elasticrecode.clock import now_ms
from elasticrecode.contract import tables
from elasticrecode.jobs.items import Accepted, record_item
from elasticrecode.jobs.lifecycle import state_shards
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.requests import read_jobs
from tests.conftest import contract
from tests.e2e.conftest import Deployed

_AT_ONCE = 25


def write_jobs(deployed: Deployed, user: str, count: int) -> float:
    """Finished jobs of a user, `00000.mp4` and on, a second apart; when the last was made, in Unix seconds.

    Events say that they are submitted.
    """
    (job,) = read_jobs(json.dumps(contract("job") | {"userid": user}).encode())
    first = now_ms() - (count - 1) * 1000
    table = deployed.stack["JobsTable"]

    def write(n: int) -> Any:
        each = structs.replace(job, jobid=f"{user}-{n:05}", userid=user, input=f"s3://none/films/{n:05}.mp4")
        item = record_item(Accepted(each, Choice("ffmpeg_job", ""), first + n * 1000), count + 86_400)
        ended = {"state": {"S": "finished"}, tables.STATE_KEYS[2]: {"S": state_shards("finished")[0]}}
        return {"PutRequest": {"Item": item | ended}}

    def write_some(begin: int) -> Any:
        some = [write(n) for n in range(begin, min(begin + _AT_ONCE, count))]
        return deployed.dynamodb.batch_write_item(RequestItems={table: some})

    answers = side_by_side(write_some, range(0, count, _AT_ONCE))
    assert not any(answer["UnprocessedItems"] for answer in answers)
    return (first + (count - 1) * 1000) / 1000
