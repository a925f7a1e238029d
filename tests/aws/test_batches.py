"""Batches: from inputs to jobs, and from jobs to counts, with functions that are cut off at any point."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from elasticrecode import ids
from elasticrecode.aws.dynamodb import Table
from elasticrecode.batches import inputs as objects
from elasticrecode.batches import progress, survey
from elasticrecode.batches import request as batches
from elasticrecode.batches.counting import STRIP_SIZE, Change, Strip
from elasticrecode.contract import routes
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.lifecycle import STATES
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_path import event, pass_time
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call

USER = contract("job")["userid"]
ORDER = {name: contract("job_batch")[name] for name in ("userid", "profile", "priority")} | {
    "output": "s3://media/out/"
}
Task = dict[str, Any]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 100 inputs, because moto's tables are slow."""
    monkeypatch.setattr(survey, "PAGE_JOBS", 100)


def take(stack: Stack, queue: str) -> list[Task]:
    """The messages of a queue as Lambda hands them over. They stay on the queue, hidden, until they are deleted."""
    result: list[Task] = []
    while True:
        answer = stack.sqs.receive_message(
            QueueUrl=stack.queue[queue], MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"]
        )
        if not answer.get("Messages"):
            return result
        result += [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in answer["Messages"]
        ]


def give(handler: Callable[[dict[str, Any], Any], Any], *messages: Task) -> Any:
    return handler({"Records": list(messages)}, None)


@contextmanager
def killed_at(operation: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kill the invocation when it calls an operation of AWS."""

    def kill(called: str, _: dict[str, Any]) -> Any:
        if called == operation:
            raise KeyboardInterrupt

    with every_call(kill, monkeypatch), pytest.raises(KeyboardInterrupt):
        yield


def work(stack: Stack) -> None:
    """Run all functions until no message waits."""
    handlers = {"surveys": stack.survey, "pages": stack.expand}
    while True:
        tasks = [(queue, message) for queue in handlers for message in take(stack, queue)]
        for queue, message in tasks:
            give(handlers[queue], message)
            stack.sqs.delete_message(QueueUrl=stack.queue[queue], ReceiptHandle=message["receiptHandle"])
        stack.flow()
        tallies = take(stack, "tallies")
        if tallies:
            assert give(stack.tally, *tallies) == {"batchItemFailures": []}
            for message in tallies:
                stack.sqs.delete_message(QueueUrl=stack.queue["tallies"], ReceiptHandle=message["receiptHandle"])
        if not tasks and not tallies:
            return


def taken(stack: Stack, **order: Any) -> str:
    """The id of a batch that was just taken in."""
    answer = call(stack.batch, routes.SUBMIT_BATCH, ORDER | order)
    assert answer.status == 202, answer.body
    batch_id: str = answer.body["batchID"]
    assert answer.body == {"batchID": batch_id, "userID": USER, "state": "expanding", "total": None}
    return batch_id


def shown(stack: Stack, batch_id: str) -> dict[str, Any]:
    result: dict[str, Any] = call(stack.batch, routes.BATCH, parameters={"batchID": batch_id}).body
    return result


def manifest(stack: Stack, text: bytes | str) -> str:
    stack.s3.put_object(Bucket="media", Key="lists/films.txt", Body=text)
    return "s3://media/lists/films.txt"


def uris(count: int) -> list[str]:
    return [f"s3://media/in/{n}.mp4" for n in range(count)]


def records(stack: Stack, batch_id: str) -> list[dict[str, Any]]:
    """The records of a batch's jobs, by position."""
    result = [item for item in stack.items() if item["item"]["S"] == "job" and ids.batch_of(item["jobID"]["S"])]
    return sorted(
        (item for item in result if item["batchID"]["S"] == batch_id), key=lambda item: str(item["jobID"]["S"])
    )


def ended(stack: Stack, batch_id: str) -> list[dict[str, Any]]:
    """The BatchFinished events of a batch."""
    events = [json.loads(item["event"]["S"]) for item in stack.items() if item["jobID"]["S"] == batch_id]
    assert {each["action"] for each in events} <= {"BatchFinished"}
    return events


def finish(stack: Stack, *job_ids: str, action: str = "JobFinished", **more: Any) -> None:
    for job_id in job_ids:
        assert stack.say(event(job_id, "JobStart"), event(job_id, action, **more)) == []


def assert_counts_are_the_records(stack: Stack, batch_id: str) -> None:
    result, record = Counter(item["state"]["S"] for item in records(stack, batch_id)), shown(stack, batch_id)
    assert {state: record[state] for state in STATES} == {state: result[state] for state in STATES}


def test_the_documented_batch_runs_to_its_end(stack: Stack) -> None:
    answer = call(stack.batch, routes.SUBMIT_BATCH, contract("job_batch"))
    assert answer.status == 202
    batch_id = answer.body["batchID"]
    work(stack)
    stored = records(stack, batch_id)
    assert [item["jobID"]["S"] for item in stored] == [f"{batch_id}-000000{n}" for n in range(3)]
    assert [json.loads(item["job"]["S"])["input"] for item in stored] == contract("job_batch")["batchInputs"]
    messages = [json.loads(message["Body"]) for message in stack.messages("ffmpeg_job")]
    assert messages == [json.loads(item["job"]["S"]) for item in stored]
    record = shown(stack, batch_id)
    assert (record["state"], record["total"], record["queued"]) == ("running", 3, 3)
    assert record["profile"] == json.loads(stored[0]["job"]["S"])["profile"]
    finish(stack, *(item["jobID"]["S"] for item in stored))
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["total"], record["finished"], record["queued"]) == ("finished", 3, 3, 0)
    assert record["progress"] == {"percent": 100.0, "jobsPerSecond": None, "etaSeconds": None}
    (end,) = ended(stack, batch_id)
    assert end["batch"] == {"state": "finished", "total": 3} | {
        state: 3 if state == "finished" else 0 for state in STATES
    }
    assert (end["batchID"], end["userID"]) == (batch_id, USER)


