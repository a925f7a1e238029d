"""Attempts that go wrong, with real workers: what is final fails once, and only the job's own faults are strikes."""

import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from elasticrecode.contract import routes
from elasticrecode.jobs.items import record_key
from local.place import TOOLS
from tests.aws.test_path import actions, status, submitted
from tests.conftest import contract
from tests.fakes.s3 import S3, Refusal
from tests.fakes.stack import Stack
from tests.hostile.corpus import H264, SMALL, Maker
from tests.support import call
from worker import health, loop
from worker.errors import HostError
from worker.lease import Lease
from worker.loop import delay_seconds
from worker.settings import Settings

PROGRAMS = {"FFMPEG": str(TOOLS / "bin" / "ffmpeg"), "FFPROBE": str(TOOLS / "bin" / "ffprobe")}
KEY, URI = "in/a.mp4", "s3://media/in/a.mp4"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long polls, no retries of botocore, short pauses."""
    monkeypatch.setattr(loop, "_POLL_SECONDS", 0)
    monkeypatch.setattr(loop, "CLIENT_CONFIG", Config(retries={"total_max_attempts": 1}))
    monkeypatch.setattr(health, "_FIRST_PAUSE_SECONDS", 0.05)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The delays with which messages were returned, none of which a test waits for."""
    seconds: list[int] = []
    real = Lease.return_after

    def return_at_once(lease: Lease, delay: float) -> None:
        seconds.append(int(delay))
        real(lease, 0)

    monkeypatch.setattr(Lease, "return_after", return_at_once)
    return seconds


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An S3 with faults, which the workers use."""
    with S3().serving() as serving:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", serving.url)
        yield serving


def worker(kind: str = "ffmpeg", **more: str) -> loop.Worker:
    names = {"WORKER_TYPE": kind, "QUEUE_NAME": f"{kind}_job", "CONTROL_PLANE": "control_plane", "JOBS_TABLE": "jobs"}
    return loop.Worker(Settings.read(names | PROGRAMS | more))


def hear(stack: Stack) -> list[dict[str, Any]]:
    """Hand what workers have sent to `consume`; the events without ticks."""
    events = [json.loads(message["Body"]) for message in stack.messages("control_plane")]
    stack.say(*events)
    return [event for event in events if event["action"] != "JobProgress"]


def poll(stack: Stack, times: int = 1, **more: str) -> list[dict[str, Any]]:
    """Let a worker look at its queue; the events that follow."""
    polling, events = worker(**more), list[dict[str, Any]]()
    for _ in range(times):
        polling.poll()
        events += hear(stack)
    return events


def strikes(stack: Stack, job_id: str) -> int:
    return int(stack.dynamodb.get_item(TableName="jobs", Key=record_key(job_id))["Item"]["strikes"]["N"])


def waiting(stack: Stack, queue: str = "ffmpeg_job") -> int:
    answer: Any = stack.sqs.get_queue_attributes(QueueUrl=stack.queue[queue], AttributeNames=["All"])
    attributes = answer["Attributes"]
    return sum(int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible"))


def sent(stack: Stack, **changes: Any) -> str:
    """A job that waits on its queue."""
    job_id = submitted(stack, input=URI, output="s3://media/out/", **changes)
    stack.flow()
    return job_id


def test_an_archived_input_fails_at_the_first_attempt(stack: Stack) -> None:
    stack.s3.put_object(Bucket="media", Key=KEY, Body=b"film", StorageClass="GLACIER")
    job_id = sent(stack)
    events = poll(stack, times=3)
    assert [(event["action"], event["attempt"]) for event in events] == [("JobStart", 1), ("JobFailed", 1)]
    record = status(stack, job_id)
    assert (record["state"], record["attempt"], record["error"]["code"]) == ("failed", 1, "input-archived")
    assert "Restore it first" in record["error"]["message"]
    assert waiting(stack) == 0


def test_an_archived_origin_of_a_score_fails_at_the_first_attempt(stack: Stack) -> None:
    stack.s3.put_object(Bucket="media", Key=KEY, Body=b"film")
    stack.s3.put_object(Bucket="media", Key="origin.mp4", Body=b"film", StorageClass="DEEP_ARCHIVE")
    places = {"input": URI, "origin": "s3://media/origin.mp4", "output": "s3://media/out/"}
    job_id = call(stack.vmaf, routes.SUBMIT_VMAF, contract("vmaf") | places).body["jobid"]
    stack.flow()
    events = poll(stack, times=2, kind="vmaf")
    assert Counter(event["action"] for event in events) == {"JobStart": 1, "JobFailed": 1}
    assert status(stack, job_id)["error"]["code"] == "origin-archived"


def test_an_outage_of_s3_ends_no_job_and_each_wait_is_longer(stack: Stack, s3: S3, delays: list[int]) -> None:
    job_id = sent(stack)
    s3.refusal = Refusal(503, "SlowDown")
    events = poll(stack, times=12)
    assert Counter(event["action"] for event in events) == {"JobStart": 12, "JobReturned": 12}
    assert {event.get("fault") for event in events} == {None, "service"}
    record = status(stack, job_id)
    assert (record["state"], record["error"]["code"], strikes(stack, job_id)) == ("queued", "storage-unavailable", 0)
    assert delays == [10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900, 900]
    s3.refusal = Refusal(404, "NoSuchKey")
    assert [event["action"] for event in poll(stack)] == ["JobStart", "JobFailed"]
    assert status(stack, job_id)["error"]["code"] == "input-not-found"


def test_a_dead_letter_names_the_cause_of_the_last_return(stack: Stack, s3: S3, delays: list[int]) -> None:
    job_id = sent(stack)
    s3.refusal = Refusal(503, "SlowDown")
    poll(stack)
    (message,) = stack.messages("ffmpeg_job")
    stack.sqs.send_message(QueueUrl=stack.queue["dead"], MessageBody=message["Body"])
    assert stack.reconcile({}, None)["JobsBuried"] == 1
    error = status(stack, job_id)["error"]
    assert error["code"] == "dead-letter"
    assert error["message"].endswith("; last: storage-unavailable: S3 did not serve s3://media/out/a.mp4: 503.")


def test_the_worker_s_own_faults_are_strikes_still(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delays: list[int]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(loop, "run_job", fail)
    job_id = sent(stack)
    poll(stack, times=4)
    record = status(stack, job_id)
    assert (record["state"], record["error"]["code"]) == ("failed", "attempts-exhausted")


@pytest.mark.parametrize("refused", ["SendMessage", "UpdateItem"])
def test_aws_that_takes_no_claim_and_no_report_is_no_strike(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delays: list[int], refused: str
) -> None:
    stack.s3.put_object(Bucket="media", Key=KEY, Body=b"film", StorageClass="GLACIER")
    job_id = sent(stack)
    polling, real = worker(), BaseClient._make_api_call  # type: ignore[attr-defined]

    def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == refused:
            error = {"Error": {"Code": "AccessDenied", "Message": "no"}}
            raise ClientError(error, operation)  # type: ignore[arg-type]
        return real(client, operation, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", make)
        for _ in range(5):
            with pytest.raises(ClientError):
                polling.poll()
    assert delays == [10, 20, 40, 80, 160]
    assert (status(stack, job_id)["state"], strikes(stack, job_id)) == ("queued", 0)
    events = poll(stack)
    assert [event["action"] for event in events] == ["JobStart", "JobFailed"]


def test_a_job_goes_at_once_from_a_host_without_ffmpeg_to_another(stack: Stack, tmp_path: Path) -> None:
    stack.s3.put_object(Bucket="media", Key=KEY, Body=Maker(tmp_path)("a.mp4", *SMALL, *H264))
    job_id = sent(stack)
    sick = worker(FFMPEG=str(tmp_path / "nowhere"), POD_NAME="sick")
    sick.poll()
    assert (status(stack, job_id)["state"], status(stack, job_id)["error"]["code"]) == ("queued", "program-missing")
    events = [*hear(stack), *poll(stack, POD_NAME="well")]
    assert [(event["action"], event["attempt"]) for event in events] == [
        ("JobStart", 1), ("JobReturned", 1), ("JobStart", 2), ("JobFinished", 2),
    ]  # fmt: skip
    assert events[1]["fault"] == "host"
    assert (status(stack, job_id)["state"], strikes(stack, job_id)) == ("finished", 0)
    assert actions(stack, job_id)[-1] == "JobFinished"


def test_a_job_that_meets_sick_hosts_again_and_again_waits_longer(stack: Stack, delays: list[int]) -> None:
    stack.s3.put_object(Bucket="media", Key=KEY, Body=b"film")
    job_id = sent(stack)
    poll(stack, times=13, FFPROBE="nowhere-to-be-found")
    assert delays == [*[0] * 10, 10, 20, 40]
    assert (status(stack, job_id)["state"], strikes(stack, job_id)) == ("queued", 0)


@contextmanager
def meanwhile(do: Callable[[], None], run: loop.Worker) -> Iterator[None]:
    """SIGTERM stops the worker in this thread when `do` has ended in another."""
    before = signal.signal(signal.SIGTERM, lambda *_: run.stop())

    def then_stop() -> None:
        try:
            do()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=then_stop)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_without_ffmpeg_takes_no_job_until_it_has_one(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack.s3.put_object(Bucket="media", Key=KEY, Body=Maker(tmp_path)("a.mp4", *SMALL, *H264))
    job_id = sent(stack)
    program = tmp_path / "ffmpeg"
    sick = worker(FFMPEG=str(program))
    checks: list[HostError | None] = []
    check = sick._health.fault

    def counted(suspicion: HostError | None = None) -> HostError | None:
        checks.append(check(suspicion))
        return checks[-1]

    sick._health.fault = counted  # type: ignore[method-assign]

    def install() -> None:
        until(lambda: len(checks) > 3)
        assert (waiting(stack), status(stack, job_id)["attempt"]) == (1, 0)
        program.symlink_to(PROGRAMS["FFMPEG"])
        until(lambda: waiting(stack) == 0)

    with caplog.at_level(logging.INFO), meanwhile(install, sick):
        sick.run()
    hear(stack)
    assert (status(stack, job_id)["state"], status(stack, job_id)["attempt"]) == ("finished", 1)
    assert caplog.text.count("takes no jobs until its host is well: program-missing") == 1
    assert caplog.text.count("the host is well again") == 1


def test_a_worker_that_sits_out_ends_at_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "_FIRST_PAUSE_SECONDS", 300.0)
    sent(stack)
    sick = worker(FFMPEG="nowhere-to-be-found")
    began = time.monotonic()
    with caplog.at_level(logging.INFO), meanwhile(lambda: until(lambda: "takes no jobs" in caplog.text), sick):
        sick.run()
    assert time.monotonic() - began < 60  # and not after its pause of five minutes
    assert "asked to terminate while idle" in caplog.text
    assert waiting(stack) == 1


def test_a_message_that_was_refused_often_waits_for_the_faults_of_its_job_alone(
    stack: Stack, s3: S3, delays: list[int]
) -> None:
    sent(stack)
    for _ in range(6):  # as by workers to which another's claim refused the job
        stack.sqs.receive_message(QueueUrl=stack.queue["ffmpeg_job"], VisibilityTimeout=0)
    s3.refusal = Refusal(503, "SlowDown")
    poll(stack, times=2)
    assert delays == [10, 20]


def test_delays_double_up_to_a_quarter_of_an_hour() -> None:
    assert [delay_seconds(n) for n in (1, 2, 3, 7, 8, 50, 1000)] == [10, 20, 40, 640, 900, 900, 900]
