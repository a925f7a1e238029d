"""The documented requests are read, and resolved to the documented messages."""

import json
from typing import Any

import msgspec
import pytest

from elasticrecode.jobs import events
from elasticrecode.jobs.requests import read_jobs, read_vmaf
from elasticrecode.media import profiles
from tests.conftest import CONTRACT, contract

SCALES = {
    "1080p": ("1920:1080", "1920x1080"),
    "720p": ("1280:720", "1280x720"),
    "480p": ("800:480", "800x480"),
    "360p": ("640:360", "640x360"),
    "240p": ("480:270", "480x270"),
}
CODECS = {
    ("h264", "cpu"): "libx264",
    ("h264", "gpu"): "h264_nvenc",
    ("h265", "cpu"): "libx265",
    ("h265", "gpu"): "hevc_nvenc",
}
DECODERS = {"h264": "h264_cuvid", "h265": "hevc_cuvid"}


def text(name: str) -> bytes:
    return (CONTRACT / f"{name}.json").read_bytes()


def resolved(**changes: Any) -> dict[str, Any]:
    request = contract("job")
    request["profile"]["ffmpeg"] |= changes
    (job,) = read_jobs(json.dumps(request).encode())
    ffmpeg: dict[str, Any] = msgspec.to_builtins(job.profile.ffmpeg)
    return ffmpeg


def test_the_documented_job_becomes_the_documented_message() -> None:
    expected = contract("queue_message")
    (job,) = read_jobs(text("job"))
    assert json.loads(msgspec.json.encode(job)) == expected | {"jobid": job.jobid}
    assert list(json.loads(msgspec.json.encode(job))) == list(expected)


def test_the_documented_batch_becomes_a_job_for_each_input_with_one_profile() -> None:
    jobs = read_jobs(text("job_batch"))
    request = contract("job_batch")
    assert [job.input for job in jobs] == request["batchInputs"]
    assert {job.output for job in jobs} == {request["output"]}
    assert len({job.jobid for job in jobs}) == 3
    assert all(msgspec.to_builtins(job.profile) == contract("queue_message")["profile"] for job in jobs)


def test_the_documented_score_is_answered_resolved() -> None:
    expected = contract("vmaf.response")
    (job,) = read_vmaf(text("vmaf"))
    answer = json.loads(msgspec.json.encode(job)) | {"status": expected["status"]}
    assert answer == expected | {"jobid": job.jobid}
    assert list(answer) == list(expected)


def test_the_documented_worker_event_is_read() -> None:
    event = events.read(text("worker_event"))
    documented = contract("worker_event")
    assert (event.action, event.jobID, event.userID, event.ts) == (
        "JobStart",
        documented["job"]["jobid"],
        documented["job"]["userid"],
        documented["ts"],
    )


def test_the_schema_is_the_documented_one() -> None:
    assert json.dumps(json.loads(msgspec.json.encode(profiles.SCHEMA))) == json.dumps(contract("schema.response"))


def test_input_takes_precedence_over_batch_inputs() -> None:
    request = contract("job_batch") | {"input": "s3://m.azeroth.one/one.mp4"}
    assert [job.input for job in read_jobs(json.dumps(request).encode())] == ["s3://m.azeroth.one/one.mp4"]


@pytest.mark.parametrize("word", SCALES)
def test_scales_of_transcodes(word: str) -> None:
    assert resolved(scale=word)["scale"] == SCALES[word][0]


@pytest.mark.parametrize("word", SCALES)
def test_scales_of_scores(word: str) -> None:
    request = contract("vmaf")
    request["profile"]["vmaf"]["scale"] = word
    (job,) = read_vmaf(json.dumps(request).encode())
    assert job.profile.vmaf
    assert job.profile.vmaf.scale == SCALES[word][1]


@pytest.mark.parametrize(("codec", "platform"), CODECS)
def test_encoders(codec: str, platform: str) -> None:
    assert resolved(codec=codec, platform=platform)["codec"] == CODECS[codec, platform]


@pytest.mark.parametrize("codec", DECODERS)
def test_decoders_on_gpu(codec: str) -> None:
    assert resolved(originCodec=codec, platform="gpu")["originCodec"] == DECODERS[codec]


@pytest.mark.parametrize(
    ("bitrate", "purpose", "buffersize"),
    [
        ("1M", "quality", "2M"),
        ("1M", "latency", "40K"),
        ("15M", "quality", "30M"),
        ("15M", "latency", "600K"),
        ("1500K", "quality", "3M"),
        ("2.5M", "latency", "100K"),
        ("1.25M", "quality", "2500K"),
    ],
)
def test_buffer_size_follows_bitrate_and_purpose(bitrate: str, purpose: str, buffersize: str) -> None:
    assert resolved(bitrate=bitrate, profile=purpose)["buffersize"] == buffersize


def test_resolved_values_are_accepted_as_they_are_and_a_size_in_pixels_is_exact() -> None:
    once = resolved(scale="360p", codec="h265")
    assert "fit" not in once
    assert resolved(**once) == once | {"fit": "exact"}
    assert resolved(**resolved(**once)) == once | {"fit": "exact"}
