"""The role for jobs where IAM is enforced: the template's own policies, a worker's own rights, and real workers."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError

from elasticrecode.contract.tables import JOBS_KEYS
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.store import JobsTable
from elasticrecode.media.profiles import Ffmpeg, Profile, Vmaf
from local.place import ACCOUNT, REGION, TOOLS
from tests.conftest import ROOT
from tests.e2e.conftest import FFMPEG, FFPROBE, free_ports, wait_for
from tests.infra.test_stack import template
from worker.job_role import JobRole
from worker.loop import CLIENT_CONFIG

BUNNY = TOOLS / "media" / "bigbuckbunny.mp4"
MEDIA, ELSEWHERE = "media", "elsewhere"
PARTS = "parts-of-jobs"
PREFIXES = [{"prefix": "users/{userID}/"}, {"prefix": "s3://elsewhere/shared/", "access": "read"}]
PROFILE = Profile(ffmpeg=Ffmpeg(codec="libx264", scale="480:270", bitrate="1M", buffersize="2M", platform="cpu"))
SCORED = Profile(ffmpeg=PROFILE.ffmpeg, vmaf=Vmaf(scale="480x270"))
_JOB_ROLE = "the role for jobs"
ODD = "users/ann/a*b? ${aws:userid} 'q' é\n%d.mp4"


class Enforced(NamedTuple):
    """An AWS that enforces IAM: the account's owner, the worker's own credentials, and the ARNs of the roles."""

    url: str
    s3: Any
    sqs: Any
    worker: dict[str, str]
    roles: dict[str, str]

    def own_s3(self) -> Any:
        """A client with the worker's own credentials."""
        keys: Any = {name.lower(): value for name, value in self.worker.items()}
        return boto3.client("s3", endpoint_url=self.url, **keys)


def plain(value: Any) -> Any:
    """What CloudFormation makes of a value of the template here."""
    match value:
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case {"Ref": "AWS::AccountId"}:
            return ACCOUNT
        case {"Ref": "AWS::Region"}:
            return REGION
        case {"Ref": str(name)}:
            assert name.startswith(("StorageMedia", "StorageParts")), name
            return MEDIA if name.startswith("StorageMedia") else PARTS
        case {"Fn::GetAtt": [name, "Arn"]}:
            return _arn(name, template()["Resources"][name]["Properties"])
        case {"Fn::Join": [joint, parts]}:
            return joint.join(plain(part) for part in parts)
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case list():
            return [plain(each) for each in value]
    return value


def _arn(name: str, told: dict[str, Any]) -> str:
    """The ARN here of a queue, a table or the role for jobs."""
    if "QueueName" in told:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{told['QueueName']}"
    if "TableName" in told:
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{told['TableName']}"
    if name.startswith("StorageSealing"):
        return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*"
    if name.startswith("StorageParts"):
        return f"arn:aws:s3:::{PARTS}"
    assert name.startswith("JobAccess"), name
    return _JOB_ROLE