def test_a_manifest_may_have_a_bom_crlf_and_blank_lines_and_bad_lines_are_reported(
    stack: Stack,
) -> None:
    lines = [
        "\ufeffs3://media/in/a.mp4",
        "",
        "https://example.com/b.mp4",
        "  s3://media/in/c.mp4  ",
        "s3://media/in/a.mp4",
        "s3://other/a.mp4",
        "s3://media/in/",
        f"s3://media/{'k' * 70_000}",
        "s3://media/out/d.mp4",
        "s3://media/in/e.mp4",
    ]
    text = "\r\n".join(lines).encode() + b"\ns3://media/\xff.mp4"
    batch_id = taken(stack, manifest=manifest(stack, text))
    work(stack)
    record = shown(stack, batch_id)
    assert [json.loads(item["job"]["S"])["input"] for item in records(stack, batch_id)] == [
        f"s3://media/in/{name}.mp4" for name in "acae"
    ]
    faults = {fault["line"]: fault["detail"] for fault in record["faults"]}
    assert sorted(faults) == [3, 6, 7, 8, 9, 11]
    assert (record["total"], record["faultCount"], record["state"]) == (4, 6, "running")
    assert "must be an s3://" in faults[3]
    assert "overwrite that of line 1" in faults[6]
    assert "its output would overwrite it" in faults[9]
    assert "more than 65536 bytes" in faults[8]
    assert "is not UTF-8" in faults[11]
    assert max(map(len, faults.values())) < 400
    assert [warning.split(":")[0] for warning in record["warnings"]] == ["1 input named again", "6 lines left out"]


def test_suffixes_are_matched_in_any_case_and_folders_below_the_prefix_are_kept(stack: Stack) -> None:
    for key in ("in/a.mp4", "in/deep/er/a.MP4", "in/notes.txt", "in/deep/", "in/b.mov", "elsewhere/c.mp4"):
        stack.s3.put_object(Bucket="media", Key=key, Body=b"x")
    batch_id = taken(stack, prefix="s3://media/in/", suffixes=[".mp4", ".mov"])
    work(stack)
    stored = [json.loads(item["job"]["S"]) for item in records(stack, batch_id)]
    assert [(job["input"], job["output"]) for job in stored] == [
        ("s3://media/in/a.mp4", "s3://media/out/"),
        ("s3://media/in/b.mov", "s3://media/out/"),
        ("s3://media/in/deep/er/a.MP4", "s3://media/out/deep/er/"),
    ]


