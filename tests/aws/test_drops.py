"""S3 tells of files, twice, late or wrong: each version becomes one job, and nothing that was taken is lost."""

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
from elasticrecode.contract.settings import CollectSettings
from elasticrecode.errors import Invalid
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.drops import MARK
from elasticrecode.jobs.uris import SCORE_FILES
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_path import event, pass_time, status
from tests.fakes.stack import Handler, Stack
from tests.support import function
from tests.unit.test_drops import PROFILE, given_drop, notification
from worker.storage import Storage

BUCKET = "media"


class Dropped:
    """A bucket with a drop, and the function that hears of it."""

    def __init__(self, stack: Stack, **more: Any) -> None:
        self.stack = stack
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        drop = given_drop(bucket=BUCKET, output=f"s3://{BUCKET}/out/") | more
        self.settings = CollectSettings(
            jobs_table="jobs", registry_table="registry", queues=stack.queues, retention_days=7, drops=[drop]
        )
        self.take: Handler = function("collect").build(self.settings)

    def put(self, key: str, body: bytes = b"film", version: str = "1", **more: Any) -> str:
        """Put an object; what S3 tells of it."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)
        return json.dumps(notification(key, bucket=BUCKET, size=len(body), sequencer=version))

    def tell(self, *bodies: str) -> list[str]:
        """Let the function read messages m0, m1 …; the ids of those it wants again."""
        return tell(self.take, *bodies)

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that were accepted."""
        return [json.loads(item["job"]["S"]) for item in self.stack.items() if "job" in item]


def tell(take: Handler, *bodies: str) -> list[str]:
    records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
    return [failure["itemIdentifier"] for failure in take({"Records": records}, None)["batchItemFailures"]]


@pytest.fixture
def dropped(stack: Stack) -> Dropped:
    return Dropped(stack)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between rounds take no time."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def counted(output: str) -> int:
    """How many files were counted as left out."""
    metrics = [json.loads(line) for line in output.splitlines() if '"_aws"' in line]
    return int(sum(value for metric in metrics for value in metric.get(FILES_LEFT_OUT, ())))


def test_a_file_becomes_a_job_and_its_message_is_sent(dropped: Dropped) -> None:
    assert dropped.tell(dropped.put("in/a/ü 1+1.mp4")) == []
    (job,) = dropped.jobs()
    assert (job["userid"], job["input"], job["output"]) == ("ann", "s3://media/in/a/ü 1+1.mp4", "s3://media/out/a/")
    assert job["profile"]["ffmpeg"]["codec"] == "libx264"
    dropped.stack.flow()
    (message,) = dropped.stack.messages("ffmpeg_job")
    assert json.loads(message["Body"]) == job
    assert status(dropped.stack, job["jobid"])["state"] == "queued"


def test_what_is_told_twice_is_one_job_and_another_version_is_another(dropped: Dropped) -> None:
    told, again = dropped.put("in/a.mp4"), dropped.put("in/a.mp4", version="2")
    assert dropped.tell(told, told) == []
    assert dropped.tell(told) == []
    assert len(dropped.jobs()) == 1
    assert dropped.tell(again, told) == []
    assert len({job["jobid"] for job in dropped.jobs()}) == len(dropped.jobs()) == 2


def test_what_is_told_to_many_at_once_is_one_job(dropped: Dropped) -> None:
    bodies = [dropped.put(f"in/{n}.mp4") for n in range(5)]
    others = [function("collect").build(dropped.settings) for _ in range(8)]
    with ThreadPoolExecutor(len(others)) as threads:
        assert list(threads.map(lambda take: tell(take, *bodies, *bodies), others)) == [[]] * len(others)
    assert sorted(job["input"] for job in dropped.jobs()) == [f"s3://media/in/{n}.mp4" for n in range(5)]
    dropped.stack.flow()
    assert len(dropped.stack.messages("ffmpeg_job")) == 5


def test_what_is_told_again_later_resets_nothing(dropped: Dropped) -> None:
    told = dropped.put("in/a.mp4")
    dropped.tell(told)
    (job,) = dropped.jobs()
    dropped.stack.flow()
    assert Claims("jobs", lease_seconds=60).claim(job["jobid"], "w") == Claim(1)
    dropped.tell(told)
    assert status(dropped.stack, job["jobid"])["state"] == "running"
    dropped.stack.say(event(job["jobid"], "JobFinished", attempt=1))
    finished = status(dropped.stack, job["jobid"])
    assert finished["state"] == "finished"
    dropped.tell(told)
    assert status(dropped.stack, job["jobid"]) == finished
    dropped.stack.flow()
    assert len(dropped.stack.messages("ffmpeg_job")) == 1


