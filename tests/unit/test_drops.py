"""Drops: the jobs of files, one for each version, and no loop from a drop's outputs into a drop."""

import json
import uuid
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.drops import rules
from elasticrecode.drops.rules import Drop, NewObject, new_objects
from elasticrecode.jobs.uris import SCORE_FILES, output_name

PROFILE: dict[str, Any] = {"ffmpeg": {"codec": "h264", "scale": "720p", "bitrate": "2M"}}
SCORED = PROFILE | {"vmaf": {"scale": "720p"}}
OWN = "media-of-the-stack"


def given_drop(**more: Any) -> dict[str, Any]:
    return {"prefix": "in/", "userid": "ann", "output": "out/", "profile": PROFILE} | more


def located(**more: Any) -> Drop:
    return msgspec.convert(given_drop(**more), Drop).with_bucket(OWN)


def put(key: str, version: str = "1", bucket: str = OWN, size: int = 1) -> NewObject:
    return NewObject(bucket, key, version, size)


def faults(*given: dict[str, Any]) -> dict[str, str]:
    return {fault.pointer: fault.detail for fault in rules.faults(list(given))}


def notification(key: str, event: str = "ObjectCreated:Put", bucket: str = "b", **known: Any) -> dict[str, Any]:
    """S3's notification of one object. S3 encodes the key like a form field."""
    notified = {"key": quote_plus(key, safe="/"), "size": 7, "eTag": "e", "sequencer": "0055AED6DCD90281E5"} | known
    return {"Records": [{"eventName": event, "s3": {"bucket": {"name": bucket}, "object": notified}}]}


@pytest.mark.parametrize(
    ("key", "input_", "output"),
    [
        ("in/b.mp4", f"s3://{OWN}/in/b.mp4", f"s3://{OWN}/out/"),
        ("in/a/b.mp4", f"s3://{OWN}/in/a/b.mp4", f"s3://{OWN}/out/a/"),
        ("in/a//b.mp4", f"s3://{OWN}/in/a//b.mp4", f"s3://{OWN}/out/a//"),
        ("in//b.mp4", f"s3://{OWN}/in//b.mp4", f"s3://{OWN}/out//"),
        ("in/ü 1+1/%2F.mp4", f"s3://{OWN}/in/ü 1+1/%2F.mp4", f"s3://{OWN}/out/ü 1+1/"),
        ("in/in/in/b.mp4", f"s3://{OWN}/in/in/in/b.mp4", f"s3://{OWN}/out/in/in/"),
    ],
)
def test_a_file_keeps_its_folder(key: str, input_: str, output: str) -> None:
    job = located(priority=9).job(put(key))
    assert (job.userid, job.input, job.output, job.priority) == ("ann", input_, output, 9)
    assert job.profile.ffmpeg
    assert (job.profile.ffmpeg.codec, job.profile.ffmpeg.scale) == ("libx264", "1280:720")


def test_an_output_may_be_in_any_bucket() -> None:
    assert located(output="s3://theirs/").job(put("in/a/b.mp4")).output == "s3://theirs/a/"
    assert located(bucket="theirs").job(put("in/b.mp4", bucket="theirs")).output == f"s3://{OWN}/out/"


@pytest.mark.parametrize("key", ["in/..", "in/a/.", "in/" + "x" * 1022, "in/" + "ü" * 511, "in/" + "x" * 1020])
def test_keys_that_the_api_or_s3_refuses_are_no_jobs(key: str) -> None:
    with pytest.raises(ValueError, match=r"its key at most 1024 bytes|have a key that S3 does not take"):
        located(output="far/far/away/").job(put(key))


def test_the_keys_of_certificates_count_too() -> None:
    key = "in/" + "x" * 999 + ".mp4"
    assert located(output="far/").job(put(key))
    with pytest.raises(ValueError, match="have a key that S3 does not take"):
        located(output="far/").job(put(f"{key[:-4]}x.mp4"))


