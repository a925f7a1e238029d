"""Generations of workers: what the first does not know is never sent to it, whatever way a job takes."""

import json
import time
from typing import Any

import pytest
from msgspec import structs

from elasticrecode.contract import routes
from elasticrecode.workers import loads, registry
from elasticrecode.workers.fleet import ClusterView, RegisteredQueue, Worker
from tests.aws.test_batches import taken, uris, work
from tests.aws.test_drops import notify
from tests.aws.test_path import event, pass_time, status
from tests.aws.test_registry import pause, receives, resume
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call
from tests.unit.test_drops import given_drop, notification

PLAIN = contract("job")["profile"]
NEW = {"ffmpeg": PLAIN["ffmpeg"] | {"keyframeSeconds": 2}}
OLD_QUEUE = "ffmpeg_job"


@pytest.fixture(autouse=True)
def unbuffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and measure at every call."""
    monkeypatch.setattr(registry, "REFRESH_SECONDS", 0)
    monkeypatch.setattr(loads, "MEASURE_SECONDS", 0)


def rebuild(stack: Stack) -> None:
    """Build the functions that route anew, with the stack's wiring."""
    for name in ("submit", "batch", "expand", "jobs", "reconcile", "workers"):
        setattr(stack, name, stack.build(name))
    stack._dispatch = stack.build("dispatch")


@pytest.fixture
def old(stack: Stack) -> Stack:
    """A stack that names the cpu queue as one of the first generation."""
    stack.wiring = structs.replace(stack.wiring, first_generation=[OLD_QUEUE])
    rebuild(stack)
    return stack


def discovered(stack: Stack, queue: str, *generations: int, ready: int = 1, served: float | None = None) -> None:
    """Let discovery know a queue with a Deployment of workers of each of these generations."""
    now = time.time()
    workers = [
        Worker(
            cluster="c", namespace="n", name=f"{queue}-{n}", queue=queue, kind="ffmpeg", ready=ready, desired=1,
            generation=2 if generation == 2 else 1,
        )
        for n, generation in enumerate(generations)
    ]  # fmt: skip
    url = stack.queue.setdefault(queue, stack.sqs.create_queue(QueueName=queue)["QueueUrl"])
    stack.registry.save_cluster(ClusterView(name="c", seen=now, workers=workers))
    known = RegisteredQueue(groups=("cpu",), url=url, seen=now, served=now if served is None else served)
    stack.registry.save_queues({queue: known})


def submit(stack: Stack, profile: dict[str, Any]) -> Any:
    return call(stack.submit, routes.SUBMIT, contract("job") | {"profile": profile})


def submitted(stack: Stack, profile: dict[str, Any]) -> str:
    answer = submit(stack, profile)
    assert answer.status == 200, answer
    job_id: str = answer.body[0]["jobid"]
    return job_id


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        (NEW, "ffmpeg.keyframeSeconds"),
        ({"ffmpeg": PLAIN["ffmpeg"] | {"codec": "av1"}}, "ffmpeg.codec"),
        (PLAIN | {"images": {"poster": True}}, "images"),
        ({"audio": {}}, "audio"),
        ({"preset": "small"}, "ffmpeg.codec"),
    ],
)
def test_a_job_that_nobody_can_do_is_refused_with_the_field(old: Stack, profile: dict[str, Any], field: str) -> None:
    answer = submit(old, profile)
    assert answer.status == 409
    assert f"jobs with {field}" in answer.body["detail"]
    assert OLD_QUEUE in answer.body["detail"]
    assert old.items() == []


def test_the_first_generation_gets_the_documented_message_and_no_fit(old: Stack) -> None:
    by_word = submitted(old, PLAIN)
    by_size = submitted(old, {"ffmpeg": PLAIN["ffmpeg"] | {"scale": "1920:1080"}})
    old.flow()
    bodies = {json.loads(each["Body"])["jobid"]: each["Body"] for each in old.messages(OLD_QUEUE)}
    for job_id in (by_word, by_size):
        expected = contract("queue_message") | {"jobid": job_id}
        assert bodies[job_id] == json.dumps(expected, separators=(",", ":"))


def test_queues_named_by_hand_are_of_the_second_generation(stack: Stack) -> None:
    job_id = submitted(stack, NEW)
    stack.flow()
    (message,) = stack.messages(OLD_QUEUE)
    assert json.loads(message["Body"])["profile"]["ffmpeg"]["keyframeSeconds"] == 2
    assert status(stack, job_id)["queue"] == OLD_QUEUE
    exact = submitted(stack, {"ffmpeg": PLAIN["ffmpeg"] | {"scale": "1920:1080"}})
    stack.flow()
    (message,) = stack.messages(OLD_QUEUE)
    assert json.loads(message["Body"])["jobid"] == exact
    assert json.loads(message["Body"])["profile"]["ffmpeg"]["fit"] == "exact"


def test_new_jobs_go_to_workers_of_the_second_generation_and_plain_ones_to_either(old: Stack) -> None:
    discovered(old, "ffmpeg_new", 2, 2)
    plain = [submitted(old, PLAIN) for _ in range(40)]
    new = [submitted(old, NEW) for _ in range(20)]
    assert {status(old, job_id)["queue"] for job_id in new} == {"ffmpeg_new"}
    assert {status(old, job_id)["queue"] for job_id in plain} == {"ffmpeg_new", OLD_QUEUE}
    shown = {each["queue"]: each["generation"] for each in call(old.workers, routes.WORKER_BACKLOG).body}
    assert (shown[OLD_QUEUE], shown["ffmpeg_new"]) == (1, 2)


