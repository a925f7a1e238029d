"""Users kept to prefixes, at every route by which files come in, and the worker's credentials for a job."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws

from elasticrecode.contract import routes, settings
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.job import Job
from tests.aws.test_batches import manifest, records, shown, work
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call
from worker import loop
from worker.errors import TransientError
from worker.job_role import LIMITS, JobRole
from worker.loop import CLIENT_CONFIG
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

PREFIXES: settings.UserPrefixes = [
    {"prefix": "s3://media/users/{userID}/", "access": "read-write"},
    {"prefix": "s3://media/lists/", "access": "read"},
]
READS = "must be below a prefix that ann may read: s3://media/users/ann/, s3://media/lists/"
WRITES = "must be below a prefix that ann may write: s3://media/users/ann/"
MINE, THEIRS = "s3://media/users/ann/", "s3://media/users/bob/"
ROLE = "arn:aws:iam::123456789012:role/jobs"


@pytest.fixture
def kept() -> Iterator[Stack]:
    """A deployment whose users are kept to prefixes."""
    with mock_aws():
        yield Stack(PREFIXES)


def order(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = contract(name)
    return found | {"userid": "ann", "output": f"{MINE}out/"} | changes


def told(answer: Any) -> dict[str, str]:
    assert answer.status == 422, answer
    return {fault["pointer"]: fault["detail"] for fault in answer.body["errors"]}


def test_what_lies_elsewhere_is_refused_whole_and_nothing_is_stored(kept: Stack) -> None:
    single = call(kept.submit, routes.SUBMIT, order("job", input=f"{THEIRS}a.mp4", output=THEIRS))
    assert told(single) == {"/input": READS, "/output": WRITES}
    several = order("job_batch", batchInputs=[f"{MINE}a.mp4", f"{THEIRS}b.mp4"])
    assert told(call(kept.submit, routes.SUBMIT, several)) == {"/batchInputs/1": READS}
    score = order("vmaf", input=f"{MINE}a.mp4", origin=f"{THEIRS}a.mp4")
    assert told(call(kept.vmaf, routes.SUBMIT_VMAF, score)) == {"/origin": READS}
    assert kept.items() == []


def test_a_key_that_was_used_before_does_not_lead_around_it(kept: Stack) -> None:
    headers = {"Idempotency-Key": "k"}
    body = order("job", input=f"{MINE}a.mp4")
    assert call(kept.submit, routes.SUBMIT, body, headers=headers).status == 200
    wrong = body | {"input": f"{THEIRS}a.mp4"}
    assert told(call(kept.submit, routes.SUBMIT, wrong, headers=headers)) == {"/input": READS}


def test_what_lies_within_is_taken(kept: Stack) -> None:
    body = order("job_batch", batchInputs=[f"{MINE}a.mp4", "s3://media/lists/b.mp4"])
    assert call(kept.submit, routes.SUBMIT, body).status == 200
    score = order("vmaf", input=f"{MINE}a.mp4", origin=f"{MINE}b.mp4")
    assert call(kept.vmaf, routes.SUBMIT_VMAF, score).status == 200


def batch(**source: Any) -> dict[str, Any]:
    return {key: order("job_batch")[key] for key in ("userid", "output", "profile")} | source


def test_a_batch_names_only_what_its_user_may_read(kept: Stack) -> None:
    for source in ({"manifest": f"{THEIRS}list.txt"}, {"prefix": "s3://media/users/bob/"}):
        answer = call(kept.batch, routes.SUBMIT_BATCH, batch(**source))
        assert told(answer) == {f"/{next(iter(source))}": READS}
    listed = call(kept.batch, routes.SUBMIT_BATCH, batch(inputs=[f"{MINE}a.mp4", f"{THEIRS}b.mp4"]))
    assert told(listed) == {"/inputs/1": READS}


def test_a_line_of_a_manifest_that_its_user_may_not_read_is_left_out_and_told_by_its_number(kept: Stack) -> None:
    lines = [f"{MINE}a.mp4", f"{THEIRS}b.mp4", "nonsense", f"{MINE}../bob/c.mp4", f"{MINE}d.mp4"]
    source = manifest(kept, "\n".join(lines))
    batch_id = call(kept.batch, routes.SUBMIT_BATCH, batch(manifest=source)).body["batchID"]
    work(kept)
    record = shown(kept, batch_id)
    assert (record["total"], record["faultCount"]) == (2, 3)
    said = {fault["line"]: fault["detail"] for fault in record["faults"]}
    assert said[2] == f"'{THEIRS}b.mp4' {READS}"
    assert "s3://bucket/key" in said[3]
    assert "'.' or '..'" in said[4]
    inputs = [json.loads(item["job"]["S"])["input"] for item in records(kept, batch_id)]
    assert inputs == [f"{MINE}a.mp4", f"{MINE}d.mp4"]


# The claim, and the worker


def test_a_claim_brings_the_job_as_it_was_accepted(kept: Stack) -> None:
    answer = call(kept.submit, routes.SUBMIT, order("job", input=f"{MINE}a.mp4"))
    job_id = answer.body[0]["jobid"]
    claim = Claims("jobs", 30).claim(job_id, "w")
    assert isinstance(claim, Claim)
    job = msgspec.json.decode(claim.job, type=Job)
    assert (job.jobid, job.userid, job.input) == (job_id, "ann", f"{MINE}a.mp4")


class Asked:
    """What STS was asked for, with the errors that it is to answer with first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.codes: list[str] = []
        real = BaseClient._make_api_call  # type: ignore[attr-defined]

        def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
            if operation == "AssumeRole":
                self.calls.append(arguments)
                if self.codes:
                    said = {"Error": {"Code": self.codes.pop(0), "Message": f"User {ROLE} may not"}}
                    raise ClientError(said, operation)  # type: ignore[arg-type]
            return real(client, operation, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", make)


def job(user: str = "ann", id_: str = "j-1") -> Job:
    body = json.dumps(contract("queue_message") | {"userid": user, "jobid": id_, "input": f"{MINE}a.mp4"})
    return msgspec.json.decode(body, type=Job)


def test_a_job_costs_one_call_of_sts_however_many_its_files_are(kept: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.s3.put_object(Bucket="media", Key="users/ann/a.mp4", Body=b"film")
    asked = Asked(monkeypatch)
    s3 = JobRole(ROLE, CLIENT_CONFIG).s3(job())
    assert asked.calls == []
    for _ in range(3):
        s3.get_object(Bucket="media", Key="users/ann/a.mp4")
    (call_,) = asked.calls
    assert (call_["RoleArn"], call_["RoleSessionName"]) == (ROLE, "job-j-1")
    assert call_["Tags"] == [{"Key": "userID", "Value": "ann"}]
    assert f"arn:aws:s3:::{MINE.removeprefix('s3://')}a.mp4" in call_["Policy"]


@pytest.mark.parametrize(("user", "id_"), [("a|b", "x"), ("aws:root", "x" * 128), ("é", "jöb #1/\n")])
def test_names_that_sts_would_refuse_are_no_tag_and_no_sessions_name(
    kept: Stack, monkeypatch: pytest.MonkeyPatch, user: str, id_: str
) -> None:
    kept.s3.put_object(Bucket="media", Key="users/ann/a.mp4", Body=b"film")
    asked = Asked(monkeypatch)
    JobRole(ROLE, CLIENT_CONFIG).s3(job(user, id_)).get_object(Bucket="media", Key="users/ann/a.mp4")
    (call_,) = asked.calls
    assert call_["Tags"] == []
    assert 2 <= len(call_["RoleSessionName"]) <= 64
    assert call_["RoleSessionName"].isascii()


def test_a_policy_that_sts_can_not_pack_is_made_shorter(kept: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "users/ann/" + "x" * 900
    kept.s3.put_object(Bucket="media", Key=key, Body=b"film")
    asked = Asked(monkeypatch)
    asked.codes = ["PackedPolicyTooLarge"]
    long = msgspec.structs.replace(job(), input=f"s3://media/{key}")
    JobRole(ROLE, CLIENT_CONFIG).s3(long).get_object(Bucket="media", Key=key)
    first, second = (len(made["Policy"]) for made in asked.calls)
    assert LIMITS[1] < first <= LIMITS[0]
    assert second <= LIMITS[1]


@pytest.mark.parametrize("codes", [["AccessDenied"], ["PackedPolicyTooLarge"] * len(LIMITS), ["Throttling"]])
def test_a_role_that_can_not_be_taken_is_no_fault_of_the_job_and_names_no_account(
    kept: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture, codes: list[str]
) -> None:
    asked = Asked(monkeypatch)
    asked.codes = list(codes)
    role = JobRole(ROLE, CLIENT_CONFIG)
    with pytest.raises(TransientError) as caught, caplog.at_level(logging.WARNING):
        Storage(lambda: role.s3(job())).download(f"{MINE}a.mp4", tmp_path / "x", Runner())
    assert caught.value.failure.code == "storage-unavailable"
    assert "arn:" not in str(caught.value)
    assert codes[0] in str(caught.value)
    assert ROLE in caplog.text


class Done(Exception):
    """The worker has done a job."""


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What workers have done, instead of doing it."""
    found: list[Job] = []

    def perform(asked: Job, *_: object) -> Any:
        found.append(asked)
        raise Done

    monkeypatch.setattr(loop, "run_job", perform)
    monkeypatch.setattr(loop, "_POLL_SECONDS", 0)
    return found


def worker(**more: str) -> loop.Worker:
    told = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": "control_plane"}
    return loop.Worker(Settings.read(told | {"JOBS_TABLE": "jobs", "POD_NAME": "w"} | more))


def test_what_a_worker_does_is_what_the_record_says(kept: Stack, done: list[Job]) -> None:
    answer = call(kept.submit, routes.SUBMIT, order("job", input=f"{MINE}a.mp4"))
    forged = msgspec.structs.replace(job("bob", answer.body[0]["jobid"]), input=f"{THEIRS}secret.mp4")
    kept.sqs.send_message(QueueUrl=kept.queue["ffmpeg_job"], MessageBody=msgspec.json.encode(forged).decode())
    worker().poll()
    (made,) = done
    assert (made.userid, made.input, made.output) == ("ann", f"{MINE}a.mp4", f"{MINE}out/")
    events = [json.loads(message["Body"])["job"] for message in kept.messages("control_plane")]
    assert {(event["userid"], event["input"]) for event in events} == {("ann", f"{MINE}a.mp4")}


@pytest.mark.parametrize(("more", "jobs"), [({"JOB_ROLE": ROLE}, 0), ({}, 1)])
def test_a_job_without_a_record_is_done_only_by_workers_without_a_role_for_jobs(
    kept: Stack, done: list[Job], more: dict[str, str], jobs: int
) -> None:
    body = msgspec.json.encode(job(id_="unknown")).decode()
    kept.sqs.send_message(QueueUrl=kept.queue["ffmpeg_job"], MessageBody=body)
    worker(**more).poll()
    assert len(done) == jobs


def test_a_worker_says_with_whose_credentials_it_reads_files(
    kept: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for more, said in (({"JOB_ROLE": ROLE}, f"with the role {ROLE}"), ({}, "JOB_ROLE is not set")):
        begun = worker(**more)
        begun._stopping.set()
        with caplog.at_level(logging.INFO):
            begun.run()
        assert said in caplog.text
        caplog.clear()
