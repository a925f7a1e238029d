"""Plans and budgets, from a request to the job that carries the plan out."""

import json
import time
from typing import Any

import msgspec
import pytest

from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.items import new_events
from elasticrecode.jobs.job import Job, budget_seconds
from elasticrecode.jobs.streams import FEED
from tests.aws.test_path import event, status
from tests.conftest import contract
from tests.fakes.stack import Stack, selected
from tests.support import Answer, call

BODY = contract("job")
CRF = BODY["profile"]["ffmpeg"] | {"quality": {"crf": 23}}
del CRF["bitrate"]
QUALITY = BODY | {"profile": {"ffmpeg": CRF}}
RUNG = {"width": 1280, "height": 720, "codec": "h264", "bitrate": 2_000_000, "predictedVmaf": 93.2, "bytes": 9_000_000}
PLANNED: dict[str, Any] = {
    "rungs": [RUNG],
    "seconds": 1800.0,
    "basis": {
        "etag": '"abc"',
        "inputBytes": 5,
        "inputSeconds": 36.0,
        "windows": [{"start": 2.0, "seconds": 2.0}],
        "probes": [{"width": 1280, "height": 720, "crf": 23.0, "bitrate": 2_000_000, "vmaf": 93.2, "cpuSeconds": 1.5}],
        "cores": 2,
        "probeSeconds": 11.0,
    },
}


def planned(stack: Stack, body: Any = BODY, **headers: str) -> str:
    answer = call(stack.plans, routes.SUBMIT_PLAN, body, headers=headers)
    assert answer.status == 202, answer
    assert answer.body["state"] == "queued"
    plan_id: str = answer.body["planID"]
    return plan_id


def shown(stack: Stack, plan_id: str) -> Answer:
    return call(stack.plans, routes.PLAN, parameters={"planID": plan_id})


def finished(stack: Stack, body: Any = BODY, **changes: Any) -> str:
    plan_id = planned(stack, body)
    claim = Claims("jobs", 600).claim(plan_id, "w")
    assert isinstance(claim, Claim)
    said = event(plan_id, "JobFinished", attempt=claim.attempt, result={"outputs": [], "plan": PLANNED | changes})
    assert stack.say(said) == []
    return plan_id


def by_plan(stack: Stack, plan_id: str, **more: Any) -> Answer:
    return call(stack.submit, routes.SUBMIT, {"userid": BODY["userid"], "plan": plan_id} | more)


def sent(stack: Stack) -> Job:
    stack.flow()
    (message,) = stack.messages("ffmpeg_job")
    return msgspec.json.decode(message["Body"], type=Job)


def test_a_plan_goes_to_cpu_workers_and_answers_what_its_worker_has_planned(stack: Stack) -> None:
    plan_id = finished(stack)
    job = sent(stack)
    assert (job.jobid, job.kind, job.planning, job.price) == (plan_id, "plan", True, 0.1785)
    answer = shown(stack, plan_id)
    assert answer.status == 200
    record = answer.body
    assert (record["planID"], record["state"], record["userID"]) == (plan_id, "finished", BODY["userid"])
    assert {name: record[name] for name in PLANNED} == PLANNED | {"basis": record["basis"]}
    assert record["basis"] == PLANNED["basis"] | {"model": None, "comparedAt": None}
    assert record["dollars"] == pytest.approx(1800 / 3600 * 0.1785)


def test_the_price_of_a_plan_is_that_of_its_price_model(stack: Stack) -> None:
    plan_id = finished(stack, BODY | {"profile": BODY["profile"] | {"ec2": {"priceModel": "spot"}}})
    assert shown(stack, plan_id).body["dollars"] == pytest.approx(1800 / 3600 * 0.071)


def test_a_plan_that_has_not_finished_answers_its_state_and_no_figures(stack: Stack) -> None:
    record = shown(stack, planned(stack)).body
    assert record["state"] == "queued"
    assert [record[name] for name in ("rungs", "seconds", "dollars", "basis", "error")] == [None] * 5


def test_lists_events_and_watchers_show_no_plan(stack: Stack) -> None:
    plan_id = finished(stack)
    for kind in ("", "&kind=ffmpeg", "&state=finished", "&state=queued"):
        query = dict(each.split("=") for each in f"userID={BODY['userid']}{kind}".split("&"))
        assert call(stack.jobs, routes.JOBS, query=query).body == []
    assert call(stack.logs, routes.USER_EVENTS, parameters={"userID": BODY["userid"]}).body == []
    assert call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": plan_id}).body == []
    assert [item["item"]["S"] for item in stack.items()] == ["job"]
    changes = selected(stack.changes(), FEED)
    assert changes
    assert [new_events(change) for change in changes] == [[]] * len(changes)


