"""User prefixes: the check of requests, and the session policy of a worker for a job."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.access import prefixes
from elasticrecode.access.prefixes import READ_ACTIONS, WRITE_ACTIONS, Prefixes, UserPrefix
from elasticrecode.batches.request import read_batch
from elasticrecode.batches.survey import Line, check_permissions
from elasticrecode.errors import Invalid
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.job import Job, products, sources
from elasticrecode.jobs.requests import read_jobs, read_vmaf
from elasticrecode.jobs.uris import output_name
from elasticrecode.media.profiles import Ffmpeg, Images, Package, Profile, Sprite, Subtitles, Vmaf
from local.policy_patterns import matches
from tests.conftest import contract
from worker.job_role import LIMITS, session_policy

RULES = Prefixes(
    [
        UserPrefix(prefix="s3://media/users/{userID}/"),
        UserPrefix(prefix="s3://media/shared/", access="read"),
        UserPrefix(prefix="s3://out/{userID}/", access="write"),
    ]
)
OWN, SHARED, OUT = "s3://media/users/ann/", "s3://media/shared/", "s3://out/ann/"
READS, WRITES = (
    f"must be below a prefix that ann may read: {OWN}, {SHARED}",
    f"must be below a prefix that ann may write: {OWN}, {OUT}",
)


def faults(read: Callable[[bytes], object], body: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read(json.dumps(body).encode())
    return dict(caught.value.faults)


def reading(name: str) -> tuple[Callable[[bytes], object], dict[str, Any]]:
    """A reader with the rules, and a valid request of ann's."""
    body = contract(name) | {"userid": "ann", "output": OWN}
    if name == "job":
        return lambda text: read_jobs(text, prefixes=RULES), body | {"input": f"{SHARED}a.mp4"}
    if name == "job_batch":
        return lambda text: read_jobs(text, prefixes=RULES), body | {"batchInputs": [f"{SHARED}a.mp4"]}
    inputs = {"input": f"{OWN}in/a.mp4", "origin": f"{SHARED}a.mp4"}
    return lambda text: read_vmaf(text, prefixes=RULES), body | inputs


def batch(**source: Any) -> tuple[Callable[[bytes], object], dict[str, Any]]:
    """The same for a batch of any size."""
    body = {"userid": "ann", "output": OUT, "profile": contract("job_batch")["profile"]} | source
    return lambda text: read_batch(text, "b", 0, prefixes=RULES), body


@pytest.mark.parametrize("name", ["job", "job_batch", "vmaf"])
def test_a_request_within_the_prefixes_is_accepted(name: str) -> None:
    read, body = reading(name)
    assert read(json.dumps(body).encode())


