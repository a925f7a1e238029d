"""The deployed stack with inputs that nobody can read, and with a worker on a sick host."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.processes import programs
from tests.conftest import ROOT, contract
from tests.e2e.conftest import FFMPEG, FFPROBE, STALL_SECONDS, Deployed, wait_for
from tests.e2e.test_deployed import PICTURE, SOUND, STOPPING_SECONDS

Clips = Callable[..., Path]
WORKER = "worker-ffmpeg-0"
CONTENT_TYPES = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "ts": "video/mp2t",
    "mts": "video/mp2t",
    "m2ts": "video/mp2t",
}


def archived(deployed: Deployed, key: str) -> str:
    deployed.s3.put_object(Bucket=deployed.bucket, Key=key, Body=b"film", StorageClass="GLACIER")
    return f"s3://{deployed.bucket}/{key}"


def test_an_archived_input_fails_at_the_first_attempt_and_asks_for_its_restore(deployed: Deployed) -> None:
    job_id = deployed.submit(archived(deployed, "causes/in.mp4"), "causes/out/")
    record = deployed.until(job_id, "failed", "finished")
    assert (record["state"], record["attempt"], record["error"]["code"]) == ("failed", 1, "input-archived")
    assert "Restore it first" in record["error"]["message"]
    wait_for(lambda: deployed.actions(job_id)[-1] == "JobFailed", "the end of the log")
    assert deployed.actions(job_id) == ["JobSummit", "JobStart", "JobFailed"]
    assert deployed.keys("causes/out/") == []


def test_an_archived_origin_fails_a_score_at_the_first_attempt(deployed: Deployed, clips: Clips) -> None:
    film = clips("film.mp4", *PICTURE, *SOUND)
    body = contract("vmaf") | {
        "input": deployed.put(film, "causes/film.mp4"),
        "origin": archived(deployed, "causes/origin.mp4"),
        "output": f"s3://{deployed.bucket}/causes/scores/",
    }
    status, answer, _ = deployed.call("POST", "/api/v1/vmaf", body)
    assert status == 200, answer
    record = deployed.until(answer["jobid"], "failed", "finished")
    assert (record["state"], record["attempt"], record["error"]["code"]) == ("failed", 1, "origin-archived")


def test_of_a_batch_only_the_archived_inputs_fail(deployed: Deployed, clips: Clips) -> None:
    deployed.put(clips("film.mp4", *PICTURE, *SOUND), "causes/batch/a.mp4")
    for name in ("b", "c"):
        archived(deployed, f"causes/batch/{name}.mp4")
    body = {name: contract("job")[name] for name in ("userid", "profile")}
    places = {"prefix": f"s3://{deployed.bucket}/causes/batch/", "output": f"s3://{deployed.bucket}/causes/done/"}
    status, answer, _ = deployed.call("POST", "/api/v1/batches", body | places)
    assert status == 202, answer

    def ended() -> dict[str, Any] | None:
        batch: dict[str, Any] = deployed.call("GET", f"/api/v1/batches/{answer['batchID']}")[1]
        return batch if batch["endedAt"] else None

    batch = wait_for(ended, "the end of the batch")
    assert (batch["finished"], batch["failed"]) == (1, 2)
    assert batch["failures"] == {"input-archived": 2}


def test_outputs_have_the_content_types_of_their_containers(deployed: Deployed, clips: Clips) -> None:
    film = clips("film.mp4", *PICTURE, *SOUND)
    jobs = {
        extension: deployed.submit(deployed.put(film, f"types/in/x.{extension}"), "types/out/")
        for extension in CONTENT_TYPES
    }
    for job_id in jobs.values():
        deployed.until(job_id, "finished")
    heads = {
        extension: deployed.s3.head_object(Bucket=deployed.bucket, Key=f"types/out/x.{extension}")["ContentType"]
        for extension in jobs
    }
    assert heads == CONTENT_TYPES


@contextmanager
def sick_worker(deployed: Deployed, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], str]]]:
    """Another worker, whose ffmpeg is the link `ffmpeg` in the folder; its process and its log."""
    (program,) = [one for one in programs(deployed.place, deployed.stack) if one.name == WORKER]
    own = {"POD_NAME": "sick", "FFMPEG": str(folder / "ffmpeg"), "FFPROBE": str(FFPROBE)}
    log = folder / "log"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (
        log.open("wb") as file,
        subprocess.Popen(
            program.command, cwd=ROOT, env=bare | dict(program.environment) | own, stdout=file, stderr=file
        ) as process,
    ):
        try:
            yield process, log.read_text
        finally:
            process.kill()


@pytest.fixture
def alone(deployed: Deployed) -> Iterator[Callable[[], None]]:
    """The stack's own worker is ended; it works again after the test, or when this is called."""
    deployed.supervisor._ask("stopProcess", WORKER)
    begun: list[bool] = []

    def begin() -> None:
        if not begun:
            deployed.supervisor._ask("startProcess", WORKER)
        begun.append(True)

    yield begin
    begin()


def test_a_job_leaves_a_host_whose_ffmpeg_has_gone_without_a_strike(
    deployed: Deployed, clips: Clips, tmp_path: Path, alone: Callable[[], None]
) -> None:
    film = deployed.put(clips("film.mp4", *PICTURE, *SOUND), "causes/film.mp4")
    (tmp_path / "ffmpeg").symlink_to(FFMPEG)
    with sick_worker(deployed, tmp_path) as (process, log):
        wait_for(lambda: "taking ffmpeg jobs" in log(), "the start of the sick worker")
        deployed.until(deployed.submit(film, "causes/first/"), "finished")
        (tmp_path / "ffmpeg").unlink()
        job_id = deployed.submit(film, "causes/second/")
        wait_for(lambda: "takes no jobs until its host is well: program-missing" in log(), "the host fault")
        assert deployed.record(job_id)["attempt"] == 1
        alone()
        record = deployed.until(job_id, "finished", "failed")
        assert (record["state"], record["attempt"]) == ("finished", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOPPING_SECONDS + STALL_SECONDS) == 0
    wait_for(lambda: deployed.actions(job_id)[-1] == "JobFinished", "the end of the log")
    assert deployed.actions(job_id) == ["JobSummit", "JobStart", "JobReturned", "JobStart", "JobFinished"]
    assert log().count("takes no jobs until its host is well") == 1
