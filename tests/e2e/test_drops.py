"""Drops on the deployed stack: a file that is put becomes a job by itself, and what the product makes does not."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elasticrecode.jobs.uris import MARK
from local.processes import AWS
from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for
from worker.uploads import ATTEMPT_MARK, PLACE_MARK

USER = "local"
DROP, OUTPUT = "drop/", "dropped/"
TESTSRC = ("-f", "lavfi", "-i", "testsrc=duration=1:size=320x240:rate=10", "-pix_fmt", "yuv420p")


def jobs_of(deployed: Deployed, uri: str) -> list[dict[str, Any]]:
    """The jobs that came of an object."""
    status, found, headers = deployed.call("GET", f"/api/v1/jobs?userID={USER}&limit=1000")
    assert status == 200
    assert "Link" not in headers
    return [record for record in found if record["input"] == uri]


def until_jobs(deployed: Deployed, uri: str, count: int) -> list[dict[str, Any]]:
    """The jobs of an object once there are so many and all have ended."""

    def ended() -> list[dict[str, Any]] | None:
        found = jobs_of(deployed, uri)
        return found if len(found) >= count and all(record["endedAt"] for record in found) else None

    found: list[dict[str, Any]] = wait_for(ended, f"{count} jobs of {uri}")
    return found


def until_ignored(deployed: Deployed, uri: str) -> None:
    """Wait until `collect` has logged that an object is the output of a job."""

    def is_logged() -> bool:
        lines = deployed.supervisor.log(AWS).read_text(errors="replace").splitlines()
        return any("file ignored: it is the output of a job" in line and f'"{uri}"' in line for line in lines)

    wait_for(is_logged, f"{uri} ignored")


def test_each_upload_into_a_drop_becomes_one_job(
    deployed: Deployed, clips: Callable[..., Path], tmp_path: Path
) -> None:
    clip = clips("dropped.mp4", *TESTSRC)
    uri = deployed.put(clip, f"{DROP}films/one two+ü.mp4")
    (record,) = until_jobs(deployed, uri, 1)
    assert record["state"] == "finished", record["error"]
    output, *others = record["outputs"]
    assert [other["role"] for other in others] == ["certificate", "certificate"]
    assert output["uri"] == f"s3://{deployed.bucket}/{OUTPUT}films/one two+ü.mp4"
    (stream,) = deployed.probe(output["uri"], tmp_path)["streams"]
    assert (stream["codec_name"], stream["height"]) == ("h264", 240)  # never enlarged
    head = deployed.s3.head_object(Bucket=deployed.bucket, Key=f"{OUTPUT}films/one two+ü.mp4")
    place = hashlib.sha256(output["uri"].encode()).hexdigest()
    assert head["Metadata"] == {MARK: record["jobID"], ATTEMPT_MARK: "1", PLACE_MARK: place}
    assert deployed.actions(record["jobID"]) == ["JobSummit", "JobStart", "JobFinished"]

    deployed.put(clip, f"{DROP}films/one two+ü.mp4")
    records = until_jobs(deployed, uri, 2)
    assert [found["state"] for found in records] == ["finished"] * 2
    assert record["jobID"] in {found["jobID"] for found in records}
    assert jobs_of(deployed, output["uri"]) == []


def test_outputs_and_reports_of_a_job_in_a_drop_start_no_job(deployed: Deployed, clips: Callable[..., Path]) -> None:
    uri = deployed.put(clips("dropped.mp4", *TESTSRC), "in/scored.mp4")
    body = contract("job") | {"input": uri, "output": f"s3://{deployed.bucket}/{DROP}made/"}
    body["profile"] = {"ffmpeg": body["profile"]["ffmpeg"] | {"scale": "240p"}, "vmaf": {"scale": "240p"}}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    record = deployed.until(answer[0]["jobid"], "finished", "failed")
    assert record["state"] == "finished", record["error"]
    made = [output["uri"] for output in record["outputs"]]
    assert len(made) == 5
    for output in made:
        until_ignored(deployed, output)
        assert jobs_of(deployed, output) == []