@pytest.mark.parametrize("source", [{"manifest": f"{OWN}l.txt"}, {"prefix": SHARED}, {"inputs": [f"{OWN}a.mp4"]}])
def test_a_batch_within_the_prefixes_is_accepted(source: dict[str, Any]) -> None:
    read, body = batch(**source)
    assert read(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("job", {"input": "s3://media/users/bob/a.mp4"}, {"/input": READS}),
        ("job", {"input": f"{OUT}a.mp4"}, {"/input": READS}),
        ("job", {"output": f"{SHARED}out/"}, {"/output": WRITES}),
        ("job", {"input": "s3://media/users/annette/a.mp4", "output": "s3://media/"},
         {"/input": READS, "/output": WRITES}),
        ("job_batch", {"batchInputs": [f"{OWN}in/a.mp4", "s3://x11/b.mp4", f"{SHARED}c.mp4", "s3://y11/d.mp4"]},
         {"/batchInputs/1": READS, "/batchInputs/3": READS}),
        ("vmaf", {"input": "s3://x11/a.mp4", "origin": "s3://x11/b.mp4"}, {"/input": READS, "/origin": READS}),
    ],
)  # fmt: skip
def test_every_uri_outside_the_prefixes_is_a_fault(
    name: str, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    read, body = reading(name)
    assert faults(read, body | changes) == expected


@pytest.mark.parametrize(
    ("source", "pointer"),
    [
        ({"manifest": "s3://media/users/bob/l.txt"}, "/manifest"),
        ({"prefix": "s3://media/"}, "/prefix"),
        ({"prefix": "s3://media/users/"}, "/prefix"),
        ({"inputs": [f"{OWN}a.mp4", "s3://media/b.mp4"]}, "/inputs/1"),
        ({"batchInputs": ["s3://media/b.mp4"]}, "/batchInputs/0"),
    ],
)
def test_a_batch_with_inputs_outside_the_prefixes_is_refused(source: dict[str, Any], pointer: str) -> None:
    read, body = batch(**source)
    assert faults(read, body) == {pointer: READS}


def test_other_faults_are_reported_too() -> None:
    read, body = reading("job")
    result = faults(read, body | {"input": "s3://x11/a.mp4", "priority": 101, "output": "nowhere"})
    assert result["/input"] == READS
    assert set(result) == {"/input", "/priority", "/output"}


def test_without_prefixes_every_uri_is_accepted() -> None:
    assert Prefixes().fault("ann", "read", "s3://x11/../a.mp4") == ""
    assert read_jobs(json.dumps(reading("job")[1] | {"input": "s3://x11/a.mp4"}).encode())


@pytest.mark.parametrize("key", ["../bob/a.mp4", "in/../../bob/a.mp4", "./a.mp4", "in/./a.mp4"])
def test_dots_between_slashes_are_a_fault(key: str) -> None:
    assert RULES.fault("ann", "read", OWN + key) == "must not have '.' or '..' between slashes"


@pytest.mark.parametrize("user", ["..", ".", "*", "a?b", "${x}", "auth0|5f", "é", "aws:x", "a b"])
def test_a_user_whose_id_no_tag_can_hold_has_no_prefix_of_its_own(user: str) -> None:
    assert RULES.of(user, "read") == [SHARED]
    assert RULES.of(user, "write") == []
    detail = RULES.fault(user, "write", f"s3://media/users/{user}/")
    assert "there is none; only ids of letters, digits and" in detail


@given(
    st.from_regex(prefixes._TAG_VALUE, fullmatch=True), st.from_regex(prefixes._TAG_VALUE, fullmatch=True), st.text()
)
def test_no_user_may_write_below_the_prefix_of_another(one: str, other: str, rest: str) -> None:
    for prefix in RULES.of(other, "write") if one != other else ():
        assert RULES.fault(one, "write", prefix + rest)


# Lines of a batch


def test_only_lines_that_the_user_may_not_read_become_faulty() -> None:
    order = read_batch(json.dumps(batch(manifest=f"{OWN}l.txt")[1]).encode(), "b", 0)
    lines = [Line(1, f"{OWN}a.mp4"), Line(2, "s3://media/users/bob/b.mp4"), Line(3, "no URI"), Line(4, "", "too long")]
    checked = list(check_permissions(order.batch, lines, RULES))
    assert checked == [lines[0], lines[1]._replace(fault=f"'s3://media/users/bob/b.mp4' {READS}"), *lines[2:]]
    assert list(check_permissions(order.batch, lines, Prefixes())) == lines


# Prefixes beside each other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x/{userID}/", "x/library/"),
        ("x/{userID}/", "x/library/clips/"),
        ("x/{userID}/", "x/shared-{userID}/"),
        ("x/{userID}/", "x/{userID}-drafts/"),
        ("s3://films/{userID}/", "s3://films/all/"),
        ("x/{userID}/in/", "x/{userID}.x/in/"),
    ],
)
def test_prefixes_that_some_ids_lead_into_are_refused(one: str, other: str) -> None:
    for pair in ([one, other], [other, one]):
        ((pointer, detail),) = prefixes.faults([{"prefix": each} for each in pair])
        assert pointer == "/1/prefix"
        assert "users/{userID}/" in detail


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("users/{userID}/", "library/"),
        ("x/{userID}/in/", "x/{userID}/out/"),
        ("x/{userID}/", "x/{userID}/out/"),
        ("", "x/{userID}/"),
        ("library/", "library/uploads/"),
        ("x/{userID}/", "s3://films/x/library/"),
        ("uploads/", "uploads/{userID}/"),
        ("a-{userID}/", "b-{userID}/"),
        ("a-{userID}/", "a-/"),
    ],
)
def test_prefixes_that_no_id_leads_into_are_accepted(one: str, other: str) -> None:
    assert list(prefixes.faults([{"prefix": one}, {"prefix": other}])) == []


