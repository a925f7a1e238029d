"""Presets on the deployed stack: what an operator puts, users name and workers never hear of."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elasticrecode.media.presets import BUILT_IN
from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_deployed import BUNNY
from tests.e2e.test_routing import NAMESPACE, discover
from tests.fakes.kubernetes import deployment

QUEUE = "ffmpeg_house"
PROFILE = {"ffmpeg": {"codec": "h265", "scale": "240p", "bitrate": "1M", "platform": "gpu"}}
RESOLVED = {
    "ffmpeg": {
        "codec": "hevc_nvenc", "scale": "480:270", "bitrate": "1M", "buffersize": "2M", "profile": "quality",
        "platform": "gpu",
    },
}  # fmt: skip


@pytest.fixture
def house(deployed: Deployed) -> Iterator[str]:
    """The URL of a queue of a gpu worker that takes nothing: what is sent to it stays there to be looked at."""
    url = deployed.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    made = deployment("worker-house")
    made |= {"apiVersion": "apps/v1", "kind": "Deployment"}
    made["metadata"]["annotations"]["elastirecord.kubernetes.io/platform"] = "gpu"
    made["metadata"]["namespace"] = "elasticrecode"
    for variable in made["spec"]["template"]["spec"]["containers"][0]["env"]:
        variable["value"] = {"QUEUE_NAME": QUEUE}.get(variable["name"], variable["value"])
    status, answer = deployed.cluster("POST", NAMESPACE, made)
    assert status == 201, answer
    discover(deployed)
    yield str(url)
    deployed.cluster("DELETE", f"{NAMESPACE}/worker-house")
    discover(deployed)
    deployed.sqs.delete_queue(QueueUrl=url)


def submit(deployed: Deployed, preset: str, uri: str) -> tuple[int, Any]:
    body = contract("job") | {
        "input": uri,
        "output": f"s3://{deployed.bucket}/named/",
        "profile": {"preset": preset},
    }
    return deployed.call("POST", "/api/v1/jobs", body)[:2]


def test_what_is_put_is_named_and_sent_resolved(deployed: Deployed, house: str) -> None:
    path = "/api/v1/presets/house.v1"
    status, made, _ = deployed.call("PUT", path, {"profile": PROFILE})
    assert (status, made["profile"], made["resolved"]) == (201, PROFILE, RESOLVED)
    assert made in deployed.call("GET", "/api/v1/presets")[1]
    uri = f"s3://{deployed.bucket}/none/house.mp4"

    def sent() -> str | None:
        """The id of a job that was, once the queue is known to who submits."""
        status, answer = submit(deployed, "house.v1", uri)
        assert status in (200, 409), answer
        return str(answer[0]["jobid"]) if status == 200 else None

    job_id = wait_for(sent, "a job for a gpu worker")
    record = deployed.until(job_id, "queued")
    assert (record["queue"], record["profile"]) == (QUEUE, RESOLVED)
    (message,) = wait_for(
        lambda: deployed.sqs.receive_message(QueueUrl=house, WaitTimeSeconds=1).get("Messages"), "the job's message"
    )
    assert json.loads(message["Body"])["jobid"] == job_id
    assert json.loads(message["Body"])["profile"] == RESOLVED
    assert "preset" not in message["Body"]
    assert deployed.call("DELETE", f"/api/v1/jobs/{job_id}")[0] == 202

    assert deployed.call("DELETE", path)[0] == 200
    assert deployed.call("DELETE", path)[0] == 404
    assert deployed.call("PUT", "/api/v1/presets/h264-720p", {"profile": PROFILE})[0] == 409


def test_a_worker_encodes_with_a_built_in_preset(deployed: Deployed, tmp_path: Path) -> None:
    status, answer = submit(deployed, "h264-360p", deployed.put(BUNNY, "in/preset.mp4"))
    assert status == 200, answer
    record = deployed.until(answer[0]["jobid"], "finished", "failed")
    assert record["error"] is None
    assert record["profile"]["ffmpeg"]["bitrate"] == BUILT_IN["h264-360p"]["ffmpeg"]["bitrate"]
    output, *others = record["outputs"]
    assert [other["role"] for other in others] == ["certificate", "certificate"]
    assert (output["width"], output["height"], output["videoCodec"]) == (640, 360, "h264")
    video = deployed.probe(output["uri"], tmp_path)["streams"][0]
    assert (video["width"], video["height"]) == (640, 360)


def test_a_preset_that_there_is_not_is_answered_with_those_there_are(deployed: Deployed) -> None:
    status, problem = submit(deployed, "h264-700p", f"s3://{deployed.bucket}/none/x.mp4")
    assert status == 422
    (fault,) = problem["errors"]
    assert fault["pointer"] == "/profile/preset"
    assert "h264-720p" in fault["detail"]