def test_a_plan_is_cancelled_and_retried_by_the_code_of_jobs(stack: Stack) -> None:
    plan_id = finished(stack)
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": plan_id}).status == 409
    other = planned(stack)
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": other}).status == 202
    assert shown(stack, other).body["state"] == "cancelled"
    refused = by_plan(stack, other)
    assert (refused.status, "The plan is cancelled" in refused.body["detail"]) == (409, True)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": other}).status == 202
    assert shown(stack, other).body["state"] == "queued"


def test_a_key_makes_one_plan(stack: Stack) -> None:
    key = {"Idempotency-Key": "k"}
    assert planned(stack, **key) == planned(stack, **key)
    assert planned(stack, **key) != planned(stack)
    assert planned(stack, **key).startswith("plan-")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (BODY | {"profile": {"audio": {}}}, "/profile/audio"),
        (BODY | {"batchInputs": ["s3://a/b.mp4"]}, "/batchInputs"),
        (BODY | {"profile": {"ffmpeg": BODY["profile"]["ffmpeg"] | {"platform": "gpu"}}}, "/profile/ffmpeg/platform"),
        (BODY | {"output": "no prefix"}, "/output"),
        (BODY | {"plan": "plan-1"}, "/plan"),
    ],
)
def test_a_job_that_cannot_be_planned_is_refused_with_the_field(stack: Stack, body: Any, pointer: str) -> None:
    answer = call(stack.plans, routes.SUBMIT_PLAN, body)
    assert (answer.status, [fault["pointer"] for fault in answer.body["errors"]]) == (422, [pointer])
    assert stack.items() == []


def test_a_job_by_plan_encodes_the_plans_input_with_its_profile_and_factor(stack: Stack) -> None:
    plan_id = finished(stack, BODY | {"profile": {"ffmpeg": CRF | {"quality": {"vmaf": 93}}}, "priority": 7}, crf=27.4)
    sent(stack)
    answer = by_plan(stack, plan_id)
    assert answer.status == 200, answer
    job = sent(stack)
    assert (job.jobid, job.kind, job.planning) == (answer.body[0]["jobid"], "ffmpeg", msgspec.UNSET)
    assert (job.input, job.output, job.priority) == (BODY["input"], BODY["output"], 7)
    assert job.plan
    assert (job.plan.planID, job.plan.etag) == (plan_id, '"abc"')
    assert job.profile.ffmpeg
    assert msgspec.to_builtins(job.profile.ffmpeg.quality) == {"crf": 27.4}
    assert status(stack, job.jobid)["plan"] == plan_id
    assert (job.budget, job.price) == (msgspec.UNSET, msgspec.UNSET)
    record = shown(stack, plan_id).body
    assert record["profile"] == msgspec.to_builtins(job.profile)


def test_a_job_by_plan_gets_the_ladder_that_the_plan_has_chosen(stack: Stack) -> None:
    ladder = [
        {"scale": "720p", "bitrate": "2M", "codec": "h264"},
        {"scale": "360p", "bitrate": "600K", "codec": "h264"},
    ]
    plan_id = finished(stack, BODY | {"profile": {"package": {"ladder": "h264"}}}, ladder=ladder)
    sent(stack)
    assert by_plan(stack, plan_id, output="s3://media/other/", priority=3).status == 200
    job = sent(stack)
    assert (job.output, job.priority) == ("s3://media/other/", 3)
    assert job.profile.package
    assert msgspec.to_builtins(job.profile.package.ladder) == ladder


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"profile": BODY["profile"]}, "/profile"),
        ({"batchInputs": [BODY["input"]]}, "/batchInputs"),
        ({"input": "s3://other/film.mp4"}, "/input"),
        ({"budget": {"seconds": 1799}}, "/budget/seconds"),
        ({"budget": {"dollars": 0.0892}}, "/budget/dollars"),
        ({"budget": {}}, "/budget"),
    ],
)
def test_what_contradicts_the_plan_is_refused_and_nothing_is_stored(
    stack: Stack, more: dict[str, Any], pointer: str
) -> None:
    plan_id = finished(stack)
    before = len(stack.items())
    answer = by_plan(stack, plan_id, **more)
    assert (answer.status, [fault["pointer"] for fault in answer.body["errors"]]) == (422, [pointer]), answer
    assert len(stack.items()) == before