@pytest.mark.parametrize(
    ("bucket", "key", "is_covered"),
    [
        (OWN, "in/a.mp4", True),
        (OWN, "in/a/b.mov", True),
        (OWN, "in/a.MP4", False),
        (OWN, "in/a.mp4.txt", False),
        (OWN, "inbox/a.mp4", False),
        ("other", "in/a.mp4", False),
    ],
)
def test_a_drop_covers_its_bucket_prefix_and_suffixes(bucket: str, key: str, is_covered: bool) -> None:
    assert located(suffixes=[".mp4", ".mov"]).covers(bucket, key) is is_covered


def test_the_job_id_follows_from_version_bucket_and_key() -> None:
    ids = [put("in/a", "1").job_id, put("in/a", "2").job_id, put("in/b", "1").job_id, put("in/a", "1", "other").job_id]
    assert len(set(ids)) == 4
    assert put("in/a", "1", size=5).job_id == ids[0]
    assert ids[0] == str(uuid.uuid5(uuid.NAMESPACE_URL, f"s3://{OWN}/in/a#1"))  # as the documentation has it


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_is_decoded_as_it_was_put(key: str) -> None:
    (result,) = new_objects(json.dumps(notification(key, size=3)))
    assert (result.bucket, result.key, result.size) == ("b", key, 3)


@pytest.mark.parametrize(
    ("known", "version"),
    [
        ({"versionId": "v1"}, "v1"),
        ({}, "0055AED6DCD90281E5"),
        ({"versionId": "null"}, "0055AED6DCD90281E5"),
        ({"sequencer": ""}, "e"),
    ],
)
def test_a_version_is_its_id_else_its_sequencer_else_its_etag(known: dict[str, str], version: str) -> None:
    (result,) = new_objects(json.dumps(notification("a", **known)))
    assert result.version == version


def test_a_notification_may_have_several_records_and_only_creations_count() -> None:
    notified = [notification(key, event)["Records"][0] for key, event in [
        ("a", "ObjectCreated:Put"), ("b", "ObjectCreated:CompleteMultipartUpload"), ("c", "ObjectCreated:Copy"),
        ("d", "ObjectRemoved:DeleteMarkerCreated"), ("e", "ObjectRestore:Completed"),
    ]]  # fmt: skip
    assert [result.key for result in new_objects(json.dumps({"Records": notified}))] == ["a", "b", "c"]


def test_the_test_event_of_s3_has_no_files() -> None:
    assert new_objects('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b", "RequestId": "r"}') == []


@pytest.mark.parametrize("body", ["", "hello", "{}", "[]", '{"Records": [{}]}', json.dumps({"Records": [{"s3": 1}]})])
def test_other_messages_are_no_notifications(body: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        new_objects(body)


def test_a_key_that_is_not_utf8_is_refused() -> None:
    notified = notification("x")
    notified["Records"][0]["s3"]["object"]["key"] = "in/%ff.mp4"
    with pytest.raises(ValueError, match="utf-8"):
        new_objects(json.dumps(notified))


# Loops


@pytest.mark.parametrize(
    "more",
    [
        {"output": "in/"},
        {"output": "in/made/"},
        {"prefix": ""},
        {"prefix": "a/b/", "output": "a/"},
        {"bucket": "theirs", "output": "s3://theirs/in/"},
        {"bucket": "theirs", "prefix": "", "output": "s3://theirs/out/"},
        {"output": "in/", "suffixes": [".mp4"]},
        {"output": "in/", "suffixes": [".webm", ".mp4"]},  # webm becomes webm.mp4
        {"output": "in/", "suffixes": [".webm.mp4"]},
        {"output": "in/", "suffixes": ["4"]},
        {"output": "in/", "suffixes": [".json", "x"], "profile": SCORED},  # x.vmaf.json
    ],
)
def test_a_drop_whose_outputs_it_covers_itself_is_refused(more: dict[str, Any]) -> None:
    result = faults(given_drop(**more))
    assert list(result) == ["/0/output"]
    assert "into this drop" in result["/0/output"]
    assert "choose an output outside of it" in result["/0/output"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"output": "in2/"},
        {"output": "s3://theirs/in/"},
        {"bucket": "theirs", "output": "in/"},
        {"output": "in/", "suffixes": [".webm"]},  # webm.mp4
        {"output": "in/", "suffixes": [".avi", ".mkv.raw"]},
        {"output": "in/", "suffixes": ["_original"]},
    ],
)
def test_a_drop_whose_outputs_it_does_not_cover_is_allowed(more: dict[str, Any]) -> None:
    assert faults(given_drop(**more)) == {}


