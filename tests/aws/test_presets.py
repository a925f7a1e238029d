"""Presets over AWS: storing them, the calls they cost, and their use with an Idempotency-Key."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from elasticrecode.contract import routes
from elasticrecode.jobs import preset_store
from elasticrecode.media import presets
from elasticrecode.workers import registry
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_path import status
from tests.conftest import contract
from tests.fakes.stack import PRESETS, Stack
from tests.support import Answer, call

SMALL = {"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M"}}
LARGE = {"ffmpeg": {"codec": "h264", "scale": "1080p", "bitrate": "8M"}}
SCORE = {"vmaf": {"scale": "720p", "ssim": "enable"}}


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored presets are read anew for each request."""
    monkeypatch.setattr(preset_store, "REFRESH_SECONDS", 0)


def put(stack: Stack, name: str, profile: Any) -> Answer:
    return call(stack.presets, routes.PUT_PRESET, {"profile": profile}, parameters={"name": name})


def remove(stack: Stack, name: str) -> Answer:
    return call(stack.presets, routes.REMOVE_PRESET, parameters={"name": name})


def listed(stack: Stack, query: dict[str, str] | None = None) -> Answer:
    return call(stack.presets, routes.PRESETS, query=query)


def submit(stack: Stack, name: str, key: str = "", request: str = "job", **changes: Any) -> Answer:
    headers = {"Idempotency-Key": key} if key else None
    return call(
        stack.submit, routes.SUBMIT, contract(request) | {"profile": {"preset": name}} | changes, headers=headers
    )


def score(stack: Stack, name: str, key: str = "") -> Answer:
    headers = {"Idempotency-Key": key} if key else None
    return call(stack.vmaf, routes.SUBMIT_VMAF, contract("vmaf") | {"profile": {"preset": name}}, headers=headers)


def operations(stack: Stack, monkeypatch: pytest.MonkeyPatch, name: str | None) -> list[str]:
    """The AWS calls of a submit."""
    calls: list[str] = []

    def watch(operation: str, _: dict[str, Any]) -> Any:
        calls.append(operation)

    with every_call(watch, monkeypatch):
        answer = submit(stack, name) if name else call(stack.submit, routes.SUBMIT, contract("job"))
    assert answer.status == 200
    return calls


def test_a_stored_preset_is_put_listed_replaced_and_removed(stack: Stack) -> None:
    created = put(stack, "tiny", SMALL)
    assert created.status == 201
    assert created.body["name"] == "tiny"
    assert created.body["profile"] == SMALL
    assert created.body["source"] == "stored"
    assert created.body["resolved"]["ffmpeg"] == {
        "codec": "libx264", "scale": "480:270", "bitrate": "1M", "buffersize": "2M", "profile": "quality",
        "platform": "cpu",
    }  # fmt: skip
    assert created.body in listed(stack).body
    replaced = put(stack, "tiny", LARGE)
    assert (replaced.status, replaced.body["profile"]) == (200, LARGE)
    assert [entry for entry in listed(stack).body if entry["name"] == "tiny"] == [replaced.body]
    gone = remove(stack, "tiny")
    assert (gone.status, gone.body) == (200, {"name": "tiny"})
    assert "tiny" not in [entry["name"] for entry in listed(stack).body]
    assert remove(stack, "tiny").status == 404


def test_presets_are_listed_by_name_with_their_source(stack: Stack) -> None:
    put(stack, "a.first", SMALL)
    records = {entry["name"]: entry for entry in listed(stack).body}
    assert list(records) == sorted({*presets.BUILT_IN, *PRESETS, "a.first"})
    assert {name for name, entry in records.items() if entry["source"] == "deployment"} == set(PRESETS)
    assert records["h264-360p"]["profile"] == PRESETS["h264-360p"]
    assert records["h264-720p"]["source"] == "built-in"
    assert records["h264-720p-vmaf"]["resolved"]["vmaf"]["scale"] == "1280x720"
    assert all(entry["resolved"] for entry in records.values())


def test_the_list_comes_in_pages(stack: Stack) -> None:
    pages, query = [], {"limit": "5"}
    while query:
        answer = listed(stack, query)
        pages.append([entry["name"] for entry in answer.body])
        url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
    names = sorted({*presets.BUILT_IN, *PRESETS})
    assert pages == [names[start : start + 5] for start in range(0, len(names), 5)]
    assert listed(stack, {"after": "A B"}).status == 400


