"""Plans and budgets on the deployed stack: predicted before, and the job that carries it out, by a real worker."""

from typing import Any

import pytest

from tests.conftest import Tell, contract
from tests.e2e.conftest import STALL_SECONDS, Deployed, wait_for
from tests.e2e.test_deployed import BUNNY, Clips, encoders

pytestmark = pytest.mark.timeout(900)
"""The first test of all waits for the stack, too."""
ENCODE = {"codec": "h264", "scale": "720p", "fit": "contain", "speed": "fast", "quality": {"vmaf": 92}}
SCORE = {"scale": "720p", "subsample": 3}


@pytest.fixture(scope="module")
def film(deployed: Deployed, clips: Clips) -> str:
    """A clip of 21 s."""
    return deployed.put(clips("plan.mp4", "-stream_loop", "3", "-i", str(BUNNY), "-c", "copy"), "plans/film.mp4")


def body(deployed: Deployed, film: str, **profile: Any) -> dict[str, Any]:
    whole: dict[str, Any] = contract("job") | {"input": film, "output": f"s3://{deployed.bucket}/planned/"}
    return whole | {"profile": profile}


def test_a_job_by_plan_makes_what_the_plan_predicts(deployed: Deployed, film: str, tell: Tell) -> None:
    status, taken, _ = deployed.call("POST", "/api/v1/plans", body(deployed, film, ffmpeg=ENCODE, vmaf=SCORE))
    assert status == 202, taken
    path = f"/api/v1/plans/{taken['planID']}"
    plan = wait_for(
        lambda: (seen := deployed.call("GET", path)[1])["state"] in ("finished", "failed") and seen, "the plan"
    )
    assert plan["state"] == "finished", plan
    (rung,) = plan["rungs"]
    assert plan["basis"]["probeSeconds"] < 60
    assert plan["dollars"] == pytest.approx(plan["seconds"] / 3600 * 0.1785, rel=0.01)
    assert deployed.keys("planned/") == []
    user = contract("job")["userid"]
    assert taken["planID"] not in {each["jobID"] for each in deployed.call("GET", f"/api/v1/jobs?userID={user}")[1]}

    refused = deployed.call("POST", "/api/v1/jobs", {"userid": user, "plan": taken["planID"], "budget": {"seconds": 1}})
    assert (refused[0], refused[1]["errors"][0]["pointer"]) == (422, "/budget/seconds")
    budget = {"seconds": 20 * plan["seconds"]}
    status, jobs, _ = deployed.call("POST", "/api/v1/jobs", {"userid": user, "plan": taken["planID"], "budget": budget})
    assert status == 200, jobs
    record = deployed.until(jobs[0]["jobid"], "finished", "failed")
    assert record["state"] == "finished", record
    assert (record["plan"], record["profile"]) == (taken["planID"], plan["profile"])
    (output,) = (each for each in record["outputs"] if each["role"] == "file")
    mean, seconds = record["quality"]["vmaf"]["mean"], record["endedAt"] - record["startedAt"]
    tell("a plan, predicted", {"bytes": rung["bytes"], "VMAF × 100": round(100 * rung["predictedVmaf"])})
    tell("a plan, real", {"bytes": output["bytes"], "VMAF × 100": round(100 * mean)})
    times = {"predicted": plan["seconds"], "real": seconds, "probes": plan["basis"]["probeSeconds"]}
    tell("a plan, milliseconds", {name: round(1000 * time) for name, time in times.items()})
    assert rung["bytes"] == pytest.approx(output["bytes"], rel=0.06)
    assert rung["predictedVmaf"] == pytest.approx(mean, abs=1)


def test_a_running_job_is_stopped_before_it_passes_its_budget(deployed: Deployed, film: str) -> None:
    request = body(deployed, film, ffmpeg=ENCODE | {"speed": "slow", "scale": "1080p", "fit": "exact"})
    request["profile"]["ffmpeg"]["quality"] = {"crf": 20}
    request |= {"output": f"s3://{deployed.bucket}/overspent/", "budget": {"seconds": 4}}
    status, jobs, _ = deployed.call("POST", "/api/v1/jobs", request)
    assert status == 200, jobs
    record = deployed.until(jobs[0]["jobid"], "finished", "failed")
    assert (record["state"], record["error"]["code"]) == ("failed", "budget-exceeded")
    assert record["endedAt"] - record["startedAt"] < 4 + 1 + STALL_SECONDS
    wait_for(lambda: encoders(deployed) == 0, "the encoder's end")
    assert deployed.keys("overspent/") == []
