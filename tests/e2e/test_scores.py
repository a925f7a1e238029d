"""Quality scores on the deployed stack, by a real worker with real libvmaf."""

import json
from typing import Any

import pytest

from tests.conftest import contract
from tests.e2e.conftest import STALL_SECONDS, Deployed, wait_for
from tests.e2e.test_deployed import BUNNY, Clips, encoders, long_clip, working
from tests.e2e.test_retry import STOP_SECONDS

METRICS = {"psnr": "enable", "ssim": "enable", "ms-ssim": "enable"}


def ask(deployed: Deployed, made: str, origin: str, output: str, **vmaf: Any) -> str:
    """Post the documented request about two objects; the job's id."""
    body = contract("vmaf") | {"input": made, "origin": origin, "output": f"s3://{deployed.bucket}/{output}"}
    body["profile"]["vmaf"] |= {"scale": "240p"} | vmaf
    status, answer, _ = deployed.call("POST", "/api/v1/vmaf", body)
    assert (status, answer["profile"]["vmaf"]["scale"]) == (200, vmaf.get("scale", "480x270"))
    job_id: str = answer["jobid"]
    return job_id


def read(deployed: Deployed, uri: str) -> tuple[bytes, str]:
    """An object, and what it says it is."""
    found = deployed.s3.get_object(Bucket=deployed.bucket, Key=uri.split("/", 3)[3])
    return found["Body"].read(), found["ContentType"]


@pytest.fixture
def origin(deployed: Deployed) -> str:
    """A real clip on S3."""
    return deployed.put(BUNNY, "scores/origin.mp4")


@pytest.fixture
def made(deployed: Deployed, clips: Clips) -> str:
    """The same, compressed."""
    path = clips("squeezed.mp4", "-i", str(BUNNY), "-c:v", "libx264", "-preset", "veryfast", "-b:v", "500k", "-an")
    return deployed.put(path, "scores/made.mp4")


def test_the_documented_request_is_answered_with_scores_and_a_report(
    deployed: Deployed, origin: str, made: str
) -> None:
    job_id = ask(deployed, made, origin, "scored/", **METRICS)
    record = deployed.until(job_id, "finished", "failed")
    assert record["error"] is None
    quality = record["quality"]
    assert (record["kind"], record["origin"]) == ("vmaf", origin)
    assert set(quality) == {"vmaf", "psnr", "ssim", "msSsim"}
    assert (quality["vmaf"]["model"], quality["vmaf"]["frames"]) == ("vmaf_v0.6.1", 132)
    assert 50 < quality["vmaf"]["min"] <= quality["vmaf"]["p5"] <= quality["vmaf"]["mean"] < 100
    report, page = (output["uri"] for output in record["outputs"])
    assert [report, page] == [f"s3://{deployed.bucket}/scored/made.mp4.vmaf.{kind}" for kind in ("json", "html")]
    said = json.loads(read(deployed, report)[0])
    assert said["libvmaf"]
    assert "libvmaf=model=version=vmaf_v0.6.1" in said["filter"]
    assert len(said["frames"]) == 132
    html, kind = read(deployed, page)
    assert kind == "text/html"
    assert html.count(b"data:image/jpeg") == 10
    # A start that comes in with the end is listed a moment behind it.
    wait_for(lambda: deployed.actions(job_id) == ["JobSummit", "JobStart", "JobFinished"], "the job's log")


def both(deployed: Deployed, origin: str, output: str, **vmaf: Any) -> dict[str, Any]:
    """Transcode and score in one job; the record at its end."""
    body = contract("job") | {"input": origin, "output": f"s3://{deployed.bucket}/{output}"}
    body["profile"]["ffmpeg"] |= {"scale": "360p"}
    body["profile"]["vmaf"] = {"scale": "360p", **vmaf}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    return deployed.until(answer[0]["jobid"], "finished", "failed")


def test_a_transcode_is_measured_in_the_same_job_against_a_minimum(deployed: Deployed, origin: str) -> None:
    record = both(deployed, origin, "measured/", min=10)
    assert (record["state"], record["kind"], record["quality"]["passed"]) == ("finished", "ffmpeg", True)
    assert [output["uri"].rsplit("/")[-1] for output in record["outputs"]] == [
        "origin.mp4", "origin.mp4.vmaf.json", "origin.mp4.vmaf.html", "origin.mp4.certificate.json",
        "origin.mp4.certificate.html",
    ]  # fmt: skip
    record = both(deployed, origin, "below/", min=99.9)
    assert (record["state"], record["quality"]["passed"]) == ("finished", False)


