"""A job's way through the functions."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims, Refusal
from elasticrecode.lists import pages as lists
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.fakes.wiring import build
from tests.support import call

USER = contract("job")["userid"]
CLOCK, CLOCK_NS = time.time, time.time_ns


def submitted(stack: Stack, **changes: Any) -> str:
    answer = call(stack.submit, routes.SUBMIT, contract("job") | changes)
    assert answer.status == 200
    job_id: str = answer.body[0]["jobid"]
    return job_id


def event(job_id: str, action: str, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = contract("worker_event") | {"action": action} | more
    said["job"] = said["job"] | {"jobid": job_id}
    return said


def status(stack: Stack, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = call(stack.jobs, routes.JOB_STATUS, parameters={"jobID": job_id}).body
    return found


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every clock of the product be so many seconds ahead."""
    monkeypatch.setattr(time, "time", lambda: CLOCK() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: CLOCK_NS() + int(seconds * 10**9))


def actions(stack: Stack, job_id: str) -> list[str]:
    return [said["action"] for said in call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": job_id}).body]


def test_a_batch_is_answered_as_documented(stack: Stack) -> None:
    answer = call(stack.submit, routes.SUBMIT, contract("job_batch")).body
    expected = contract("job_batch.response")
    assert [list(entry) for entry in answer] == [list(entry) for entry in expected]
    assert [entry | {"jobid": ""} for entry in answer] == [entry | {"jobid": ""} for entry in expected]


def test_a_single_job_is_answered_by_an_array_and_sent_as_documented(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.flow()
    (message,) = stack.messages("ffmpeg_job")
    expected = contract("queue_message") | {"jobid": job_id}
    assert message["Body"] == json.dumps(expected, separators=(",", ":"))
    assert stack.messages("vmaf_job") == []


def test_a_score_is_answered_and_sent_resolved(stack: Stack) -> None:
    answer = call(stack.vmaf, routes.SUBMIT_VMAF, contract("vmaf")).body
    expected = contract("vmaf.response") | {"jobid": answer["jobid"]}
    assert answer == expected
    assert list(answer) == list(expected)
    stack.flow()
    (message,) = stack.messages("vmaf_job")
    assert json.loads(message["Body"]) == {name: value for name, value in expected.items() if name != "status"}


def test_what_the_api_says_of_itself(stack: Stack) -> None:
    for route in (routes.SERVER, routes.VERSION):
        said = call(stack.schema, route).body
        assert list(said)[:2] == list(contract("version.response"))
        assert said["server"] == contract("version.response")["server"]
        assert said["version"].startswith("v")
        assert said["build"] == "2026.01.02.030405"
    assert call(stack.schema, routes.SCHEMA).body == contract("schema.response")
    assert call(stack.workers, routes.WORKER_QUEUES).body == contract("queues.response")
    refused = call(stack.build("workers", discovery=False), routes.WORKER_DEPLOYMENTS)
    assert refused.status == 409
    assert "Discovery is off" in refused.body["detail"]


def test_events_are_listed_as_documented_and_carry_their_job(stack: Stack) -> None:
    expected = contract("job_events.response")
    job_id = submitted(stack)
    for said in expected:
        stack.say(event(job_id, said["action"], ts=said["ts"]))
    listed = call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": job_id}).body
    by_action = {said["action"]: said for said in listed}
    for said in expected:
        got = by_action[said["action"]]
        documented = {name: got[name] for name in said}
        assert documented == said | {"jobID": job_id, "job": said["job"] | {"jobid": job_id}}
        assert [name for name in got if name in said] == list(said)


@pytest.mark.parametrize("route", [routes.USER_EVENTS, routes.USER_LOGS])
def test_a_users_events_come_from_all_jobs_and_no_other_user(stack: Stack, route: str) -> None:
    mine = [submitted(stack), submitted(stack)]
    other = submitted(stack, userid="somebody-else")
    stack.say(*(event(job_id, "JobStart", ts=time.time()) for job_id in mine))
    listed = call(stack.logs, route, parameters={"userID": USER}).body
    assert {said["jobID"] for said in listed} == set(mine)
    assert sorted(said["action"] for said in listed) == ["JobStart", "JobStart", "JobSummit", "JobSummit"]
    assert all(said["job"]["jobid"] == said["jobID"] for said in listed)
    assert other not in {said["jobID"] for said in listed}


def test_two_events_of_one_second_are_both_kept_and_one_that_comes_twice_is_kept_once(stack: Stack) -> None:
    job_id = submitted(stack)
    start, end = event(job_id, "JobStart"), event(job_id, "JobFinished")
    stack.say(start, end)
    stack.say(start)
    assert sorted(actions(stack, job_id)) == ["JobFinished", "JobStart", "JobSummit"]


def pages(stack: Stack, route: str, parameters: dict[str, str], limit: int) -> Iterator[list[dict[str, Any]]]:
    """A listing page by page, as its links lead."""
    query = {"limit": str(limit)}
    while query:
        answer = call(stack.logs, route, parameters=parameters, query=query)
        yield answer.body
        url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
        query = {name: value for name, (value,) in parse_qs(url.query).items()}


def test_links_lead_through_everything_without_loss_or_repetition(stack: Stack) -> None:
    job_id = submitted(stack)
    told = [event(job_id, f"Note{n}", ts=2_000_000_000 + n) for n in range(1_250)]
    for start in range(0, len(told), 100):
        assert stack.say(*told[start : start + 100]) == []
    found = list(pages(stack, routes.USER_LOGS, {"userID": USER}, 400))
    assert [said["action"] for page in found for said in page] == ["JobSummit", *(f"Note{n}" for n in range(1_250))]
    assert len(found) == 4


def test_what_has_expired_is_not_shown(stack: Stack) -> None:
    job_id = submitted(stack)
    for item in stack.items():
        stack.dynamodb.put_item(TableName="jobs", Item=item | {"expires": {"N": str(int(time.time()) - 1)}})
    assert call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": job_id}).status == 404
    assert call(stack.jobs, routes.JOB_STATUS, parameters={"jobID": job_id}).status == 404
    assert call(stack.logs, routes.USER_LOGS, parameters={"userID": USER}).body == []


def test_an_unreadable_event_goes_to_its_dead_letters_and_harms_no_other(stack: Stack) -> None:
    job_id = submitted(stack)
    assert stack.say("garbage", event(job_id, "JobStart"), '{"action": 1}') == []
    letters = stack.messages("events-dead")
    assert sorted(letter["Body"] for letter in letters) == ["garbage", '{"action": 1}']
    assert all(letter["MessageAttributes"]["reason"]["StringValue"] for letter in letters)
    assert "JobStart" in actions(stack, job_id)


def test_an_event_no_item_can_hold_goes_to_the_dead_letters_and_harms_no_other(stack: Stack) -> None:
    job_id = submitted(stack)
    assert stack.say(event(job_id, "JobNote", msg="x" * 500_000), event(job_id, "JobStart")) == []
    (letter,) = stack.messages("events-dead")
    assert "the limit is" in letter["MessageAttributes"]["reason"]["StringValue"]
    assert actions(stack, job_id).count("JobStart") == 1


def test_what_a_first_generation_worker_says_at_once_is_listed_behind_the_submission(stack: Stack) -> None:
    job_id = submitted(stack)
    second = int(status(stack, job_id)["createdAt"])
    stack.say(event(job_id, "JobFinished", ts=second), event(job_id, "JobStart", ts=second))
    assert actions(stack, job_id) == ["JobSummit", "JobStart", "JobFinished"]
    record = status(stack, job_id)
    assert record["createdAt"] <= record["startedAt"] <= record["endedAt"]


def test_bad_input_stores_and_sends_nothing(stack: Stack) -> None:
    answer = call(stack.submit, routes.SUBMIT, contract("job") | {"output": "nowhere", "priority": 101})
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/output", "/priority"]
    assert call(stack.submit, routes.SUBMIT, "{").status == 400
    assert call(stack.submit, routes.SUBMIT, "x" * (2 * 1024 * 1024 + 1)).status == 413
    stack.flow()
    assert stack.items() == []
    assert stack.messages("ffmpeg_job") == []


def test_a_platform_without_a_queue_is_refused_by_name(stack: Stack) -> None:
    body = contract("job")
    body["profile"]["ffmpeg"]["platform"] = "gpu"
    answer = call(stack.submit, routes.SUBMIT, body)
    assert answer.status == 409
    assert "gpu" in answer.body["detail"]
    assert stack.items() == []


def test_log_routes_refuse_where_logs_are_off() -> None:
    logs = build("logs", job_logs=False)
    answer = call(logs, routes.JOB_EVENTS, parameters={"jobID": "j"})
    assert answer.status == 409
    assert "jobLogs" in answer.body["detail"]


def test_a_first_generation_worker_drives_a_job_from_start_to_end(stack: Stack) -> None:
    job_id = submitted(stack)
    assert status(stack, job_id)["state"] == "queued"
    stack.say(event(job_id, "JobStart"))
    assert status(stack, job_id)["state"] == "running"
    stack.say(event(job_id, "JobFinished"))
    stack.say(event(job_id, "JobStart"), event(job_id, "JobFailed", ts=9))
    assert status(stack, job_id)["state"] == "finished"


def test_progress_is_on_the_record_and_the_latest_overwrites_it(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.say(event(job_id, "JobStart", ts=1_588_730_504))
    before = len(stack.items())
    for percent in (10, 30, 20):
        stack.say(event(job_id, "JobProgress", progress={"percent": percent}, tsMs=1_588_730_505_000 + percent))
    assert len(stack.items()) == before
    assert status(stack, job_id)["progress"]["percent"] == 30
    assert actions(stack, job_id) == ["JobStart", "JobProgress", "JobSummit"]  # the worker's clock is years behind
    pages_of_one = list(pages(stack, routes.JOB_EVENTS, {"jobID": job_id}, 1))
    assert [len(page) for page in pages_of_one] == [1, 1]


def test_one_worker_holds_a_claim_and_only_its_word_counts(stack: Stack) -> None:
    job_id = submitted(stack)
    claims = Claims("jobs", lease_seconds=60)
    assert claims.claim(job_id, "w1") == Claim(1)
    refusal = claims.claim(job_id, "w2")
    assert isinstance(refusal, Refusal)
    assert not refusal.lost
    stack.say(event(job_id, "JobFinished"), event(job_id, "JobFailed", attempt=7))
    assert status(stack, job_id)["state"] == "running"
    assert claims.renew(job_id, 1) is None
    stack.say(event(job_id, "JobFinished", attempt=1, result={"outputs": [{"uri": "s3://b/k", "bytes": 1}]}))
    assert status(stack, job_id)["outputs"] == [{"uri": "s3://b/k", "bytes": 1}]
    assert claims.renew(job_id, 1) is not None


def test_a_job_given_back_unharmed_can_be_claimed_at_once(stack: Stack) -> None:
    job_id = submitted(stack)
    claims = Claims("jobs", lease_seconds=60)
    for attempt in range(1, 8):
        assert claims.claim(job_id, "w") == Claim(attempt)
        claims.release(job_id, attempt)
    assert status(stack, job_id)["state"] == "queued"


def test_a_poison_job_ends_failed_after_a_bounded_number_of_attempts(stack: Stack) -> None:
    job_id = submitted(stack)
    claims = Claims("jobs", lease_seconds=-1)
    for attempt in (1, 2, 3):
        assert claims.claim(job_id, "w") == Claim(attempt)
        refusal = claims.claim(job_id, "w2")
        assert isinstance(refusal, Refusal)
        assert refusal.lost
        stack.say(event(job_id, "JobLost", attempt=attempt, tsMs=attempt))
    ended = status(stack, job_id)
    assert ended["state"] == "failed"
    assert ended["error"]["code"] == "attempts-exhausted"
    assert actions(stack, job_id).count("JobFailed") == 1


def test_a_worker_that_still_renews_is_not_lost(stack: Stack) -> None:
    job_id = submitted(stack)
    Claims("jobs", lease_seconds=60).claim(job_id, "w")
    stack.say(event(job_id, "JobLost", attempt=1))
    assert status(stack, job_id)["state"] == "running"


def test_cancel_and_retry(stack: Stack) -> None:
    job_id = submitted(stack)
    claims = Claims("jobs", lease_seconds=60)
    claims.claim(job_id, "w")
    answer = call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id})
    assert (answer.status, answer.body["state"]) == (202, "cancelled")
    assert claims.renew(job_id, 1) == "cancelled"
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id}).status == 409
    stack.flow()
    stack.messages("ffmpeg_job")
    answer = call(stack.jobs, routes.RETRY, parameters={"jobID": job_id})
    assert (answer.status, answer.body["state"]) == (202, "queued")
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 409
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 1
    assert claims.claim(job_id, "w") == Claim(2)
    assert actions(stack, job_id) == ["JobSummit", "JobCancelled", "JobRetried"]
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": "none"}).status == 404


