"""Links to the files of jobs."""

import json
import re
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
import requests
from msgspec import Raw

from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.contract import routes, settings
from elasticrecode.contract.auth import Auth
from elasticrecode.files.links import JobFile, PackageFiles, shown_as
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.uris import version_name
from tests.aws.test_path import event
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import Answer, call

INPUT, OUTPUT = "s3://media/in/film.mov", "s3://media/out/"
PACKAGE = {"package": {"formats": ["hls"]}}
VERSION = "s3://media/out/film/0123456789/"
OUTPUTS: list[dict[str, Any]] = [
    {"uri": f"{OUTPUT}film/master.m3u8", "bytes": 700, "role": "playlist"},
    {"uri": f"{VERSION}h264-360p-600k.mp4", "bytes": 9000, "role": "rendition"},
    {"uri": f"{OUTPUT}film.mov.certificate.json", "bytes": 80, "role": "certificate"},
]


def finished(stack: Stack, outputs: list[dict[str, Any]], **changes: Any) -> str:
    """The id of a job of ann's that has finished with these outputs."""
    body = contract("job") | {"userid": "ann", "input": INPUT, "output": OUTPUT} | changes
    job_id: str = call(stack.submit, routes.SUBMIT, body).body[0]["jobid"]
    stack.flow()
    stack.say(event(job_id, "JobStart"))
    assert stack.say(event(job_id, "JobFinished", result={"outputs": outputs})) == []
    return job_id


def links(stack: Stack, job_id: str, *uris: str, **changes: Any) -> Answer:
    """The answer to a request for the links of a job, or for those to files of its packages."""
    body = {"uris": list(uris)} if uris else None
    route = routes.PACKAGE_LINKS if uris else routes.JOB_LINKS
    return call(stack.build("files", **changes), route, body, {"jobID": job_id})


def test_a_job_has_links_to_its_input_and_each_of_its_outputs(stack: Stack) -> None:
    stack.s3.put_object(Bucket="media", Key="in/film.mov", Body=b"0123456789")
    job_id, asked = finished(stack, OUTPUTS), time.time()
    answer = links(stack, job_id)
    assert answer.status == 200
    assert asked + 890 < answer.body["expiresAt"] <= time.time() + 900
    assert [(each["uri"], each["role"], each.get("bytes")) for each in answer.body["links"]] == [
        (INPUT, "input", None), *((each["uri"], each["role"], each["bytes"]) for each in OUTPUTS),
    ]  # fmt: skip
    read = requests.get(answer.body["links"][0]["url"], headers={"Range": "bytes=2-4"}, timeout=60)
    assert (read.status_code, read.content) == (206, b"234")