def test_a_loop_through_two_drops_is_refused_and_so_is_a_chain() -> None:
    there, back = given_drop(output="next/"), given_drop(prefix="next/", output="in/")
    result = faults(there, back)
    assert list(result) == ["/0/output", "/1/output"]
    assert "into drop 1, next/," in result["/0/output"]
    assert "into drop 0, in/," in result["/1/output"]
    assert list(faults(there, given_drop(prefix="next/", output="end/"))) == ["/0/output"]


def test_outputs_of_a_drop_without_suffixes_may_have_any_container() -> None:
    anything = given_drop(output="next/")
    assert list(faults(anything, given_drop(prefix="next/", suffixes=[".MOV"]))) == ["/0/output"]
    assert faults(anything, given_drop(prefix="next/", suffixes=[".avi", ".txt"])) == {}
    assert list(faults(anything, given_drop(prefix="next/", suffixes=[".json"]))) == ["/0/output"]


def test_overlapping_drops_are_refused() -> None:
    assert list(faults(given_drop(), given_drop(prefix="in/deep/"))) == ["/1/prefix"]
    assert list(faults(given_drop(), given_drop(suffixes=[".mov"]))) == ["/1/prefix"]
    both = given_drop(suffixes=[".mp4"]), given_drop(suffixes=["x.mp4"])
    assert "overlaps drop 0, in/ with .mp4" in faults(*both)["/1/prefix"]
    assert faults(given_drop(suffixes=[".mp4"]), given_drop(suffixes=[".mov", ".MP4"])) == {}
    assert faults(given_drop(), given_drop(prefix="in2/"), given_drop(bucket="theirs")) == {}
    assert list(faults(given_drop(suffixes=[".mp4", ".mov", "a.mov"]))) == ["/0/suffixes/2"]


def test_a_bucket_has_at_most_100_notifications() -> None:
    suffixes = [f".{n:02}" for n in range(100)]
    assert faults(given_drop(suffixes=suffixes)) == {}
    result = faults(given_drop(suffixes=suffixes), given_drop(prefix="in2/"), given_drop(bucket="theirs"))
    assert result == {"": "need 101 notification rules of the product's own bucket, one for each suffix; S3 takes 100"}


FOLDERS = st.sampled_from(["", "a/", "b/", "a/b/", "a/a/", "b/a/"])
ENDS = [".mp4", ".MP4", ".webm", "4", "webm.mp4", "x", ".json", "html"]
DROPS = st.builds(
    given_drop,
    bucket=st.sampled_from(["", "theirs"]),
    prefix=FOLDERS,
    output=st.sampled_from(["s3://theirs/", "s3://theirs/a/", "a/", "b/", "b/b/"]),
    suffixes=st.lists(st.sampled_from(ENDS), max_size=2),
    profile=st.sampled_from([PROFILE, SCORED]),
)
KEYS = st.builds("".join, st.tuples(FOLDERS, FOLDERS, st.sampled_from(["x", "mp4", "_"]), st.sampled_from(["", *ENDS])))


@given(st.lists(DROPS, min_size=1, max_size=3), KEYS)
def test_no_output_of_valid_drops_becomes_a_job(entries: list[dict[str, Any]], key: str) -> None:
    if faults(*entries):
        return
    known = [msgspec.convert(entry, Drop).with_bucket(OWN) for entry in entries]
    for bucket in (OWN, "theirs"):
        covering = [drop for drop in known if drop.covers(bucket, key)]
        assert len(covering) <= 1
        for drop in covering:
            job = drop.job(put(key, bucket=bucket))
            names = [output_name(job.input), *(key.rsplit("/", 1)[-1] + end for end in SCORE_FILES)]
            for name in names if job.profile.vmaf else names[:1]:
                target, _, key_of_output = (job.output + name).removeprefix("s3://").partition("/")
                assert not [other for other in known if other.covers(target, key_of_output)]
