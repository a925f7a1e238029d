"""A job's certificate says how its outputs came to be, and from it alone the same decoded frames are made again."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from elasticrecode.jobs.claims import Claim
from elasticrecode.jobs.commits import OutputKeys
from elasticrecode.jobs.job import Job
from tests.aws.test_beside import run, submitted
from tests.aws.test_parts import Fleet
from tests.aws.test_publication import OUT, published, s3_as_it_is
from tests.fakes.multipart import answer_as_s3
from tests.fakes.stack import Stack
from tests.media.case import BUNNY, FFMPEG, SETTINGS, ffmpeg
from tests.players import clips
from worker.certificate.again import Unlike, make_again, read
from worker.parts import Parts, Place
from worker.pipeline import run_job
from worker.publication import Publication
from worker.sandbox.runner import Runner
from worker.storage import Storage

__all__ = ["s3_as_it_is"]

CRF = {"codec": "h264", "scale": "240p", "quality": {"crf": 30}, "speed": "fast"}
LADDER = [
    {"scale": "240p", "bitrate": "300K"},
    {"scale": "240p", "bitrate": "100K", "frameRate": "25/2", "codec": "h265"},
]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return ffmpeg(tmp_path, "film.mp4", "-t", 3, "-i", BUNNY, "-c", "copy")


def frames(file: Path, track: str = "v:0") -> list[str]:
    """The digests of the decoded frames of a track."""
    command = [FFMPEG, "-v", "error", "-i", str(file), "-map", f"0:{track}", "-f", "framemd5", "-"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


def certificate(stack: Stack, name: str) -> Any:
    return json.loads(published(stack, f"out/{name}.certificate.json") or b"")


def again(stack: Stack, name: str, source: Path, folder: Path) -> dict[str, Path]:
    """The files that the published certificate of an input makes of the source, by name."""
    folder.mkdir()
    path = folder.with_suffix(".json")
    path.write_bytes(published(stack, f"out/{name}.certificate.json") or b"")
    files = make_again(read(path), source, folder, SETTINGS, Runner())
    return {file.name: file for file in files}


def saved(stack: Stack, uri: str, folder: Path) -> Path:
    """A published output as a local file."""
    path = folder / uri.rpartition("/")[2]
    path.write_bytes(published(stack, uri.removeprefix("s3://media/")) or b"")
    return path


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_the_frames_of_a_file_are_made_again(stack: Stack, tmp_path: Path, film: Path, codec: str) -> None:
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    parts: dict[str, Any] = {"ffmpeg": {**CRF, "codec": codec}, "audio": {"loudness": -23}, "vmaf": {"scale": "240p"}}
    ended = run(stack, submitted(stack, "s3://media/in/film.mp4", **parts), tmp_path)
    assert ended["state"] == "finished"
    files = again(stack, "film.mp4", film, tmp_path / "again")
    first = saved(stack, f"{OUT}film.mp4", tmp_path / "again")
    for track in ("v:0", "a:0"):
        assert frames(first, track) == frames(files["output"], track)
    assert len(frames(first)) == 75


def test_a_certificate_says_of_what_by_what_and_how_well(stack: Stack, tmp_path: Path, film: Path) -> None:
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    parts: dict[str, Any] = {"ffmpeg": CRF, "audio": {"loudness": -23}, "vmaf": {"scale": "240p"}}
    job_id = submitted(stack, "s3://media/in/film.mp4", **parts)
    ended = run(stack, job_id, tmp_path)
    told = certificate(stack, "film.mp4")
    assert (told["job"], told["attempt"]) == (job_id, 1)
    assert told["input"]["uri"] == "s3://media/in/film.mp4"
    assert told["input"]["sha256"] == hashlib.sha256(film.read_bytes()).hexdigest()
    assert told["input"]["bytes"] == film.stat().st_size
    assert told["input"]["video"] | {"width": 1280, "codec": "h264", "frameRate": 25.0} == told["input"]["video"]
    (step,) = told["steps"]
    assert {"file:input", "file:output", "-crf", "30"} <= set(step["arguments"])
    assert not any(str(tmp_path) in word or "/tmp" in word for word in step["arguments"])
    programs = {program["name"]: program for program in told["programs"]}
    assert programs["ffmpeg"]["libraries"]["libx264"].startswith("core ")
    assert programs["ffmpeg"]["sha256"] == hashlib.sha256(Path(FFMPEG).read_bytes()).hexdigest()
    assert told["quality"] == ended["quality"]
    outputs = [output for output in ended["outputs"] if output["role"] != "certificate"]
    assert told["outputs"] == outputs
    (rate,) = told["rates"]
    assert "cap" not in rate
    assert rate["mean"] == pytest.approx(outputs[0]["bitrate"], rel=0.02)
    assert rate["peak"] == outputs[0]["peakBitrate"]
    (sound,) = told["loudness"]
    assert sound["target"] == -23.0
    assert abs(sound["output"] + 23) < 0.5 < abs(sound["source"] + 23)
    assert {rule["rule"]: rule["passed"] for rule in told["rules"]} == dict.fromkeys(
        ("picture-as-planned", "frames-complete", "sound-complete", "metadata-complete"), True
    )
    assert "unrepeatable" not in told
    assert [each["vmaf"] for each in told["worst"]] == sorted(each["vmaf"] for each in told["worst"])
    page = (published(stack, "out/film.mp4.certificate.html") or b"").decode()
    assert page.count("data:image/jpeg;base64,") == 2 * len(told["worst"]) > 0
    roles = [output["role"] for output in ended["outputs"]]
    assert roles == ["file", "report", "report", "certificate", "certificate"]


def test_a_cap_is_judged_and_makes_the_threads_of_x264_unrepeatable(stack: Stack, tmp_path: Path, film: Path) -> None:
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    run(stack, submitted(stack, "s3://media/in/film.mp4", ffmpeg={**CRF, "maxBitrate": "100K"}), tmp_path)
    told = certificate(stack, "film.mp4")
    (rate,) = told["rates"]
    assert (rate["cap"], rate["buffer"], rate["overflow"]) == (100_000, 200_000, 0)
    assert {rule["rule"]: rule["passed"] for rule in told["rules"]}["cap-kept"] is True
    (reason,) = told["unrepeatable"]
    assert reason.startswith("x264 keeps to a cap")


def test_another_source_makes_nothing(stack: Stack, tmp_path: Path, film: Path) -> None:
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    run(stack, submitted(stack, "s3://media/in/film.mp4", ffmpeg=CRF), tmp_path)
    other = bytearray(film.read_bytes())
    other[-1] ^= 1
    film.write_bytes(other)
    with pytest.raises(Unlike, match="SHA-256"):
        again(stack, "film.mp4", film, tmp_path / "again")


def test_the_rungs_of_a_package_from_one_core_are_made_again(
    stack: Stack, tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.media.renditions.cores", lambda: 1)
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    job_id = submitted(stack, "s3://media/in/film.mp4", ffmpeg=CRF, package={"ladder": LADDER, "speed": "fast"})
    ended = run(stack, job_id, tmp_path)
    assert ended["state"] == "finished", ended
    rungs = [output["uri"] for output in ended["outputs"] if output["role"] == "rendition"]
    files = again(stack, "film.mp4", film, tmp_path / "again")
    for number, uri in enumerate(rungs):
        assert frames(saved(stack, uri, tmp_path)) == frames(files[f"rung-{number}.mp4"])
    assert frames(saved(stack, f"{OUT}film.mp4", tmp_path)) == frames(files["output"])
    told = certificate(stack, "film.mp4")
    assert "unrepeatable" not in told
    rules = {rule["rule"] for rule in told["rules"] if rule["passed"]}
    assert {"idr-aligned", "segments-aligned", "tracks-equally-long", "rate-constant", "index-tiles"} <= rules


def divided(stack: Stack, source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **profile: Any) -> Any:
    """How a job ends whose film one worker divides into chunks of 4 s."""
    answer_as_s3(monkeypatch)
    stack.s3.create_bucket(Bucket="parts")
    stack.s3.upload_file(str(source), "media", "in/film.mp4")
    job_id = submitted(stack, "s3://media/in/film.mp4", **profile)
    fleet = Fleet(stack, folder, monkeypatch)
    claim = fleet.claims.claim(job_id, "w0")
    assert isinstance(claim, Claim)
    job = msgspec.json.decode(claim.job, type=Job)
    holder, storage = fleet.holder("w0", job_id, claim.attempt), Storage(lambda: stack.s3)
    parts = Parts(
        holder._replace(storage=storage), job, claim, Place("q", "s3://parts/"), lambda _: None, fleet.report_lost
    )
    publication = Publication(job, claim.attempt, storage, holder.runner, OutputKeys("jobs", job, 1, claim.expires))
    here = SETTINGS._replace(jobs_table="jobs", parts_bucket="parts", divide_seconds=0, chunk_seconds=4)
    return run_job(job, here, storage, holder.runner, lambda _: None, publication, parts)


def test_a_divided_film_is_made_again_from_its_cuts(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clips.clip(tmp_path / "clip.mp4", 13)
    ending = divided(stack, source, tmp_path, monkeypatch, ffmpeg=CRF, vmaf={"scale": "240p"})
    assert ending.action == "JobFinished"
    told = certificate(stack, "film.mp4")
    assert len(told["film"]["parts"]) > 2
    assert sum(part["outputs"]["file"]["frames"] for part in told["film"]["parts"]) == ending.result.outputs[0].frames
    assert all(part["outputs"]["file"]["vmaf"] > 20 for part in told["film"]["parts"])
    files = again(stack, "film.mp4", source, tmp_path / "again")
    first = saved(stack, f"{OUT}film.mp4", tmp_path)
    for track in ("v:0", "a:0"):
        assert frames(first, track) == frames(files["output"], track)
