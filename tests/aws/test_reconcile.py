"""What was left lying is found: jobs without a message, vanished workers, dead letters."""

import json
import time
from typing import Any

import pytest

from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.events import Event
from elasticrecode.jobs.store import JobsTable
from elasticrecode.workers import rescue
from tests.aws.test_path import CLOCK, actions, event, pass_time, status, submitted
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call


@pytest.mark.parametrize(
    "attribute",
    [
        {"returns": {"DataType": "String", "StringValue": "many"}},
        {"returns": {"DataType": "String", "StringValue": "9" * 5000}},
        {"trace": {"DataType": "Binary", "BinaryValue": b"\x00"}},
    ],
)
def test_a_letter_with_attributes_of_its_senders_own_holds_nothing_up(stack: Stack, attribute: Any) -> None:
    body = json.dumps(event(submitted(stack), "JobStart"))
    stack.sqs.send_message(QueueUrl=stack.queue["events-dead"], MessageBody=body, MessageAttributes=attribute)
    assert stack.reconcile({}, None)["EventsReturned"] == 1
    (message,) = stack.messages("control_plane")
    assert message["MessageAttributes"]["returns"]["StringValue"] == "1"
    assert stack.messages("events-dead") == []


def test_a_job_whose_message_got_lost_is_sent_again_once_its_queue_is_empty(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = submitted(stack)
    stack.changes()  # the stream's records expire before anybody reads them
    other = submitted(stack)
    stack.flow()
    pass_time(monkeypatch, 61)
    assert stack.reconcile({}, None)["JobsRescued"] == 0  # the queue holds something: perhaps this one
    assert len(stack.messages("ffmpeg_job")) == 1
    assert stack.reconcile({}, None)["JobsRescued"] == 2
    stack.flow()
    assert {json.loads(message["Body"])["jobid"] for message in stack.messages("ffmpeg_job")} == {lost, other}
    assert stack.reconcile({}, None)["JobsRescued"] == 0
    assert {status(stack, job_id)["state"] for job_id in (lost, other)} == {"queued"}


def test_a_job_behind_a_busy_queue_is_sent_again_after_a_day(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = submitted(stack, userid="patient")
    stack.changes()
    pass_time(monkeypatch, 86_400 - 120)
    submitted(stack)
    stack.flow()
    assert stack.reconcile({}, None)["JobsRescued"] == 0
    pass_time(monkeypatch, 86_400 + 61)
    assert stack.reconcile({}, None)["JobsRescued"] == 1
    stack.flow()
    assert [json.loads(message["Body"])["jobid"] for message in stack.messages("ffmpeg_job")][1:] == [lost]


def test_a_worker_that_vanished_with_the_message_has_lost_the_job(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    stack.flow()
    stack.messages("ffmpeg_job")
    assert Claims("jobs", lease_seconds=90).claim(job_id, "w") == Claim(1)
    pass_time(monkeypatch, 61)
    assert stack.reconcile({}, None)["JobsRescued"] == 0  # its worker is alive
    pass_time(monkeypatch, 91)
    assert stack.reconcile({}, None)["JobsRescued"] == 1
    stack.say(*(message["Body"] for message in stack.messages("control_plane")))
    assert (status(stack, job_id)["state"], actions(stack, job_id)[-1]) == ("queued", "JobLost")
    pass_time(monkeypatch, 152)
    stack.reconcile({}, None)
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 1


def test_jobs_that_live_workers_have_do_not_hide_a_lost_one(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "_JOBS_A_RUN", 2)
    for lease_seconds in (10_000,) * 20 + (90,):
        assert Claims("jobs", lease_seconds).claim(submitted(stack), "w") == Claim(1)
    pass_time(monkeypatch, 91)
    assert stack.reconcile({}, None)["JobsRescued"] == 1
    assert len(stack.messages("control_plane")) == 1


def test_a_first_generation_worker_silent_for_a_day_has_failed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submitted(stack)
    stack.say(event(job_id, "JobStart", ts=time.time()))
    pass_time(monkeypatch, 86_400 - 60)
    assert stack.reconcile({}, None)["JobsRescued"] == 0
    pass_time(monkeypatch, 86_402)
    assert stack.reconcile({}, None)["JobsRescued"] == 1
    record = status(stack, job_id)
    assert (record["state"], record["error"]["code"]) == ("failed", "worker-silent")


def test_a_dead_letter_of_a_job_that_is_worked_on_is_one_too_many(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.flow()
    (message,) = stack.messages("ffmpeg_job")
    assert Claims("jobs", lease_seconds=60).claim(job_id, "w") == Claim(1)
    stack.sqs.send_message(QueueUrl=stack.queue["dead"], MessageBody=message["Body"])
    assert stack.reconcile({}, None)["JobsBuried"] == 0
    assert status(stack, job_id)["state"] == "running"


def test_dead_letters_become_failed_jobs_and_events_come_back(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.flow()
    (message,) = stack.messages("ffmpeg_job")
    stack.sqs.send_message(QueueUrl=stack.queue["dead"], MessageBody=message["Body"])
    stack.sqs.send_message(QueueUrl=stack.queue["dead"], MessageBody="no job")
    stack.sqs.send_message(QueueUrl=stack.queue["events-dead"], MessageBody=json.dumps(event(job_id, "JobStart")))
    stack.sqs.send_message(QueueUrl=stack.queue["events-dead"], MessageBody="garbage")
    done = stack.reconcile({}, None)
    assert done == {"JobsRescued": 0, "JobsMoved": 0, "JobsResent": 0, "JobsBuried": 1, "EventsReturned": 1}
    assert status(stack, job_id)["error"]["code"] == "dead-letter"
    assert len(stack.messages("control_plane")) == 1
    assert stack.messages("dead") == stack.messages("events-dead") == []


def test_a_letter_that_cannot_be_settled_keeps_no_other_and_is_kept(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = submitted(stack), submitted(stack)
    stack.flow()
    for message in stack.messages("ffmpeg_job"):
        stack.sqs.send_message(QueueUrl=stack.queue["dead"], MessageBody=message["Body"])
    real = JobsTable.move_and_log

    def refuse(table: JobsTable, action: str, told: Event, retention_seconds: int) -> bool:
        if told.jobID == first:
            raise RuntimeError("no")
        return real(table, action, told, retention_seconds)

    monkeypatch.setattr(JobsTable, "move_and_log", refuse)
    with pytest.raises(RuntimeError, match="1 steps or jobs failed"):
        stack.reconcile({}, None)
    assert (status(stack, first)["state"], status(stack, second)["state"]) == ("queued", "failed")
    held = stack.sqs.get_queue_attributes(QueueUrl=stack.queue["dead"], AttributeNames=["All"])["Attributes"]
    assert held["ApproximateNumberOfMessagesNotVisible"] == "1"


@pytest.mark.parametrize("changes", [{"jobid": ""}, {"userid": ""}, {"jobid": "x" * 200}])
def test_a_dead_letter_without_a_usable_identity_is_logged_and_removed(stack: Stack, changes: dict[str, str]) -> None:
    stack.sqs.send_message(QueueUrl=stack.queue["dead"], MessageBody=json.dumps(contract("queue_message") | changes))
    assert stack.reconcile({}, None)["JobsBuried"] == 0
    assert stack.messages("dead") == []


def test_a_job_that_was_cancelled_without_a_message_and_retried_is_watched_like_any_other(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    JobsTable("jobs").postpone([job_id], int(CLOCK() * 1000))
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id}).status == 202
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202
    stack.changes()  # what should be sent gets lost
    pass_time(monkeypatch, 120)
    assert stack.reconcile({}, None)["JobsRescued"] == 1
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 1
