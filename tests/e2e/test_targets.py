"""A job that says how good its output must look: what its user sees on the deployed stack."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from elasticrecode.jobs.events import TargetReached
from tests.e2e.conftest import FFMPEG, Deployed
from tests.e2e.test_long_films import left_in_parts
from tests.e2e.test_packages import submit
from tests.quality import test_targets as targets
from worker.sandbox.isolation import program_environment

ENCODE = {"codec": "h264", "scale": "source", "speed": "fast", "quality": {"vmaf": 90}}


@pytest.mark.parametrize("name", ["film.mp4", "film.flv"])
def test_the_output_looks_as_good_as_the_job_wants(deployed: Deployed, tmp_path: Path, name: str) -> None:
    """An MP4 is cut by its index, and an FLV cannot be cut."""
    source = targets.film(tmp_path / "source.mp4")
    copy: list[str | Path] = [FFMPEG, "-v", "error", "-i", source, "-c", "copy", tmp_path / name]
    subprocess.run(copy, env=program_environment(), check=True)
    uri = deployed.put(tmp_path / name, f"target/{name}")
    job_id = submit(deployed, uri, f"target-{name}/", {"ffmpeg": ENCODE})
    record = deployed.until(job_id, "finished", "failed")
    assert record["error"] is None
    assert record["division"] is None or record["division"]["kind"] == "chunk"
    (key,) = (one["uri"].split("/", 3)[3] for one in record["outputs"] if one["role"] == "file")
    deployed.s3.download_file(deployed.bucket, key, str(tmp_path / "output"))
    reached = msgspec.convert(record["quality"]["target"], TargetReached)
    targets.check(reached, tmp_path / name, tmp_path / "output", tmp_path)
    assert record["quality"]["vmaf"]["mean"] == pytest.approx(reached.reached, abs=1e-3)
    assert left_in_parts(deployed, job_id) == []