def test_a_prefix_is_listed_over_several_pages_of_s3(stack: Stack) -> None:
    for n in range(1_003):
        stack.s3.put_object(Bucket="media", Key=f"in/{n:05d}.mp4", Body=b"")
    batch_id = taken(stack, prefix="s3://media/in/")
    work(stack)
    assert shown(stack, batch_id)["total"] == 1_003
    assert len({item["job"]["S"].split('"input":')[1] for item in records(stack, batch_id)}) == 1_003


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        ("InvalidObjectState", "manifest-archived"),
        ("KMS.DisabledException", "manifest-encrypted"),
        ("InvalidArgument", "manifest-refused"),
    ],
)
def test_a_manifest_that_s3_refuses_for_good_fails_the_batch_at_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, refused: str, code: str
) -> None:
    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "GetObject":
            error = {"Error": {"Code": refused}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(error, operation)  # type: ignore[arg-type]

    batch_id = taken(stack, manifest=manifest(stack, "\n".join(uris(2))))
    with every_call(refuse, monkeypatch):
        work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["error"]["code"]) == ("failed", code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "manifest-not-found"),
        (b"", "manifest-empty"),
        (b"\r\n\n  \n", "manifest-empty"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "manifest-not-text"),
        ("s3://media/in/a.mp4\n".encode("utf-16"), "manifest-not-text"),
        (b"a\nb\n", "no-usable-input"),
    ],
)
def test_an_unusable_manifest_fails_the_batch_with_a_code(stack: Stack, text: bytes | None, code: str) -> None:
    uri = "s3://media/missing.txt" if text is None else manifest(stack, text)
    batch_id = taken(stack, manifest=uri)
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["total"], record["error"]["code"]) == ("failed", 0, code)
    assert record["endedAt"]
    assert uri in record["error"]["message"] or code in ("manifest-not-text", "no-usable-input")
    (end,) = ended(stack, batch_id)
    assert end["error"]["code"] == code
    assert records(stack, batch_id) == []
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id}).status == 409


def test_a_forbidden_bucket_and_a_missing_one_have_different_codes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation in ("GetObject", "ListObjectsV2") and arguments["Bucket"] == "private":
            error = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(error, operation)  # type: ignore[arg-type]

    codes = {}
    for source in (
        {"manifest": "s3://private/a"},
        {"prefix": "s3://private/a/"},
        {"prefix": "s3://nowhere/a/"},
        {"prefix": "s3://media/none/", "suffixes": [".mp4"]},
    ):
        batch_id = taken(stack, **source)
        with every_call(watch, monkeypatch):
            work(stack)
        error = shown(stack, batch_id)["error"]
        codes[str(source)] = error["code"]
        assert "batchBuckets" in error["message"] or "access" not in error["code"]
    assert list(codes.values()) == [
        "manifest-access-denied",
        "prefix-access-denied",
        "prefix-not-found",
        "prefix-empty",
    ]


