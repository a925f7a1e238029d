"""Batches on the deployed stack: many jobs with a function killed among them, and real clips under a prefix."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from elasticrecode import ids
from elasticrecode.jobs.lifecycle import STATES
from local.place import TOOLS
from local.processes import Program, programs
from tests.conftest import Tell, contract
from tests.e2e.conftest import Deployed, certified, wait_for
from tests.e2e.test_deployed import PICTURE, SOUND, Clips
from tests.sizes import sized

JOBS = sized(1_200, 2_000, 2_000)
"""More than a page: expanding it takes long enough to be killed."""
CROWD = sized(200, 500, 500)
DEBUGGERS = 3


def order(deployed: Deployed, **more: Any) -> dict[str, Any]:
    body = {name: contract("job_batch")[name] for name in ("userid", "priority", "profile")}
    return body | {"output": f"s3://{deployed.bucket}/batch-out/"} | more


def take(deployed: Deployed, **more: Any) -> str:
    status, answer, _ = deployed.call("POST", "/api/v1/batches", order(deployed, **more))
    assert (status, answer["state"], answer["total"]) == (202, "expanding", None)
    batch_id: str = answer["batchID"]
    return batch_id


def shown(deployed: Deployed, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = deployed.call("GET", f"/api/v1/batches/{batch_id}")[1]
    return found


def function_pids(name: str, deployed: Deployed) -> list[int]:
    """The processes of this environment that run a function."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = path.read_text(errors="replace")  # it may be the environment of any program
            environment = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
        except OSError:
            continue
        called = environment.get("AWS_LAMBDA_FUNCTION_NAME", "")
        if f"Functions{name.capitalize()}" in called and str(deployed.place.aws_port) in str(environment):
            found.append(int(path.parent.name))
    return found


def stored(deployed: Deployed, batch_id: str) -> list[dict[str, Any]]:
    """The records of a batch's jobs, as the table has them."""
    pages = deployed.dynamodb.get_paginator("scan").paginate(
        TableName=deployed.stack["JobsTable"],
        FilterExpression="batchID = :batch AND #item = :record",
        ExpressionAttributeNames={"#item": "item"},
        ExpressionAttributeValues={":batch": {"S": batch_id}, ":record": {"S": "job"}},
        ConsistentRead=True,
    )
    return [item for page in pages for item in page["Items"]]


def kill_amid_expansion(deployed: Deployed, batch_id: str) -> bool:
    """Kill the function that expands a batch once there is a first job; False where it has made all by then."""
    first = {"jobID": {"S": ids.job_id(batch_id, 0)}, "item": {"S": "job"}}
    wait_for(
        lambda: "Item" in deployed.dynamodb.get_item(TableName=deployed.stack["JobsTable"], Key=first), "the first job"
    )
    for pid in function_pids("expand", deployed):
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
    return len(stored(deployed, batch_id)) < JOBS


@contextmanager
def workers(deployed: Deployed, kind: str, count: int) -> Iterator[None]:
    """Other workers for the time of a test."""
    usual = programs(deployed.place, deployed.stack)
    model = next(program for program in usual if program.name == "worker-ffmpeg-0")
    others = [program for program in usual if not program.name.startswith("worker-ffmpeg")]
    # No stall of one worker may give its job to another: tests count the attempts.
    own = {**model.environment, "WORKER_TYPE": kind, "LEASE_SECONDS": "60"}
    chosen = [Program(f"{kind}-{n}", model.command, {**own, "POD_NAME": f"{kind}-{n}"}) for n in range(count)]
    deployed.supervisor.keep([*others, *chosen])
    try:
        yield
    finally:
        deployed.supervisor.keep(usual)