def test_all_failed_jobs_of_a_user_are_retried(stack: Stack) -> None:
    failed = [submitted(stack) for _ in range(5)]
    running = submitted(stack)
    other = submitted(stack, userid="somebody-else")
    stack.say(*(event(job_id, "JobFailed") for job_id in (*failed, other)), event(running, "JobStart"))
    answer = call(stack.jobs, routes.RETRY_FAILED, {"userID": USER})
    assert (answer.status, answer.body) == (202, {"retried": 5})
    assert {status(stack, job_id)["state"] for job_id in failed} == {"queued"}
    assert status(stack, other)["state"] == "failed"


def test_records_are_listed_newest_first_and_filtered(stack: Stack) -> None:
    ids = [submitted(stack) for _ in range(7)]
    stack.say(event(ids[2], "JobFailed"), event(ids[5], "JobFailed"))
    failed = call(stack.jobs, routes.JOBS, query={"userID": USER, "state": "failed"}).body
    assert {record["jobID"] for record in failed} == {ids[2], ids[5]}
    seen: list[str] = []
    query = {"userID": USER, "limit": "3"}
    while True:
        answer = call(stack.jobs, routes.JOBS, query=query)
        seen += [record["jobID"] for record in answer.body]
        if "Link" not in answer.headers:
            break
        link = answer.headers["Link"]
        query = {name: value[0] for name, value in parse_qs(urlsplit(link[1 : link.index(">")]).query).items()}
    assert sorted(seen) == sorted(ids)
    assert call(stack.jobs, routes.JOBS).status == 400
    beside_batch = call(stack.jobs, routes.JOBS, query={"batchID": "b"})
    assert beside_batch.status == 400
    assert "userID is required beside batchID" in beside_batch.body["detail"]
    assert call(stack.jobs, routes.JOBS, query={"userID": USER, "state": "lost"}).status == 400