def test_a_batch_over_a_limit_fails_with_advice(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MANIFEST_BYTES", 50)
    large = taken(stack, manifest=manifest(stack, "\n".join(uris(10))))
    work(stack)
    monkeypatch.setattr(objects, "MANIFEST_BYTES", 10_000)
    monkeypatch.setattr(survey, "JOBS_LIMIT", 9)
    many = taken(stack, manifest=manifest(stack, "\n".join(uris(10))))
    work(stack)
    for batch_id, code in ((large, "manifest-too-large"), (many, "too-many-inputs")):
        record = shown(stack, batch_id)
        assert (record["state"], record["total"], record["error"]["code"]) == ("failed", 0, code)
        assert "several batches" in record["error"]["message"]
    assert [item for item in stack.items() if item["item"]["S"] == "job"] == []


@pytest.mark.parametrize(
    ("order", "pointer", "detail"),
    [
        ({}, "", "none is given"),
        ({"inputs": uris(1), "manifest": "s3://media/a"}, "", "not inputs and manifest"),
        ({"inputs": []}, "/inputs", "at least 1"),
        ({"inputs": uris(batches.INPUTS_LIMIT + 1)}, "/inputs", "at most 10000"),
        ({"inputs": ["s3://a1b/x.mp4", "s3://c2d/x.mp4"]}, "/inputs/1", "overwrite that of /inputs/0"),
        ({"inputs": ["s3://media/out/x.mp4"]}, "/inputs/0", "would overwrite it"),
        ({"inputs": ["no"], "userid": ""}, "/inputs/0", "s3://"),
        ({"manifest": "s3://media/"}, "/manifest", "one object"),
        ({"prefix": "s3://media/in"}, "/prefix", "an s3://bucket/prefix/ URI that ends in '/', not"),
        ({"prefix": "s3://media/in/", "suffixes": ["a/b"]}, "/suffixes/0", "without '/'"),
        ({"prefix": "s3://media/in/", "suffixes": [""]}, "/suffixes/0", "1 to 64 characters"),
        ({"prefix": "s3://media/", "suffixes": ["mov"]}, "/output", "lies under prefix"),
        ({"prefix": "s3://media/", "suffixes": ["V"]}, "/output", "lies under prefix"),
        ({"inputs": ["s3://media/in/a\0.mp4"]}, "/inputs/0", "s3://"),
        ({"manifest": "s3://media/a", "suffixes": [".mp4"]}, "/suffixes", "is only allowed with prefix"),
        ({"prefix": "s3://media/"}, "/output", "lies under prefix"),
        ({"prefix": "s3://media/", "suffixes": [".webm", ".mp4"]}, "/output", "lies under prefix"),
        ({"inputs": uris(1), "inputz": 1}, "/inputz", "not a known field"),
    ],
)
def test_an_invalid_request_is_answered_with_its_faults_and_stores_nothing(
    stack: Stack, order: dict[str, Any], pointer: str, detail: str
) -> None:
    answer = call(stack.batch, routes.SUBMIT_BATCH, ORDER | order)
    assert answer.status == 422
    faults = {fault["pointer"]: fault["detail"] for fault in answer.body["errors"]}
    assert detail in faults[pointer]
    assert take(stack, "surveys") == []
    assert stack.dynamodb.scan(TableName="batches")["Count"] == 0


def test_outputs_under_the_prefix_are_allowed_where_they_can_not_become_inputs(stack: Stack) -> None:
    taken(stack, prefix="s3://media/", suffixes=[".webm"])


def test_an_input_named_twice_becomes_two_jobs_with_a_warning(stack: Stack) -> None:
    batch_id = taken(stack, inputs=[*uris(2), *uris(1)])
    work(stack)
    record = shown(stack, batch_id)
    assert record["total"] == 3
    assert [warning.split(":")[0] for warning in record["warnings"]] == ["1 input named again"]


def test_a_request_for_too_many_jobs_is_directed_to_batches(stack: Stack) -> None:
    answer = call(stack.submit, routes.SUBMIT, contract("job_batch") | {"batchInputs": uris(1001)})
    assert "POST /v1/batches" in answer.body["errors"][0]["detail"]


def test_every_item_of_a_batch_has_the_ttl_of_its_jobs(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(3))
    work(stack)
    ours = [item for item in stack.dynamodb.scan(TableName="batches")["Items"] if item["batchID"]["S"] == batch_id]
    items = [*ours, *records(stack, batch_id)]
    assert len(items) == 6
    assert all(float(item["expires"]["N"]) > time.time() + 7 * 86_400 - 300 for item in items)


def test_one_idempotency_key_is_one_batch(stack: Stack) -> None:
    order = ORDER | {"inputs": uris(3)}
    answers = [call(stack.batch, routes.SUBMIT_BATCH, order, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].body == answers[1].body
    other = call(stack.batch, routes.SUBMIT_BATCH, order | {"priority": 1}, headers={"Idempotency-Key": "k"})
    assert other.status == 422
    work(stack)
    assert len([item for item in stack.items() if item["item"]["S"] == "job"]) == 3


def test_a_batch_whose_message_was_not_sent_is_503_and_goes_on_with_the_next_try(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    order, headers = ORDER | {"inputs": uris(3)}, {"Idempotency-Key": "k"}

    def watch(operation: str, _: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch":
            raise throttled(operation)

    with every_call(watch, monkeypatch):
        assert call(stack.batch, routes.SUBMIT_BATCH, order, headers=headers).status == 503
    work(stack)
    assert [item for item in stack.items() if item["item"]["S"] == "job"] == []
    answer = call(stack.batch, routes.SUBMIT_BATCH, order, headers=headers)
    work(stack)
    assert shown(stack, answer.body["batchID"])["queued"] == 3
    assert stack.dynamodb.scan(TableName="batches", FilterExpression="attribute_exists(asked)")["Count"] == 1


def test_an_expansion_that_was_cut_off_goes_on_and_creates_no_job_twice(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = taken(stack, inputs=uris(210))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    first, second, third = take(stack, "pages")
    written = Table._write_batch
    died: list[Any] = []

    def die(table: Table, items: Any, *options: Any) -> Any:
        if len(died) < 2:
            died.append(items)
            return written(table, items, *options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Table, "_write_batch", die)
        with pytest.raises(KeyboardInterrupt):
            give(stack.expand, second)
    stored = records(stack, batch_id)
    assert 0 < len(stored) < 100
    stack.flow()
    finish(stack, stored[0]["jobID"]["S"])  # a worker was quick
    with pytest.raises(Unavailable, match="Another invocation"):
        give(stack.expand, second)
    give(stack.expand, third)
    give(stack.expand, first)
    assert shown(stack, batch_id)["state"] == "expanding"
    pass_time(monkeypatch, 40)
    give(stack.expand, second)
    give(stack.expand, second)
    work(stack)
    stored = records(stack, batch_id)
    assert [item["jobID"]["S"] for item in stored] == [ids.job_id(batch_id, n) for n in range(210)]
    assert Counter(item["state"]["S"] for item in stored) == {"queued": 209, "finished": 1}
    record = shown(stack, batch_id)
    assert (record["state"], record["queued"], record["finished"]) == ("running", 209, 1)
    sent = Counter(json.loads(message["Body"])["jobid"] for message in stack.messages("ffmpeg_job"))
    assert (len(sent), sent.most_common(1)[0][1]) == (210, 1)


def test_a_survey_that_was_cut_off_is_repeated_and_the_first_complete_one_counts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = taken(stack, manifest=manifest(stack, "\n".join(uris(150))))
    (message,) = take(stack, "surveys")

    with killed_at("UpdateItem", monkeypatch):
        give(stack.survey, message)
    give(stack.survey, message)
    give(stack.survey, message)
    work(stack)
    assert len(records(stack, batch_id)) == shown(stack, batch_id)["total"] == 150


def test_a_batch_fails_after_five_surveys_without_an_end(stack: Stack) -> None:
    batch_id = taken(stack, manifest=manifest(stack, "\n".join(uris(3))))
    (message,) = take(stack, "surveys")
    give(stack.survey, message | {"attributes": {"ApproximateReceiveCount": "6"}})
    work(stack)
    assert shown(stack, batch_id)["error"]["code"] == "survey-failed"
    assert len(ended(stack, batch_id)) == 1


def test_counts_match_the_records_when_changes_come_twice_late_or_out_of_order(stack: Stack) -> None:
    rng = random.Random(8)
    batch_id = taken(stack, inputs=uris(40))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    for message in take(stack, "pages"):
        give(stack.expand, message)
    tallies = take(stack, "tallies")
    names_ = [ids.job_id(batch_id, n) for n in range(40)]
    for round_ in range(4):
        for job_id in rng.sample(names_, 25):
            action = rng.choice(["JobFinished", "JobFailed", "JobStart"])
            error = {"error": {"code": rng.choice("abc"), "message": "m"}} if action == "JobFailed" else {}
            stack.say(event(job_id, "JobStart"), event(job_id, action, **error))
            if round_ % 2:
                call(stack.jobs, routes.RETRY, parameters={"jobID": job_id})
            if rng.random() < 0.2:
                call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id})
        stack.flow()
        tallies += take(stack, "tallies")
    assert len(tallies) > 4
    for _ in range(3):
        rng.shuffle(tallies)
        for some in batches_of(tallies, 3):
            give(stack.tally, *some)
        assert_counts_are_the_records(stack, batch_id)
    failures = Counter(
        json.loads(item["failure"]["S"])["code"] for item in records(stack, batch_id) if item["state"]["S"] == "failed"
    )
    assert shown(stack, batch_id)["failures"] == dict(failures)
    assert len(failures) > 1


def batches_of(things: list[Any], size: int) -> list[list[Any]]:
    return [things[start : start + size] for start in range(0, len(things), size)]


def test_two_concurrent_counts_lose_no_change(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = taken(stack, inputs=uris(30))
    work(stack)
    finish(stack, *(ids.job_id(batch_id, n) for n in range(10)))
    stack.flow()
    first = take(stack, "tallies")
    finish(stack, *(ids.job_id(batch_id, n) for n in range(10, 20)))
    stack.flow()
    second = take(stack, "tallies")
    between = list(second)

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "PutItem" and "cells" in arguments["Item"] and between:
            messages = list(between)
            between.clear()
            give(stack.tally, *messages)

    with every_call(watch, monkeypatch):
        give(stack.tally, *first)
    assert shown(stack, batch_id)["finished"] == 20


def test_repeated_tallies_end_a_batch_once(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(5))
    work(stack)
    finish(stack, *(ids.job_id(batch_id, n) for n in range(4)))
    finish(stack, ids.job_id(batch_id, 4), action="JobFailed", error={"code": "input-empty", "message": "m"})
    stack.flow()
    messages = take(stack, "tallies")
    for _ in range(3):
        give(stack.tally, *messages)
    (end,) = ended(stack, batch_id)
    assert end["batch"]["failures"] == {"input-empty": 1}
    assert shown(stack, batch_id)["state"] == "finished"


def test_a_batch_ends_when_its_jobs_end_before_its_last_page_is_settled(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = taken(stack, inputs=uris(3))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    (page,) = take(stack, "pages")

    with killed_at("TransactWriteItems", monkeypatch):
        give(stack.expand, page)
    finish(stack, *(ids.job_id(batch_id, n) for n in range(3)))
    work(stack)
    assert (shown(stack, batch_id)["state"], ended(stack, batch_id)) == ("expanding", [])
    pass_time(monkeypatch, 40)
    give(stack.expand, page)
    work(stack)
    assert shown(stack, batch_id)["state"] == "finished"
    assert len(ended(stack, batch_id)) == 1


def test_a_cancelled_batch_ends_with_its_last_job(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(5))
    work(stack)
    finish(stack, ids.job_id(batch_id, 0))
    answer = call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id})
    assert (answer.status, answer.body["state"]) == (202, "cancelled")
    assert answer.body["endedAt"] is None
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["total"], record["finished"], record["cancelled"]) == ("cancelled", 5, 1, 4)
    (end,) = ended(stack, batch_id)
    assert end["batch"]["state"] == "cancelled"
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id}).status == 409
    assert_counts_are_the_records(stack, batch_id)


