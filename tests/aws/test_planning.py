"""A plan and the job that carries it out, as workers run them: predicted against real figures."""

from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from elasticrecode.clock import now_ms
from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim
from elasticrecode.jobs.job import Budget
from elasticrecode.jobs.lifecycle import State
from elasticrecode.jobs.record import Division
from elasticrecode.media.profiles import bits
from elasticrecode.parts.part import PartJob, StoredPart
from tests.aws.test_beside import run
from tests.aws.test_plans import by_plan, planned, shown
from tests.aws.test_publication import OUT, Attempt, record, s3_as_it_is
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.media.case import BUNNY, FFMPEG, SETTINGS, ffmpeg
from tests.support import call
from worker.errors import PermanentError
from worker.lease import Lease
from worker.pipeline import run_job
from worker.sandbox.runner import Runner
from worker.spending import Spending
from worker.storage import Storage

__all__ = ["s3_as_it_is"]

INPUT = "s3://media/in/film.mp4"
SCORE = {"scale": "720p", "subsample": 3}


def body(profile: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole: dict[str, Any] = contract("job") | {"input": INPUT, "output": OUT, "profile": profile} | more
    return whole


@pytest.fixture(autouse=True)
def film(stack: Stack) -> None:
    stack.s3.upload_file(str(BUNNY), "media", "in/film.mp4")


def plan(stack: Stack, profile: dict[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """A plan that a worker has made: its id and its record."""
    plan_id = planned(stack, body(profile))
    run(stack, plan_id, folder)
    return plan_id, shown(stack, plan_id).body


def carried_out(stack: Stack, plan_id: str, folder: Path) -> dict[str, Any]:
    answer = by_plan(stack, plan_id)
    assert answer.status == 200, answer
    return run(stack, answer.body[0]["jobid"], folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rate", [{"quality": {"vmaf": 91}}, {"quality": {"crf": 26}}, {"bitrate": "1200K"}])
def test_a_job_by_plan_has_the_bytes_and_the_quality_that_the_plan_predicts(
    stack: Stack, tmp_path: Path, rate: dict[str, Any]
) -> None:
    encode = {"codec": "h264", "scale": "720p", "speed": "fast", "fit": "contain", **rate}
    plan_id, predicted = plan(stack, {"ffmpeg": encode, "vmaf": SCORE}, tmp_path)
    assert predicted["state"] == "finished", predicted
    (rung,) = predicted["rungs"]
    assert (rung["width"], rung["height"], rung["codec"]) == (1280, 720, "h264")
    assert predicted["basis"]["probeSeconds"] < 60
    assert sum(each["seconds"] for each in predicted["basis"]["windows"]) == pytest.approx(5.28, abs=0.1)
    assert not stack.s3.list_objects_v2(Bucket="media", Prefix="out/").get("Contents")
    done = carried_out(stack, plan_id, tmp_path)
    assert done["state"] == "finished", done
    (output,) = (each for each in done["outputs"] if each["role"] == "file")
    assert rung["bytes"] == pytest.approx(output["bytes"], rel=0.08)
    # One pass at a constant rate reaches less in so short a film than one quality for all of it.
    assert rung["predictedVmaf"] == pytest.approx(done["quality"]["vmaf"]["mean"], abs=2 if "bitrate" in rate else 1)
    assert predicted["basis"]["model"] == "vmaf_v0.6.1"
    if "vmaf" in rate.get("quality", {}):
        assert rung["predictedVmaf"] == pytest.approx(91, abs=0.5)
        assert predicted["profile"]["ffmpeg"]["quality"].keys() == {"crf"}


@pytest.mark.timeout(600)
def test_a_plan_of_a_package_has_all_rungs(stack: Stack, tmp_path: Path) -> None:
    ladder = [{"scale": "480p", "bitrate": "900K"}, {"scale": "240p", "bitrate": "300K"}]
    _, predicted = plan(stack, {"package": {"ladder": ladder, "speed": "fast"}}, tmp_path)
    first, second = predicted["rungs"]
    assert [(each["width"], each["height"]) for each in predicted["rungs"]] == [(800, 450), (480, 270)]
    assert [each["bitrate"] for each in predicted["rungs"]] == [900_000, 300_000]
    assert 100 > first["predictedVmaf"] > second["predictedVmaf"] + 5
    assert first["bytes"] == pytest.approx(900_000 * 5.28 / 8, rel=0.03)
    assert predicted["seconds"] > 0
    assert predicted["profile"]["package"]["ladder"][0]["bitrate"] == "900K"


@pytest.mark.timeout(600)
def test_a_job_by_plan_has_the_ladder_that_the_plan_has_found_for_the_title(stack: Stack, tmp_path: Path) -> None:
    request = {"package": {"ladder": "auto", "speed": "fast", "auto": {"topVmaf": 80}}}
    plan_id, predicted = plan(stack, request, tmp_path)
    assert predicted["state"] == "finished", predicted
    ladder = predicted["profile"]["package"]["ladder"]
    assert [rung["bitrate"] for rung in predicted["rungs"]] == [bits(rung["bitrate"]) for rung in ladder]
    assert "auto" not in predicted["profile"]["package"]
    assert predicted["basis"]["probeSeconds"] < 60
    answer = by_plan(stack, plan_id)
    assert answer.status == 200, answer
    assert record(stack, answer.body[0]["jobid"])["profile"] == predicted["profile"]


def test_a_job_by_plan_whose_input_has_been_replaced_fails_and_says_so(stack: Stack, tmp_path: Path) -> None:
    encode = {"codec": "h264", "scale": "240p", "speed": "fast", "quality": {"crf": 35}}
    plan_id, _ = plan(stack, {"ffmpeg": encode}, tmp_path)
    stack.s3.put_object(Bucket="media", Key="in/film.mp4", Body=BUNNY.read_bytes() + b"\0")
    job_id = by_plan(stack, plan_id).body[0]["jobid"]
    attempt = Attempt(stack, job_id, tmp_path, b"")
    assert attempt.job.plan
    storage = Storage(lambda: attempt.s3).pinned(attempt.job.input, attempt.job.plan.etag)
    with pytest.raises(PermanentError) as failed:
        run_job(attempt.job, SETTINGS, storage, attempt.runner, lambda _: None, attempt.publication)
    assert failed.value.failure.code == "plan-outdated"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("container", ["avi", "flv"])
def test_a_film_without_an_index_is_planned_on_a_copy_of_its_pictures(
    stack: Stack, tmp_path: Path, container: str
) -> None:
    coded = ["-c:v", "mpeg4", "-q:v", 4, "-c:a", "libmp3lame"] if container == "avi" else ["-c", "copy"]
    source = ffmpeg(tmp_path, f"film.{container}", "-i", BUNNY, *coded)
    stack.s3.upload_file(str(source), "media", "in/film.mp4")
    encode = {"codec": "h264", "scale": "480p", "speed": "fast", "quality": {"vmaf": 90}}
    plan_id, predicted = plan(stack, {"ffmpeg": encode}, tmp_path)
    assert predicted["state"] == "finished", predicted
    assert predicted["basis"]["inputBytes"] == source.stat().st_size
    done = carried_out(stack, plan_id, tmp_path)
    assert done["state"] == "finished", done
    (output,) = (each for each in done["outputs"] if each["role"] == "file")
    (rung,) = predicted["rungs"]
    assert rung["bytes"] == pytest.approx(output["bytes"], rel=0.12)
    assert not list(tmp_path.glob("**/pictures.mkv"))


def test_a_film_whose_pictures_cannot_be_cut_has_no_plan_and_says_why(stack: Stack, tmp_path: Path) -> None:
    options = ("-t", 4, "-i", BUNNY, "-an", "-vf", "scale=320:180", "-c:v", "libx264", "-g", 25)
    source = ffmpeg(tmp_path, "clip.mp4", *options, "-x264-params", "intra-refresh=1:ref=1:bframes=0")
    stack.s3.upload_file(str(source), "media", "in/film.mp4")
    plan_id = planned(stack, body({"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M"}}))
    with pytest.raises(PermanentError) as failed:
        run(stack, plan_id, tmp_path)
    assert failed.value.failure.code == "plan-impossible"
    assert "nor can a copy" in failed.value.failure.message


def test_a_plan_of_what_is_no_film_says_so(stack: Stack, tmp_path: Path) -> None:
    stack.s3.put_object(Bucket="media", Key="in/film.mp4", Body=b"FLV\x01\x05\0\0\0\x09" + bytes(5000))
    plan_id = planned(stack, body({"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M"}}))
    with pytest.raises(PermanentError) as failed:
        run(stack, plan_id, tmp_path)
    assert failed.value.failure.code in ("input-no-video", "input-corrupt", "input-not-video")


def spending(
    stack: Stack, folder: Path, seconds: float, runner: Runner, spent: float = 0.0, division: Division | None = None
) -> Spending:
    request = body(contract("job")["profile"], budget={"seconds": 100})
    attempt = Attempt(stack, call(stack.submit, routes.SUBMIT, request).body[0]["jobid"], folder, b"")
    job = structs.replace(attempt.job, budget=Budget(seconds=seconds))
    lease = Lease(stack.sqs, stack.queue["ffmpeg_job"], "receipt", 6.0, runner)
    claim = Claim(attempt.claim.attempt, spent_ms=int(1000 * spent), division=division)
    return Spending(job, claim, "w", 6.0, lease, runner)


def encoded(runner: Runner, folder: Path) -> None:
    """Encode without an end."""
    source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "null", "-"]
    runner.run([FFMPEG, "-nostdin", "-v", "error", *source], folder, folder / "log", seconds=60)


@pytest.mark.alone
@pytest.mark.parametrize("before", [0.0, 98.0])
def test_a_job_is_stopped_before_it_passes_its_budget(stack: Stack, tmp_path: Path, before: float) -> None:
    runner = Runner()
    budget = spending(stack, tmp_path, before + 2.5, runner, before)
    with budget, pytest.raises(PermanentError) as failed:
        encoded(runner, tmp_path)
    assert failed.value.failure.code == "budget-exceeded"
    assert before + 1.5 < budget.seconds() < before + 2.5


def test_a_job_within_its_budget_is_not_stopped(stack: Stack, tmp_path: Path) -> None:
    runner = Runner()
    with spending(stack, tmp_path, 60, runner):
        runner.run([FFMPEG, "-version"], tmp_path, tmp_path / "log", seconds=10)
    runner.check()


def held(worker: str, since_ms: int, until_ms: int | None = None) -> StoredPart:
    """A part that a worker holds, or has finished."""
    state: State = "running" if until_ms is None else "finished"
    lease = None if until_ms else now_ms() + 60_000
    job = cast(PartJob, None)
    return StoredPart(job, state, 1, worker, lease, since_ms, since_ms, until_ms, None, None, None)


@pytest.mark.alone
def test_the_parts_of_other_workers_count_and_those_of_the_holder_count_once(stack: Stack, tmp_path: Path) -> None:
    runner = Runner()
    budget, now = spending(stack, tmp_path, 60, runner), now_ms()
    budget.parts = lambda: [held("other", now - 10_000), held("third", now - 9_000, now - 4_000), held("w", now)]
    assert 15 < budget.seconds() < 17
    budget, now = spending(stack, tmp_path, 20, runner), now_ms()
    budget.parts = lambda: [held("other", now - 10_000), held("third", now - 9_000, now - 4_000), held("w", now)]
    with budget, pytest.raises(PermanentError) as failed:
        encoded(runner, tmp_path)
    assert failed.value.failure.code == "budget-exceeded"
    assert budget.seconds() < 20


def test_a_later_attempt_does_not_count_again_what_the_record_has(stack: Stack, tmp_path: Path) -> None:
    division = Division(parts=2, kind="chunk", estimatedSeconds=9.0, reason="", attempt=1)
    budget, now = spending(stack, tmp_path, 60, Runner(), 30.0, division), now_ms()
    parts = [held("other", now - 10_000)]
    budget.parts = lambda: parts
    assert 30 <= budget.seconds() < 32
    parts.append(held("third", now - 6_000, now - 1_000))
    assert 35 <= budget.seconds() < 37
