"""Presets on the stack: what is stored, what it costs who submits, and what becomes of it under a key."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from elasticrecode.contract import routes, settings
from elasticrecode.jobs import preset_store
from elasticrecode.media import presets
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
    """Nothing is known from before."""
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
    made: list[str] = []

    def watch(operation: str, _: dict[str, Any]) -> Any:
        made.append(operation)

    with every_call(watch, monkeypatch):
        answer = submit(stack, name) if name else call(stack.submit, routes.SUBMIT, contract("job"))
    assert answer.status == 200
    return made


def test_a_stored_preset_is_put_listed_replaced_and_removed(stack: Stack) -> None:
    made = put(stack, "tiny", SMALL)
    assert made.status == 201
    assert made.body["name"] == "tiny"
    assert made.body["profile"] == SMALL
    assert made.body["source"] == "stored"
    assert made.body["resolved"]["ffmpeg"] == {
        "codec": "libx264", "scale": "480:270", "bitrate": "1M", "buffersize": "2M", "profile": "quality",
        "platform": "cpu",
    }  # fmt: skip
    assert made.body in listed(stack).body
    replaced = put(stack, "tiny", LARGE)
    assert (replaced.status, replaced.body["profile"]) == (200, LARGE)
    assert [entry for entry in listed(stack).body if entry["name"] == "tiny"] == [replaced.body]
    gone = remove(stack, "tiny")
    assert (gone.status, gone.body) == (200, {"name": "tiny"})
    assert "tiny" not in [entry["name"] for entry in listed(stack).body]
    assert remove(stack, "tiny").status == 404


def test_all_presets_are_listed_by_name_with_where_they_are_from(stack: Stack) -> None:
    put(stack, "a.first", SMALL)
    found = {entry["name"]: entry for entry in listed(stack).body}
    assert list(found) == sorted({*presets.BUILT_IN, *PRESETS, "a.first"})
    assert {name for name, entry in found.items() if entry["source"] == "deployment"} == set(PRESETS)
    assert found["h264-360p"]["profile"] == PRESETS["h264-360p"]
    assert found["h264-720p"]["source"] == "built-in"
    assert found["h264-720p-vmaf"]["resolved"]["vmaf"]["scale"] == "1280x720"
    assert all(entry["resolved"] for entry in found.values())


def test_the_list_comes_in_pages(stack: Stack) -> None:
    pages, query = [], {"limit": "5"}
    while query:
        answer = listed(stack, query)
        pages.append([entry["name"] for entry in answer.body])
        url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert [len(page) for page in pages] == [5, 5, 5]
    assert [name for page in pages for name in page] == sorted({*presets.BUILT_IN, *PRESETS})
    assert listed(stack, {"after": "A B"}).status == 400


@pytest.mark.parametrize(("name", "said"), [("h264-720p", "built in"), ("house", "option presets")])
def test_what_is_built_in_or_the_deployments_is_neither_replaced_nor_removed(
    stack: Stack, name: str, said: str
) -> None:
    before = listed(stack).body
    for answer in (put(stack, name, SMALL), remove(stack, name)):
        assert answer.status == 409
        assert said in answer.body["detail"]
    assert listed(stack).body == before


def test_a_wrong_preset_is_refused_with_every_fault_and_stores_nothing(stack: Stack) -> None:
    answer = put(stack, "wrong", {"ffmpeg": SMALL["ffmpeg"] | {"codec": "vp9", "bitrate": "0M"}})
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/profile/ffmpeg/bitrate", "/profile/ffmpeg/codec"]
    assert put(stack, "Wrong name", SMALL).status == 400
    assert call(stack.presets, routes.PUT_PRESET, SMALL, parameters={"name": "bare"}).status == 422
    assert call(stack.presets, routes.PUT_PRESET, "x" * 9000, parameters={"name": "long"}).status == 413
    assert {entry["source"] for entry in listed(stack).body} == {"built-in", "deployment"}


def test_so_many_are_stored_and_no_more(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preset_store, "PRESETS_STORED", 2)
    assert [put(stack, name, SMALL).status for name in ("a", "b", "c", "a")] == [201, 201, 409, 200]


@pytest.mark.parametrize("request_", ["job", "job_batch"])
def test_records_and_messages_carry_the_profile_and_never_the_word(stack: Stack, request_: str) -> None:
    resolved = put(stack, "tiny", SMALL).body["resolved"]
    answer = submit(stack, "tiny", request=request_)
    assert answer.status == 200
    stack.flow()
    messages = stack.messages("ffmpeg_job")
    assert len(messages) == len(answer.body)
    assert all(json.loads(message["Body"])["profile"] == resolved for message in messages)
    assert all(status(stack, job["jobid"])["profile"] == resolved for job in answer.body)
    assert "preset" not in json.dumps(stack.items())


def test_a_score_by_a_preset_is_answered_and_sent_resolved(stack: Stack) -> None:
    resolved = put(stack, "look", SCORE).body["resolved"]
    answer = score(stack, "look")
    assert (answer.status, answer.body["profile"]) == (200, resolved)
    stack.flow()
    (message,) = stack.messages("vmaf_job")
    assert json.loads(message["Body"])["profile"] == resolved
    refused = score(stack, "h264-720p")
    assert refused.status == 422
    assert {fault["pointer"] for fault in refused.body["errors"]} == {"/profile/preset"}


def test_a_deployments_preset_is_taken_in_place_of_one_that_is_built_in(stack: Stack) -> None:
    (job,) = submit(stack, "h264-360p").body
    assert status(stack, job["jobid"])["profile"]["ffmpeg"]["bitrate"] == "1200K"


def test_what_is_stored_is_hidden_by_what_came_to_be_built_in(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.delitem(presets.BUILT_IN, "h264-720p")
        earlier = stack._build("presets", settings.PresetsSettings(registry_table="registry", presets={}))
        assert call(earlier, routes.PUT_PRESET, {"profile": SMALL}, parameters={"name": "h264-720p"}).status == 201
    (found,) = [entry for entry in listed(stack).body if entry["name"] == "h264-720p"]
    assert (found["source"], found["profile"]) == ("built-in", presets.BUILT_IN["h264-720p"])
    (job,) = submit(stack, "h264-720p").body
    assert status(stack, job["jobid"])["profile"]["ffmpeg"]["scale"] == "1280:720"


def test_only_a_stored_preset_costs_a_call_and_that_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stack, "tiny", SMALL)
    operations(stack, monkeypatch, None)
    without = operations(stack, monkeypatch, None)
    assert operations(stack, monkeypatch, "h264-720p") == without
    assert operations(stack, monkeypatch, "house") == without
    assert sorted(operations(stack, monkeypatch, "tiny")) == sorted([*without, "Query"])
    assert operations(stack, monkeypatch, "tiny") == without


def test_a_new_preset_can_be_used_at_once_and_a_changed_one_soon(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_while_aws_refuses_what_is_known_is_used_and_what_is_not_is_503(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(stack, "tiny", SMALL)
    put(stack, "other", SMALL)
    assert submit(stack, "tiny").status == 200
    remove(stack, "other")
    assert submit(stack, "tiny").status == 200

    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation == "Query" and asked["ExpressionAttributeValues"] == {":part": {"S": "preset"}}:
            raise throttled(operation)

    with every_call(refuse, monkeypatch):
        assert submit(stack, "tiny").status == 200
        assert submit(stack, "h264-720p").status == 200
        refused = submit(stack, "other")
        assert (refused.status, "Retry-After" in refused.headers) == (503, True)
        assert listed(stack).status == 503


def test_a_stored_preset_that_can_not_be_used_any_more_is_told_and_harms_no_other(stack: Stack) -> None:
    old = json.dumps({"ffmpeg": SMALL["ffmpeg"] | {"codec": "vp6"}})
    item = {"part": {"S": "preset"}, "name": {"S": "old"}, "profile": {"S": old}}
    stack.dynamodb.put_item(TableName="registry", Item=item)
    found = {entry["name"]: entry for entry in listed(stack).body}
    assert (found["old"]["profile"], found["old"]["resolved"]) == (json.loads(old), None)
    assert found["house"]["resolved"]
    (fault,) = submit(stack, "old").body["errors"]
    assert fault["pointer"] == "/profile/preset"
    assert "ffmpeg/codec must be one of h264" in fault["detail"]


def test_presets_are_no_workers(stack: Stack) -> None:
    put(stack, "tiny", SMALL)
    assert call(stack.workers, routes.WORKER_QUEUES).body == contract("queues.response")


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("now", [LARGE, SCORE, None])
def test_a_key_gives_the_same_jobs_whatever_became_of_the_preset(stack: Stack, now: Any) -> None:
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
def test_a_score_under_a_key_is_answered_with_the_profile_it_was_taken_with(stack: Stack, now: Any) -> None:
    put(stack, "look", SCORE)
    first = score(stack, "look", key="k")
    remove(stack, "look") if now is None else put(stack, "look", now)
    assert score(stack, "look", key="k") == first
    assert first.body["profile"]["vmaf"]["scale"] == "1280x720"


@pytest.mark.usefixtures("anew")
def test_a_key_does_not_make_good_what_is_wrong(stack: Stack) -> None:
    put(stack, "tiny", SMALL)
    assert submit(stack, "tiny", key="k").status == 200
    remove(stack, "tiny")
    assert submit(stack, "tiny", key="other").status == 422
    assert submit(stack, "tiny", key="k", priority=1).status == 422
    assert submit(stack, "tiny", key="k", priority=101).status == 422
    assert submit(stack, "tiny", key="k", userid="somebody-else").status == 422


@pytest.mark.usefixtures("anew")
def test_a_try_that_was_cut_off_is_finished_with_the_profile_it_began_with(
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