def test_a_batch_reopened_during_its_cancellation_is_cancelled(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = taken(stack, inputs=uris(2))
    work(stack)
    finish(stack, ids.job_id(batch_id, 0))
    finish(stack, ids.job_id(batch_id, 1), action="JobFailed")
    work(stack)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": ids.job_id(batch_id, 1)}).status == 202
    stack.flow()
    late, refused = take(stack, "tallies"), []

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if "cancelledMs" in arguments.get("UpdateExpression", ""):
            refused.append(operation)
        elif operation == "GetItem" and refused and late:
            give(stack.tally, late.pop())

    with every_call(watch, monkeypatch):
        answer = call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id})
    assert (answer.status, answer.body["state"]) == (202, "cancelled")
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["finished"], record["cancelled"]) == ("cancelled", 1, 1)


@pytest.mark.parametrize("pages_done", [0, 1, 2])
def test_a_batch_cancelled_while_expanding_creates_no_more_jobs(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, pages_done: int
) -> None:
    monkeypatch.setattr(survey, "PAGE_JOBS", 20)
    batch_id = taken(stack, inputs=uris(50))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    pages = take(stack, "pages")
    for page in pages[:pages_done]:
        give(stack.expand, page)
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id}).status == 202
    for page in pages[pages_done:]:
        give(stack.expand, page)
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["total"], record["cancelled"]) == (
        "cancelled",
        20 * pages_done,
        20 * pages_done,
    )
    left = 50 - 20 * pages_done
    assert [warning.split(":")[0] for warning in record["warnings"]] == [f"{left} inputs without a job"]
    assert len(ended(stack, batch_id)) == 1
    assert_counts_are_the_records(stack, batch_id)


