"""Films that the workers of the deployed stack divide into chunks: what users see of them, and what is left behind."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.processes import Program, programs
from tests.conftest import Tell
from tests.e2e.conftest import FFMPEG, LONG_LEASE_SECONDS, STALL_SECONDS, Deployed, wait_for
from tests.e2e.test_deployed import encoders
from tests.e2e.test_packages import failures, fetched, submit
from tests.fakes import edge
from tests.packages.check import check
from tests.packages.package import Package
from tests.players import clips
from worker.sandbox.isolation import program_environment

pytestmark = pytest.mark.timeout(600)
SECONDS, CHUNK_SECONDS = 12, 2
NAMES = [f"00:00:{start:02}-00:00:{start + CHUNK_SECONDS:02}" for start in range(0, SECONDS, CHUNK_SECONDS)]
FILE = {"codec": "h264", "scale": "source", "speed": "fast", "quality": {"crf": 20}, "keyframeSeconds": CHUNK_SECONDS}
LADDER = [{"scale": "240p", "bitrate": "300K"}, {"scale": "240:136", "bitrate": "120K"}]
PACKAGE = {"ladder": LADDER, "speed": "fast", "segmentSeconds": CHUNK_SECONDS}
STOPPED_SECONDS = 10
"""Within so long all workers have let a cancelled film go."""


def dividing(program: Program) -> Program:
    """A worker that divides every film, into short chunks."""
    if not program.name.startswith("worker-ffmpeg"):
        return program
    own = {"DIVIDE_SECONDS": "0", "CHUNK_SECONDS": str(CHUNK_SECONDS)}
    return program._replace(environment={**program.environment, **own})


@pytest.fixture(scope="module")
def fleet(deployed: Deployed) -> Iterator[Deployed]:
    """Two workers that divide every film, for the time of these tests."""
    place = deployed.place._replace(workers=2, lease_seconds=LONG_LEASE_SECONDS)
    deployed.supervisor.keep([dividing(each) for each in programs(place, deployed.stack)])
    yield deployed
    deployed.supervisor.keep(programs(deployed.place, deployed.stack))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film that tells its time, with two languages, spoken and written."""
    return clips.clip(tmp_path_factory.mktemp("long") / "film.mp4", SECONDS)


def left_in_parts(deployed: Deployed, job_id: str) -> list[str]:
    """The objects and uploads of a job in the bucket for parts."""
    bucket = deployed.stack["PartsBucket"]
    objects = deployed.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    uploads = deployed.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [each["Key"] for each in [*objects, *uploads] if job_id in each["Key"]]


def parts(deployed: Deployed, job_id: str) -> list[dict[str, Any]]:
    status, found, _ = deployed.call("GET", f"/api/v1/jobs/{job_id}/parts")
    assert status == 200, found
    listed: list[dict[str, Any]] = found
    return listed