def make_job_role(iam: Any, name: str, **options: Any) -> str:
    """The role as the template has it with these options; its ARN."""
    found = template(**options)["Resources"]
    (role,) = [each for key, each in found.items() if each["Type"] == "AWS::IAM::Role" and key.startswith("JobAccess")]
    (policy,) = [each for key, each in found.items() if each["Type"] == "AWS::IAM::Policy" and "JobAccess" in key]
    trust, may = role["Properties"]["AssumeRolePolicyDocument"], policy["Properties"]["PolicyDocument"]
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(plain(trust)))
    iam.put_role_policy(RoleName=name, PolicyName="most", PolicyDocument=json.dumps(plain(may)))
    return str(made["Role"]["Arn"])


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforced]:
    """The embedded AWS alone, enforcing, with a bucket of media, the queues, the table and the roles."""
    (port,) = free_ports(1)
    url = f"http://localhost:{port}"
    folder = tmp_path_factory.mktemp("enforced")
    environment = os.environ | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "STATE_DIR": str(folder),
    }
    command = [str(TOOLS / "aws" / "bin" / "python"), str(ROOT / "local" / "ministack_patched.py")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: process.poll() is not None or answers(url), "the embedded AWS's start")
        yield made(url)
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_ministack/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def made(url: str) -> Enforced:
    """What a deployment makes, as far as workers have to do with it."""
    names: tuple[Any, ...] = ("s3", "sqs", "iam", "sts", "dynamodb")
    s3, sqs, iam, sts, dynamodb = (boto3.client(name, endpoint_url=url) for name in names)
    for bucket in (MEDIA, ELSEWHERE):
        s3.create_bucket(Bucket=bucket)
    roles = {
        "users": make_job_role(iam, "job-users", userPrefixes=json.dumps(PREFIXES)),
        "all": make_job_role(iam, "job-all"),
    }
    anyone = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [anyone]})
    arn = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    (own,) = [
        json.dumps(plain(each["Properties"]["PolicyDocument"]))
        for each in template()["Resources"].values()
        if each["Type"] == "AWS::IAM::ManagedPolicy"
    ]
    for name, role in roles.items():
        iam.put_role_policy(RoleName="worker", PolicyName=name, PolicyDocument=own.replace(_JOB_ROLE, role))
    taken = sts.assume_role(RoleArn=arn, RoleSessionName="pod")["Credentials"]
    worker = {
        "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
        "AWS_SESSION_TOKEN": taken["SessionToken"],
    }
    redrive = sqs.get_queue_attributes(
        QueueUrl=sqs.create_queue(QueueName="dead")["QueueUrl"], AttributeNames=["QueueArn"]
    )
    policy = {"deadLetterTargetArn": redrive["Attributes"]["QueueArn"], "maxReceiveCount": 2}
    sqs.create_queue(QueueName="ffmpeg_job", Attributes={"RedrivePolicy": json.dumps(policy)})
    sqs.create_queue(QueueName="control_plane")
    dynamodb.create_table(
        TableName="elasticrecode_logs",
        KeySchema=[
            {"AttributeName": JOBS_KEYS[0], "KeyType": "HASH"},
            {"AttributeName": JOBS_KEYS[1], "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in JOBS_KEYS],
        BillingMode="PAY_PER_REQUEST",
    )
    return Enforced(url, s3, sqs, worker, roles)


def job(user: str, source: str, *, output: str = "", profile: Profile = PROFILE, id_: str = "j-1") -> Job:
    """A job of a user; keys are of the media bucket."""
    place = f"s3://{MEDIA}/{output or f'users/{user}/out/'}"
    return Job(userid=user, jobid=id_, input=f"s3://{MEDIA}/{source}", output=place, priority=0, profile=profile)


Of = Callable[..., Any]


@pytest.fixture
def of(aws: Enforced, monkeypatch: pytest.MonkeyPatch) -> Of:
    """Makes the client that a worker has for a job."""
    for name, value in (aws.worker | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return lambda asked, role="users": JobRole(aws.roles[role], CLIENT_CONFIG).s3(asked)


def denied(call: Callable[..., Any], key: str, bucket: str = MEDIA, **more: Any) -> bool:
    """Whether S3 denies a call; it fails where S3 says anything else."""
    try:
        call(Bucket=bucket, Key=key, **more)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "403"):
            raise
        return True
    return False


def test_a_worker_itself_reads_and_writes_no_file(aws: Enforced) -> None:
    aws.s3.put_object(Bucket=MEDIA, Key="users/ann/in.mp4", Body=b"film")
    own = aws.own_s3()
    assert denied(own.get_object, "users/ann/in.mp4")
    assert denied(own.put_object, "users/ann/out/in.mp4", Body=b"")
    assert denied(own.delete_object, "users/ann/in.mp4")


@pytest.mark.parametrize("role", ["users", "all"])
def test_a_job_reads_its_input_writes_its_outputs_and_does_nothing_else(aws: Enforced, of: Of, role: str) -> None:
    for key in ("users/ann/in.mp4", "users/ann/other.mp4", "users/ann/out/other.mp4", "users/bob/in.mp4"):
        aws.s3.put_object(Bucket=MEDIA, Key=key, Body=b"film")
    s3 = of(job("ann", "users/ann/in.mp4", profile=SCORED), role)
    assert s3.get_object(Bucket=MEDIA, Key="users/ann/in.mp4")["Body"].read() == b"film"
    for made in ("in.mp4", "in.mp4.vmaf.json", "in.mp4.vmaf.html"):
        s3.put_object(Bucket=MEDIA, Key=f"users/ann/out/{made}", Body=b"less")
        assert s3.head_object(Bucket=MEDIA, Key=f"users/ann/out/{made}")["ContentLength"] == len(b"less")
        assert denied(s3.delete_object, f"users/ann/out/{made}")
    begun = s3.create_multipart_upload(Bucket=MEDIA, Key="users/ann/out/in.mp4")["UploadId"]
    assert "Parts" not in s3.list_parts(Bucket=MEDIA, Key="users/ann/out/in.mp4", UploadId=begun)
    s3.abort_multipart_upload(Bucket=MEDIA, Key="users/ann/out/in.mp4", UploadId=begun)
    assert denied(s3.get_object, "users/bob/in.mp4")
    assert denied(s3.head_object, "users/bob/in.mp4")
    assert denied(s3.get_object, "users/ann/other.mp4")
    assert denied(s3.delete_object, "users/ann/in.mp4")
    assert denied(s3.delete_object, "users/ann/out/other.mp4")
    assert denied(s3.put_object, "users/ann/in.mp4", Body=b"")
    assert denied(s3.put_object, "users/ann/out/other.mp4", Body=b"")
    assert denied(s3.put_object, "users/bob/out/in.mp4", Body=b"")
    assert denied(s3.get_object, "users/ann/out/other.mp4")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket=MEDIA, Prefix="users/ann/")


def test_the_role_keeps_users_apart_though_a_worker_asks_for_anothers_files(aws: Enforced, of: Of) -> None:
    aws.s3.put_object(Bucket=MEDIA, Key="users/bob/in.mp4", Body=b"film")
    for user in ("ann", "*", "?ob", "b", "bob/", "${aws:PrincipalTag/userID}", "bo|b"):
        s3 = of(job(user, "users/bob/in.mp4", output="users/bob/out/"))
        assert denied(s3.get_object, "users/bob/in.mp4"), user
        assert denied(s3.put_object, "users/bob/out/in.mp4", Body=b""), user
    assert not denied(of(job("bob", "users/bob/in.mp4")).get_object, "users/bob/in.mp4")


def test_what_is_shared_is_read_by_all_and_written_by_none(aws: Enforced, of: Of) -> None:
    aws.s3.put_object(Bucket=ELSEWHERE, Key="shared/in.mp4", Body=b"film")
    asked = msgspec.structs.replace(
        job("ann", "x"), input=f"s3://{ELSEWHERE}/shared/in.mp4", output=f"s3://{ELSEWHERE}/shared/out/"
    )
    s3 = of(asked)
    assert not denied(s3.get_object, "shared/in.mp4", ELSEWHERE)
    assert denied(s3.put_object, "shared/out/in.mp4", ELSEWHERE, Body=b"")
    assert denied(of(asked, "all").get_object, "shared/in.mp4", ELSEWHERE)


def test_a_name_is_no_pattern(aws: Enforced, of: Of) -> None:
    for key in (ODD, "users/ann/axb?.mp4", "users/ann/ab? ${aws:userid} 'q' é\n%d.mp4"):
        aws.s3.put_object(Bucket=MEDIA, Key=key, Body=b"film")
    s3 = of(job("ann", ODD))
    assert not denied(s3.get_object, ODD)
    assert not denied(s3.put_object, "users/ann/out/" + ODD.rpartition("/")[2], Body=b"less")
    assert denied(s3.get_object, "users/ann/ab? ${aws:userid} 'q' é\n%d.mp4")
    assert denied(of(job("ann", "users/ann/*")).get_object, "users/ann/axb?.mp4")


def test_a_folder_without_a_name_is_a_folder(aws: Enforced, of: Of) -> None:
    for key in ("users/ann//in.mp4", "users/ann/in.mp4"):
        aws.s3.put_object(Bucket=MEDIA, Key=key, Body=b"film")
    s3 = of(job("ann", "users/ann//in.mp4", output="users/ann//out/"))
    assert not denied(s3.get_object, "users/ann//in.mp4")
    assert not denied(s3.put_object, "users/ann//out/in.mp4", Body=b"less")
    assert denied(s3.get_object, "users/ann/in.mp4")
    assert denied(s3.put_object, "users/ann/out/in.mp4", Body=b"less")


def test_keys_of_any_length_fit_and_stay_within_their_user(aws: Enforced, of: Of) -> None:
    long = "users/ann/" + "電" * 330 + ".mp4"
    theirs = long.replace("/ann/", "/bob/")
    for key in (long, theirs):
        aws.s3.put_object(Bucket=MEDIA, Key=key, Body=b"film")
    asked = job("ann", long, profile=SCORED)
    s3 = of(asked)
    assert not denied(s3.get_object, long)
    assert denied(s3.get_object, theirs)
    short = job("ann", f"users/ann/{'x' * 700}.mp4", output="users/ann/", profile=SCORED)
    assert not denied(of(short).put_object, f"users/ann/{'x' * 700}.mp4.vmaf.json", Body=b"")


# Real workers


@pytest.fixture
def worker(aws: Enforced, tmp_path: Path) -> Iterator[Path]:
    """A worker with its own credentials; its log."""
    environment = {
        **aws.worker,
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": f"{FFMPEG.parent}:{os.defpath}",
        "PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}",
        "TMPDIR": str(tmp_path),
        "WORKER_TYPE": "ffmpeg",
        "QUEUE_NAME": "ffmpeg_job",
        "CONTROL_PLANE": "control_plane",
        "JOBS_TABLE": "elasticrecode_logs",
        "JOB_ROLE": aws.roles["users"],
        "FFPROBE": str(FFPROBE),
        "LEASE_SECONDS": "6",
    }
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker"], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait()


def accept(aws: Enforced, asked: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store a job's record, as the control plane does."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    JobsTable("elasticrecode_logs").accept(
        [Accepted(asked, Choice("ffmpeg_job", "test"), time.time_ns() // 10**6)], 900
    )


def send(aws: Enforced, message: Job) -> None:
    aws.sqs.send_message(
        QueueUrl=aws.sqs.get_queue_url(QueueName="ffmpeg_job")["QueueUrl"],
        MessageBody=msgspec.json.encode(message).decode(),
    )


def taken(aws: Enforced, queue: str) -> list[dict[str, Any]]:
    """What lies on a queue, as JSON, taken from it."""
    url = aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())
    for message in found:
        aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in found]


def keys(aws: Enforced, prefix: str) -> list[str]:
    return [found["Key"] for found in aws.s3.list_objects_v2(Bucket=MEDIA, Prefix=prefix).get("Contents", ())]


def ended(aws: Enforced, worker: Path, job_id: str) -> dict[str, Any]:
    """The event with which a job ends."""
    events: list[dict[str, Any]] = []

    def end() -> dict[str, Any] | None:
        events.extend(taken(aws, "control_plane"))
        over = ("JobFinished", "JobFailed", "JobReturned")
        return next((each for each in events if each["action"] in over and each["job"]["jobid"] == job_id), None)

    try:
        found: dict[str, Any] = wait_for(end, f"the end of {job_id}")
    except pytest.fail.Exception:
        pytest.fail(worker.read_text())
    return found


def test_a_worker_follows_the_record_and_not_a_forged_message(
    aws: Enforced, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ann", "bob"):
        aws.s3.upload_file(str(BUNNY), MEDIA, f"users/{user}/bunny.mp4")
    real = job("ann", "users/ann/bunny.mp4", output="users/ann/real/", id_="real-1")
    accept(aws, real, monkeypatch)
    send(aws, job("bob", "users/bob/bunny.mp4", output="users/ann/stolen/", id_="real-1"))
    event = ended(aws, worker, "real-1")
    assert event["action"] == "JobFinished"
    assert event["job"] == msgspec.to_builtins(real)
    assert keys(aws, "users/ann/real/") == [
        "users/ann/real/bunny.mp4",
        "users/ann/real/bunny.mp4.certificate.html",
        "users/ann/real/bunny.mp4.certificate.json",
    ]
    assert keys(aws, "users/ann/stolen/") == []
    assert aws.roles["users"] in worker.read_text()


def test_a_message_that_no_record_knows_is_done_by_nobody(aws: Enforced, worker: Path) -> None:
    aws.s3.upload_file(str(BUNNY), MEDIA, "users/bob/bunny.mp4")
    send(aws, job("bob", "users/bob/bunny.mp4", output="users/bob/unknown/", id_="unknown-1"))
    (left,) = wait_for(lambda: taken(aws, "dead"), "the dead letter")
    assert left["jobid"] == "unknown-1"
    assert keys(aws, "users/bob/unknown/") == []
    assert re.search("unknown-1 has no record", worker.read_text())


def test_a_job_that_was_accepted_for_anothers_file_is_denied_by_the_role(
    aws: Enforced, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.s3.upload_file(str(BUNNY), MEDIA, "users/bob/bunny.mp4")
    wrong = job("ann", "users/bob/bunny.mp4", id_="wrong-1")
    accept(aws, wrong, monkeypatch)
    send(aws, wrong)
    event = ended(aws, worker, "wrong-1")
    assert (event["action"], event["error"]["code"]) == ("JobFailed", "input-access-denied")
    assert "arn:" not in json.dumps(event["error"])
