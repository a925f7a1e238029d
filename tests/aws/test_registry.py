"""The registry and its effect on jobs: pauses, loads, fair queues, deserted queues."""

import json
import time
from collections import Counter
from itertools import count
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from elasticrecode.contract import routes
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.items import Waiting
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.waiting import WaitingJobs
from elasticrecode.workers import loads, registry, relief, rescue
from elasticrecode.workers.fleet import ClusterView, RegisteredQueue, Worker
from elasticrecode.workers.registry import Registry
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_path import event, pass_time, status, submitted
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call

PAUSED = {"queue": "ffmpeg_job"}


@pytest.fixture(autouse=True)
def unbuffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and measure at every call."""
    monkeypatch.setattr(registry, "REFRESH_SECONDS", 0)
    monkeypatch.setattr(loads, "MEASURE_SECONDS", 0)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no run of `reconcile` end early on a slow machine."""
    monkeypatch.setattr(rescue, "_RESEND_SECONDS", 600)
    monkeypatch.setattr(relief, "_RELIEF_SECONDS", 600)


def pause(stack: Stack, queue: str = "ffmpeg_job") -> Any:
    return call(stack.workers, routes.PAUSE_QUEUE, parameters={"queue": queue})


def resume(stack: Stack, queue: str = "ffmpeg_job") -> Any:
    return call(stack.workers, routes.RESUME_QUEUE, parameters={"queue": queue})


def backlog(stack: Stack, queue: str) -> dict[str, Any]:
    answer = call(stack.workers, routes.WORKER_BACKLOG)
    assert answer.status == 200, answer
    (only,) = [entry for entry in answer.body if entry["queue"] == queue]
    return dict(only)


def discovered(stack: Stack, *workers: tuple[str, int], served: float | None = None) -> None:
    """Register workers, each as (queue, ready replicas)."""
    now = time.time()
    deployments = [
        Worker(cluster="c", namespace="n", name=queue, queue=queue, kind="ffmpeg", ready=ready, desired=1, generation=2)
        for queue, ready in workers
    ]
    stack.registry.save_cluster(ClusterView(name="c", seen=now, workers=deployments))
    registered: dict[str, RegisteredQueue] = {}
    for queue, ready in workers:
        url = stack.queue.setdefault(queue, stack.sqs.create_queue(QueueName=queue)["QueueUrl"])
        seen = now if ready or served is None else served
        registered[queue] = RegisteredQueue(groups=("cpu",), url=url, seen=now, served=seen)
    stack.registry.save_queues(registered)


def queues_of(stack: Stack) -> Counter[str]:
    """Queue → how many records name it."""
    return Counter(item["queue"]["S"] for item in stack.items() if item["item"]["S"] == "job")


def test_the_backlog_has_each_queue(stack: Stack) -> None:
    submitted(stack)
    stack.flow()
    answer = backlog(stack, "ffmpeg_job")
    expected = {
        "queue": "ffmpeg_job", "kind": "ffmpeg", "platform": "cpu", "visible": 1, "inFlight": 0,
        "readyReplicas": None, "weight": 1.0, "priority": [0, 100], "paused": False, "fault": None,
    }  # fmt: skip
    assert {key: answer[key] for key in expected} == expected
    assert answer["expectedSeconds"] == pytest.approx(30, abs=5)
    assert backlog(stack, "vmaf_job")["kind"] == "vmaf"


def test_the_age_of_the_oldest_waiting_job_ignores_running_ones(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    first = submitted(stack)
    pass_time(monkeypatch, 100)
    submitted(stack)
    stack.flow()
    Claims("jobs", 30).claim(first, "w")
    pass_time(monkeypatch, 140)
    stack.reconcile({}, None)
    assert backlog(stack, "ffmpeg_job")["oldestSeconds"] == pytest.approx(40, abs=5)


def test_the_oldest_of_400_running_jobs_is_no_older_than_they_are(stack: Stack) -> None:
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(400)]}
    call(stack.submit, routes.SUBMIT, body)
    since = WaitingJobs("jobs").oldest("ffmpeg_job")
    assert since is not None
    claims = Claims("jobs", 30)
    for item in stack.items():
        claims.claim(item["jobID"]["S"], "w")
    assert WaitingJobs("jobs").oldest("ffmpeg_job") == pytest.approx(since, abs=5000)


