"""Streaming packages on the deployed stack: from a request to files that the checker and three players read."""

import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from standardwebhooks import Webhook

from tests.browser import browser
from tests.conftest import ROOT
from tests.e2e.conftest import FFMPEG, FFPROBE, Deployed, wait_for
from tests.e2e.test_deployed import BUNNY
from tests.fakes import edge
from tests.fakes.receiver import running
from tests.packages.check import Row, check
from tests.packages.package import Package, download
from tests.players import clips, driver
from worker.sandbox.isolation import program_environment

__all__ = ["browser"]

SECONDS = 24
LADDER = [{"scale": "360p", "bitrate": "500K"}, {"scale": "240p", "bitrate": "200K"}]
SIZES = [(640, 360), (480, 270)]
PACKAGE = {"ladder": LADDER, "speed": "fast", "segmentSeconds": 2}
PROFILE = {
    "package": PACKAGE,
    "audio": {"tracks": "all"},
    "subtitles": {"tracks": "all"},
    "images": {"poster": True, "sprite": {"everySeconds": 4, "width": 160}},
}
KEY, KEY_ID = "0123456789abcdef0123456789abcdef", "00112233445566778899aabbccddeeff"
ROLES = {"rendition": 2, "audio": 2, "subtitles": 2, "playlist": 2, "poster": 1, "sprite": 2, "certificate": 2}
"""What a package of the clip is to have; one `sprite` is the file that maps times to pictures."""
VERSIONED, REPLACED = "public, max-age=31536000, immutable", "public, max-age=60"
TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".mp4": "video/mp4",
    ".vtt": "text/vtt",
    ".jpg": "image/jpeg",
    ".txt": "text/plain",
}


def submit(deployed: Deployed, uri: str, output: str, profile: dict[str, Any], user: str = "packager") -> str:
    """Post a package; the job's id."""
    body = {"userid": user, "input": uri, "output": f"s3://{deployed.bucket}/{output}", "profile": profile}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    job_id: str = answer[0]["jobid"]
    return job_id


def package(deployed: Deployed, uri: str, output: str, profile: dict[str, Any]) -> dict[str, Any]:
    """Post a package, and wait for it; the record at its end."""
    record = deployed.until(submit(deployed, uri, output, profile), "finished", "failed")
    assert record["error"] is None
    return record


def fetched(url: str, into: Path) -> Path:
    """A package as players get it."""
    download(url, into)
    return into


def failures(rows: list[Row]) -> list[str]:
    return [f"{row.rule.name} {row.finding.where}: {row.finding.measured}" for row in rows if row.verdict == "FAIL"]


def key_of(output: dict[str, Any]) -> str:
    key: str = output["uri"].split("/", 3)[3]
    return key


def version_of(record: dict[str, Any]) -> str:
    """The folder of the version that a record lists, a key that ends in `/`."""
    (folder,) = {key_of(each).rpartition("/")[0] + "/" for each in record["outputs"] if each["role"] == "rendition"}
    return folder


