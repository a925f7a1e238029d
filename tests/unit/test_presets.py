"""A preset stands for its profile, and a fault of it is told where it was named."""

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
from elasticrecode.media.presets import BUILT_IN, Profiles
from elasticrecode.media.profiles import BITRATE_MBITS, bits
from elasticrecode.validation import Body
from tests.conftest import ROOT, contract

Read = Callable[..., list[Job]]
TRANSCODES = [name for name, profile in BUILT_IN.items() if "ffmpeg" in profile]
SCORES = [name for name, profile in BUILT_IN.items() if "ffmpeg" not in profile]


def asking(request: str, profile: Any, **changes: Any) -> bytes:
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
def test_each_that_is_built_in_is_valid_and_called_as_it_may_be(name: str) -> None:
    assert presets.NAME.fullmatch(name)
    resolved = read_preset(definition(BUILT_IN[name]))
    if resolved.ffmpeg:
        low, high = BITRATE_MBITS
        assert low * 1e6 <= bits(resolved.ffmpeg.bitrate) <= high * 1e6
        assert (resolved.ffmpeg.platform == "gpu") is name.endswith("-gpu")


def test_the_docs_tell_of_each_with_its_bitrate() -> None:
    rows = re.findall(
        r"^\| (`[a-z0-9-]+`[^|]*) \| ([^|]+) \|$", (ROOT / "docs" / "reference" / "api.md").read_text(), re.MULTILINE
    )
    told = {name: text for listed, text in rows for name in re.findall(r"`([^`]+)`", listed)}
    assert set(BUILT_IN) <= set(told)
    for listed, text in rows:
        names = re.findall(r"`([^`]+)`", listed)
        rates = re.findall(r"\b\d+[KM]\b", text)
        if rates and set(names) <= set(BUILT_IN):
            assert rates == [BUILT_IN[name]["ffmpeg"]["bitrate"] for name in names]
    for name in ("h264-1080p", "h264-720p"):
        assert BUILT_IN[f"{name}-vmaf"]["ffmpeg"] == BUILT_IN[name]["ffmpeg"]


def test_the_names_tell_what_is_in_them() -> None:
    for name, profile in BUILT_IN.items():
        word, scale, *_ = name.split("-")
        assert {part["scale"] for part in profile.values()} == {scale}
        assert ("vmaf" in profile) is ("vmaf" in name)
        assert word == profile.get("ffmpeg", {"codec": "vmaf"})["codec"]


@pytest.mark.parametrize(
    ("read", "request_", "name"),
    [
        *((read_jobs, request, name) for request in ("job", "job_batch") for name in TRANSCODES),
        *((read_vmaf, "vmaf", name) for name in SCORES),
    ],
)
def test_a_preset_is_taken_as_its_profile_would_be(read: Read, request_: str, name: str) -> None:
    by_name = read(asking(request_, {"preset": name}), BUILT_IN)
    written_out = read(asking(request_, BUILT_IN[name]), {})
    assert [job.profile for job in by_name] == [job.profile for job in written_out]
    assert b"preset" not in msgspec.json.encode(by_name)


def test_an_unknown_preset_is_a_fault_that_names_those_there_are() -> None:
    ((pointer, said),) = faults(read_jobs, asking("job", {"preset": "h264-4k"}))
    assert pointer == "/profile/preset"
    assert "'h264-4k'" in said
    assert all(name in said for name in BUILT_IN)


def test_of_many_presets_the_closest_are_named() -> None:
    many = {f"house-{n:03}": BUILT_IN["h264-720p"] for n in range(200)} | dict(BUILT_IN)
    ((pointer, said),) = faults(read_jobs, asking("job", {"preset": "H264-720"}), many)
    assert pointer == "/profile/preset"
    assert "h264-720p" in said
    assert "GET /v1/presets" in said
    assert len(said) < 300
    ((_, said),) = faults(read_jobs, asking("job", {"preset": "?" * 100_000}), many)
    assert len(said) < 300


@pytest.mark.parametrize("name", [5, None, ["h264-720p"], {"preset": "h264-720p"}])
def test_the_name_of_a_preset_is_a_string(name: Any) -> None:
    ((pointer, said),) = faults(read_jobs, asking("job", {"preset": name}))
    assert (pointer, "must be a string" in said) == ("/profile/preset", True)


@pytest.mark.parametrize("name", ["h264-720p", "nothing"])
def test_a_preset_stands_alone_and_what_is_beside_it_is_checked_too(name: str) -> None:
    beside = {"preset": name, "ec2": {"platform": "tpu"}, "a/b": 1}
    found = faults(read_jobs, asking("job", beside))
    told = [said for pointer, said in found if pointer == "/profile/preset"]
    assert any("must stand alone, without a/b, ec2" in said for said in told)
    assert len(told) == (2 if name == "nothing" else 1)
    assert {pointer for pointer, _ in found} == {"/profile/preset", "/profile/ec2/platform", "/profile/a~1b"}