@pytest.mark.parametrize("prefix", ["{userID}/", "{userID}/in/", "uploads/{userID}-x/"])
def test_a_prefix_by_which_some_id_leads_into_the_uploads_of_others_is_refused(prefix: str) -> None:
    ((pointer, detail),) = prefixes.faults([{"prefix": prefix}])
    assert pointer == "/0/prefix"
    assert f"{prefix} and uploads/{{userID}}/ are the same place for some users' ids" in detail
    assert list(prefixes.faults([{"prefix": f"s3://films/{prefix}"}])) == []


# The session policy

ENCODE = Ffmpeg(codec="libx264", scale="1280:720", bitrate="1M", buffersize="2M", platform="cpu")
CERTIFICATE = ("out/a.webm.certificate.json", "out/a.webm.certificate.html")
ACTIONS = (*dict.fromkeys((*READ_ACTIONS, *WRITE_ACTIONS)), "s3:DeleteObject", "s3:ListBucket")


def job_with(profile: Profile, source: str = "in/a.webm", **more: Any) -> Job:
    return Job(userid="ann", jobid="j", input=f"s3://media/{source}", output="s3://media/out/", profile=profile, **more)


def may(policy: str, action: str, arn: str) -> bool:
    """Whether IAM would allow it, by the statements without conditions."""
    return any(
        action in entry["Action"] and "Condition" not in entry and matches(arn, entry["Resource"], {})
        for entry in json.loads(policy)["Statement"]
    )


@pytest.mark.parametrize(
    ("job", "read", "written"),
    [
        (job_with(Profile(ffmpeg=ENCODE)), ["in/a.webm"], ["out/a.webm.mp4", *CERTIFICATE]),
        (
            job_with(Profile(ffmpeg=ENCODE, vmaf=Vmaf(scale="1280x720"))),
            ["in/a.webm"],
            ["out/a.webm.mp4", "out/a.webm.vmaf.json", "out/a.webm.vmaf.html", *CERTIFICATE],
        ),
        (
            job_with(Profile(vmaf=Vmaf(scale="1280x720")), origin="s3://media/origin.mp4"),
            ["in/a.webm", "origin.mp4"],
            ["out/a.webm.vmaf.json", "out/a.webm.vmaf.html"],
        ),
    ],
)
def test_a_session_policy_allows_reading_inputs_and_writing_outputs(
    job: Job, read: list[str], written: list[str]
) -> None:
    policy = session_policy(job, "aws-cn")
    reads, writes, keys = json.loads(policy)["Statement"]
    assert reads["Resource"] == [f"arn:aws-cn:s3:::media/{key}" for key in read]
    assert writes["Resource"] == [f"arn:aws-cn:s3:::media/{key}" for key in written]
    assert (reads["Action"], writes["Action"]) == (list(READ_ACTIONS), list(WRITE_ACTIONS))
    assert keys["Condition"] == {"StringLike": {"kms:ViaService": "s3.*"}}


def test_a_session_policy_allows_writing_and_removing_below_the_package_alone() -> None:
    profile = Profile(package=Package())
    policy = session_policy(job_with(profile, "in/a.mp4"), "aws")
    for action in ("s3:DeleteObject", "s3:PutObject", "s3:GetObject"):
        assert may(policy, action, "arn:aws:s3:::media/out/a/0123456789/h264-1080p.mp4")
        assert not may(policy, action, "arn:aws:s3:::media/out/b/0123456789/h264-1080p.mp4")
    assert not may(policy, "s3:DeleteObject", "arn:aws:s3:::media/in/a.mp4")
    assert not may(
        session_policy(job_with(Profile(ffmpeg=ENCODE)), "aws"), "s3:DeleteObject", "arn:aws:s3:::media/out/a.webm.mp4"
    )


def test_a_session_policy_lets_a_job_read_what_it_copies_and_no_more() -> None:
    policy = session_policy(job_with(Profile(ffmpeg=ENCODE), "in/a.webm"), "aws", also=["s3://media/earlier/a"])
    assert may(policy, "s3:GetObject", "arn:aws:s3:::media/earlier/a.webm.mp4")
    assert not may(policy, "s3:GetObject", "arn:aws:s3:::media/earlier/b.mp4")
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert not may(policy, action, "arn:aws:s3:::media/earlier/a.webm.mp4")


KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda key: FORMATS["s3-object"][0](f"s3://media/{key}")
)


@given(KEYS, KEYS)
def test_a_session_policy_allows_the_jobs_object_and_no_other_for_any_key(key: str, other: str) -> None:
    policy = session_policy(job_with(Profile(ffmpeg=ENCODE), key), "aws")
    assert may(policy, "s3:GetObject", f"arn:aws:s3:::media/{key}")
    assert may(policy, "s3:PutObject", f"arn:aws:s3:::media/out/{output_name(key)}")
    assert may(policy, "s3:GetObject", f"arn:aws:s3:::media/{other}") == (key == other)


def test_a_session_policy_allows_side_files_sprites_and_subtitles_where_the_profile_has_them() -> None:
    plain, wanted = job_with(Profile(ffmpeg=ENCODE), "in/a.mp4"), Subtitles(tracks=["en"])
    images = Images(sprite=Sprite())
    for profile, read, write in (
        (plain.profile, set(), set()),
        (Profile(ffmpeg=ENCODE, images=images), set(), {"a.sprite-7.jpg", "a.thumbnails.vtt"}),
        (Profile(ffmpeg=ENCODE, subtitles=wanted), {"a.en.srt"}, {"a.en.vtt"}),
        (Profile(ffmpeg=ENCODE, subtitles=Subtitles(burn="en")), {"a.en.srt"}, set()),
    ):
        policy = session_policy(job_with(profile, "in/a.mp4"), "aws")
        names = {"a.en.srt", "b.en.srt", "a.sprite-7.jpg", "a.thumbnails.vtt", "a.en.vtt", "b.en.vtt"}
        assert {each for each in names if may(policy, "s3:GetObject", f"arn:aws:s3:::media/in/{each}")} & {
            "a.en.srt",
            "b.en.srt",
        } == read
        assert {each for each in names if may(policy, "s3:PutObject", f"arn:aws:s3:::media/out/{each}")} & {
            *write,
            "b.en.vtt",
        } == write


PARTS = st.lists(st.sampled_from(["ab*", "é", "電", "🎬", '"\n']), min_size=3, max_size=9)
LONG = st.builds(lambda parts, n: "/".join(parts * n), PARTS, st.integers(1, 100))


@given(LONG, st.sampled_from(LIMITS))
def test_a_session_policy_fits_its_limit_for_long_keys(key: str, limit: int) -> None:
    key = key.encode()[:1000].decode(errors="ignore").strip("/") + "/a.mp4"
    job = job_with(Profile(ffmpeg=ENCODE, vmaf=Vmaf(scale="1280x720")), key)
    policy = session_policy(job, "aws", limit)
    assert len(policy) <= limit
    assert re.fullmatch(r"[\t\n\r -\xff]+", policy)  # what STS takes
    for uri in sources(job):
        assert may(policy, "s3:GetObject", uri.replace("s3://", "arn:aws:s3:::"))
    for uri in products(job):
        assert may(policy, "s3:PutObject", uri.replace("s3://", "arn:aws:s3:::"))
    assert not may(policy, "s3:GetObject", "arn:aws:s3:::media/x")
    assert not any(may(policy, action, "arn:aws:s3:::other/a.mp4") for action in ACTIONS)


@pytest.mark.parametrize(
    ("pattern", "arn", "means"),
    [
        ("a/*", "a/b\nc", True),
        ("a/?", "a/b", True),
        ("a/${*}", "a/*", True),
        ("a/${*}", "a/b", False),
        ("a/${?}${$}{x}", "a/?${x}", True),
        ("a/${aws:PrincipalTag/userID}/*", "a/ann/x", True),
        ("a/${aws:PrincipalTag/userID}/*", "a/bob/x", False),
        ("a/${aws:PrincipalTag/team}/*", "a//x", False),
        ("a/${aws:PrincipalTag/wild}/*", "a/b/x", False),
    ],
)
def test_resource_patterns_match_as_in_iam(pattern: str, arn: str, means: bool) -> None:
    known = {"aws:principaltag/userid": "ann", "aws:principaltag/wild": "*"}
    assert matches(arn, [pattern], known) is means