def test_an_idempotency_key_makes_its_jobs_once(stack: Stack) -> None:
    key = {"Idempotency-Key": "k1"}
    first = call(stack.submit, routes.SUBMIT, contract("job_batch"), headers=key)
    assert call(stack.submit, routes.SUBMIT, contract("job_batch"), headers=key).body == first.body
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 3
    assert call(stack.submit, routes.SUBMIT, contract("job"), headers=key).status == 422
    theirs = call(stack.submit, routes.SUBMIT, contract("job_batch") | {"userid": "other"}, headers=key)
    assert {entry["jobid"] for entry in theirs.body}.isdisjoint({entry["jobid"] for entry in first.body})
    assert call(stack.submit, routes.SUBMIT, contract("job"), headers={"idempotency-key": "é"}).status == 400


def test_a_key_that_was_forgotten_makes_other_jobs(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"Idempotency-Key": "k1"}
    (first,) = call(stack.submit, routes.SUBMIT, contract("job"), headers=key).body
    stack.say(event(first["jobid"], "JobFailed"))
    pass_time(monkeypatch, 86_400 + 2)  # the retention of keys is a day, the jobs' a week
    (second,) = call(stack.submit, routes.SUBMIT, contract("job"), headers=key).body
    assert second["jobid"] != first["jobid"]
    assert (status(stack, first["jobid"])["state"], status(stack, second["jobid"])["state"]) == ("failed", "queued")
    assert call(stack.submit, routes.SUBMIT, contract("job"), headers=key).body == [second]