@pytest.mark.parametrize("operation", ["PutItem", "HeadObject"])
def test_what_aws_refuses_is_told_again_and_holds_up_no_other(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    told = [dropped.put(f"in/{n}.mp4") for n in range(4)]

    def watch(asked: str, arguments: dict[str, Any]) -> Any:
        if asked == operation and "2.mp4" in str(arguments):
            raise throttled(asked)

    with every_call(watch, monkeypatch):
        assert dropped.tell(*told) == ["m2"]
    assert len(dropped.jobs()) == 3
    assert dropped.tell(told[2]) == []
    assert len(dropped.jobs()) == 4


def test_what_is_forbidden_to_look_at_is_told_again(dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> None:
    told = dropped.put("in/a.mp4")

    def watch(asked: str, _: dict[str, Any]) -> Any:
        if asked == "HeadObject":
            error = {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(error, asked)  # type: ignore[arg-type]

    with every_call(watch, monkeypatch):
        assert dropped.tell(told) == ["m0"]
    assert dropped.jobs() == []


def test_without_the_registry_all_is_told_again(dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> None:
    told = dropped.put("in/a.mp4")

    def watch(asked: str, _: dict[str, Any]) -> Any:
        if asked == "Query":
            raise throttled(asked)

    with every_call(watch, monkeypatch):
        assert dropped.tell(told) == ["m0"]
    assert dropped.jobs() == []
    assert dropped.tell(told) == []
    assert len(dropped.jobs()) == 1


def test_a_file_that_no_queue_serves_is_held_until_one_does(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"ffmpeg": PROFILE["ffmpeg"] | {"platform": "gpu"}}
    dropped = Dropped(stack, profile=gpu)
    assert dropped.tell(dropped.put("in/a.mp4")) == []
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


def test_what_a_worker_published_is_left_alone(dropped: Dropped, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"film")
    names_ = ["made.mp4", *(f"made.mp4{ending}" for ending in SCORE_FILES)]
    for name in names_:
        Storage(lambda: dropped.s3).upload(made, f"s3://{BUCKET}/in/{name}", "job-1")
    head = dropped.s3.head_object(Bucket=BUCKET, Key="in/made.mp4")
    assert (head["Metadata"], head["ContentType"]) == ({MARK: "job-1"}, "video/mp4")
    told = [json.dumps(notification(f"in/{name}", bucket=BUCKET, size=4)) for name in names_]
    assert dropped.tell(*told) == []
    assert dropped.jobs() == []


def test_an_id_that_came_from_elsewhere_marks_too(dropped: Dropped, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"film")
    Storage(lambda: dropped.s3).upload(made, f"s3://{BUCKET}/in/made.mp4", "jöb\n1")
    assert MARK in dropped.s3.head_object(Bucket=BUCKET, Key="in/made.mp4")["Metadata"]


def test_folders_empty_objects_and_what_is_gone_are_left_alone_and_not_missed(
    dropped: Dropped, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    told = [dropped.put("in/folder/"), dropped.put("in/folder/", b"x"), dropped.put("in/empty.mp4", b"")]
    told.append(dropped.put("in/gone.mp4"))
    dropped.s3.delete_object(Bucket=BUCKET, Key="in/gone.mp4")
    told.append('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}')
    assert dropped.tell(*told) == []
    assert dropped.jobs() == []
    assert caplog.text.count("left alone") == 4
    assert counted(capsys.readouterr().out) == 0


def test_what_can_not_be_a_job_is_logged_counted_and_not_told_again(
    dropped: Dropped, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    keys = ["in/a/..", "in/" + "x" * 1022, "elsewhere/a.mp4"]
    told = [json.dumps(notification(key, bucket=BUCKET)) for key in keys]
    told.append(json.dumps(notification("in/a.mp4", bucket="other")))
    told += ["hello", "{}"]
    assert dropped.tell(*told, dropped.put("in/good.mp4")) == []
    assert [job["input"] for job in dropped.jobs()] == ["s3://media/in/good.mp4"]
    assert counted(capsys.readouterr().out) == 6
    left = [record for record in caplog.records if "left out" in record.message]
    assert [getattr(record, "uri", None) for record in left] == [
        *(f"s3://media/{key}" for key in keys), "s3://other/in/a.mp4", None, None,
    ]  # fmt: skip


def test_one_file_costs_a_look_and_a_write(dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    told = [dropped.put(f"in/{n}.mp4") for n in range(20)]
    with every_call(lambda asked, _: calls.update([asked]), monkeypatch):
        assert dropped.tell(*told) == []
    assert calls == {"HeadObject": 20, "PutItem": 20, "Query": 1}


def test_a_loop_that_only_the_buckets_names_show_stops_the_function(stack: Stack) -> None:
    with pytest.raises(Invalid):
        Dropped(stack, output=f"s3://{BUCKET}/in/made/")