@pytest.mark.parametrize("more", [{"userid": "somebody-else"}, {"plan": "plan-none"}])
def test_a_plan_that_is_not_there_or_anothers_cannot_be_carried_out(stack: Stack, more: dict[str, Any]) -> None:
    plan_id = finished(stack)
    before = len(stack.items())
    answer = by_plan(stack, plan_id, **more)
    assert (answer.status, answer.body["detail"][:16]) == (409, "There is no plan"), answer
    assert len(stack.items()) == before


def test_the_same_input_may_stand_beside_the_plan_and_a_budget_that_suffices(stack: Stack) -> None:
    plan_id = finished(stack)
    sent(stack)
    answer = by_plan(stack, plan_id, input=BODY["input"], budget={"seconds": 1800, "dollars": 0.0893})
    assert answer.status == 200, answer
    job = sent(stack)
    assert budget_seconds(job) == pytest.approx(1800)
    assert status(stack, job.jobid)["budget"] == {"seconds": 1800, "dollars": 0.0893}


def test_a_plan_keeps_its_budget_for_the_job(stack: Stack) -> None:
    plan_id = finished(stack, BODY | {"budget": {"seconds": 5}})
    assert by_plan(stack, plan_id).body["errors"][0]["pointer"] == "/budget/seconds"
    assert by_plan(stack, plan_id, budget={"seconds": 3600}).status == 200


@pytest.mark.parametrize("budget", [{"dollars": 0}, {"seconds": -1}, {}, {"euros": 5}, 7])
def test_a_budget_that_is_none_is_refused(stack: Stack, budget: Any) -> None:
    answer = call(stack.submit, routes.SUBMIT, BODY | {"budget": budget})
    assert answer.status == 422
    assert answer.body["errors"][0]["pointer"].startswith("/budget")


def test_a_budget_in_dollars_becomes_seconds_by_the_price_of_its_workers(stack: Stack) -> None:
    assert call(stack.submit, routes.SUBMIT, BODY | {"budget": {"dollars": 0.357}}).status == 200
    assert budget_seconds(sent(stack)) == pytest.approx(7200)
    spot = BODY["profile"] | {"ec2": {"priceModel": "spot"}}
    assert call(stack.submit, routes.SUBMIT, BODY | {"profile": spot, "budget": {"dollars": 0.355}}).status == 200
    assert budget_seconds(sent(stack)) == pytest.approx(18_000)


@pytest.mark.parametrize(("model", "price"), [("normal", 0.1785), ("spot", 0.071)])
def test_a_job_shows_what_its_workers_have_cost(stack: Stack, model: str, price: float) -> None:
    profile = BODY["profile"] | {"ec2": {"priceModel": model}}
    job_id = call(stack.submit, routes.SUBMIT, BODY | {"profile": profile}).body[0]["jobid"]
    assert status(stack, job_id)["dollars"] is None
    assert isinstance(Claims("jobs", 600).claim(job_id, "w1"), Claim)
    time.sleep(0.1)
    assert call(stack.jobs, routes.CANCEL, None, {"jobID": job_id}).status == 202
    record = status(stack, job_id)
    assert record["dollars"] == round((record["endedAt"] - record["startedAt"]) / 3600 * price, 6) > 0


def test_the_time_spent_survives_the_attempt_and_a_retry_begins_anew(stack: Stack) -> None:
    answer = call(stack.submit, routes.SUBMIT, BODY | {"budget": {"seconds": 60}})
    job_id, claims = answer.body[0]["jobid"], Claims("jobs", 600)
    first = claims.claim(job_id, "w1")
    assert isinstance(first, Claim)
    assert first.spent_ms == 0
    assert claims.renew(job_id, first.attempt, spent_ms=41_000) is None
    assert claims.release(job_id, first.attempt)
    second = claims.claim(job_id, "w2")
    assert isinstance(second, Claim)
    assert second.spent_ms == 41_000
    failure = {"code": "budget-exceeded", "message": "m"}
    assert stack.say(event(job_id, "JobFailed", attempt=second.attempt, error=failure)) == []
    assert status(stack, job_id)["error"]["code"] == "budget-exceeded"
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202
    third = claims.claim(job_id, "w3")
    assert isinstance(third, Claim)
    assert third.spent_ms == 0


def test_the_message_of_a_job_without_plan_and_budget_is_as_before(stack: Stack) -> None:
    assert call(stack.submit, routes.SUBMIT, QUALITY).status == 200
    stack.flow()
    (message,) = stack.messages("ffmpeg_job")
    assert {"planning", "plan", "budget", "price"}.isdisjoint(json.loads(message["Body"]))