def test_jobs_of_a_paused_queue_are_held_until_it_is_resumed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pause(stack).body == {"queue": "ffmpeg_job", "paused": True}
    assert backlog(stack, "ffmpeg_job")["paused"]
    job_id = submitted(stack)
    stack.flow()
    record = status(stack, job_id)
    assert (record["state"], record["queue"]) == ("accepted", None)
    assert "ffmpeg_job" in record["queueReason"]
    assert stack.messages("ffmpeg_job") == []

    pass_time(monkeypatch, 120)
    stack.reconcile({}, None)
    stack.flow()
    assert stack.messages("ffmpeg_job") == []

    assert resume(stack).body == {"queue": "ffmpeg_job", "paused": False}
    stack.reconcile({}, None)
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 1
    assert status(stack, job_id)["state"] == "queued"


def test_a_paused_queue_gets_no_jobs_while_another_serves(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_job", 1), ("ffmpeg_two", 1))
    pause(stack, "ffmpeg_two")
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(100)]}
    call(stack.submit, routes.SUBMIT, body)
    assert queues_of(stack) == {"ffmpeg_job": 100}


def test_held_jobs_hold_up_no_others(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    pause(stack)
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(600)]}
    call(stack.submit, routes.SUBMIT, body)
    scored = call(stack.vmaf, routes.SUBMIT_VMAF, contract("vmaf")).body["jobid"]
    JobsTable("jobs").postpone([scored], time.time_ns() // 1_000_000)
    pass_time(monkeypatch, 120)
    assert stack.reconcile({}, None)["JobsResent"] == 1
    assert status(stack, scored)["state"] == "queued"
    resume(stack)
    assert stack.reconcile({}, None)["JobsResent"] == 600


def test_jobs_without_a_queue_leave_time_for_held_ones(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    pause(stack)
    held, refused = submitted(stack), submitted(stack)
    stack.flow()
    resume(stack)
    job = msgspec.json.decode(JobsTable("jobs").jobs([refused])[refused], type=Job)
    again = [Waiting(job, "accepted", 0, 0, None)]
    monkeypatch.setattr(WaitingJobs, "unsent", lambda *_: again * 5)
    monkeypatch.setattr(rescue, "_JOBS_A_RUN", 5)
    readings = count(step=100)
    monkeypatch.setattr(rescue, "time", SimpleNamespace(monotonic=lambda: next(readings), time=time.time))
    pass_time(monkeypatch, 120)
    stack.reconcile({}, None)
    assert status(stack, held)["state"] == "queued"


def test_a_job_whose_message_was_lost_is_held_while_its_queue_is_paused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    pause(stack)
    pass_time(monkeypatch, 120)
    stack.reconcile({}, None)
    assert status(stack, job_id)["state"] == "accepted"
    resume(stack)
    pass_time(monkeypatch, 240)
    stack.reconcile({}, None)
    assert status(stack, job_id)["state"] == "queued"


def test_a_retry_is_refused_while_the_queue_is_paused(stack: Stack) -> None:
    job_id = submitted(stack)
    call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id})
    pause(stack)
    refused = call(stack.jobs, routes.RETRY, parameters={"jobID": job_id})
    assert refused.status == 409
    assert "ffmpeg_job" in refused.body["detail"]
    resume(stack)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202


def test_pausing_an_unknown_queue_is_404_with_the_known_ones(stack: Stack) -> None:
    answer = pause(stack, "nothing")
    assert answer.status == 404
    assert "ffmpeg_job, vmaf_job" in answer.body["detail"]