def test_a_link_is_signed_for_s3_of_the_region_and_for_fifteen_minutes(stack: Stack) -> None:
    for link in links(stack, finished(stack, OUTPUTS)).body["links"]:
        url = urlsplit(link["url"])
        assert (url.scheme, url.netloc) == ("https", "media.s3.us-east-1.amazonaws.com")
        assert parse_qs(url.query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert parse_qs(url.query)["X-Amz-Expires"] == ["900"]


def test_a_link_leads_to_the_address_that_the_deployment_gives(stack: Stack) -> None:
    job_id = finished(stack, OUTPUTS, input="s3://old.films/a b.mov")
    local = links(stack, job_id, s3_url="http://localhost:4566").body["links"]
    assert local[0]["url"].startswith("http://localhost:4566/old.films/a%20b.mov?")
    # No certificate covers a host that is named by a bucket with dots.
    assert (
        links(stack, job_id)
        .body["links"][0]["url"]
        .startswith("https://s3.us-east-1.amazonaws.com/old.films/a%20b.mov?")
    )


def test_a_score_has_a_link_to_its_origin(stack: Stack) -> None:
    body = contract("vmaf") | {"userid": "ann"}
    job_id = call(stack.vmaf, routes.SUBMIT_VMAF, body).body["jobid"]
    shown = [(each["role"], each["uri"]) for each in links(stack, job_id).body["links"]]
    assert shown == [("input", body["input"]), ("origin", body["origin"])]


def as_user(user: str) -> dict[str, Any]:
    """The context of a request with a user's token."""
    return {"authorizer": {"claims": {"cognito:username": user, "cognito:groups": "", "exp": str(2**33)}}}


@pytest.mark.parametrize("route", [routes.JOB_LINKS, routes.PACKAGE_LINKS])
def test_only_the_user_of_a_job_and_operators_get_its_links(stack: Stack, route: str) -> None:
    job_id = finished(stack, OUTPUTS, profile=PACKAGE)
    handler = stack.build("files", auth=Auth("cognito"))
    method, resource = route.split(" ")
    given: dict[str, Any] = {
        "httpMethod": method, "resource": resource, "path": "/", "pathParameters": {"jobID": job_id},
        "body": json.dumps({"uris": [OUTPUTS[0]["uri"]]}),
    }  # fmt: skip
    statuses = [handler(given | {"requestContext": as_user(user)}, None)["statusCode"] for user in ("ann", "bob")]
    assert statuses == [200, 404]
    assert links(stack, "no-such-job").status == 404
    operators = {"authorizer": {"claims": {"cognito:username": "op", "cognito:groups": "operators", "exp": "1"}}}
    assert handler(given | {"requestContext": operators}, None)["statusCode"] == 200


def test_what_a_worker_reports_outside_the_jobs_output_gets_no_link(stack: Stack) -> None:
    outside = [
        {"uri": uri, "bytes": 1, "role": "file"}
        for uri in (
            "s3://media/in/bobs.mov",
            "s3://other/out/a.mp4",
            "s3://media/outer.mp4",
            f"{OUTPUT}../in/bobs.mov",
            "x",
        )
    ]
    job_id = finished(stack, [*OUTPUTS, *outside])
    assert [each["uri"] for each in links(stack, job_id).body["links"]] == [INPUT, *(each["uri"] for each in OUTPUTS)]


def test_with_user_prefixes_a_link_needs_what_the_user_may_use_now(stack: Stack) -> None:
    job_id = finished(stack, OUTPUTS)
    moved: settings.UserPrefixes = [{"prefix": "s3://media/out/", "access": "read-write"}]
    shown = [each["role"] for each in links(stack, job_id, user_prefixes=moved).body["links"]]
    assert shown == ["playlist", "rendition", "certificate"]
    moved = [{"prefix": "s3://media/in/", "access": "read"}]
    assert [each["role"] for each in links(stack, job_id, user_prefixes=moved).body["links"]] == ["input"]


# Packages


def record(**changes: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "jobID": "j", "userID": "ann", "kind": "ffmpeg", "state": "finished", "attempt": 2, "priority": 0,
        "input": INPUT, "output": OUTPUT, "profile": PACKAGE, "createdAt": 0.0, "outputs": OUTPUTS,
    }  # fmt: skip
    fields |= changes
    raw = {name: Raw(msgspec.json.encode(fields[name])) for name in ("profile", "outputs") if fields[name] is not None}
    return JobRecord(**fields | raw)


def test_the_files_of_a_package_have_links_in_the_order_of_the_request(stack: Stack) -> None:
    job_id = finished(stack, OUTPUTS, profile=PACKAGE)
    uris = [f"{VERSION}sprite-1.jpg", OUTPUTS[1]["uri"], f"{VERSION}h264-360p-600k.m3u8"]
    answer = links(stack, job_id, *uris)
    assert [(each["uri"], each["role"], each.get("bytes")) for each in answer.body["links"]] == [
        (uris[0], "package", None), (uris[1], "rendition", 9000), (uris[2], "package", None),
    ]  # fmt: skip


FOREIGN = [
    INPUT,
    "s3://media/out/film.mov",
    "s3://media/out/film/other.mp4",
    "s3://media/out/film/9876543210/h264.mp4",
    "s3://media/out/film/0123456789x/h264.mp4",
    "s3://media/out/film/0123456789",
    "s3://media/out/film2/0123456789/h264.mp4",
    "s3://media/out/film/0123456789/../secret.mp4",
    "s3://media/out/film/0123456789/./../../../in/bobs.mov",
    "s3://media/out/film/0123456789/a/../../x.mp4",
    "s3://media2/out/film/0123456789/h264.mp4",
    "s3://other/out/film/0123456789/h264.mp4",
    "s3://Media/out/film/0123456789/h264.mp4",
    "s3://media//out/film/0123456789/h264.mp4",
    "S3://media/out/film/0123456789/h264.mp4",
]


@pytest.mark.parametrize("uri", FOREIGN)
def test_no_other_file_passes_for_one_of_the_package(uri: str) -> None:
    assert PackageFiles(record(), Prefixes()).find(uri) is None


def test_every_foreign_file_of_a_request_is_reported_and_no_link_is_made(stack: Stack) -> None:
    job_id = finished(stack, OUTPUTS, profile=PACKAGE)
    answer = links(stack, job_id, OUTPUTS[0]["uri"], *FOREIGN[:3])
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/uris/1", "/uris/2", "/uris/3"]
    assert links(stack, job_id, *[OUTPUTS[0]["uri"]] * 201).status == 422


def test_a_job_without_a_package_has_no_files_beside_its_outputs() -> None:
    encode = {"ffmpeg": {"codec": "libx264", "scale": "640:360", "bitrate": "1M"}}
    files = PackageFiles(record(profile=encode), Prefixes())
    assert not any(files.find(each["uri"]) for each in OUTPUTS)
    assert files.find(f"{VERSION}sprite-1.jpg") is None


def test_a_package_whose_folder_is_that_of_other_users_opens_only_its_own_version() -> None:
    """An input called `users` makes its package in the folder `users/`, beside those of users."""
    place = "s3://media/users/0123456789/"
    mine = record(
        input="s3://media/in/users.mov",
        output="s3://media/",
        outputs=[
            {"uri": "s3://media/users/master.m3u8", "bytes": 1, "role": "playlist"},
            {"uri": f"{place}h264.mp4", "bytes": 1, "role": "rendition"},
        ],
    )
    files = PackageFiles(mine, Prefixes())
    assert files.find(f"{place}h264.m3u8")
    assert files.find("s3://media/users/bob/secret.mp4") is None


def test_a_package_that_plays_early_has_links_before_it_has_outputs() -> None:
    running = record(state="running", outputs=None, profile={"package": {"early": True}})
    files = PackageFiles(running, Prefixes())
    assert files.find(f"{OUTPUT}film/early.m3u8") == JobFile(f"{OUTPUT}film/early.m3u8", "playlist")
    assert files.find(f"{OUTPUT}film/early/{version_name('j', 2)}/video-0.m4s")
    assert files.find(f"{OUTPUT}film/early/{version_name('j', 1)}/video-0.m4s") is None


def test_user_prefixes_hold_for_files_of_packages() -> None:
    assert PackageFiles(record(), Prefixes([UserPrefix(prefix="s3://media/in/")])).find(OUTPUTS[0]["uri"]) is None
    assert PackageFiles(record(), Prefixes([UserPrefix(prefix=OUTPUT)])).find(OUTPUTS[0]["uri"])


# What a browser does with a link


@pytest.mark.parametrize(
    "name", ["a.html", "a.svg", "a.xhtml", "a.xml", "a.mpd", "a.js", "a.pdf", "a.HTM", "a", "a.json"]
)
def test_what_browsers_would_run_or_render_has_no_type(name: str) -> None:
    shown = shown_as(f"s3://media/out/{name}")
    assert shown["ResponseContentType"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.mp4", "video/mp4"), ("a.WEBM", "video/webm"), ("a.m3u8", "application/vnd.apple.mpegurl"),
     ("a.jpg", "image/jpeg"), ("a.vtt", "text/vtt"), ("a.m4a", "audio/mp4")],
)  # fmt: skip
def test_what_players_show_has_its_type(name: str, kind: str) -> None:
    assert shown_as(f"s3://media/out/{name}")["ResponseContentType"] == kind