def numbers(path: Path) -> list[int]:
    """The number that each frame of a film shows."""
    command: list[str | Path] = [FFMPEG, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-vf", "format=gray,scale=4:4:flags=area", "-f", "rawvideo", "-"]
    decoded = subprocess.run(command, env=program_environment(), capture_output=True, check=True).stdout
    pictures = (decoded[at : at + 16] for at in range(0, len(decoded), 16))
    return [sum((level > 127) << bit for bit, level in enumerate(picture)) for picture in pictures]


def test_a_film_comes_out_of_its_chunks_as_one_file(fleet: Deployed, film: Path, tmp_path: Path) -> None:
    job_id = submit(fleet, fleet.put(film, "long/file.mp4"), "long-file/", {"ffmpeg": FILE})
    record = fleet.until(job_id, "finished", "failed")
    assert record["error"] is None
    assert (record["division"]["kind"], record["division"]["parts"]) == ("chunk", len(NAMES))
    listed = parts(fleet, job_id)
    assert [each["name"] for each in listed] == NAMES
    assert {(each["kind"], each["state"], each["attempt"]) for each in listed} == {("chunk", "finished", 1)}
    assert all(each["worker"] for each in listed)
    output, *others = record["outputs"]
    assert [other["role"] for other in others] == ["certificate", "certificate"]
    probed = fleet.probe(output["uri"], tmp_path)
    assert {each["codec_type"] for each in probed["streams"]} >= {"video", "audio"}
    assert float(probed["format"]["duration"]) == pytest.approx(SECONDS, abs=0.05)
    assert numbers(tmp_path / "probed") == list(range(SECONDS * clips.RATE))
    assert output["frames"] == SECONDS * clips.RATE
    assert left_in_parts(fleet, job_id) == []


def test_a_package_comes_out_of_its_chunks_without_a_fault(fleet: Deployed, film: Path, tmp_path: Path) -> None:
    job_id = submit(fleet, fleet.put(film, "long/package.mp4"), "long-package/", {"package": PACKAGE, "split": "auto"})
    record = fleet.until(job_id, "finished", "failed")
    assert record["error"] is None
    assert record["division"]["kind"] == "chunk"
    assert [each["name"] for each in parts(fleet, job_id)] == NAMES
    with edge.serving(fleet.s3, fleet.bucket) as media:
        folder = fetched(f"{media}/long-package/package/", tmp_path)
    rows = check(Package(folder))
    assert failures(rows) == []
    assert len(rows) > 100
    for rung in (each for each in record["outputs"] if each["role"] == "rendition"):
        fleet.probe(rung["uri"], tmp_path)
        assert numbers(tmp_path / "probed") == list(range(SECONDS * clips.RATE))
    assert left_in_parts(fleet, job_id) == []


def test_the_ladder_of_a_title_is_that_of_all_its_chunks(fleet: Deployed, film: Path) -> None:
    wanted = {"ladder": "auto", "auto": {"topVmaf": 80, "maxBitrate": "400K"}, "speed": "fast", "segmentSeconds": 2}
    job_id = submit(fleet, fleet.put(film, "long/auto.mp4"), "long-auto/", {"package": wanted})
    record = fleet.until(job_id, "finished", "failed")
    assert record["error"] is None
    assert record["division"]["kind"] == "chunk"
    assert [each["name"] for each in parts(fleet, job_id)] == NAMES
    assert record["profile"]["package"]["ladder"] == "auto"
    ladder, renditions = record["ladder"], [each for each in record["outputs"] if each["role"] == "rendition"]
    assert [(each["width"], each["height"]) for each in renditions] == [
        (rung["width"], rung["height"]) for rung in ladder["rungs"]
    ]
    assert max(each["frames"] for each in renditions) == SECONDS * clips.RATE
    assert 0 < len(ladder["points"]) <= 12
    assert ladder["rungs"][0]["bitrate"] <= 400_000
    assert left_in_parts(fleet, job_id) == []


def test_a_film_that_is_never_to_be_split_stays_whole_and_says_so(fleet: Deployed, film: Path) -> None:
    profile = {"ffmpeg": FILE, "split": "never"}
    job_id = submit(fleet, fleet.put(film, "long/whole.mp4"), "long-whole/", profile)
    record = fleet.until(job_id, "finished", "failed")
    assert record["error"] is None
    assert record["division"]["parts"] == 0
    assert '"split": "never"' in record["division"]["reason"]
    assert parts(fleet, job_id) == []


def test_a_cancelled_film_stops_on_all_workers_and_leaves_nothing(fleet: Deployed, film: Path, tell: Tell) -> None:
    slow = FILE | {"codec": "av1", "scale": "1080p", "fit": "exact", "speed": "slow"}
    job_id = submit(fleet, fleet.put(film, "long/cancelled.mp4"), "long-cancelled/", {"ffmpeg": slow})
    running = [each["state"] for each in wait_for(lambda: two_running(fleet, job_id), "chunks on both workers")]
    assert len(running) == len(NAMES)
    assert fleet.call("DELETE", f"/api/v1/jobs/{job_id}")[0] == 202
    began = time.monotonic()
    wait_for(lambda: encoders(fleet) == 0, "the end of all encoders")
    wait_for(lambda: left_in_parts(fleet, job_id) == [], "the removal of all results")
    states = {each["state"] for each in wait_for(lambda: all_ended(fleet, job_id), "the end")}
    took = time.monotonic() - began
    tell("film cancelled", {"ms": round(1000 * took)})
    assert took < STOPPED_SECONDS + STALL_SECONDS
    assert states <= {"cancelled", "finished"}
    assert fleet.keys("long-cancelled/") == []
    uploads = fleet.s3.list_multipart_uploads(Bucket=fleet.bucket).get("Uploads", [])
    assert [each["Key"] for each in uploads if each["Key"].startswith("long-cancelled/")] == []


def two_running(deployed: Deployed, job_id: str) -> list[dict[str, Any]] | None:
    """The parts of a job while two run, each with its encoder."""
    listed = parts(deployed, job_id)
    is_so = sum(each["state"] == "running" for each in listed) >= 2 and encoders(deployed) >= 2
    return listed if is_so else None


def all_ended(deployed: Deployed, job_id: str) -> list[dict[str, Any]] | None:
    """The parts of a job when none is queued or runs any more."""
    listed = parts(deployed, job_id)
    return None if {each["state"] for each in listed} & {"queued", "running"} else listed