def test_the_stored_jobs_of_a_cut_off_page_are_cancelled_and_counted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = taken(stack, inputs=uris(90))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    (page,) = take(stack, "pages")
    written, count = Table._write_batch, iter(range(100))

    def die(table: Table, items: Any, *options: Any) -> Any:
        if next(count) > 1:
            raise KeyboardInterrupt
        return written(table, items, *options)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "_write_batch", die)
        with pytest.raises(KeyboardInterrupt):
            give(stack.expand, page)
    call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id})
    pass_time(monkeypatch, 40)
    work(stack)
    give(stack.expand, page)
    work(stack)
    record = shown(stack, batch_id)
    assert record["total"] == record["cancelled"] == len(records(stack, batch_id)) > 0
    assert record["endedAt"]
    assert len(ended(stack, batch_id)) == 1


def test_a_batch_ends_when_its_last_page_is_settled_after_the_last_count(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SAMPLE_MS", 10**9)  # no sample is due during the test
    batch_id = taken(stack, inputs=uris(110))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    page, left = take(stack, "pages")
    give(stack.expand, left)
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id}).status == 202
    (cancel,) = take(stack, "pages")
    give(stack.expand, cancel)
    for sweep in take(stack, "pages"):
        if json.loads(sweep["body"])["page"] == 1:
            give(stack.expand, sweep)
    stack.flow()
    give(stack.tally, *take(stack, "tallies"))
    assert shown(stack, batch_id)["cancelled"] == 10
    assert ended(stack, batch_id) == []
    give(stack.expand, page)
    give(stack.tally, *take(stack, "tallies"))
    assert shown(stack, batch_id)["total"] == 10
    assert len(ended(stack, batch_id)) == 1


def test_a_batch_cancelled_before_its_survey_has_no_job(stack: Stack) -> None:
    batch_id = taken(stack, manifest=manifest(stack, "\n".join(uris(3))))
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id}).status == 202
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["total"], bool(record["endedAt"])) == ("cancelled", 0, True)
    assert len(ended(stack, batch_id)) == 1
    assert records(stack, batch_id) == []


