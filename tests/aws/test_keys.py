"""The keys of packages: from a request or a secret to the worker, and nowhere else."""

import base64
import json
import logging
from typing import Any

import boto3
import msgspec
import pytest

from elasticrecode.access.callers import Caller
from elasticrecode.errors import Invalid
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.keys import Sealer
from elasticrecode.media.profiles import Encryption, Package, Profile
from tests.aws.test_batches import work
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call
from worker.errors import PermanentError
from worker.job_role import session_policy
from worker.keys import content_key, key_id
from worker.settings import Settings

KEY = "00112233445566778899aabbccddeeff"
SETTINGS = Settings(
    kind="ffmpeg",
    core="CPU",
    queue="ffmpeg_job",
    control_queue="control_plane",
    jobs_table="jobs",
    lease_seconds=30,
    node="n",
    pod="p",
    ffmpeg="ffmpeg",
    ffprobe="ffprobe",
)
ANN = Caller("ann")


def profile(**encryption: Any) -> dict[str, Any]:
    return {"package": {"encryption": {"scheme": "cbcs", "keyUri": "https://keys.example/1", **encryption}}}


def job(user: str = "ann", **encryption: Any) -> Job:
    body = contract("queue_message") | {"userid": user, "profile": profile(**encryption)}
    return msgspec.json.decode(json.dumps(body), type=Job)


def sealing(stack: Stack) -> str:
    arn: str = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    stack.submit, stack.batch = stack.build("submit", sealing_key=arn), stack.build("batch", sealing_key=arn)
    return arn


def everything(stack: Stack) -> str:
    """The content of all tables, of their streams and of all queues."""
    held: list[Any] = []
    for table in stack.dynamodb.list_tables()["TableNames"]:
        held += stack.dynamodb.scan(TableName=table)["Items"]
    for table in ("jobs", "feed"):
        held += stack.changes(table)
    for queue in stack.queue:
        held += stack.messages(queue)
    return json.dumps(held, default=str)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k1"}])
def test_a_key_in_a_request_reaches_the_worker_and_is_nowhere_stored(
    stack: Stack, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], headers: dict[str, str]
) -> None:
    sealing(stack)
    request = contract("job") | {"profile": profile(key=KEY)}
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            status, _, answer = call(stack.submit, "POST /v1/jobs", request, headers=headers)
            assert (status, KEY in json.dumps(answer)) == (200, False)
        stack.flow()
        (message, *_) = stack.messages("ffmpeg_job")
        sent = msgspec.json.decode(message["Body"], type=Job)
        assert content_key(sent, SETTINGS) == bytes.fromhex(KEY)
        held = everything(stack)
    assert sent.jobid in held
    written = held + message["Body"] + caplog.text + "".join(capfd.readouterr())
    assert not any(text in written for text in (KEY, base64.b64encode(bytes.fromhex(KEY)).decode()))


def test_the_template_of_a_batch_holds_the_key_sealed(stack: Stack) -> None:
    sealing(stack)
    request = {"userid": "ann", "inputs": ["s3://films/a.mp4"], "output": "s3://media/x/", "profile": profile(key=KEY)}
    status, _, _ = call(stack.batch, "POST /v1/batches", request)
    assert status == 202
    assert KEY not in everything_but_queues(stack)
    work(stack)
    stack.flow()
    (message,) = stack.messages("ffmpeg_job")
    assert KEY not in message["Body"]
    assert content_key(msgspec.json.decode(message["Body"], type=Job), SETTINGS) == bytes.fromhex(KEY)


def everything_but_queues(stack: Stack) -> str:
    tables = stack.dynamodb.list_tables()["TableNames"]
    return json.dumps([stack.dynamodb.scan(TableName=table)["Items"] for table in tables], default=str)


def test_a_sealed_key_opens_for_its_user_alone(stack: Stack) -> None:
    arn = sealing(stack)
    sealed = Sealer(arn).sealed(msgspec.convert(profile(key=KEY), Profile), "ann", ANN)
    assert sealed.package
    assert sealed.package.encryption
    text = sealed.package.encryption.sealedKey
    assert content_key(job(sealedKey=text), SETTINGS) == bytes.fromhex(KEY)
    with pytest.raises(PermanentError) as caught:
        content_key(job("bob", sealedKey=text), SETTINGS)
    assert caught.value.failure.code == "key-invalid"


def test_a_secret_is_read_and_what_is_wrong_with_it_has_a_code(stack: Stack) -> None:
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name="elasticrecode/ann/good", SecretString=f"{KEY}\n")
    secrets.create_secret(Name="elasticrecode/ann/bad", SecretString="password")
    assert content_key(job(secretId="elasticrecode/ann/good"), SETTINGS) == bytes.fromhex(KEY)
    for name, code in (("bad", "key-invalid"), ("none", "key-not-found")):
        with pytest.raises(PermanentError) as caught:
            content_key(job(secretId=f"elasticrecode/ann/{name}"), SETTINGS)
        assert caught.value.failure.code == code
        assert "password" not in str(caught.value)


def test_a_user_names_secrets_of_his_own_and_an_operator_any(stack: Stack) -> None:
    theirs = Profile(
        package=Package(encryption=Encryption("cbcs", "https://k.example", secretId="elasticrecode/bob/x"))
    )
    sealer = Sealer("")
    with pytest.raises(Invalid) as caught:
        sealer.sealed(theirs, "ann", ANN)
    assert [fault.pointer for fault in caught.value.faults] == ["/profile/package/encryption/secretId"]
    assert sealer.sealed(theirs, "bob", Caller("bob")) == theirs
    assert sealer.sealed(theirs, "ann", Caller("ann", operator=True)) == theirs


def test_a_session_opens_the_key_of_its_job_alone() -> None:
    def added(one: Job) -> list[dict[str, Any]]:
        plain, own = (json.loads(session_policy(each, "aws"))["Statement"] for each in (job(), one))
        return [statement for statement in own if statement not in plain]

    (secret,) = added(job(secretId="elasticrecode/ann/x"))
    assert secret["Action"] == ["secretsmanager:GetSecretValue"]
    assert secret["Resource"] == ["arn:aws:secretsmanager:*:*:secret:elasticrecode/ann/x-??????"]
    (sealed,) = added(job("a$*", sealedKey="AAAA"))
    assert sealed["Action"] == ["kms:Decrypt"]
    assert sealed["Condition"] == {"StringEquals": {"kms:EncryptionContext:userid": "a${$}${*}"}}


def test_the_id_of_a_key_is_the_given_one_or_follows_from_its_address() -> None:
    assert key_id(job(keyId=KEY)) == bytes.fromhex(KEY)
    assert len(key_id(job())) == 16
    assert key_id(job()) == key_id(job("bob"))