@pytest.mark.parametrize(("name", "detail"), [("h264-720p", "built in"), ("house", "option presets")])
def test_presets_that_are_not_stored_cannot_be_replaced_or_removed(stack: Stack, name: str, detail: str) -> None:
    before = listed(stack).body
    for answer in (put(stack, name, SMALL), remove(stack, name)):
        assert answer.status == 409
        assert detail in answer.body["detail"]
    assert listed(stack).body == before


def test_an_invalid_preset_is_refused_with_every_fault(stack: Stack) -> None:
    answer = put(stack, "wrong", {"ffmpeg": SMALL["ffmpeg"] | {"codec": "no-such-codec", "bitrate": "0M"}})
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/profile/ffmpeg/bitrate", "/profile/ffmpeg/codec"]
    assert put(stack, "Wrong name", SMALL).status == 400
    assert call(stack.presets, routes.PUT_PRESET, SMALL, parameters={"name": "bare"}).status == 422
    assert call(stack.presets, routes.PUT_PRESET, "x" * 9000, parameters={"name": "long"}).status == 413
    assert {entry["source"] for entry in listed(stack).body} == {"built-in", "deployment"}


def test_the_number_of_stored_presets_is_limited(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preset_store, "STORED_LIMIT", 2)
    assert [put(stack, name, SMALL).status for name in ("a", "b", "c", "a")] == [201, 201, 409, 200]


@pytest.mark.parametrize("request_", ["job", "job_batch"])
def test_records_and_messages_hold_the_profile_and_not_the_preset(stack: Stack, request_: str) -> None:
    resolved = put(stack, "tiny", SMALL).body["resolved"]
    answer = submit(stack, "tiny", request=request_)
    assert answer.status == 200
    stack.flow()
    messages = stack.messages("ffmpeg_job")
    assert len(messages) == len(answer.body)
    assert all(json.loads(message["Body"])["profile"] == resolved for message in messages)
    assert all(status(stack, job["jobid"])["profile"] == resolved for job in answer.body)
    assert "preset" not in json.dumps(stack.items())


def test_a_score_by_preset_is_answered_and_sent_resolved(stack: Stack) -> None:
    resolved = put(stack, "look", SCORE).body["resolved"]
    answer = score(stack, "look")
    assert (answer.status, answer.body["profile"]) == (200, resolved)
    stack.flow()
    (message,) = stack.messages("vmaf_job")
    assert json.loads(message["Body"])["profile"] == resolved
    refused = score(stack, "h264-720p")
    assert refused.status == 422
    assert {fault["pointer"] for fault in refused.body["errors"]} == {"/profile/preset"}


def test_a_preset_of_the_deployment_replaces_a_built_in_one(stack: Stack) -> None:
    (job,) = submit(stack, "h264-360p").body
    assert status(stack, job["jobid"])["profile"]["ffmpeg"]["bitrate"] == "1200K"