@contextmanager
def frozen(deployed: Deployed, kind: str, count: int) -> Iterator[None]:
    """Stop these workers while in the context. What their waiting polls get is in flight meanwhile."""
    names = [f"{kind}-{n}" for n in range(count)]
    logs = [deployed.supervisor.log(name) for name in names]
    wait_for(lambda: all(f"taking {kind} jobs" in log.read_text() for log in logs), "workers that wait")
    pids = [deployed.supervisor.pids()[name] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(1200)
def test_every_job_of_a_batch_finishes_once_though_its_expansion_is_killed(deployed: Deployed) -> None:
    lines = "".join(f"s3://{deployed.bucket}/many/{n}.mp4\r\n" for n in range(JOBS))
    deployed.s3.put_object(Bucket=deployed.bucket, Key="lists/many.txt", Body=lines)
    uri = f"s3://{deployed.bucket}/lists/many.txt"
    with workers(deployed, "debug", DEBUGGERS), deployed.watch("actions=BatchFinished") as socket:
        warm = take(deployed, inputs=[f"s3://{deployed.bucket}/warm.mp4"])
        wait_for(lambda: shown(deployed, warm)["state"] == "finished", "the end of a batch of one")
        batches = [warm]
        while not kill_amid_expansion(deployed, batch_id := take(deployed, manifest=uri)):
            batches.append(batch_id)  # it was done before it could be killed
        batches.append(batch_id)
        wait_for(lambda: shown(deployed, batch_id)["state"] == "finished", "the end of the batch", 900)
        record = shown(deployed, batch_id)
        assert record["total"] == record["finished"] == JOBS
        assert [record[state] for state in STATES if state != "finished"] == [0] * (len(STATES) - 1)
        assert record["progress"]["percent"] == 100.0
        said: list[dict[str, Any]] = []
        while not set(batches) <= {event["batchID"] for event in said}:
            said.append(json.loads(socket.recv(timeout=300)))
    assert {event["action"] for event in said} == {"BatchFinished"}
    said = [event for event in said if event["batchID"] in batches]  # an earlier test's may come in between
    assert sorted(event["batchID"] for event in said) == sorted(batches)
    (end,) = (event["batch"] for event in said if event["batchID"] == batch_id)
    assert end == {"state": "finished", "total": JOBS} | {state: JOBS if state == "finished" else 0 for state in STATES}
    made = stored(deployed, batch_id)
    assert sorted(item["jobID"]["S"] for item in made) == [ids.job_id(batch_id, n) for n in range(JOBS)]
    assert {item["state"]["S"] for item in made} == {"finished"}
    assert {item["attempt"]["N"] for item in made} == {"1"}
    _, events, _ = deployed.call("GET", f"/api/v1/jobs/{batch_id}")
    assert [said["action"] for said in events] == ["BatchFinished"]


def waiting(deployed: Deployed) -> int:
    """Messages on the queue of ffmpeg workers."""
    answer = deployed.sqs.get_queue_attributes(QueueUrl=deployed.stack["CpuQueue"], AttributeNames=["All"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_another_users_single_job_does_not_wait_for_a_batch(deployed: Deployed, tell: Tell) -> None:
    with workers(deployed, "debug", DEBUGGERS):
        with frozen(deployed, "debug", DEBUGGERS):  # until all wait
            batch_id = take(deployed, inputs=[f"s3://{deployed.bucket}/fair/{n}.mp4" for n in range(CROWD)])
            wait_for(lambda: waiting(deployed) >= CROWD - DEBUGGERS, "the batch on its queue", 200)
            single = contract("job") | {"userid": "somebody-else", "input": f"s3://{deployed.bucket}/fair/one.mp4"}
            before = waiting(deployed)
            (job,) = deployed.call("POST", "/api/v1/jobs", single)[1]
            wait_for(lambda: waiting(deployed) > before, "the single job behind it")
        deployed.until(job["jobid"], "finished")
        wait_for(lambda: shown(deployed, batch_id)["state"] == "finished", "the end of the batch", 300)
    records = stored(deployed, batch_id)
    queued, started = (deployed.record(job["jobid"])[name] * 1000 for name in ("queuedAt", "startedAt"))
    behind = sum(int(item["startedMs"]["N"]) > started for item in records)
    before = sum(queued < int(item["startedMs"]["N"]) < started for item in records)
    tell("a single job beside a batch", {"of the batch": CROWD, "started before it": before, "behind it": behind})
    assert behind > before, "there was no backlog to pass"
    assert before * 4 < behind


@pytest.mark.timeout(600)
def test_a_prefix_with_three_real_clips_is_transcoded(deployed: Deployed, clips: Clips, tmp_path: Path) -> None:
    real = [TOOLS / "media" / "bigbuckbunny.mp4", clips("batched.mp4", *PICTURE, *SOUND, "-shortest")]
    real.append(clips("batched.mkv", *PICTURE))
    for path, key in zip(real, ("a.mp4", "deep/b.mp4", "deep/er/c.MKV"), strict=True):
        deployed.put(path, f"library/{key}")
    deployed.s3.put_object(Bucket=deployed.bucket, Key="library/notes.txt", Body=b"no clip")
    began = time.time()
    batch_id = take(
        deployed,
        prefix=f"s3://{deployed.bucket}/library/",
        suffixes=[".mp4", ".mkv"],
        profile={"preset": "h264-360p"},
    )
    with deployed.wscat(f"/ws?lastMod={began}&batchID={batch_id}") as printed:
        ends = ("BatchFinished", *["JobFinished"] * 3)  # in any order: the batch is counted beside the feed

        def shows_ends() -> bool:
            return not Counter(ends) - Counter(json.loads(line)["action"] for line in printed())

        wait_for(shows_ends, "the end of the batch and of its jobs", 300)
        told = [json.loads(line) for line in printed()]
    assert {said["batchID"] for said in told} == {batch_id}
    assert sum(said["action"] == "JobFinished" for said in told) == 3
    record = shown(deployed, batch_id)
    assert (record["state"], record["total"], record["finished"]) == ("finished", 3, 3), record
    names = ["batch-out/a.mp4", "batch-out/deep/b.mp4", "batch-out/deep/er/c.MKV"]
    assert deployed.keys("batch-out/") == certified(*names)
    for key in names:
        probed = deployed.probe(f"s3://{deployed.bucket}/{key}", tmp_path)
        video = next(stream for stream in probed["streams"] if stream["codec_type"] == "video")
        size = (640, 360) if key.endswith("/a.mp4") else (320, 180)  # never enlarged
        assert (video["codec_name"], video["width"], video["height"]) == ("h264", *size)


def test_a_missing_manifest_fails_the_batch(deployed: Deployed) -> None:
    batch_id = take(deployed, manifest=f"s3://{deployed.bucket}/lists/none.txt")
    wait_for(lambda: shown(deployed, batch_id)["state"] == "failed", "the failure")
    assert shown(deployed, batch_id)["error"]["code"] == "manifest-not-found"
    status, problem, _ = deployed.call("DELETE", f"/api/v1/batches/{batch_id}")
    assert (status, problem["status"]) == (409, 409)