def test_a_retry_of_failed_jobs_leads_to_a_second_end(stack: Stack) -> None:
    other = taken(stack, inputs=uris(2))
    batch_id = taken(stack, inputs=uris(6))
    work(stack)
    failing = [ids.job_id(batch_id, n) for n in (1, 3)] + [ids.job_id(other, 0)]
    finish(stack, *failing, action="JobFailed", error={"code": "encoder-failed", "message": "m"})
    finish(stack, *(ids.job_id(batch_id, n) for n in (0, 2, 4, 5)))
    work(stack)
    assert shown(stack, batch_id)["state"] == "finished"
    answer = call(stack.jobs, routes.RETRY_FAILED, {"userID": USER, "batchID": batch_id})
    assert (answer.status, answer.body) == (202, {"retried": 2})
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["queued"], record["failed"], record["endedAt"]) == ("running", 2, 0, None)
    assert shown(stack, other)["failed"] == 1
    finish(stack, *failing[:2])
    work(stack)
    assert (shown(stack, batch_id)["state"], shown(stack, batch_id)["finished"]) == ("finished", 6)
    assert len({end["eventID"] for end in ended(stack, batch_id)}) == 2
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": "eve", "batchID": other}).status == 404
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": USER, "batchID": "nothing"}).status == 404


def test_jobs_of_another_users_batch_are_not_listed(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(30))
    work(stack)
    for filters in ({}, {"state": "queued"}, {"after": ids.job_id(batch_id, 5)}):
        query = {"userID": USER, "batchID": batch_id, "limit": "1", **filters}
        assert len(call(stack.jobs, routes.JOBS, query=query).body) == 1
        for foreign in (query | {"userID": "eve"}, query | {"batchID": "nothing"}):
            answer = call(stack.jobs, routes.JOBS, query=foreign)
            assert (answer.body, "Link" in answer.headers) == ([], False)


def test_an_input_whose_output_key_s3_refuses_is_a_fault(stack: Stack) -> None:
    long, beyond = "s3://media/" + "k" * 1019 + ".mp4", "s3://media/a\uffff.mp4"
    stack.s3.put_object(Bucket="media", Key="list.txt", Body="\n".join([long, beyond, *uris(1)]).encode())
    batch_id = taken(stack, manifest="s3://media/list.txt")
    work(stack)
    record = shown(stack, batch_id)
    assert (record["total"], record["faultCount"]) == (1, 2)
    assert "S3 does not take" in record["faults"][0]["detail"]
    assert "U+FFFF" in record["faults"][1]["detail"]


def test_a_retry_that_ends_before_it_was_counted_leads_to_a_second_end(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(3))
    work(stack)
    failing = ids.job_id(batch_id, 1)
    finish(stack, failing, action="JobFailed", error={"code": "encoder-failed", "message": "m"})
    finish(stack, ids.job_id(batch_id, 0), ids.job_id(batch_id, 2))
    work(stack)
    first = shown(stack, batch_id)
    assert (first["state"], first["failures"]) == ("finished", {"encoder-failed": 1})
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": failing}).status == 202
    finish(stack, failing)
    stack.flow()
    late = take(stack, "tallies")
    give(stack.tally, *late)
    give(stack.tally, *late)
    record = shown(stack, batch_id)
    assert (record["state"], record["finished"], record["failures"]) == ("finished", 3, {})
    assert record["endedAt"] > first["endedAt"]
    assert len(ended(stack, batch_id)) == 2


def test_repeated_changes_after_the_end_do_not_end_the_batch_again(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(3))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    for message in take(stack, "pages"):
        give(stack.expand, message)
    stack.flow()
    finish(stack, *(ids.job_id(batch_id, n) for n in range(3)))
    stack.flow()
    tallies = take(stack, "tallies")
    for message in tallies[::-1]:
        give(stack.tally, message)
    assert shown(stack, batch_id)["state"] == "finished"
    give(stack.tally, *tallies)
    assert shown(stack, batch_id)["state"] == "finished"
    assert len(ended(stack, batch_id)) == 1


def test_a_retry_in_a_cancelled_batch_reopens_it_until_the_job_ends(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(3))
    work(stack)
    call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id})
    work(stack)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": ids.job_id(batch_id, 1)}).status == 202
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["queued"], record["endedAt"]) == ("cancelled", 1, None)
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id}).status == 202
    work(stack)
    assert shown(stack, batch_id)["cancelled"] == 3
    assert len(ended(stack, batch_id)) == 2


def test_a_page_of_the_longest_keys_fits_an_item(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "PAGE_JOBS", 1000)
    rng = random.Random(1)
    keys = ["".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(330)) for _ in range(860)]
    batch_id = taken(stack, inputs=[f"s3://media/in/{key}.mp4" for key in keys])
    sizes = [len(item["inputs"]["B"]) for item in stack.dynamodb.scan(TableName="batches")["Items"] if "inputs" in item]
    assert 100_000 < max(sizes) < 350_000
    assert shown(stack, batch_id)["total"] == 860