@pytest.mark.parametrize("name", ["phone.mp4", "upright.mp4", "interlaced.mp4", "variable.mp4", "old.avi"])
def test_a_transcode_of_an_odd_film_can_be_measured(deployed: Deployed, clips: Clips, name: str) -> None:
    short = ("-t", "2", "-i", str(BUNNY), "-an", "-c:v", "libx264", "-preset", "veryfast")
    made = {
        "phone.mp4": lambda: clips(
            name, "-display_rotation", "90", "-i", str(clips("lying.mp4", *short)), "-c", "copy"
        ),
        "upright.mp4": lambda: clips(name, *short, "-vf", "crop=ih*9/16:ih"),
        "interlaced.mp4": lambda: clips(name, *short, "-flags", "+ildct+ilme", "-x264-params", "interlaced=1:tff=1"),
        "variable.mp4": lambda: clips(name, *short, "-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "vfr"),
        "old.avi": lambda: clips(name, *short[:5], "-c:v", "mpeg4", "-bf", "2", "-b:v", "3M"),
    }[name]()
    record = both(deployed, deployed.put(made, f"scores/{name}"), "odd-scores/")
    assert record["error"] is None
    assert record["quality"]["vmaf"]["mean"] > 60


def test_a_score_below_the_minimum_fails_the_job_and_keeps_its_output(deployed: Deployed, origin: str) -> None:
    record = both(deployed, origin, "failing/", min=99.9, onFail="fail")
    assert (record["state"], record["error"]["code"]) == ("failed", "quality-below-minimum")
    assert "below the minimum of 99.9" in record["error"]["message"]
    assert record["quality"]["passed"] is False
    assert record["outputs"][0]["uri"] == f"s3://{deployed.bucket}/failing/origin.mp4"
    assert len(deployed.keys("failing/")) == 5
    (last,) = [event for event in deployed.call("GET", f"/api/v1/jobs/{record['jobID']}")[1] if "error" in event]
    assert last["result"]["quality"]["passed"] is False


def test_incomparable_inputs_fail_with_a_code_and_both_values(
    deployed: Deployed, clips: Clips, origin: str, made: str
) -> None:
    half = clips("half.mp4", "-i", str(BUNNY), "-r", "12.5", "-c:v", "libx264", "-preset", "veryfast", "-an")
    still = clips("one.mp4", "-i", str(BUNNY), "-frames:v", "1", "-c:v", "libx264", "-an")
    sound = clips("sound.mp4", "-i", str(BUNNY), "-vn", "-c:a", "aac")
    put = {path.name: deployed.put(path, f"scores/{path.name}") for path in (half, still, sound)}
    missing = f"s3://{deployed.bucket}/scores/missing.mp4"
    pairs = {
        "frame-rate-mismatch": (put["half.mp4"], origin),
        "input-still": (put["one.mp4"], origin),
        "input-no-video": (put["sound.mp4"], origin),
        "origin-no-video": (made, put["sound.mp4"]),
        "origin-not-found": (made, missing),
        "inputs-swapped": (origin, made),
    }
    jobs = {code: ask(deployed, *pair, f"traps/{code}/") for code, pair in pairs.items()}
    for code, job_id in jobs.items():
        record = deployed.until(job_id, "failed", "finished")
        assert record["error"]["code"] == code
        assert record["quality"] is None
    told = deployed.record(jobs["frame-rate-mismatch"])["error"]["message"]
    assert "25.000" in told
    assert "12.500" in told
    assert deployed.keys("traps/") == []


def test_scoring_reports_progress_and_stops_when_cancelled(deployed: Deployed, clips: Clips) -> None:
    uri = long_clip(deployed, clips, "scored")
    job_id = ask(deployed, uri, uri, "cancelled-score/", scale="1920x1080", **METRICS)
    progress = working(deployed, job_id)["progress"]
    assert 0 < progress["percent"] < 100
    assert progress["etaSeconds"] > 0
    assert deployed.call("DELETE", f"/api/v1/jobs/{job_id}")[0] == 202
    wait_for(lambda: encoders(deployed) == 0, "the scorer's end", STOP_SECONDS + STALL_SECONDS)
    assert deployed.keys("cancelled-score/") == []
