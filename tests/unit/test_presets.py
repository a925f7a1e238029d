"""Presets in requests: a preset is read as its profile, and its faults are reported at /profile/preset."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from elasticrecode.errors import Invalid
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.requests import read_jobs, read_preset, read_vmaf
from elasticrecode.media import presets
from elasticrecode.media.generations import beyond_first
from elasticrecode.media.presets import BUILT_IN, Profiles
from elasticrecode.media.profiles import BITRATE_MBITS, Profile, bits, resolve
from elasticrecode.validation import Body
from tests.conftest import ROOT, contract

Read = Callable[..., list[Job]]
TRANSCODES = [name for name, profile in BUILT_IN.items() if "ffmpeg" in profile]
SCORES = [name for name, profile in BUILT_IN.items() if not {"ffmpeg", "package", "audio"} & profile.keys()]
FIRST = [name for name, profile in BUILT_IN.items() if not beyond_first(resolve(msgspec.convert(profile, Profile)))]
"""Presets that workers of the first generation can do."""


def request_body(request: str, profile: Any, **changes: Any) -> bytes:
    """A documented request with another profile."""
    return json.dumps(contract(request) | {"profile": profile} | changes).encode()


def faults(read: Read, body: bytes, known: Profiles = BUILT_IN) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        read(body, known)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


def definition(profile: Any, **more: Any) -> Body:
    return Body(json.dumps({"profile": profile, **more}).encode())


def definition_faults(profile: Any, **more: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read_preset(definition(profile, **more))
    return dict(caught.value.faults)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_preset_is_valid_and_has_a_valid_name(name: str) -> None:
    assert presets.NAME.fullmatch(name)
    resolved = read_preset(definition(BUILT_IN[name]))
    if resolved.ffmpeg and name in FIRST:
        low, high = BITRATE_MBITS
        assert low * 1e6 <= bits(resolved.ffmpeg.bitrate or "") <= high * 1e6
        assert (resolved.ffmpeg.platform == "gpu") is name.endswith("-gpu")


def test_the_documented_presets_and_bitrates_are_the_built_in_ones() -> None:
    rows = re.findall(
        r"^\| (`[a-z0-9-]+`[^|]*) \| ([^|]+) \|$", (ROOT / "docs" / "reference" / "api.md").read_text(), re.MULTILINE
    )
    documented = {name: text for listed, text in rows for name in re.findall(r"`([^`]+)`", listed)}
    assert set(BUILT_IN) <= set(documented)
    for listed, text in rows:
        names = re.findall(r"`([^`]+)`", listed)
        rates = re.findall(r"\b\d+[KM]\b", text)
        if rates and set(names) <= set(FIRST):
            assert rates == [BUILT_IN[name]["ffmpeg"]["bitrate"] for name in names]
    for name in ("h264-1080p", "h264-720p"):
        assert BUILT_IN[f"{name}-vmaf"]["ffmpeg"] == BUILT_IN[name]["ffmpeg"]


def test_a_presets_name_agrees_with_its_profile() -> None:
    for name in FIRST:
        profile = BUILT_IN[name]
        word, scale, *_ = name.split("-")
        assert {part["scale"] for part in profile.values()} == {scale}
        assert ("vmaf" in profile) is ("vmaf" in name)
        assert word == profile.get("ffmpeg", {"codec": "vmaf"})["codec"]


@pytest.mark.parametrize(
    ("read", "request_", "name"),
    [
        *((read_jobs, request, name) for request in ("job", "job_batch") for name in (*TRANSCODES, "audio-only")),
        *((read_vmaf, "vmaf", name) for name in SCORES),
    ],
)
def test_a_preset_is_read_as_its_profile(read: Read, request_: str, name: str) -> None:
    by_name = read(request_body(request_, {"preset": name}), BUILT_IN)
    written_out = read(request_body(request_, BUILT_IN[name]), {})
    assert [job.profile for job in by_name] == [job.profile for job in written_out]
    assert b"preset" not in msgspec.json.encode(by_name)


def test_an_unknown_preset_is_a_fault_that_lists_the_known_ones() -> None:
    ((pointer, detail),) = faults(read_jobs, request_body("job", {"preset": "h264-4k"}))
    assert pointer == "/profile/preset"
    assert "'h264-4k'" in detail
    assert all(name in detail for name in BUILT_IN)


def test_of_many_presets_a_fault_lists_the_closest() -> None:
    many = {f"house-{n:03}": BUILT_IN["h264-720p"] for n in range(200)} | dict(BUILT_IN)
    ((pointer, detail),) = faults(read_jobs, request_body("job", {"preset": "H264-720"}), many)
    assert pointer == "/profile/preset"
    assert "h264-720p" in detail
    assert "GET /v1/presets" in detail
    assert len(detail) < 300
    ((_, detail),) = faults(read_jobs, request_body("job", {"preset": "?" * 100_000}), many)
    assert len(detail) < 300


@pytest.mark.parametrize("name", [5, None, ["h264-720p"], {"preset": "h264-720p"}])
def test_the_name_of_a_preset_is_a_string(name: Any) -> None:
    ((pointer, detail),) = faults(read_jobs, request_body("job", {"preset": name}))
    assert (pointer, "must be a string" in detail) == ("/profile/preset", True)


def test_a_preset_may_be_done_anew() -> None:
    (job,) = read_jobs(request_body("job", {"preset": "h264-720p", "reuse": False}))
    (plain,) = read_jobs(request_body("job", {"preset": "h264-720p"}))
    assert job.profile == msgspec.structs.replace(plain.profile, reuse=False)


@pytest.mark.parametrize("name", ["h264-720p", "nothing"])
def test_a_preset_stands_alone_and_fields_beside_it_are_checked(name: str) -> None:
    beside = {"preset": name, "ec2": {"platform": "tpu"}, "a/b": 1}
    result = faults(read_jobs, request_body("job", beside))
    at_preset = [detail for pointer, detail in result if pointer == "/profile/preset"]
    assert any("must stand alone, without a/b, ec2" in detail for detail in at_preset)
    assert len(at_preset) == (2 if name == "nothing" else 1)
    assert {pointer for pointer, _ in result} == {"/profile/preset", "/profile/ec2/platform", "/profile/a~1b"}


def test_faults_of_a_preset_are_reported_with_all_others() -> None:
    body = request_body("job", {"preset": "nothing"}, output="nowhere", priority=101)
    assert [pointer for pointer, _ in faults(read_jobs, body)] == ["/output", "/priority", "/profile/preset"]


def test_a_repeated_preset_is_a_fault() -> None:
    body = request_body("job", {"preset": "h264-720p"}).replace(b'{"preset"', b'{"preset": "h264-480p", "preset"')
    assert faults(read_jobs, body) == [("/profile/preset", "is given more than once")]
    body = request_body("job", {"preset": "h264-720p"}).replace(b'"profile"', b'"profile": {}, "profile"')
    assert faults(read_jobs, body) == [("/profile", "is given more than once")]


@pytest.mark.parametrize("name", TRANSCODES)
def test_a_preset_that_transcodes_cannot_be_used_for_a_score(name: str) -> None:
    result = faults(read_vmaf, request_body("vmaf", {"preset": name}))
    assert {pointer for pointer, _ in result} == {"/profile/preset"}
    (detail,) = [text for _, text in result if "ffmpeg" in text]
    assert f"is {name}, which cannot be used here: ffmpeg is not for a score alone" in detail
    assert "POST /v1/jobs" in detail


def test_the_presets_for_what_people_do_most_need_the_second_generation_and_older_ones_do_not() -> None:
    new = {"web-1080p", "web-720p", "archive", "small", "social-portrait", "audio-only"}
    new |= {"hls", "hls-hevc", "cmaf-av1"}
    assert set(BUILT_IN) - set(FIRST) == new


@pytest.mark.parametrize("name", SCORES)
def test_a_preset_that_only_scores_cannot_be_used_for_a_transcode(name: str) -> None:
    result = faults(read_jobs, request_body("job", {"preset": name}))
    assert result == [("/profile/preset", f"is {name}, which cannot be used here: ffmpeg is required")]


def test_faults_of_an_outdated_presets_profile_are_reported_at_the_preset() -> None:
    known = {"old": {"ffmpeg": BUILT_IN["h264-720p"]["ffmpeg"] | {"codec": "no-such-codec", "bitrate": "99M"}}}
    result = faults(read_jobs, request_body("job", {"preset": "old"}), known)
    assert [pointer for pointer, _ in result] == ["/profile/preset"] * 2
    assert "is old, which cannot be used here: ffmpeg/bitrate must be" in result[0][1]
    nested = {"nested": {"preset": "h264-720p"}} | dict(BUILT_IN)
    result = faults(read_jobs, request_body("job", {"preset": "nested"}), nested)
    assert {pointer for pointer, _ in result} == {"/profile/preset"}


class Unread(Mapping[str, Any]):
    """Presets that fail the test when they are read."""

    def __getitem__(self, name: str) -> Any:
        pytest.fail(f"read {name}")

    def __iter__(self) -> Iterator[str]:
        pytest.fail("read all names")

    def __len__(self) -> int:
        pytest.fail("read the number")


@pytest.mark.parametrize(("read", "request_"), [(read_jobs, "job"), (read_jobs, "job_batch"), (read_vmaf, "vmaf")])
def test_a_request_without_a_preset_reads_no_presets(read: Read, request_: str) -> None:
    assert read(json.dumps(contract(request_)).encode(), Unread())


def test_the_definition_of_a_preset_may_not_name_a_preset() -> None:
    for profile in ({"preset": "h264-720p"}, {"preset": "h264-720p", **BUILT_IN["h264-720p"]}):
        result = definition_faults(profile)
        assert list(result) == ["/profile/preset"]
        assert "write out its profile" in result["/profile/preset"]


@pytest.mark.parametrize("profile", [{}, {"ec2": {"priceModel": "spot"}}])
def test_a_preset_needs_an_encode_or_a_score(profile: dict[str, Any]) -> None:
    assert definition_faults(profile) == {"/profile": "must hold ffmpeg, package or vmaf, or audio alone"}


def test_all_faults_of_a_definition_are_reported_at_once() -> None:
    encode = BUILT_IN["h264-720p"]["ffmpeg"] | {"codec": "libx264", "platform": "gpu", "bitrate": "0M", "codce": "x"}
    result = definition_faults({"ffmpeg": encode, "vmaf": {"scale": "720p", "onFail": "fail"}}, surprise=1)
    assert set(result) == {
        "/profile/ffmpeg/codec",
        "/profile/ffmpeg/bitrate",
        "/profile/ffmpeg/codce",
        "/profile/vmaf/min",
        "/surprise",
    }


@pytest.mark.parametrize(("body", "pointer"), [({}, "/profile"), ({"profile": "x"}, "/profile"), ([], "")])
def test_a_definition_is_an_object_with_a_profile(body: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_preset(Body(json.dumps(body).encode()))
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


@pytest.mark.parametrize("name", ["", "-a", ".a", "..", "A", "a b", "a/b", "a_b", "é", "a" * 65, "a\n"])
def test_invalid_names(name: str) -> None:
    assert not presets.NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["a", "7", "h264-720p", "house.v2", "a" * 64])
def test_valid_names(name: str) -> None:
    assert presets.NAME.fullmatch(name)
