"""What was made once is copied by S3, with the rights of one job, and is as good as made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.processes import programs
from tests.conftest import contract
from tests.e2e.conftest import Deployed
from tests.e2e.test_retry import Encoders, watched
from tests.media.case import BUNNY

PROFILE = {
    "ffmpeg": {"codec": "h264", "scale": "240p", "quality": {"crf": 32}, "speed": "fast"},
    "package": {"ladder": [{"scale": "240p", "bitrate": "300K"}], "speed": "fast"},
    "vmaf": {"scale": "240p"},
}


@pytest.fixture
def fleet(deployed: Deployed) -> Iterator[Deployed]:
    """Workers that copy, for the time of a test."""
    deployed.supervisor.keep(programs(deployed.place._replace(reuse="on"), deployed.stack))
    yield deployed
    deployed.supervisor.keep(programs(deployed.place, deployed.stack))


def done(deployed: Deployed, uri: str, output: str, **profile: object) -> dict[str, Any]:
    """The record of a finished job."""
    place = f"s3://{deployed.bucket}/{output}"
    body = contract("job") | {"input": uri, "output": place, "profile": PROFILE | profile}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    return deployed.until(answer[0]["jobid"], "finished")


def test_a_job_that_was_done_is_copied_on_the_deployed_stack(fleet: Deployed, tmp_path: Path) -> None:
    deployed = fleet
    first = done(deployed, deployed.put(BUNNY, "reuse/one/bunny again.mp4"), "reuse/out/")
    moved = deployed.put(BUNNY, "reuse/two/bunny again.mp4")
    encoders = Encoders(deployed)
    with watched(encoders):
        second = done(deployed, moved, "reuse/copies/")
    assert (first["copyOf"], second["copyOf"]) == (None, first["jobID"])
    assert encoders.seen == {}
    kept = ("bytes", "sha256", "frames", "vmaf", "role")
    media = [output for output in first["outputs"] if output["role"] in ("file", "video", "audio")]
    copies = [output for output in second["outputs"] if output["role"] in ("file", "video", "audio")]
    assert len(media) > 2
    assert [[output.get(name) for name in kept] for output in media] == [
        [output.get(name) for name in kept] for output in copies
    ]
    file = next(output for output in copies if output["role"] == "file")
    streams = deployed.probe(file["uri"], tmp_path)["streams"]
    assert {stream["codec_name"] for stream in streams} == {"h264", "aac"}
    third = done(deployed, moved, "reuse/anew/", reuse=False)
    assert third["copyOf"] is None