def test_faults_of_a_preset_come_with_all_others() -> None:
    body = asking("job", {"preset": "nothing"}, output="nowhere", priority=101)
    assert [pointer for pointer, _ in faults(read_jobs, body)] == ["/output", "/priority", "/profile/preset"]


def test_a_preset_named_twice_is_a_fault() -> None:
    body = asking("job", {"preset": "h264-720p"}).replace(b'{"preset"', b'{"preset": "h264-480p", "preset"')
    assert faults(read_jobs, body) == [("/profile/preset", "is given more than once")]
    body = asking("job", {"preset": "h264-720p"}).replace(b'"profile"', b'"profile": {}, "profile"')
    assert faults(read_jobs, body) == [("/profile", "is given more than once")]


@pytest.mark.parametrize("name", TRANSCODES)
def test_a_preset_that_transcodes_is_no_score_and_the_fault_says_why(name: str) -> None:
    found = faults(read_vmaf, asking("vmaf", {"preset": name}))
    assert {pointer for pointer, _ in found} == {"/profile/preset"}
    said = dict(enumerate(text for _, text in found))
    assert f"is {name}, which cannot be used here: ffmpeg is not for a score alone" in said[0]
    assert "POST /v1/jobs" in said[0]


@pytest.mark.parametrize("name", SCORES)
def test_a_preset_that_only_scores_is_no_transcode(name: str) -> None:
    found = faults(read_jobs, asking("job", {"preset": name}))
    assert found == [("/profile/preset", f"is {name}, which cannot be used here: ffmpeg is required")]


def test_a_preset_whose_profile_is_not_valid_any_more_is_a_fault_of_the_preset() -> None:
    known = {"old": {"ffmpeg": BUILT_IN["h264-720p"]["ffmpeg"] | {"codec": "vp9", "bitrate": "99M"}}}
    found = faults(read_jobs, asking("job", {"preset": "old"}), known)
    assert [pointer for pointer, _ in found] == ["/profile/preset"] * 2
    assert "is old, which cannot be used here: ffmpeg/bitrate must be" in found[0][1]
    nested = {"nested": {"preset": "h264-720p"}} | dict(BUILT_IN)
    found = faults(read_jobs, asking("job", {"preset": "nested"}), nested)
    assert {pointer for pointer, _ in found} == {"/profile/preset"}


class Unasked(Mapping[str, Any]):
    """Presets that nobody may ask for."""

    def __getitem__(self, name: str) -> Any:
        pytest.fail(f"asked for {name}")

    def __iter__(self) -> Iterator[str]:
        pytest.fail("asked for all")

    def __len__(self) -> int:
        pytest.fail("asked for how many")


@pytest.mark.parametrize(("read", "request_"), [(read_jobs, "job"), (read_jobs, "job_batch"), (read_vmaf, "vmaf")])
def test_who_names_no_preset_asks_for_none(read: Read, request_: str) -> None:
    assert read(json.dumps(contract(request_)).encode(), Unasked())


def test_a_preset_names_no_preset() -> None:
    for profile in ({"preset": "h264-720p"}, {"preset": "h264-720p", **BUILT_IN["h264-720p"]}):
        found = definition_faults(profile)
        assert list(found) == ["/profile/preset"]
        assert "write out its profile" in found["/profile/preset"]


@pytest.mark.parametrize("profile", [{}, {"ec2": {"priceModel": "spot"}}])
def test_a_preset_transcodes_or_scores(profile: dict[str, Any]) -> None:
    assert definition_faults(profile) == {"/profile": "must hold ffmpeg, vmaf or both"}


def test_all_faults_of_a_preset_come_at_once() -> None:
    encode = BUILT_IN["h264-720p"]["ffmpeg"] | {"codec": "libx264", "platform": "gpu", "bitrate": "0M", "codce": "x"}
    found = definition_faults({"ffmpeg": encode, "vmaf": {"scale": "720p", "onFail": "fail"}}, surprise=1)
    assert set(found) == {
        "/profile/ffmpeg/codec",
        "/profile/ffmpeg/bitrate",
        "/profile/ffmpeg/codce",
        "/profile/vmaf/min",
        "/surprise",
    }


@pytest.mark.parametrize(("body", "pointer"), [({}, "/profile"), ({"profile": "x"}, "/profile"), ([], "")])
def test_what_defines_a_preset_is_an_object_with_a_profile(body: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_preset(Body(json.dumps(body).encode()))
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


@pytest.mark.parametrize("name", ["", "-a", ".a", "..", "A", "a b", "a/b", "a_b", "é", "a" * 65, "a\n"])
def test_names_that_a_path_or_a_reader_would_stumble_over_are_none(name: str) -> None:
    assert not presets.NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["a", "7", "h264-720p", "house.v2", "a" * 64])
def test_names(name: str) -> None:
    assert presets.NAME.fullmatch(name)
