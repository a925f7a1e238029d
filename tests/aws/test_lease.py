"""A worker keeps its job by its claim alone: by AWS's clock, and longer than SQS hides a message."""

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from elasticrecode import clock
from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims, Refusal
from tests.aws.test_publication import record, submitted
from tests.fakes.stack import Stack
from tests.support import call
from worker.errors import ClaimLost
from worker.lease import Lease
from worker.sandbox.runner import Runner

LEASE_SECONDS = 60


@pytest.fixture(autouse=True)
def no_correction() -> Iterator[None]:
    """The clock is uncorrected before and after each test."""
    clock._correction.seconds = 0.0
    yield
    clock._correction.seconds = 0.0


def held(stack: Stack, code: str = "") -> tuple[str, Lease, Runner]:
    """A job that a worker holds. SQS refuses to extend the visibility of its message with `code`, if given."""
    job_id = submitted(stack)
    stack.flow()
    (message,) = stack.sqs.receive_message(QueueUrl=stack.queue["ffmpeg_job"], VisibilityTimeout=600)["Messages"]
    claims, runner, sqs = Claims("jobs", LEASE_SECONDS), Runner(), boto3.client("sqs")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": code}}, "ChangeMessageVisibility")

    if code:
        sqs.meta.events.register("before-call.sqs.ChangeMessageVisibility", refuse)
    lease = Lease(sqs, stack.queue["ffmpeg_job"], message["ReceiptHandle"], LEASE_SECONDS, runner)
    assert claims.claim(job_id, "w") == Claim(1)
    lease.attach_claim(claims, job_id, 1)
    return job_id, lease, runner


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let AWS's clock go on."""
    monkeypatch.setattr(clock._correction, "seconds", seconds)


@pytest.mark.parametrize("code", ["InvalidParameterValue", "ReceiptHandleIsInvalid", "MessageNotInflight"])
def test_a_job_goes_on_when_sqs_hides_its_message_no_longer(stack: Stack, code: str) -> None:
    job_id, lease, runner = held(stack, code)
    for _ in range(3):
        lease.renew()
    runner.check()
    assert record(stack, job_id)["state"] == "running"
    lease.return_after(1)  # it has no message to return


def test_a_job_without_a_message_is_sent_again_when_its_worker_vanishes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, lease, _ = held(stack, "InvalidParameterValue")
    lease.renew()
    stack.reconcile({}, None)
    assert record(stack, job_id)["state"] == "running"
    assert stack.messages("control_plane") == []
    pass_time(monkeypatch, LEASE_SECONDS + 1)
    stack.reconcile({}, None)
    (lost,) = stack.messages("control_plane")
    assert '"JobLost"' in lost["Body"]
    stack.say(_event(lost))
    stack.sqs.purge_queue(QueueUrl=stack.queue["ffmpeg_job"])
    pass_time(monkeypatch, LEASE_SECONDS + 120)
    stack.reconcile({}, None)
    stack.flow()
    assert [job_id in message["Body"] for message in stack.messages("ffmpeg_job")] == [True]


def _event(message: Any) -> Any:

    return json.loads(message["Body"])


def test_a_claim_outlasts_an_outage_of_sqs(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, lease, runner = held(stack, "ServiceUnavailable")
    monkeypatch.setattr(lease, "_renewed", 0.0)
    lease.renew()
    lease.check()
    runner.check()
    assert record(stack, job_id)["state"] == "running"


def test_a_job_without_a_claim_is_lost_when_its_message_becomes_visible(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lease, _ = held(stack, "ServiceUnavailable")
    monkeypatch.setattr(lease, "_claim", None)
    monkeypatch.setattr(lease, "_renewed", 0.0)
    with pytest.raises(ClaimLost, match="could not be reached"):
        lease.renew()


@pytest.mark.parametrize("behind", [-600, -60, 60, 600])
def test_a_worker_with_a_wrong_clock_keeps_its_job_from_one_that_gets_the_message_a_second_time(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, behind: float
) -> None:
    """Its local clock is off, and AWS's answers have corrected that."""
    local = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: local() - int(behind * 10**9))
    monkeypatch.setattr(clock._correction, "seconds", behind)
    job_id, lease, _ = held(stack)
    began = local() / 10**9
    lease.renew()
    monkeypatch.undo()
    refusal = Claims("jobs", LEASE_SECONDS).claim(job_id, "w2")
    assert isinstance(refusal, Refusal)
    assert not refusal.lost
    assert refusal.lease is not None
    assert began + LEASE_SECONDS - 5 < refusal.lease / 1000 <= clock.now_ms() / 1000 + LEASE_SECONDS
    assert call(stack.jobs, routes.JOB_STATUS, parameters={"jobID": job_id}).body["state"] == "running"


def test_a_message_that_was_deleted_already_is_no_error(stack: Stack) -> None:
    _, lease, _ = held(stack)
    lease.delete_message()
    lease.delete_message()