def test_a_new_built_in_preset_hides_a_stored_one(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.delitem(presets.BUILT_IN, "h264-720p")
        earlier = stack.build("presets", presets={})
        assert call(earlier, routes.PUT_PRESET, {"profile": SMALL}, parameters={"name": "h264-720p"}).status == 201
    (record,) = [entry for entry in listed(stack).body if entry["name"] == "h264-720p"]
    assert (record["source"], record["profile"]) == ("built-in", presets.BUILT_IN["h264-720p"])
    (job,) = submit(stack, "h264-720p").body
    assert status(stack, job["jobid"])["profile"]["ffmpeg"]["scale"] == "1280:720"


def test_only_a_stored_preset_costs_a_call_and_only_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (preset_store, registry):
        monkeypatch.setattr(kept, "REFRESH_SECONDS", 3600)
    put(stack, "tiny", SMALL)
    operations(stack, monkeypatch, None)
    without = operations(stack, monkeypatch, None)
    assert operations(stack, monkeypatch, "h264-720p") == without
    assert operations(stack, monkeypatch, "house") == without
    assert sorted(operations(stack, monkeypatch, "tiny")) == sorted([*without, "Query"])
    assert operations(stack, monkeypatch, "tiny") == without


def test_a_new_preset_is_usable_at_once_and_a_change_within_seconds(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(stack, "one", SMALL)
    submit(stack, "one")
    put(stack, "two", SMALL)
    assert submit(stack, "two").status == 200
    put(stack, "one", LARGE)
    monkeypatch.setattr(preset_store, "REFRESH_SECONDS", 0)
    (job,) = submit(stack, "one").body
    assert status(stack, job["jobid"])["profile"]["ffmpeg"]["bitrate"] == "8M"
    remove(stack, "one")
    (fault,) = submit(stack, "one").body["errors"]
    assert fault["pointer"] == "/profile/preset"
    assert "two" in fault["detail"]


@pytest.mark.usefixtures("anew")
def test_while_aws_refuses_known_presets_are_used_and_others_answer_503(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(stack, "tiny", SMALL)
    put(stack, "other", SMALL)
    assert submit(stack, "tiny").status == 200
    remove(stack, "other")
    assert submit(stack, "tiny").status == 200

    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "Query" and arguments["ExpressionAttributeValues"] == {":part": {"S": "preset"}}:
            raise throttled(operation)

    with every_call(refuse, monkeypatch):
        assert submit(stack, "tiny").status == 200
        assert submit(stack, "h264-720p").status == 200
        refused = submit(stack, "other")
        assert (refused.status, "Retry-After" in refused.headers) == (503, True)
        assert listed(stack).status == 503


def test_an_unusable_stored_preset_is_listed_and_affects_no_other(stack: Stack) -> None:
    old = json.dumps({"ffmpeg": SMALL["ffmpeg"] | {"codec": "vp6"}})
    item = {"part": {"S": "preset"}, "name": {"S": "old"}, "profile": {"S": old}}
    stack.dynamodb.put_item(TableName="registry", Item=item)
    records = {entry["name"]: entry for entry in listed(stack).body}
    assert (records["old"]["profile"], records["old"]["resolved"]) == (json.loads(old), None)
    assert records["house"]["resolved"]
    (fault,) = submit(stack, "old").body["errors"]
    assert fault["pointer"] == "/profile/preset"
    assert "ffmpeg/codec must be one of" in fault["detail"]
    assert "h264, h264_nvenc, h265" in fault["detail"]


def test_presets_in_the_registry_are_not_listed_as_workers(stack: Stack) -> None:
    put(stack, "tiny", SMALL)
    assert call(stack.workers, routes.WORKER_QUEUES).body == contract("queues.response")


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("now", [LARGE, SCORE, None])
def test_a_key_creates_the_same_jobs_after_its_preset_changed(stack: Stack, now: Any) -> None:
    put(stack, "tiny", SMALL)
    first = submit(stack, "tiny", key="k", request="job_batch")
    remove(stack, "tiny") if now is None else put(stack, "tiny", now)
    assert submit(stack, "tiny", key="k", request="job_batch") == first
    stack.flow()
    messages = [json.loads(message["Body"]) for message in stack.messages("ffmpeg_job")]
    assert sorted(message["jobid"] for message in messages) == sorted(job["jobid"] for job in first.body)
    assert {message["profile"]["ffmpeg"]["scale"] for message in messages} == {"480:270"}


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("now", [{"vmaf": {"scale": "1080p"}}, LARGE, None])
def test_a_repeated_score_is_answered_with_its_first_profile(stack: Stack, now: Any) -> None:
    put(stack, "look", SCORE)
    first = score(stack, "look", key="k")
    remove(stack, "look") if now is None else put(stack, "look", now)
    assert score(stack, "look", key="k") == first
    assert first.body["profile"]["vmaf"]["scale"] == "1280x720"


@pytest.mark.usefixtures("anew")
def test_a_key_does_not_make_an_invalid_request_valid(stack: Stack) -> None:
    put(stack, "tiny", SMALL)
    assert submit(stack, "tiny", key="k").status == 200
    remove(stack, "tiny")
    assert submit(stack, "tiny", key="other").status == 422
    assert submit(stack, "tiny", key="k", priority=1).status == 422
    assert submit(stack, "tiny", key="k", priority=101).status == 422
    assert submit(stack, "tiny", key="k", userid="somebody-else").status == 422


@pytest.mark.usefixtures("anew")
def test_an_interrupted_request_is_finished_with_its_first_profile(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(stack, "tiny", SMALL)

    def cut(operation: str, _: dict[str, Any]) -> Any:
        if operation == "BatchWriteItem":
            raise throttled(operation)

    with every_call(cut, monkeypatch):
        assert submit(stack, "tiny", key="k", request="job_batch").status == 503
    put(stack, "tiny", LARGE)
    again = submit(stack, "tiny", key="k", request="job_batch")
    assert again.status == 200
    scales = {status(stack, job["jobid"])["profile"]["ffmpeg"]["scale"] for job in again.body}
    assert scales == {"480:270"}
