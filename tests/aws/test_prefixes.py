"""User prefixes at every route that takes URIs, and a worker's credentials for a job."""

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
from tests.fakes.turns import answer_in_turn, call_in_turn
from tests.support import call
from worker import loop
from worker.errors import HostError, JobError, PermanentError, TransientError
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
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A deployment with user prefixes."""
    answer_in_turn(monkeypatch)
    call_in_turn(monkeypatch)
    with mock_aws():
        yield Stack(PREFIXES)


def order(name: str, **changes: Any) -> dict[str, Any]:
    request: dict[str, Any] = contract(name)
    return request | {"userid": "ann", "output": f"{MINE}out/"} | changes


def faults_of(answer: Any) -> dict[str, str]:
    assert answer.status == 422, answer
    return {fault["pointer"]: fault["detail"] for fault in answer.body["errors"]}


def test_a_request_with_a_uri_outside_the_prefixes_stores_nothing(kept: Stack) -> None:
    single = call(kept.submit, routes.SUBMIT, order("job", input=f"{THEIRS}a.mp4", output=THEIRS))
    assert faults_of(single) == {"/input": READS, "/output": WRITES}
    several = order("job_batch", batchInputs=[f"{MINE}a.mp4", f"{THEIRS}b.mp4"])
    assert faults_of(call(kept.submit, routes.SUBMIT, several)) == {"/batchInputs/1": READS}
    score = order("vmaf", input=f"{MINE}a.mp4", origin=f"{THEIRS}a.mp4")
    assert faults_of(call(kept.vmaf, routes.SUBMIT_VMAF, score)) == {"/origin": READS}
    assert kept.items() == []


def test_a_used_key_does_not_bypass_the_prefixes(kept: Stack) -> None:
    headers = {"Idempotency-Key": "k"}
    body = order("job", input=f"{MINE}a.mp4")
    assert call(kept.submit, routes.SUBMIT, body, headers=headers).status == 200
    wrong = body | {"input": f"{THEIRS}a.mp4"}
    assert faults_of(call(kept.submit, routes.SUBMIT, wrong, headers=headers)) == {"/input": READS}


def test_a_request_within_the_prefixes_is_accepted(kept: Stack) -> None:
    body = order("job_batch", batchInputs=[f"{MINE}a.mp4", "s3://media/lists/b.mp4"])
    assert call(kept.submit, routes.SUBMIT, body).status == 200
    score = order("vmaf", input=f"{MINE}a.mp4", origin=f"{MINE}b.mp4")
    assert call(kept.vmaf, routes.SUBMIT_VMAF, score).status == 200


def batch(**source: Any) -> dict[str, Any]:
    return {key: order("job_batch")[key] for key in ("userid", "output", "profile")} | source


def test_a_batch_may_name_only_inputs_that_its_user_may_read(kept: Stack) -> None:
    for source in ({"manifest": f"{THEIRS}list.txt"}, {"prefix": "s3://media/users/bob/"}):
        answer = call(kept.batch, routes.SUBMIT_BATCH, batch(**source))
        assert faults_of(answer) == {f"/{next(iter(source))}": READS}
    listed = call(kept.batch, routes.SUBMIT_BATCH, batch(inputs=[f"{MINE}a.mp4", f"{THEIRS}b.mp4"]))
    assert faults_of(listed) == {"/inputs/1": READS}


def test_lines_that_the_user_may_not_read_are_left_out_and_reported(kept: Stack) -> None:
    lines = [f"{MINE}a.mp4", f"{THEIRS}b.mp4", "nonsense", f"{MINE}../bob/c.mp4", f"{MINE}d.mp4"]
    source = manifest(kept, "\n".join(lines))
    batch_id = call(kept.batch, routes.SUBMIT_BATCH, batch(manifest=source)).body["batchID"]
    work(kept)
    record = shown(kept, batch_id)
    assert (record["total"], record["faultCount"]) == (2, 3)
    details = {fault["line"]: fault["detail"] for fault in record["faults"]}
    assert details[2] == f"'{THEIRS}b.mp4' {READS}"
    assert "s3://bucket/key" in details[3]
    assert "'.' or '..'" in details[4]
    inputs = [json.loads(item["job"]["S"])["input"] for item in records(kept, batch_id)]
    assert inputs == [f"{MINE}a.mp4", f"{MINE}d.mp4"]


# The claim, and the worker


def test_a_claim_returns_the_accepted_job(kept: Stack) -> None:
    answer = call(kept.submit, routes.SUBMIT, order("job", input=f"{MINE}a.mp4"))
    job_id = answer.body[0]["jobid"]
    claim = Claims("jobs", 30).claim(job_id, "w")
    assert isinstance(claim, Claim)
    job = msgspec.json.decode(claim.job, type=Job)
    assert (job.jobid, job.userid, job.input) == (job_id, "ann", f"{MINE}a.mp4")


class StsCalls:
    """The AssumeRole calls, and the error codes that the first of them are answered with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.codes: list[str] = []
        real = BaseClient._make_api_call  # type: ignore[attr-defined]

        def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
            if operation == "AssumeRole":
                self.calls.append(arguments)
                if self.codes:
                    error = {"Error": {"Code": self.codes.pop(0), "Message": f"User {ROLE} may not"}}
                    raise ClientError(error, operation)  # type: ignore[arg-type]
            return real(client, operation, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", make)


def job(user: str = "ann", id_: str = "j-1") -> Job:
    body = json.dumps(contract("queue_message") | {"userid": user, "jobid": id_, "input": f"{MINE}a.mp4"})
    return msgspec.json.decode(body, type=Job)


def test_a_job_costs_one_sts_call_for_any_number_of_files(kept: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.s3.put_object(Bucket="media", Key="users/ann/a.mp4", Body=b"film")
    sts = StsCalls(monkeypatch)
    s3 = JobRole(ROLE, CLIENT_CONFIG).s3(job())
    assert sts.calls == []
    for _ in range(3):
        s3.get_object(Bucket="media", Key="users/ann/a.mp4")
    (call_,) = sts.calls
    assert (call_["RoleArn"], call_["RoleSessionName"]) == (ROLE, "job-j-1")
    assert call_["Tags"] == [{"Key": "userID", "Value": "ann"}]
    assert f"arn:aws:s3:::{MINE.removeprefix('s3://')}a.mp4" in call_["Policy"]


@pytest.mark.parametrize(("user", "id_"), [("a|b", "x"), ("aws:root", "x" * 128), ("é", "jöb #1/\n")])
def test_ids_that_sts_refuses_become_neither_tag_nor_session_name(
    kept: Stack, monkeypatch: pytest.MonkeyPatch, user: str, id_: str
) -> None:
    kept.s3.put_object(Bucket="media", Key="users/ann/a.mp4", Body=b"film")
    sts = StsCalls(monkeypatch)
    JobRole(ROLE, CLIENT_CONFIG).s3(job(user, id_)).get_object(Bucket="media", Key="users/ann/a.mp4")
    (call_,) = sts.calls
    assert call_["Tags"] == []
    assert 2 <= len(call_["RoleSessionName"]) <= 64
    assert call_["RoleSessionName"].isascii()


def test_a_policy_that_sts_cannot_pack_is_shortened(kept: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "users/ann/" + "x" * 900
    kept.s3.put_object(Bucket="media", Key=key, Body=b"film")
    sts = StsCalls(monkeypatch)
    sts.codes = ["PackedPolicyTooLarge"]
    long = msgspec.structs.replace(job(), input=f"s3://media/{key}")
    JobRole(ROLE, CLIENT_CONFIG).s3(long).get_object(Bucket="media", Key=key)
    first, second = (len(call_["Policy"]) for call_ in sts.calls)
    assert LIMITS[1] < first <= LIMITS[0]
    assert second <= LIMITS[1]


@pytest.mark.parametrize(
    ("codes", "kind", "code"),
    [
        (["AccessDenied"], HostError, "credentials-refused"),
        (["PackedPolicyTooLarge"] * len(LIMITS), PermanentError, "input-refused"),
        (["Throttling"], TransientError, "storage-unavailable"),
        (["ExpiredTokenException"], TransientError, "storage-unavailable"),
    ],
)
def test_a_role_that_cannot_be_assumed_is_the_fault_of_whoever_can_mend_it_and_names_no_account(
    kept: Stack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    caplog: pytest.LogCaptureFixture,
    codes: list[str],
    kind: type[JobError],
    code: str,
) -> None:
    sts = StsCalls(monkeypatch)
    sts.codes = list(codes)
    role = JobRole(ROLE, CLIENT_CONFIG)
    with pytest.raises(kind) as caught, caplog.at_level(logging.WARNING):
        Storage(lambda: role.s3(job())).download(f"{MINE}a.mp4", tmp_path / "x", Runner())
    assert caught.value.failure.code == code
    assert "arn:" not in str(caught.value)
    assert codes[0] in str(caught.value)
    assert ROLE in caplog.text


class Done(Exception):
    """The worker has run a job."""


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that workers run; recorded, not run."""
    jobs: list[Job] = []

    def perform(job: Job, *_: object) -> Any:
        jobs.append(job)
        raise Done

    monkeypatch.setattr(loop, "run_job", perform)
    monkeypatch.setattr(loop, "_POLL_SECONDS", 0)
    return jobs


def worker(**more: str) -> loop.Worker:
    environ = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": "control_plane"}
    return loop.Worker(Settings.read(environ | {"JOBS_TABLE": "jobs", "POD_NAME": "w"} | more))


def test_a_worker_runs_the_job_of_the_record_and_not_of_the_message(kept: Stack, done: list[Job]) -> None:
    answer = call(kept.submit, routes.SUBMIT, order("job", input=f"{MINE}a.mp4"))
    forged = msgspec.structs.replace(job("bob", answer.body[0]["jobid"]), input=f"{THEIRS}secret.mp4")
    kept.sqs.send_message(QueueUrl=kept.queue["ffmpeg_job"], MessageBody=msgspec.json.encode(forged).decode())
    worker().poll()
    (job_,) = done
    assert (job_.userid, job_.input, job_.output) == ("ann", f"{MINE}a.mp4", f"{MINE}out/")
    events = [json.loads(message["Body"])["job"] for message in kept.messages("control_plane")]
    assert {(event["userid"], event["input"]) for event in events} == {("ann", f"{MINE}a.mp4")}


@pytest.mark.parametrize(("more", "jobs"), [({"JOB_ROLE": ROLE}, 0), ({}, 1)])
def test_a_job_without_a_record_runs_only_on_workers_without_a_job_role(
    kept: Stack, done: list[Job], more: dict[str, str], jobs: int
) -> None:
    body = msgspec.json.encode(job(id_="unknown")).decode()
    kept.sqs.send_message(QueueUrl=kept.queue["ffmpeg_job"], MessageBody=body)
    worker(**more).poll()
    assert len(done) == jobs


def test_a_worker_logs_which_credentials_it_reads_files_with(
    kept: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for more, line in (({"JOB_ROLE": ROLE}, f"with the role {ROLE}"), ({}, "JOB_ROLE is not set")):
        begun = worker(**more)
        begun._stopping.set()
        with caplog.at_level(logging.INFO):
            begun.run()
        assert line in caplog.text
        caplog.clear()