def test_a_listed_key_keeps_its_trailing_white_space(stack: Stack) -> None:
    stack.s3.put_object(Bucket="media", Key="in/a.mp4 ", Body=b"x")
    batch_id = taken(stack, prefix="s3://media/in/")
    work(stack)
    (item,) = records(stack, batch_id)
    assert json.loads(item["job"]["S"])["input"] == "s3://media/in/a.mp4 "


def test_lines_that_end_with_cr_alone_are_a_fault(stack: Stack) -> None:
    batch_id = taken(stack, manifest=manifest(stack, "\r".join(uris(3))))
    work(stack)
    record = shown(stack, batch_id)
    assert record["error"]["code"] == "no-usable-input"
    assert "control character" in record["faults"][0]["detail"]


def test_jobs_of_a_batch_are_listed_by_state_in_pages(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(25))
    taken(stack, inputs=uris(5))
    work(stack)
    finish(stack, *(ids.job_id(batch_id, n) for n in range(12)))
    work(stack)

    def listed(**filters: str) -> list[int]:
        result: list[int] = []
        query = {"userID": USER, "batchID": batch_id, "limit": "7"} | filters
        while query:
            answer = call(stack.jobs, routes.JOBS, query=query)
            assert all(record["batchID"] == batch_id for record in answer.body)
            result += [ids.position(record["jobID"]) for record in answer.body]
            url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
            query = {name: value for name, (value,) in parse_qs(url.query).items()}
        return result

    assert listed() == [*range(24, -1, -1)]
    assert listed(state="finished") == [*range(11, -1, -1)]
    assert listed(state="failed") == []
    assert listed(userID="eve") == []
    for wrong in ({"batchID": batch_id, "after": "x"}, {"batchID": ""}):
        assert call(stack.jobs, routes.JOBS, query={"userID": USER} | wrong).status == 400


def test_progress_has_the_recent_rate_and_the_time_left(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = taken(stack, inputs=uris(10))
    work(stack)
    pass_time(monkeypatch, 60)
    finish(stack, *(ids.job_id(batch_id, n) for n in range(4)))
    work(stack)
    progress = shown(stack, batch_id)["progress"]
    assert progress["percent"] == 40.0
    assert progress["jobsPerSecond"] == pytest.approx(4 / 60, rel=0.2)
    assert progress["etaSeconds"] == pytest.approx(90, rel=0.2)


def test_jobs_are_created_and_held_while_all_queues_are_paused(stack: Stack) -> None:
    stack.registry.pause("ffmpeg_job")
    batch_id = taken(stack, inputs=uris(3))
    work(stack)
    assert shown(stack, batch_id)["accepted"] == 3
    assert stack.messages("ffmpeg_job") == []


def test_a_batch_that_no_queue_serves_is_refused(stack: Stack) -> None:
    gpu = {"ffmpeg": contract("job")["profile"]["ffmpeg"] | {"platform": "gpu"}}
    answer = call(stack.batch, routes.SUBMIT_BATCH, ORDER | {"inputs": uris(1), "profile": gpu})
    assert answer.status == 409
    assert stack.dynamodb.scan(TableName="batches")["Count"] == 0


def test_an_unknown_batch_is_404(stack: Stack) -> None:
    for route in (routes.BATCH, routes.CANCEL_BATCH):
        assert call(stack.batch, route, parameters={"batchID": "nothing"}).status == 404


def test_a_renewed_lease_is_not_counted(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(1))
    work(stack)
    finish(stack, ids.job_id(batch_id, 0))
    work(stack)
    (item,) = records(stack, batch_id)
    stack.dynamodb.put_item(TableName="jobs", Item=item | {"lease": {"N": "1"}})
    stack.flow()
    assert take(stack, "tallies") == []


def test_a_strip_keeps_the_latest_move_when_packed() -> None:
    strip = Strip(2)
    place = 2 * STRIP_SIZE + 7
    assert strip.merge([Change(place, 3, "failed", "a"), Change(place + 1, 0, "queued")])
    assert not strip.merge([Change(place, 2, "running"), Change(place, 3, "failed", "a")])
    again = Strip(2, strip.pack(), strip.codes)
    assert again.counts() == {"failed": 1, "queued": 1}
    assert again.failures() == {"a": 1}
    assert list(again.positions("failed")) == [place]
    assert again.merge([Change(place, 70_000, "finished")])
    assert again.counts() == {"finished": 1, "queued": 1}


def test_a_strip_counts_failures_beyond_its_codes_as_other() -> None:
    strip = Strip(0)
    strip.merge(Change(n, 2, "failed", f"code-{n}") for n in range(400))
    assert strip.counts() == {"failed": 400}
    assert sum(strip.failures().values()) == 400
    assert strip.failures()["other"] > 1
