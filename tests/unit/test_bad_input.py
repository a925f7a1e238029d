"""Invalid requests: every fault is reported at once, with a pointer."""

import copy
import json
import time
from functools import partial
from typing import Any, get_args

import msgspec
import pytest

from elasticrecode.batches.request import read_batch
from elasticrecode.errors import Invalid, Malformed
from elasticrecode.jobs.job import Job, flaws
from elasticrecode.jobs.requests import REQUEST_JOBS, read_jobs, read_vmaf
from elasticrecode.media.codecs import CodecName, DecoderName
from elasticrecode.validation import DEPTH
from tests.conftest import contract


def faults(body: Any) -> dict[str, str]:
    """Pointer → detail of each fault of a POST /v1/jobs body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Invalid) as caught:
        read_jobs(raw)
    return dict(caught.value.faults)


def changed(pointer: str, value: Any) -> dict[str, Any]:
    """The documented job with one field set to a value."""
    body: dict[str, Any] = contract("job")
    *path, last = pointer.strip("/").split("/")
    place = body
    for step in path:
        place = place[step]
    place[last] = value
    return body


@pytest.mark.parametrize(
    ("pointer", "value", "detail"),
    [
        ("/userid", "", "1 to 128 characters"),
        ("/userid", "a b", "white space"),
        ("/userid", 7, "must be a string"),
        ("/input", "https://example.com/a.mp4", "s3://bucket/key"),
        ("/input", "s3://bucket", "s3://bucket/key"),
        ("/input", "s3://bucket/", "s3://bucket/key"),
        ("/input", "s3:///key", "s3://bucket/key"),
        ("/input", "s3://bucket/..", "s3://bucket/key"),
        ("/input", "s3://bucket/" + "k" * 1025, "1024 bytes"),
        ("/input", None, "must be a string"),
        ("/input", "s3://bucket/a\0b.mp4", "without NUL"),
        ("/input", "s3://bucket/a\ufffeb.mp4", "U+FFFE"),
        ("/input", "s3://bucket/a\uffffb.mp4", "U+FFFF"),
        ("/input", "s3://bucket/" + "k" * 1020 + ".mp4", "choose a shorter output prefix"),
        ("/userid", "a\uffff", "1 to 128 characters"),
        ("/output", "s3://bucket/a\0/", "without NUL"),
        ("/output", "s3://bucket/a\uffff/", "without NUL"),
        ("/output", "s3://bucket/file.mp4", "ends in '/'"),
        ("/output", 3, "must be a string"),
        ("/priority", 101, "at most 100"),
        ("/priority", -1, "at least 0"),
        ("/priority", "high", "a whole number"),
        ("/priority", 1.5, "a whole number"),
        ("/priority", True, "a whole number"),
        ("/profile", [], "must be an object"),
        ("/profile/ffmpeg", "x", "must be an object"),
        ("/profile/ffmpeg/codec", "no-such-codec", f"one of {', '.join(sorted(get_args(CodecName)))}"),
        ("/profile/ffmpeg/scale", "8k", "one of 720p"),
        ("/profile/ffmpeg/scale", "1921:1080", "even sides"),
        ("/profile/ffmpeg/profile", "speed", "one of latency, quality"),
        ("/profile/ffmpeg/platform", "tpu", "one of cpu, gpu"),
        ("/profile/ffmpeg/originCodec", "no-such-codec", f"one of {', '.join(sorted(get_args(DecoderName)))}"),
        ("/profile/ffmpeg/bitrate", "16M", "from 1M to 15M"),
        ("/profile/ffmpeg/bitrate", "999K", "from 1M to 15M"),
        ("/profile/ffmpeg/bitrate", "fast", "from 1M to 15M"),
        ("/profile/ffmpeg/bitrate", "1m", "from 1M to 15M"),
        ("/profile/ffmpeg/codce", "h264", "not a known field"),
        ("/surprise", 1, "not a known field"),
    ],
)
def test_a_fault_points_to_its_field(pointer: str, value: Any, detail: str) -> None:
    result = faults(changed(pointer, value))
    assert list(result) == [pointer]
    assert detail in result[pointer]


def test_an_unknown_price_model_is_a_fault() -> None:
    assert "one of normal, spot" in faults(changed("/profile/ec2", {"priceModel": "cheap"}))["/profile/ec2/priceModel"]


def test_all_faults_are_reported_at_once() -> None:
    body = contract("job")
    del body["userid"]
    body["output"] = "nowhere"
    body["priority"] = 1000
    body["profile"]["ffmpeg"] |= {"codec": "no-such-codec", "bitrate": "0M", "codce": "h264"}
    assert set(faults(body)) == {
        "/userid",
        "/output",
        "/priority",
        "/profile/ffmpeg/codec",
        "/profile/ffmpeg/bitrate",
        "/profile/ffmpeg/codce",
    }


def test_an_encoder_of_another_platform_is_a_fault() -> None:
    body = changed("/profile/ffmpeg/codec", "libx264")
    body["profile"]["ffmpeg"]["platform"] = "gpu"
    assert "runs on cpu" in faults(body)["/profile/ffmpeg/codec"]


def test_two_different_platforms_are_a_fault() -> None:
    assert "must agree" in faults(changed("/profile/ec2", {"platform": "gpu"}))["/profile/ec2/platform"]


def test_an_output_that_would_overwrite_its_input_is_a_fault() -> None:
    body = contract("job") | {"input": "s3://bucket/in/a.mp4", "output": "s3://bucket/in/"}
    assert "overwrite" in faults(body)["/input"]


def test_two_inputs_with_the_same_output_are_a_fault() -> None:
    body = contract("job_batch") | {"batchInputs": ["s3://bucket/a/x.mp4", "s3://bucket/b/x.mp4"]}
    assert "/batchInputs/0" in faults(body)["/batchInputs/1"]


def test_the_same_input_twice_is_two_jobs() -> None:
    body = contract("job_batch") | {"batchInputs": ["s3://bucket/a/x.mp4"] * 2}
    assert len(read_jobs(json.dumps(body).encode())) == 2


def test_a_batch_has_one_to_a_thousand_inputs() -> None:
    body = contract("job_batch") | {"batchInputs": []}
    assert "at least 1" in faults(body)["/batchInputs"]
    body["batchInputs"] = [f"s3://bucket/{n}.mp4" for n in range(REQUEST_JOBS + 1)]
    assert f"at most {REQUEST_JOBS}" in faults(body)["/batchInputs"]
    body["batchInputs"].pop()
    assert len(read_jobs(json.dumps(body).encode())) == REQUEST_JOBS


def test_each_input_of_a_batch_is_checked() -> None:
    body = contract("job_batch")
    body["batchInputs"][1] = "ftp://x"
    body["batchInputs"][2] = None
    assert set(faults(body)) == {"/batchInputs/1", "/batchInputs/2"}


def test_a_repeated_key_is_a_fault() -> None:
    raw = json.dumps(contract("job")).replace('"codec"', '"bitrate": "2M", "codec"').encode()
    assert faults(raw) == {"/profile/ffmpeg/bitrate": "is given more than once"}


def test_pointers_escape_tildes_and_slashes() -> None:
    assert list(faults(contract("job") | {"a/b~c": 1})) == ["/a~1b~0c"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b'{"priority": NaN}',
        b'{"priority": Infinity}',
        b'{"priority": 1e999}',
        b'{"userid": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"input": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"input": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
        b'{"priority": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_jobs(raw)


@pytest.mark.parametrize("body", [[], "x", 1, None])
def test_a_body_must_be_an_object(body: Any) -> None:
    assert "must be an object" in faults(body)[""]


def test_reading_does_not_change_the_body() -> None:
    body = contract("job")
    before = copy.deepcopy(body)
    read_jobs(json.dumps(body).encode())
    assert body == before


def score_faults(**profile: Any) -> dict[str, str]:
    body = contract("vmaf")
    body["profile"] |= profile
    with pytest.raises(Invalid) as caught:
        read_vmaf(json.dumps(body).encode())
    return dict(caught.value.faults)


def test_an_encode_in_a_request_for_a_score_is_a_fault() -> None:
    assert "POST /v1/jobs" in score_faults(ffmpeg=contract("job")["profile"]["ffmpeg"])["/profile/ffmpeg"]


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("model", "v2", "one of"),
        ("subsample", 0, "at least 1"),
        ("threads", 1000, "at most 64"),
        ("align", "guess", "exact, nearest"),
        ("min", 101, "at most 100"),
        ("min", "high", "a number"),
        ("onFail", "explode", "fail, keep"),
        ("scale", "1280:720", "WIDTHxHEIGHT"),
    ],
)
def test_each_option_of_a_score_is_checked(name: str, value: Any, detail: str) -> None:
    assert detail in score_faults(vmaf={"scale": "720p", "min": 1, name: value})[f"/profile/vmaf/{name}"]


def test_on_fail_requires_min() -> None:
    assert "required" in score_faults(vmaf={"scale": "720p", "onFail": "fail"})["/profile/vmaf/min"]


def test_outputs_are_compared_by_their_final_names() -> None:
    body = contract("job_batch") | {"batchInputs": ["s3://bucket/a/v.webm", "s3://bucket/c/v.webm.mp4"]}
    assert "has the same name" in faults(body)["/batchInputs/1"]
    beside = contract("job") | {"input": "s3://bucket/x/v.webm", "output": "s3://bucket/x/"}
    assert [job.output for job in read_jobs(json.dumps(beside).encode())] == ["s3://bucket/x/"]


def test_an_answer_has_at_most_1000_faults_and_short_pointers() -> None:
    result = faults(contract("job_batch") | {"batchInputs": ["no"] * 50_000})
    assert "at most 1000, not 50000" in result["/batchInputs"]
    assert len(result) == 1000
    crowd = faults(contract("job") | {f"field-{n}": n for n in range(50_000)})
    assert len(crowd) == 1000
    (pointer,) = faults(contract("job") | {"x" * 100_000: 1})
    assert len(pointer) < 400


def test_a_report_must_not_overwrite_its_input_or_origin() -> None:
    body = contract("vmaf") | {"input": "s3://bucket/x/a.mp4", "origin": "s3://bucket/x/a.mp4.vmaf.json"}
    with pytest.raises(Invalid) as caught:
        read_vmaf(json.dumps(body | {"output": "s3://bucket/x/"}).encode())
    assert "overwrite" in dict(caught.value.faults)["/origin"]


def test_ms_ssim_needs_at_least_176_pixels_a_side() -> None:
    small = {"scale": "256x144", "ms-ssim": "enable"}
    assert "176x176" in score_faults(vmaf=small)["/profile/vmaf/ms-ssim"]
    assert "32 to 8192" in score_faults(vmaf={"scale": "16x16"})["/profile/vmaf/scale"]


@pytest.mark.parametrize(
    "changes",
    [
        {"input": "file:///etc/passwd"},
        {"origin": "file:///etc/passwd"},
        {"output": "s3://bucket/x"},
        {"profile": {"vmaf": {"scale": "480x270,movie=/etc/passwd"}}},
    ],
)
def test_a_message_that_bypassed_the_api_is_checked_for_flaws(changes: dict[str, Any]) -> None:
    score = {
        "userid": "u",
        "jobid": "j",
        "input": "s3://bucket/a",
        "output": "s3://bucket/o/",
        "origin": "s3://bucket/b",
    }
    score["profile"] = {"vmaf": {"scale": "480x270"}}  # type: ignore[assignment]
    assert flaws(msgspec.convert(score, Job)) == []
    assert len(flaws(msgspec.convert(score | changes, Job))) == 1


def assert_refused_within(seconds: float, raw: bytes) -> None:
    """AssertionError where refusing a body takes more CPU seconds than that."""
    for read in (read_jobs, partial(read_batch, batch_id="b", now_ms=0)):
        before = time.thread_time()
        with pytest.raises((Invalid, Malformed)):
            read(raw)
        assert time.thread_time() - before < seconds


@pytest.mark.parametrize(
    "raw",
    [
        # Every key's pointer would hold the long key: 30 GB in all.
        b'{"' + b"k" * 1_000_000 + b'": {' + b'"a": 1, ' * 30_000 + b'"a": 1}}',
        # Every output would hold the long prefix.
        json.dumps({"output": "s3://media/" + "x" * 1_000_000, "inputs": [f"s3://a/{n}" for n in range(999)]}).encode(),
        # Every suffix would be compared with every other.
        json.dumps({"prefix": "s3://a/", "output": "s3://a/", "suffixes": [f".{n}" for n in range(99_999)]}).encode(),
        b"[" * 1_000_000,
        b'{"a":' * 300_000,
    ],
    ids=["keys", "outputs", "suffixes", "lists", "objects"],
)  # fmt: skip
def test_an_expensive_body_is_refused_within_3_seconds_of_cpu(raw: bytes) -> None:
    assert_refused_within(3.0, raw)


def test_a_body_may_nest_at_most_100_levels() -> None:
    deep = contract("job_batch") | {"input": "s3://media/a.mp4"}
    fits, beyond = ("[" * levels + "]" * levels for levels in (DEPTH - 1, DEPTH))
    text = json.dumps(deep | {"batchInputs": "HERE"})
    assert read_jobs(text.replace('"HERE"', fits).encode())
    with pytest.raises(Malformed, match=f"limit is {DEPTH} levels"):
        read_jobs(text.replace('"HERE"', beyond).encode())