@pytest.mark.parametrize(
    "name", ["a.mp4", 'qu"ote; x=y.mp4', "line\r\nbreak.mp4", "日本 100%.mp4", "it's.mp4", "a\\b.svg"]
)
def test_a_file_is_saved_under_its_name_whatever_is_in_it(name: str) -> None:
    disposition = shown_as(f"s3://media/out/{name}")["ResponseContentDisposition"]
    match = re.fullmatch(r"attachment; filename\*=UTF-8''([\w.%~-]+)", disposition, re.ASCII)
    assert match
    assert unquote(match[1]) == name


@pytest.mark.parametrize("name", ["日本 100%.mov", 'a "b" ?#&+.mov', "line\nbreak.mov", "%2e%2e.mov", "a\\b.mov"])
def test_links_lead_to_files_with_odd_names(stack: Stack, name: str) -> None:
    stack.s3.put_object(Bucket="media", Key=f"in/{name}", Body=b"film", ContentType="text/html")
    job_id = finished(stack, [], input=f"s3://media/in/{name}")
    read = requests.get(links(stack, job_id).body["links"][0]["url"], timeout=60)
    assert (read.status_code, read.content) == (200, b"film")
    assert read.headers["Content-Type"] == "video/quicktime"
    assert read.headers["Content-Disposition"].startswith("attachment; ")


def test_an_input_whose_key_browsers_would_change_has_no_link(stack: Stack) -> None:
    job_id = finished(stack, [], input="s3://media/in/../secret/film.mov")
    assert links(stack, job_id).body["links"] == []