def test_one_older_worker_makes_its_queue_one_of_the_first_generation(old: Stack) -> None:
    discovered(old, "ffmpeg_new", 2, 1)
    assert submit(old, NEW).status == 409


def test_a_job_waits_while_the_only_queue_that_can_do_it_is_paused(old: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    discovered(old, "ffmpeg_new", 2)
    pause(old, "ffmpeg_new")
    job_id = submitted(old, NEW)
    old.flow()
    pass_time(monkeypatch, 130)
    old.reconcile({}, None)
    record = status(old, job_id)
    assert (record["state"], record["queue"]) == ("accepted", None)
    assert "ffmpeg_new" in record["queueReason"]
    resume(old, "ffmpeg_new")
    pass_time(monkeypatch, 260)
    old.reconcile({}, None)
    old.flow()
    assert status(old, job_id)["queue"] == "ffmpeg_new"
    assert [json.loads(each["Body"])["jobid"] for each in old.messages("ffmpeg_new")] == [job_id]
    assert old.messages(OLD_QUEUE) == []


def test_a_job_whose_queue_turns_older_before_it_is_sent_is_not_sent(
    old: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovered(old, "ffmpeg_new", 2)
    job_id = submitted(old, NEW)
    discovered(old, "ffmpeg_new", 1)
    old.flow()
    pass_time(monkeypatch, 130)
    old.reconcile({}, None)
    old.flow()
    assert old.messages("ffmpeg_new") == old.messages(OLD_QUEUE) == []
    assert "ffmpeg.keyframeSeconds" in status(old, job_id)["queueReason"]
    discovered(old, "ffmpeg_new", 2)
    pass_time(monkeypatch, 260)
    old.reconcile({}, None)
    old.flow()
    assert [json.loads(each["Body"])["jobid"] for each in old.messages("ffmpeg_new")] == [job_id]


def test_jobs_on_a_deserted_queue_of_the_second_generation_stay_there_and_are_not_received(old: Stack) -> None:
    discovered(old, "ffmpeg_new", 2)
    job_ids = [submitted(old, NEW) for _ in range(6)]
    old.flow()
    discovered(old, "ffmpeg_new", 2, ready=0, served=time.time() - 1000)
    assert old.reconcile({}, None)["JobsMoved"] == 0
    old.flow()
    assert receives(old, "ffmpeg_new") == [0] * len(job_ids)
    assert {status(old, job_id)["queue"] for job_id in job_ids} == {"ffmpeg_new"}


def test_plain_jobs_leave_a_deserted_queue_of_the_first_generation_for_the_second(stack: Stack) -> None:
    discovered(stack, "ffmpeg_old", 1)
    pause(stack)
    job_ids = [submitted(stack, PLAIN) for _ in range(6)]
    stack.flow()
    assert {status(stack, job_id)["queue"] for job_id in job_ids} == {"ffmpeg_old"}
    resume(stack)
    discovered(stack, "ffmpeg_old", 1, ready=0, served=time.time() - 1000)
    assert stack.reconcile({}, None)["JobsMoved"] == 6
    stack.flow()
    assert len(stack.messages(OLD_QUEUE)) == 6


def test_a_retry_is_refused_while_nobody_can_do_the_job(old: Stack) -> None:
    discovered(old, "ffmpeg_new", 2)
    job_id = submitted(old, NEW)
    old.say(event(job_id, "JobFailed"))
    discovered(old, "ffmpeg_new", 1)
    answer = call(old.jobs, routes.RETRY, parameters={"jobID": job_id})
    assert answer.status == 409
    assert "ffmpeg.keyframeSeconds" in answer.body["detail"]
    discovered(old, "ffmpeg_new", 2)
    assert call(old.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202
    assert status(old, job_id)["queue"] == "ffmpeg_new"


def test_a_batch_is_refused_or_goes_where_its_jobs_can_be_done(old: Stack) -> None:
    order = {"userid": "u", "output": "s3://media/out/", "profile": NEW, "inputs": uris(3)}
    answer = call(old.batch, routes.SUBMIT_BATCH, order)
    assert answer.status == 409
    assert "ffmpeg.keyframeSeconds" in answer.body["detail"]
    discovered(old, "ffmpeg_new", 2)
    taken(old, inputs=uris(3), profile=NEW)
    work(old)
    assert len(old.messages("ffmpeg_new")) == 3
    assert old.messages(OLD_QUEUE) == []


def test_a_dropped_file_waits_until_somebody_can_do_its_job(old: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    old.s3.put_object(Bucket="media", Key="in/a.mp4", Body=b"film")
    drop = given_drop(bucket="media", output="s3://media/out/", profile=NEW)
    body = json.dumps(notification("in/a.mp4", bucket="media", size=4, sequencer="1"))
    assert notify(old.build("collect", drops=[drop]), body) == []
    old.flow()
    assert old.messages(OLD_QUEUE) == []
    discovered(old, "ffmpeg_new", 2)
    pass_time(monkeypatch, 130)
    old.reconcile({}, None)
    old.flow()
    assert len(old.messages("ffmpeg_new")) == 1
