"""AWS refuses, throttles and succeeds in part: nothing is claimed that did not happen. And how often it is called."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from elasticrecode.aws import clients
from elasticrecode.aws.dynamodb import Table, key_of
from elasticrecode.aws.sqs import Message, Sender
from elasticrecode.contract import routes
from elasticrecode.contract.tables import CONNECTIONS_KEYS
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.lifecycle import Step
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.requests import read_jobs
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.waiting import WaitingJobs
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.workers import loads, registry
from tests.aws.test_path import actions, event, status, submitted
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call

Answer = Callable[[str, dict[str, Any]], Any]


@contextmanager
def every_call(watch: Answer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show each AWS call, before it is made, to `watch`; what that returns or raises is the answer instead."""
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        is_test = client.meta.service_model.service_name == "dynamodbstreams"
        answer = None if is_test else watch(operation, arguments)
        return real(client, operation, arguments) if answer is None else answer

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", make)
        yield


def throttled(operation: str) -> Exception:
    error = {
        "Error": {"Code": "ThrottlingException", "Message": "slow down"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    return ClientError(error, operation)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between rounds take no time."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_throttled_single_submit_is_503_and_nothing_is_there(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(operation: str, _: dict[str, Any]) -> Any:
        if operation == "PutItem":
            raise throttled(operation)

    with every_call(watch, monkeypatch):
        answer = call(stack.submit, routes.SUBMIT, contract("job"))
    assert answer.status == 503
    assert "Retry-After" in answer.headers
    assert stack.items() == []


def test_a_batch_whose_answer_got_lost_is_not_said_to_have_failed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(40)]}
    stored = Table._write_batch

    def store(table: Table, items: Any, *options: Any) -> Any:
        stored(table, items, *options)
        return items

    monkeypatch.setattr(Table, "_write_batch", store)
    answer = call(stack.submit, routes.SUBMIT, body)
    assert {entry["status"]["status"] for entry in answer.body} == {"success"}


