"""Notifications of S3 that come twice, late or malformed: each version becomes one job, and no file is lost."""

import hashlib
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from elasticrecode.contract.metrics import FILES_LEFT_OUT
from elasticrecode.errors import Invalid
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.uris import MARK, SCORE_FILES
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_path import event, pass_time, status
from tests.fakes.stack import Stack
from tests.fakes.wiring import Handler
from tests.unit.test_drops import PROFILE, given_drop, notification
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import ATTEMPT_MARK, PLACE_MARK, Uploads

BUCKET = "media"


class Dropped:
    """A bucket with a drop, and the function that collects its files."""

    def __init__(self, stack: Stack, **more: Any) -> None:
        self.stack = stack
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        drop = given_drop(bucket=BUCKET, output=f"s3://{BUCKET}/out/") | more
        self.drops = [drop]
        self.collect = self.container()

    def container(self) -> Handler:
        """A new container of the function."""
        return self.stack.build("collect", drops=self.drops)

    def put(self, key: str, body: bytes = b"film", version: str = "1", **more: Any) -> str:
        """Put an object; answers the notification that S3 sends."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)
        return json.dumps(notification(key, bucket=BUCKET, size=len(body), sequencer=version))

    def notify(self, *bodies: str) -> list[str]:
        """Deliver messages m0, m1 … to the function; answers the ids of those to deliver again."""
        return notify(self.collect, *bodies)

    def jobs(self) -> list[dict[str, Any]]:
        """The accepted jobs."""
        return [json.loads(item["job"]["S"]) for item in self.stack.items() if "job" in item]


def notify(collect: Handler, *bodies: str) -> list[str]:
    records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
    return [failure["itemIdentifier"] for failure in collect({"Records": records}, None)["batchItemFailures"]]


@pytest.fixture
def dropped(stack: Stack) -> Dropped:
    return Dropped(stack)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the pauses between rounds."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def left_out_count(output: str) -> int:
    """How many files the metric counts as left out."""
    metrics = [json.loads(line) for line in output.splitlines() if '"_aws"' in line]
    return int(sum(value for metric in metrics for value in metric.get(FILES_LEFT_OUT, ())))


def test_a_file_becomes_a_job_and_its_message_is_sent(dropped: Dropped) -> None:
    assert dropped.notify(dropped.put("in/a/ü 1+1.mp4")) == []
    (job,) = dropped.jobs()
    assert (job["userid"], job["input"], job["output"]) == ("ann", "s3://media/in/a/ü 1+1.mp4", "s3://media/out/a/")
    assert job["profile"]["ffmpeg"]["codec"] == "libx264"
    dropped.stack.flow()
    (message,) = dropped.stack.messages("ffmpeg_job")
    assert json.loads(message["Body"]) == job
    assert status(dropped.stack, job["jobid"])["state"] == "queued"


def test_a_repeated_notification_is_one_job_and_another_version_another(dropped: Dropped) -> None:
    first, second = dropped.put("in/a.mp4"), dropped.put("in/a.mp4", version="2")
    assert dropped.notify(first, first) == []
    assert dropped.notify(first) == []
    assert len(dropped.jobs()) == 1
    assert dropped.notify(second, first) == []
    assert len({job["jobid"] for job in dropped.jobs()}) == len(dropped.jobs()) == 2


def test_concurrent_notifications_of_one_file_are_one_job(dropped: Dropped) -> None:
    bodies = [dropped.put(f"in/{n}.mp4") for n in range(5)]
    others = [dropped.container() for _ in range(8)]
    with ThreadPoolExecutor(len(others)) as threads:
        assert list(threads.map(lambda collect: notify(collect, *bodies, *bodies), others)) == [[]] * len(others)
    assert sorted(job["input"] for job in dropped.jobs()) == [f"s3://media/in/{n}.mp4" for n in range(5)]
    dropped.stack.flow()
    assert len(dropped.stack.messages("ffmpeg_job")) == 5


def test_a_late_notification_does_not_change_the_job(dropped: Dropped) -> None:
    body = dropped.put("in/a.mp4")
    dropped.notify(body)
    (job,) = dropped.jobs()
    dropped.stack.flow()
    assert Claims("jobs", lease_seconds=60).claim(job["jobid"], "w") == Claim(1)
    dropped.notify(body)
    assert status(dropped.stack, job["jobid"])["state"] == "running"
    dropped.stack.say(event(job["jobid"], "JobFinished", attempt=1))
    finished = status(dropped.stack, job["jobid"])
    assert finished["state"] == "finished"
    dropped.notify(body)
    assert status(dropped.stack, job["jobid"]) == finished
    dropped.stack.flow()
    assert len(dropped.stack.messages("ffmpeg_job")) == 1


@pytest.mark.parametrize("operation", ["PutItem", "HeadObject"])
def test_a_file_that_aws_refuses_comes_again_and_holds_up_no_other(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    bodies = [dropped.put(f"in/{n}.mp4") for n in range(4)]

    def watch(called: str, arguments: dict[str, Any]) -> Any:
        if called == operation and "2.mp4" in str(arguments):
            raise throttled(called)

    with every_call(watch, monkeypatch):
        assert dropped.notify(*bodies) == ["m2"]
    assert len(dropped.jobs()) == 3
    assert dropped.notify(bodies[2]) == []
    assert len(dropped.jobs()) == 4


def test_a_file_that_may_not_be_read_comes_again(dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> None:
    body = dropped.put("in/a.mp4")

    def watch(called: str, _: dict[str, Any]) -> Any:
        if called == "HeadObject":
            error = {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(error, called)  # type: ignore[arg-type]

    with every_call(watch, monkeypatch):
        assert dropped.notify(body) == ["m0"]
    assert dropped.jobs() == []


def test_all_files_come_again_while_the_registry_is_unavailable(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = dropped.put("in/a.mp4")

    def watch(called: str, _: dict[str, Any]) -> Any:
        if called == "Query":
            raise throttled(called)

    with every_call(watch, monkeypatch):
        assert dropped.notify(body) == ["m0"]
    assert dropped.jobs() == []
    assert dropped.notify(body) == []
    assert len(dropped.jobs()) == 1


def test_a_file_that_no_queue_serves_is_held_until_one_does(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"ffmpeg": PROFILE["ffmpeg"] | {"platform": "gpu"}}
    dropped = Dropped(stack, profile=gpu)
    assert dropped.notify(dropped.put("in/a.mp4")) == []
    (job,) = dropped.jobs()
    record = status(stack, job["jobid"])
    assert (record["state"], record["queue"]) == ("accepted", None)
    assert "gpu" in record["queueReason"]
    pass_time(monkeypatch, 120)
    stack.reconcile({}, None)
    assert status(stack, job["jobid"])["state"] == "accepted"
    stack.queues["gpu"]["ffmpeg_gpu"] = stack.sqs.create_queue(QueueName="ffmpeg_gpu")["QueueUrl"]
    pass_time(monkeypatch, 240)
    stack.reconcile({}, None)
    record = status(stack, job["jobid"])
    assert (record["state"], record["queue"]) == ("queued", "ffmpeg_gpu")


def publish(dropped: Dropped, file: Path, uri: str, job_id: str) -> None:
    """Publish a file as the first attempt of a job does."""
    uploads = Uploads(Storage(lambda: dropped.s3), job_id, 1, Runner())
    upload = uploads.begin(uri, file.stat().st_size)
    uploads.send(file, upload)
    uploads.complete(upload, "")


def test_outputs_of_workers_are_ignored(dropped: Dropped, tmp_path: Path) -> None:
    output = tmp_path / "made"
    output.write_bytes(b"film")
    names_ = ["made.mp4", *(f"made.mp4{ending}" for ending in SCORE_FILES)]
    for name in names_:
        publish(dropped, output, f"s3://{BUCKET}/in/{name}", "job-1")
    head = dropped.s3.head_object(Bucket=BUCKET, Key="in/made.mp4")
    place = hashlib.sha256(f"s3://{BUCKET}/in/made.mp4".encode()).hexdigest()
    marks = {MARK: "job-1", ATTEMPT_MARK: "1", PLACE_MARK: place}
    assert (head["Metadata"], head["ContentType"]) == (marks, "video/mp4")
    bodies = [json.dumps(notification(f"in/{name}", bucket=BUCKET, size=4)) for name in names_]
    assert dropped.notify(*bodies) == []
    assert dropped.jobs() == []


def test_an_output_of_a_job_with_an_odd_id_is_marked(dropped: Dropped, tmp_path: Path) -> None:
    output = tmp_path / "made"
    output.write_bytes(b"film")
    publish(dropped, output, f"s3://{BUCKET}/in/made.mp4", "jöb\n1")
    assert MARK in dropped.s3.head_object(Bucket=BUCKET, Key="in/made.mp4")["Metadata"]


def test_folders_empty_objects_and_deleted_files_are_ignored_without_a_metric(
    dropped: Dropped, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    bodies = [dropped.put("in/folder/"), dropped.put("in/folder/", b"x"), dropped.put("in/empty.mp4", b"")]
    bodies.append(dropped.put("in/gone.mp4"))
    dropped.s3.delete_object(Bucket=BUCKET, Key="in/gone.mp4")
    bodies.append('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}')
    assert dropped.notify(*bodies) == []
    assert dropped.jobs() == []
    assert caplog.text.count("file ignored") == 4
    assert left_out_count(capsys.readouterr().out) == 0


def test_a_file_that_can_not_be_a_job_is_logged_and_counted_once(
    dropped: Dropped, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    keys = ["in/a/..", "in/" + "x" * 1022, "elsewhere/a.mp4"]
    bodies = [json.dumps(notification(key, bucket=BUCKET)) for key in keys]
    bodies.append(json.dumps(notification("in/a.mp4", bucket="other")))
    bodies += ["hello", "{}"]
    assert dropped.notify(*bodies, dropped.put("in/good.mp4")) == []
    assert [job["input"] for job in dropped.jobs()] == ["s3://media/in/good.mp4"]
    assert left_out_count(capsys.readouterr().out) == 6
    left = [record for record in caplog.records if "left out" in record.message]
    assert [getattr(record, "uri", None) for record in left] == [
        *(f"s3://media/{key}" for key in keys), "s3://other/in/a.mp4", None, None,
    ]  # fmt: skip


def test_a_file_costs_one_head_and_one_write(dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    bodies = [dropped.put(f"in/{n}.mp4") for n in range(20)]
    with every_call(lambda called, _: calls.update([called]), monkeypatch):
        assert dropped.notify(*bodies) == []
    assert calls == {"HeadObject": 20, "PutItem": 20, "Query": 1}


def test_a_loop_between_named_buckets_stops_the_function(stack: Stack) -> None:
    with pytest.raises(Invalid):
        Dropped(stack, output=f"s3://{BUCKET}/in/made/")