@pytest.fixture(scope="module")
def media(deployed: Deployed) -> Iterator[str]:
    """Where players find the objects of the media bucket."""
    with edge.serving(deployed.s3, deployed.bucket) as address:
        yield address


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that tells its time, with two languages, spoken and written."""
    return clips.clip(tmp_path_factory.mktemp("packages") / "clip.mp4", SECONDS, 640, 360)


@pytest.fixture(scope="module")
def source(deployed: Deployed, clip: Path) -> str:
    return deployed.put(clip, "packages/clip.mp4")


@pytest.fixture(scope="module")
def made(deployed: Deployed, source: str) -> dict[str, Any]:
    """The record of a finished package."""
    return package(deployed, source, "played/", PROFILE)


def test_a_package_is_reported_like_any_job(deployed: Deployed, source: str) -> None:
    with running() as receiver:
        hook = {"userID": "told", "url": receiver.url, "actions": ["JobSummit", "JobStart", "JobFinished"]}
        status, webhook, _ = deployed.call("POST", "/api/v1/webhooks", hook)
        assert status == 201, webhook
        job_id = submit(deployed, source, "told/", {"package": PACKAGE}, "told")
        record = deployed.until(job_id, "finished", "failed")
        assert record["error"] is None
        wait_for(lambda: len({post.headers["webhook-id"] for post in receiver.taken}) == 3, "three events")
        events = [Webhook(webhook["secret"]).verify(post.body, post.headers) for post in receiver.taken]
    # An event is pushed, and its move made, a moment before lists have it.
    wait_for(lambda: deployed.actions(job_id) == ["JobSummit", "JobStart", "JobFinished"], "the job's log")
    assert {event["action"] for event in events} == {"JobSummit", "JobStart", "JobFinished"}
    (end,) = {json.dumps(event["result"]["outputs"]) for event in events if event["action"] == "JobFinished"}
    assert json.loads(end) == record["outputs"]
    assert deployed.call("DELETE", f"/api/v1/webhooks/{webhook['webhookID']}")[0] == 200


def test_the_record_lists_what_lies_there_with_the_figures_of_the_files(
    deployed: Deployed, made: dict[str, Any], tmp_path: Path
) -> None:
    outputs = made["outputs"]
    assert Counter(output["role"] for output in outputs) == ROLES
    for output in outputs:
        body = deployed.s3.get_object(Bucket=deployed.bucket, Key=key_of(output))["Body"].read()
        assert (output["bytes"], output["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    rungs = [output for output in outputs if output["role"] == "rendition"]
    assert [(rung["width"], rung["height"]) for rung in rungs] == SIZES
    for rung in rungs:
        probed = deployed.probe(rung["uri"], tmp_path)
        (video,) = probed["streams"]
        assert (video["codec_name"], video["width"], video["height"]) == ("h264", rung["width"], rung["height"])
        assert Fraction(video["avg_frame_rate"]) == rung["frameRate"] == clips.RATE
        assert rung["frames"] == len(frames(tmp_path / "probed")) == SECONDS * clips.RATE
        assert rung["duration"] == pytest.approx(float(probed["format"]["duration"]), abs=0.001) == SECONDS
        playlist = deployed.s3.get_object(Bucket=deployed.bucket, Key=key_of(rung).replace(".mp4", ".m3u8"))["Body"]
        sizes = [int(size) for size in re.findall(r"#EXT-X-BYTERANGE:(\d+)", playlist.read().decode())]
        assert len(sizes) == rung["segments"]
        assert rung["bitrate"] == pytest.approx(8 * sum(sizes) / SECONDS, abs=1)
        assert rung["peakBitrate"] == pytest.approx(8 * max(sizes) / PACKAGE["segmentSeconds"], abs=1)  # type: ignore[operator]
        assert rung["segments"] == SECONDS / PACKAGE["segmentSeconds"]  # type: ignore[operator]
        assert rung["cpuSeconds"] > 0
    spoken = [output for output in outputs if output["role"] == "audio"]
    assert [output["language"] for output in spoken] == ["en", "fr"]
    assert {output["codecs"] for output in spoken} == {"mp4a.40.2"}
    for output in spoken:
        (stream,) = deployed.probe(output["uri"], tmp_path)["streams"]
        assert stream["codec_name"] == "aac"
        assert float(stream["duration"]) == pytest.approx(SECONDS, abs=0.05)
    assert [output["language"] for output in outputs if output["role"] == "subtitles"] == ["en", "fr"]


def frames(path: Path) -> list[str]:
    """The frames that ffprobe decodes of a file."""
    command = [
        str(FFPROBE),
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "frame=pts",
        "-of",
        "csv",
        str(path),
    ]
    done = subprocess.run(command, env=program_environment(), capture_output=True, text=True, check=True)
    found: list[str] = done.stdout.split()
    return found


def test_every_file_says_its_type_and_how_long_it_may_be_kept(deployed: Deployed, made: dict[str, Any]) -> None:
    version = version_of(made)
    folder = version.rsplit("/", 2)[0] + "/"
    keys = deployed.keys(folder)
    listed = {key_of(output) for output in made["outputs"] if key_of(output).startswith(folder)}
    names = deployed.s3.get_object(Bucket=deployed.bucket, Key=f"{version}files.txt")["Body"].read().decode()
    members = {version + name for name in names.split()} | {f"{version}files.txt"}
    assert set(keys) == members | listed
    assert set(keys) - members == {f"{folder}master.m3u8", f"{folder}manifest.mpd"}
    written = {}
    for key in keys:
        head = deployed.s3.head_object(Bucket=deployed.bucket, Key=key)
        suffix = Path(key).suffix
        wanted = {"audio/mp4", "video/mp4"} if suffix == ".mp4" else {TYPES[suffix]}
        assert head["ContentType"].partition(";")[0] in wanted, key
        assert head["CacheControl"] == (VERSIONED if key in members else REPLACED), key
        written[key] = head["LastModified"]
    assert max(written[key] for key in members) <= written[f"{folder}manifest.mpd"]
    assert written[f"{folder}manifest.mpd"] <= written[f"{folder}master.m3u8"]


def test_the_checker_finds_no_fault_in_a_package_read_by_url(
    deployed: Deployed, made: dict[str, Any], media: str, tmp_path: Path
) -> None:
    rows = check(Package(fetched(f"{media}/played/clip/", tmp_path)))
    assert failures(rows) == []
    seen = {row.rule.name for row in rows}
    assert {"content-types", "no-redirects", "cross-origin"} <= seen
    assert len(rows) > 300


def test_a_rerun_replaces_the_package_as_a_whole(deployed: Deployed, source: str, media: str, tmp_path: Path) -> None:
    first = package(deployed, source, "again/", {"package": PACKAGE})
    old = fetched(f"{media}/again/clip/", tmp_path / "old")
    longer = {"package": PACKAGE | {"ladder": [LADDER[1]]}}
    second = package(deployed, source, "again/", longer)
    assert version_of(first) != version_of(second)
    assert second["replaces"] == [first["jobID"]]
    assert deployed.record(first["jobID"])["replacedBy"] == second["jobID"]
    new = fetched(f"{media}/again/clip/", tmp_path / "new")
    assert failures(check(Package(new))) == []
    name = version_of(first).split("/")[-2]
    for entry in ("master.m3u8", "manifest.mpd"):
        assert name in (old / entry).read_text()
        assert name not in (new / entry).read_text()
    for file in (old / name).iterdir():  # a player in the middle of the old one goes on
        stored = deployed.s3.get_object(Bucket=deployed.bucket, Key=f"again/clip/{name}/{file.name}")["Body"].read()
        assert stored == file.read_bytes(), file.name


def encrypted(deployed: Deployed, media: str, scheme: str, **more: Any) -> dict[str, Any]:
    """A profile of an encrypted package, whose key lies on S3 for players."""
    key = f"keys/{scheme}.bin"
    deployed.s3.put_object(Bucket=deployed.bucket, Key=key, Body=bytes.fromhex(KEY))
    encryption = {"scheme": scheme, "keyUri": f"{media}/{key}", "key": KEY, "keyId": KEY_ID}
    return PROFILE | {"package": PACKAGE | {"encryption": encryption} | more}


@pytest.fixture(scope="module")
def protected(deployed: Deployed, source: str, media: str) -> dict[str, Any]:
    """The record of a finished package that is encrypted by cbcs."""
    return package(deployed, source, "protected/", encrypted(deployed, media, "cbcs"))


def test_a_package_is_encrypted_by_cbcs_and_its_key_is_shown_nowhere(
    deployed: Deployed, protected: dict[str, Any], media: str, tmp_path: Path
) -> None:
    found = Package(fetched(f"{media}/protected/clip/", tmp_path), key=bytes.fromhex(KEY))
    assert found.is_encrypted
    rows = check(found)
    assert failures(rows) == []
    assert any("decrypt" in row.rule.name for row in rows), sorted({row.rule.name for row in rows})
    job_id = protected["jobID"]
    shown = [protected, *(deployed.call("GET", f"/api/v1/{path}")[1] for path in (f"jobs/{job_id}", "logs/packager"))]
    assert protected["profile"]["package"]["encryption"]["keyUri"].endswith("/keys/cbcs.bin")
    for text in map(json.dumps, shown):
        assert KEY not in text
    tables = list(deployed.resources("AWS::DynamoDB::Table").values())
    tables += deployed.resources("AWS::DynamoDB::GlobalTable").values()
    stored = [item for name in tables for item in items(deployed, name)]
    assert any(job_id in item for item in stored)
    assert [item for item in stored if KEY in item] == []
    for log in deployed.place.logs.iterdir():
        if log.name != "aws.log":  # the embedded AWS may write down requests
            assert KEY not in log.read_text(errors="replace"), log.name


def items(deployed: Deployed, table: str) -> list[str]:
    """All items of a table, as text."""
    pages = deployed.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [str(item) for page in pages for item in page["Items"]]


def test_a_package_for_old_players_is_encrypted_by_aes_128(
    deployed: Deployed, source: str, media: str, tmp_path: Path
) -> None:
    record = package(deployed, source, "old-players/", encrypted(deployed, media, "aes-128", formats=["hls"]))
    assert {Path(each["uri"]).name for each in record["outputs"] if each["role"] == "playlist"} == {"master.m3u8"}
    found = Package(fetched(f"{media}/old-players/clip/", tmp_path), key=bytes.fromhex(KEY))
    assert found.is_encrypted
    assert failures(check(found)) == []
    played = tmp_path / "played.mkv"
    address = f"{media}/old-players/clip/master.m3u8"
    subprocess.run([FFMPEG, "-v", "error", "-xerror", "-i", address, "-map", "0:v:0", "-c", "copy", played], check=True)
    assert len(frames(played)) == SECONDS * clips.RATE


def test_a_batch_packages_its_inputs_by_a_preset(deployed: Deployed, source: str, media: str, tmp_path: Path) -> None:
    preset = "/api/v1/presets/hls.small"
    status, answer, _ = deployed.call("PUT", preset, {"profile": {"package": PACKAGE | {"formats": ["hls"]}}})
    assert status == 201, answer
    bunny = deployed.put(BUNNY, "packages/bunny.mp4")
    body = {"userid": "packager", "inputs": [source, bunny], "output": f"s3://{deployed.bucket}/batched/"}

    def taken() -> str | None:
        """The id of the batch, once the preset is known to who submits."""
        status, answer, _ = deployed.call("POST", "/api/v1/batches", body | {"profile": {"preset": "hls.small"}})
        assert status in (202, 422), answer
        return str(answer["batchID"]) if status == 202 else None

    batch_id = wait_for(taken, "a batch by the preset")
    ended = wait_for(lambda: (now := batch(deployed, batch_id))["state"] == "finished" and now, "the end of the batch")
    assert (ended["total"], ended["finished"]) == (2, 2)
    for name in ("clip", "bunny"):
        folder = fetched(f"{media}/batched/{name}/", tmp_path / name)
        assert not (folder / "manifest.mpd").exists()
        assert failures(check(Package(folder))) == []
    assert deployed.call("DELETE", preset)[0] == 200


def batch(deployed: Deployed, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = deployed.call("GET", f"/api/v1/batches/{batch_id}")[1]
    return found


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with driver.serving(ROOT / "docs" / "play") as address:
        yield address


@pytest.mark.parametrize("player", ["hls.js", "shaka-player"])
def test_a_player_plays_the_package_from_s3(
    deployed: Deployed, made: dict[str, Any], media: str, player: str, browser: Browser, site: str
) -> None:
    with driver.page(browser, player, site) as played:
        played.open(f"{media}/played/clip/{driver.entry(player)}")
        assert sorted((rung["width"], rung["height"]) for rung in played.rungs()) == sorted(SIZES)
        played.evaluate("(probe.watch(argument), 0)", clips.RATE)
        played.until("video.currentTime > 2")
        assert sorted(played.switch(2)) == sorted(width for width, _ in SIZES)
        assert played.evaluate("probe.gap('video').gap") <= 0.001
        played.choose("Text", "fr")
        played.caption("fr", 8)
        played.seek([18.5])
        assert played.evaluate("probe.wrong") == []
        assert played.evaluate("probe.frames") > clips.RATE
        assert played.error() == ""