def test_a_first_generation_workers_reason_is_kept(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.say(event(job_id, "JobFailed", msg="codec not found"))
    assert status(stack, job_id)["error"] == {"code": "worker-failed", "message": "codec not found", "log": []}


def test_a_score_is_kept_on_the_record(stack: Stack) -> None:
    job_id = call(stack.vmaf, routes.SUBMIT_VMAF, contract("vmaf")).body["jobid"]
    vmaf = {"mean": 93.1, "harmonicMean": 92.8, "min": 71.0, "p5": 84.2, "model": "vmaf_v0.6.1", "frames": 250}
    quality = {"vmaf": vmaf, "psnr": {"mean": 41.2}, "passed": True}
    stack.say(event(job_id, "JobFinished", result={"outputs": [], "quality": quality}))
    record = status(stack, job_id)
    assert (record["state"], record["kind"], record["quality"]) == ("finished", "vmaf", quality)


def test_the_events_of_no_job_are_404_from_any_cursor(stack: Stack) -> None:
    after = {"after": "log#" + "0" * 14 + "#5#x"}
    assert call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": "none"}, query=after).status == 404
    job_id = submitted(stack)
    last = {"after": "log#" + "9" * 14 + "#5#x"}
    assert call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": job_id}, query=last).body == []


def test_large_events_come_on_pages_a_function_may_answer_and_none_is_left_out(stack: Stack) -> None:
    job_id = submitted(stack)
    stack.say(*(event(job_id, f"Note{n}", msg="x" * 80_000, tsMs=10**12 + n) for n in range(100)))
    found = list(pages(stack, routes.JOB_EVENTS, {"jobID": job_id}, 1000))
    assert max(len(json.dumps(page)) for page in found) < 5_000_000
    seen = [said["action"] for page in found for said in page]
    assert sorted(seen) == sorted(["JobSummit", *(f"Note{n}" for n in range(100))])


def test_a_page_that_takes_long_to_fill_comes_as_it_is_and_none_is_left_out(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_PAGE_SECONDS", -1.0)
    body = contract("job_batch") | {"batchInputs": [f"s3://media/{n}.mp4" for n in range(230)]}
    made = [entry["jobid"] for entry in call(stack.submit, routes.SUBMIT, body).body]
    query, found, pages = {"userID": USER, "limit": "200"}, [], 0
    while query:
        answer = call(stack.jobs, routes.JOBS, query=query)
        found += [record["jobID"] for record in answer.body]
        pages += 1
        url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert sorted(found) == sorted(made)
    assert pages == 3
    wanted = made[::50]
    stack.say(*(event(job_id, "JobFailed") for job_id in wanted))
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": USER}).body == {"retried": len(wanted)}