def test_a_submit_whose_answer_got_lost_leaves_alone_what_came_of_it(stack: Stack) -> None:
    (job,) = read_jobs(json.dumps(contract("job")).encode())
    accepted = Accepted(job, Choice("ffmpeg_job", ""), time.time_ns() // 1_000_000)
    table = JobsTable("jobs")
    assert table.accept([accepted], 86_400) == set()
    assert Claims("jobs", lease_seconds=60).claim(job.jobid, "w") == Claim(1)
    assert table.accept([accepted], 86_400) == set()  # what the client does when it has not heard of the first
    assert (status(stack, job.jobid)["state"], status(stack, job.jobid)["attempt"]) == ("running", 1)


def test_a_batch_that_is_stored_in_part_says_which_part(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "BatchWriteItem":
            requests = arguments["RequestItems"]["jobs"]
            left = [request for request in requests if "example1" in str(request)]
            for request in requests:
                if request not in left:
                    stack.dynamodb.put_item(TableName="jobs", Item=request["PutRequest"]["Item"])
            return {"UnprocessedItems": {"jobs": left}}
        return None

    with every_call(watch, monkeypatch):
        answer = call(stack.submit, routes.SUBMIT, contract("job_batch"))
    stored = {item["jobID"]["S"] for item in stack.items()}
    assert answer.status == 200
    assert [entry["status"]["status"] for entry in answer.body] == ["success", "failed", "success"]
    for entry in answer.body:
        assert (entry["status"]["status"] == "success") is (entry["jobid"] in stored), entry


def test_a_batch_of_which_nothing_is_stored_is_503(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        return {"UnprocessedItems": arguments["RequestItems"]} if operation == "BatchWriteItem" else None

    with every_call(watch, monkeypatch):
        assert call(stack.submit, routes.SUBMIT, contract("job_batch")).status == 503
    assert stack.items() == []


def test_items_left_over_are_stored_in_the_next_round(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "BatchWriteItem":
            rounds.append(len(arguments["RequestItems"]["jobs"]))
            if len(rounds) == 1:
                return {"UnprocessedItems": arguments["RequestItems"]}
        return None

    with every_call(watch, monkeypatch):
        answer = call(stack.submit, routes.SUBMIT, contract("job_batch"))
    assert {entry["status"]["status"] for entry in answer.body} == {"success"}
    assert rounds == [3, 3]


def test_a_job_its_queue_does_not_take_waits_and_is_sent_by_reconcile(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch":
            return {"Failed": [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False}
                               for entry in arguments["Entries"]]}  # fmt: skip
        return None

    with every_call(watch, monkeypatch):
        stack.flow()
    stack.flow()
    assert status(stack, job_id)["state"] == "accepted"
    assert stack.messages("ffmpeg_job") == []
    assert stack.reconcile({}, None)["JobsResent"] == 0  # not due yet
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert stack.reconcile({}, None)["JobsResent"] == 1
    assert status(stack, job_id)["state"] == "queued"
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 1


def test_what_sqs_takes_in_no_message_is_sent_as_json_says_it(stack: Stack) -> None:
    said = {"key": "a\ufffe\uffff😀\n"}
    body = json.dumps(said, ensure_ascii=False)
    assert Sender().send([Message("k", stack.queue["ffmpeg_job"], body)]) == {}
    (message,) = stack.sqs.receive_message(QueueUrl=stack.queue["ffmpeg_job"])["Messages"]
    assert json.loads(message["Body"]) == said
    assert "\uffff" not in message["Body"]


def test_of_a_queue_that_refuses_users_hear_the_code_and_the_log_all(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized"

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": words}}, operation)
        return None

    with every_call(watch, monkeypatch):
        assert Sender().send([Message("k", stack.queue["ffmpeg_job"], "{}")]) == {"k": "AccessDenied"}
    assert words in caplog.text


def test_entries_that_fail_once_are_sent_in_the_next_round_and_only_they(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(stack.submit, routes.SUBMIT, contract("job_batch"))
    failing = iter([True])

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch" and next(failing, False):
            spared = arguments["Entries"][1:]
            stack.sqs.send_message_batch(QueueUrl=arguments["QueueUrl"], Entries=spared)
            return {"Failed": [{"Id": arguments["Entries"][0]["Id"], "Code": "Throttled", "SenderFault": False}]}
        return None

    with every_call(watch, monkeypatch):
        stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 3


def test_an_event_that_could_not_be_stored_is_asked_for_again(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submitted(stack)

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        return {"UnprocessedItems": arguments["RequestItems"]} if operation == "BatchWriteItem" else None

    with every_call(watch, monkeypatch):
        assert stack.say(event(job_id, "JobNote")) == ["m0"]
    assert actions(stack, job_id) == ["JobSummit"]
    assert stack.say(event(job_id, "JobNote")) == []
    assert sorted(actions(stack, job_id)) == ["JobNote", "JobSummit"]


def test_an_event_whose_move_was_refused_is_asked_for_again_and_then_moves(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)

    def watch(operation: str, _: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems":
            raise throttled(operation)

    with every_call(watch, monkeypatch):
        assert stack.say(event(job_id, "JobStart")) == ["m0"]
    assert (status(stack, job_id)["state"], actions(stack, job_id)) == ("queued", ["JobSummit"])
    assert stack.say(event(job_id, "JobStart")) == []
    assert (status(stack, job_id)["state"], status(stack, job_id)["attempt"]) == ("running", 1)
    assert sorted(actions(stack, job_id)) == ["JobStart", "JobSummit"]


def test_a_key_is_given_free_when_nothing_came_of_its_request(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "PutItem" and "kind" in arguments["Item"]:
            raise throttled(operation)

    key = {"Idempotency-Key": "k"}
    with every_call(watch, monkeypatch):
        assert call(stack.submit, routes.SUBMIT, contract("job"), headers=key).status == 503
    assert call(stack.submit, routes.SUBMIT, contract("job"), headers=key).status == 200


def test_a_request_that_died_half_way_is_finished_by_the_next_with_its_key(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "k"}

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "UpdateItem":
            raise SystemExit  # the invocation dies before it can tell what came of it

    with every_call(watch, monkeypatch), pytest.raises(SystemExit):
        call(stack.submit, routes.SUBMIT, contract("job_batch"), headers=key)
    busy = call(stack.submit, routes.SUBMIT, contract("job_batch"), headers=key)
    assert busy.status == 409
    assert "Retry-After" in busy.headers
    made = {item["jobID"]["S"] for item in stack.items() if item["item"]["S"] == "job"}
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    answer = call(stack.submit, routes.SUBMIT, contract("job_batch"), headers=key)
    assert {entry["jobid"] for entry in answer.body} == made


def test_calls_for_each_accepted_job(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    monkeypatch.setattr(registry, "REFRESH_SECONDS", 3600)

    def watch(operation: str, _: dict[str, Any]) -> Any:
        if operation != "Scan":  # the test's own look at the table
            counted[operation] += 1

    with every_call(watch, monkeypatch):
        submitted(stack)
        stack.flow()
    # What is known of the queues is read by both functions, and the queues are looked at, once in a few seconds.
    assert counted == {"PutItem": 2, "SendMessageBatch": 2, "Query": 2, "GetQueueAttributes": 2}
    monkeypatch.setattr(loads, "MEASURE_SECONDS", 3600)
    counted.clear()
    with every_call(watch, monkeypatch):
        submitted(stack)
        stack.flow()
    assert counted == {"PutItem": 1, "SendMessageBatch": 2}  # its message, and the report that it was accepted
    counted.clear()
    body = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(1000)]}
    with every_call(watch, monkeypatch):
        assert call(stack.submit, routes.SUBMIT, body).status == 200
        stack.flow()
    waiting = stack.sqs.get_queue_attributes(QueueUrl=stack.queue["ffmpeg_job"], AttributeNames=["All"])
    assert waiting["Attributes"]["ApproximateNumberOfMessages"] == "1002"
    assert counted == {"BatchWriteItem": 40, "SendMessageBatch": 101}
    assert sum(counted.values()) / 1000 <= 0.15


def test_postponing_twice_moves_once(stack: Stack) -> None:
    job_id = submitted(stack)
    table = JobsTable("jobs")
    table.postpone([job_id], 1)
    assert not table.move(job_id, Step.POSTPONE, None, 2)
    assert [found.job.jobid for found in WaitingJobs("jobs").unsent(10**15, 10, bool)] == [job_id]


def test_keys_that_aws_never_processes_end_in_unavailable_after_few_rounds(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    rounds: Counter[str] = Counter()

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        rounds[operation] += 1
        if operation == "BatchGetItem":
            return {"Responses": {}, "UnprocessedKeys": arguments["RequestItems"]}
        return {"UnprocessedItems": arguments["RequestItems"]} if operation == "BatchWriteItem" else None

    monkeypatch.setattr(time, "sleep", slept.append)
    connections = ConnectionsTable("connections")
    with every_call(watch, monkeypatch):
        with pytest.raises(Unavailable, match="while reading connections"):
            connections.watching(["userID#ann"])
        item = key_of(CONNECTIONS_KEYS, "present", "userID#ann")
        assert Table("connections").write([item], "storing") == [item]
    assert rounds == {"BatchGetItem": 6, "BatchWriteItem": 6}
    assert len(slept) == 12
    assert all(0.025 * 2**n <= slept[n] <= 0.05 * 2**n for n in range(6))


def test_throttles_are_told_from_other_errors() -> None:
    with pytest.raises(Unavailable, match="while testing"), clients.refusals("testing"):
        raise throttled("PutItem")