def test_the_last_read_is_used_while_the_registry_is_unavailable(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(stack)

    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "Query" and arguments["TableName"] == "registry":
            raise throttled(operation)

    with every_call(refuse, monkeypatch):
        submitted(stack)
        with pytest.raises(Unavailable):
            Registry("registry", stack.queues).queues()


def test_messages_have_their_user_as_group(stack: Stack) -> None:
    for user in ("ann", "Ünïcode-" + "x" * 100):
        call(stack.submit, routes.SUBMIT, contract("job") | {"userid": user})
    stack.flow()
    answer = stack.sqs.receive_message(
        QueueUrl=stack.queue["ffmpeg_job"], MaxNumberOfMessages=10, AttributeNames=["All"]
    )
    groups = {message["Attributes"]["MessageGroupId"] for message in answer["Messages"]}
    assert len(groups) == 2
    assert "ann" in groups
    assert all(group.isascii() and len(group) <= 128 for group in groups)


def test_seconds_per_job_are_measured_from_finished_jobs(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.flow()
    claim = Claims("jobs", 30).claim(job_id, "w")
    assert claim
    began = round(1000 * status(stack, job_id)["startedAt"])
    done = event(job_id, "JobFinished", attempt=1, tsMs=began + 12_000, result={"outputs": []})
    stack.say(done)
    stack.flow()
    assert backlog(stack, "ffmpeg_job")["secondsPerJob"] == pytest.approx(12, abs=1)


def test_a_new_container_routes_by_stored_loads(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_job", 1), ("ffmpeg_two", 3))
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(200)]}
    call(stack.submit, routes.SUBMIT, body)
    shares = queues_of(stack)
    assert 2 <= shares["ffmpeg_two"] / shares["ffmpeg_job"] <= 4.5
    fresh = stack.build("submit")
    answer = call(fresh, routes.SUBMIT, contract("job"))
    record = status(stack, answer.body[0]["jobid"])
    assert record["queue"] in shares
    assert record["queueReason"]


def test_waiting_jobs_of_a_deserted_queue_move_to_one_with_workers(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_job", 0), ("ffmpeg_two", 1))
    pause(stack, "ffmpeg_two")
    job_ids = [submitted(stack) for _ in range(12)]
    stack.flow()
    assert queues_of(stack) == {"ffmpeg_job": 12}
    resume(stack, "ffmpeg_two")
    assert stack.reconcile({}, None)["JobsMoved"] == 0

    discovered(stack, ("ffmpeg_job", 0), ("ffmpeg_two", 1), served=time.time() - 1000)
    assert stack.reconcile({}, None)["JobsMoved"] == 12
    stack.flow()
    assert stack.messages("ffmpeg_job") == []
    assert len(stack.messages("ffmpeg_two")) == 12
    assert {status(stack, job_id)["queue"] for job_id in job_ids} == {"ffmpeg_two"}


def test_waiting_jobs_stay_while_no_other_queue_has_workers(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_job", 0), ("ffmpeg_two", 0), served=time.time() - 1000)
    for _ in range(5):
        submitted(stack)
    stack.flow()
    assert stack.reconcile({}, None)["JobsMoved"] == 0
    assert sum(len(stack.messages(queue)) for queue in ("ffmpeg_job", "ffmpeg_two")) == 5


def piled_up(stack: Stack, jobs: int, *, deserted: bool = False) -> list[str]:
    """Let jobs wait on `ffmpeg_job`, which has one worker or is deserted, beside an empty `ffmpeg_two`."""
    discovered(stack, ("ffmpeg_job", 1), ("ffmpeg_two", 1))
    pause(stack, "ffmpeg_two")
    job_ids = [submitted(stack) for _ in range(jobs)]
    stack.flow()
    resume(stack, "ffmpeg_two")
    discovered(stack, ("ffmpeg_job", int(not deserted)), ("ffmpeg_two", 1), served=time.time() - 1000)
    return job_ids


def receives(stack: Stack, queue: str) -> list[int]:
    """How often each visible message of a queue was received before."""
    counts: list[int] = []
    while messages := stack.sqs.receive_message(
        QueueUrl=stack.queue[queue], MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"]
    ).get("Messages"):
        counts += (int(message["Attributes"]["ApproximateReceiveCount"]) - 1 for message in messages)
    return counts


def test_only_the_surplus_of_a_queue_moves_to_a_faster_one(stack: Stack) -> None:
    job_ids = piled_up(stack, 26)
    assert stack.reconcile({}, None)["JobsMoved"] == 13
    stack.flow()
    assert queues_of(stack) == {"ffmpeg_job": 13, "ffmpeg_two": 13}
    assert stack.reconcile({}, None)["JobsMoved"] == 0
    assert receives(stack, "ffmpeg_job") == [0] * 13
    assert receives(stack, "ffmpeg_two") == [0] * 13
    reasons = [status(stack, job_id)["queueReason"] for job_id in job_ids]
    assert sum("sooner than on ffmpeg_job" in reason for reason in reasons) == 13


def test_no_message_is_received_where_queues_finish_together(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    discovered(stack, ("ffmpeg_job", 1), ("ffmpeg_two", 1))
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(50)]}
    call(stack.submit, routes.SUBMIT, body)
    stack.flow()
    received: list[str] = []

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "ReceiveMessage":
            received.append(arguments["QueueUrl"])

    with every_call(watch, monkeypatch):
        assert stack.reconcile({}, None)["JobsMoved"] == 0
    assert not {stack.queue["ffmpeg_job"], stack.queue["ffmpeg_two"]} & set(received)


def test_180_jobs_leave_a_deserted_queue_in_one_run(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    piled_up(stack, 0, deserted=True)
    pause(stack, "ffmpeg_two")
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(180)]}
    call(stack.submit, routes.SUBMIT, body)
    stack.flow()
    resume(stack, "ffmpeg_two")
    assert stack.reconcile({}, None)["JobsMoved"] == 180
    stack.flow()
    assert stack.messages("ffmpeg_job") == []
    assert len(stack.messages("ffmpeg_two")) == 180


def test_only_the_message_of_an_ended_job_is_deleted(stack: Stack) -> None:
    cancelled, running, waiting = piled_up(stack, 3, deserted=True)
    stack.sqs.send_message(QueueUrl=stack.queue["ffmpeg_job"], MessageBody=json.dumps(contract("queue_message")))
    call(stack.jobs, routes.CANCEL, parameters={"jobID": cancelled})
    assert Claims("jobs", 30).claim(running, "w")
    assert stack.reconcile({}, None)["JobsMoved"] == 1
    stack.flow()
    assert [status(stack, job_id)["state"] for job_id in (cancelled, running, waiting)] == [
        "cancelled",
        "running",
        "queued",
    ]
    left = {json.loads(message["Body"])["jobid"] for message in stack.messages("ffmpeg_job")}
    assert left == {running, contract("queue_message")["jobid"]}, "messages of running and unknown jobs stay visible"
    assert [json.loads(message["Body"])["jobid"] for message in stack.messages("ffmpeg_two")] == [waiting]


def test_a_job_postponed_before_a_crash_moves(stack: Stack) -> None:
    (job_id,) = piled_up(stack, 1, deserted=True)
    JobsTable("jobs").postpone([job_id], time.time_ns() // 1_000_000)
    assert stack.reconcile({}, None)["JobsMoved"] == 1
    stack.flow()
    assert len(stack.messages("ffmpeg_two")) == 1
    assert stack.messages("ffmpeg_job") == []


def test_a_message_that_could_not_move_is_visible_at_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    unlucky, *_ = piled_up(stack, 12, deserted=True)
    stack.sqs.send_message(QueueUrl=stack.queue["ffmpeg_job"], MessageBody="no job")

    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "UpdateItem" and arguments["Key"]["jobID"]["S"] == unlucky:
            raise throttled(operation)

    with every_call(refuse, monkeypatch), pytest.raises(RuntimeError, match="2 steps or jobs"):
        stack.reconcile({}, None)
    stack.flow()
    assert len(stack.messages("ffmpeg_two")) == 11
    queue = stack.queue["ffmpeg_job"]
    left = [each["Body"] for each in stack.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]]
    assert len(left) == 2
    assert unlucky in "".join(left)
    assert status(stack, unlucky)["state"] == "queued"


def test_a_message_left_by_a_crash_does_no_harm(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = piled_up(stack, 1, deserted=True)
    handles: list[str] = []

    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "DeleteMessageBatch" and arguments["QueueUrl"] == stack.queue["ffmpeg_job"]:
            handles.extend(entry["ReceiptHandle"] for entry in arguments["Entries"])
            raise throttled(operation)

    with every_call(refuse, monkeypatch), pytest.raises(RuntimeError):
        stack.reconcile({}, None)
    stack.flow()
    assert len(stack.messages("ffmpeg_two")) == 1
    assert stack.messages("ffmpeg_job") == [], "hidden for a minute, as after a crash"
    claim = Claims("jobs", 30).claim(job_id, "w")
    assert claim
    stack.say(event(job_id, "JobFinished", attempt=1, result={"outputs": []}))

    (handle,) = handles
    stack.sqs.change_message_visibility(QueueUrl=stack.queue["ffmpeg_job"], ReceiptHandle=handle, VisibilityTimeout=0)
    assert stack.reconcile({}, None)["JobsMoved"] == 0
    stack.flow()
    assert status(stack, job_id)["state"] == "finished"
    assert [stack.messages(queue) for queue in ("ffmpeg_job", "ffmpeg_two")] == [[], []]


def test_an_orphaned_queue_gets_no_jobs_and_gives_up_its_own(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_two", 5))
    pause(stack)
    job_id = submitted(stack)
    stack.flow()
    assert status(stack, job_id)["queue"] == "ffmpeg_two"
    resume(stack)
    long_ago = time.time() - 1000
    discovered(stack, ("ffmpeg_two", 0), served=long_ago)
    stack.registry.save_cluster(ClusterView(name="c", seen=time.time(), workers=[]))
    assert call(stack.workers, routes.WORKER_QUEUES).body["cpu"] == ["ffmpeg_job"]
    assert "no Deployment" in backlog(stack, "ffmpeg_two")["fault"]
    assert stack.reconcile({}, None)["JobsMoved"] == 1
    stack.flow()
    assert status(stack, job_id)["queue"] == "ffmpeg_job"
    assert "ffmpeg_two" not in {entry["queue"] for entry in call(stack.workers, routes.WORKER_BACKLOG).body}


def test_dispatch_measures_a_new_queue(stack: Stack) -> None:
    submitted(stack)
    assert stack.registry.read().loads == {}
    stack.flow()
    seen = stack.registry.read().loads
    assert set(seen) == {"ffmpeg_job", "vmaf_job"}
    assert seen["ffmpeg_job"].visible == 1
    assert seen["ffmpeg_job"].arrivals > 0


def test_a_queue_that_can_not_be_measured_holds_up_no_other(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "GetQueueAttributes" and arguments["QueueUrl"] == stack.queue["vmaf_job"]:
            raise throttled(operation)

    submitted(stack)
    with every_call(refuse, monkeypatch):
        stack.flow()
    assert stack.registry.read().loads["ffmpeg_job"].visible == 1


def test_a_retry_of_many_skips_jobs_without_a_queue(stack: Stack) -> None:
    scored = call(stack.vmaf, routes.SUBMIT_VMAF, contract("vmaf")).body["jobid"]
    transcoded = [submitted(stack) for _ in range(2)]
    for job_id in (scored, *transcoded):
        stack.say(event(job_id, "JobFailed"))
    pause(stack, "vmaf_job")
    answer = call(stack.jobs, routes.RETRY_FAILED, {"userID": contract("job")["userid"]})
    assert (answer.status, answer.body) == (202, {"retried": 2})
    assert status(stack, scored)["state"] == "failed"


def test_a_repeated_idempotency_key_needs_no_queue(stack: Stack) -> None:
    key = {"Idempotency-Key": "k"}
    first = call(stack.submit, routes.SUBMIT, contract("job"), headers=key).body
    for queue in stack.queue.values():
        stack.sqs.delete_queue(QueueUrl=queue)
    call(stack.workers, routes.WORKER_BACKLOG)
    assert call(stack.submit, routes.SUBMIT, contract("job")).status == 409
    assert call(stack.submit, routes.SUBMIT, contract("job"), headers=key).body == first


def test_a_measurement_by_others_leaves_arrivals_unchanged(stack: Stack) -> None:
    submitted(stack)
    stack.flow()
    before = stack.registry.read().loads["ffmpeg_job"].arrivals
    backlog(stack, "ffmpeg_job")
    stack.reconcile({}, None)
    assert stack.registry.read().loads["ffmpeg_job"].arrivals == before > 0


def test_a_job_without_queues_has_the_reason(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submitted(stack)
    stack.flow()
    stack.sqs.delete_queue(QueueUrl=stack.queue["ffmpeg_job"])
    pass_time(monkeypatch, 120)
    assert stack.reconcile({}, None)["JobsMoved"] == 0
    stack.reconcile({}, None)
    record = status(stack, job_id)
    assert (record["state"], record["queue"]) == ("accepted", None)
    assert "there is no such queue" in record["queueReason"]
