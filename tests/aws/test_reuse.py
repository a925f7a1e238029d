"""Outputs that are there already are copied by S3, and what probes have learnt is kept for later jobs."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from elasticrecode.contract import routes
from elasticrecode.jobs.commits import Upload
from elasticrecode.jobs.memory import Memory
from tests.aws.test_beside import ENCODE, IMAGES
from tests.aws.test_certificates import CRF, divided
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_publication import Attempt, published, record, s3_as_it_is
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.media.case import BUNNY, SETTINGS, ffmpeg
from tests.media.test_laddering import place, rungs
from tests.players import clips
from tests.support import call
from worker import uploads
from worker.chunks import Place
from worker.cuts.objects import LocalFile
from worker.goals import Goal
from worker.laddering import StoredLadder, ladder_of
from worker.memory import Knowledge
from worker.pipeline import run_job
from worker.probing import find_goal, open_prober
from worker.publication import Publication
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

__all__ = ["s3_as_it_is"]

TABLED = SETTINGS._replace(jobs_table="jobs")
LADDER = [{"scale": "240p", "bitrate": "300K"}, {"scale": "320:180", "bitrate": "100K"}]
FILM, AGAIN = "s3://media/in/a film.mp4", "s3://media/uploads/new/a film.mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ffmpeg(tmp_path_factory.mktemp("film"), "film.mp4", "-t", 3, "-i", BUNNY, "-c", "copy")


@pytest.fixture
def films(stack: Stack, clip: Path) -> None:
    """One film under two keys."""
    for uri in (FILM, AGAIN):
        stack.s3.upload_file(str(clip), "media", uri.removeprefix("s3://media/"))


class Job(Attempt):
    """A job as a worker of the deployment runs it."""

    def __init__(self, stack: Stack, folder: Path, uri: str, output: str, user: str, profile: dict[str, Any]) -> None:
        body = contract("job") | {"userid": user, "input": uri, "output": output, "profile": profile}
        answer = call(stack.submit, routes.SUBMIT, body)
        assert answer.status == 200, answer.body
        super().__init__(stack, answer.body[0]["jobid"], folder, b"")
        self.storage = Storage(lambda: self.s3)
        self.publication = Publication(self.job, self.claim.attempt, self.storage, self.runner, self.keys)

    def run(self, settings: Settings = TABLED) -> dict[str, Any]:
        """Its record at its end."""
        self.report(run_job(self.job, settings, self.storage, self.runner, lambda _: None, self.publication))
        return record(self.stack, self.job_id)

    @property
    def encodes(self) -> int:
        """How many times ffmpeg was run for the job."""
        return sum(Path(step.program).name == "ffmpeg" for step in self.runner.steps)


def done(
    stack: Stack,
    folder: Path,
    profile: dict[str, Any],
    uri: str = FILM,
    output: str = "s3://media/out/",
    user: str = "ann",
) -> tuple[Job, dict[str, Any]]:
    job = Job(stack, folder, uri, output, user, profile)
    ended = job.run()
    assert ended["state"] == "finished", ended
    return job, ended


def content(stack: Stack, uri: str) -> bytes:
    body = published(stack, uri.removeprefix("s3://media/"))
    assert body is not None, uri
    return body


PROFILE = {"ffmpeg": ENCODE, "images": IMAGES, "vmaf": {"scale": "240p"}}


@pytest.mark.usefixtures("films")
def test_what_is_asked_for_again_is_copied_and_not_made_again(stack: Stack, tmp_path: Path) -> None:
    first, before = done(stack, tmp_path, PROFILE)
    second, after = done(stack, tmp_path, PROFILE, AGAIN, "s3://media/copies/")
    assert first.encodes > 0
    assert second.encodes == 0
    assert (before["copyOf"], after["copyOf"]) == (None, first.job_id)
    assert after["quality"] == before["quality"]
    names = [[output["uri"].rpartition("/")[2] for output in each["outputs"]] for each in (before, after)]
    assert names[0] == names[1]
    for old, new in zip(before["outputs"], after["outputs"], strict=True):
        assert new["uri"].startswith("s3://media/copies/")
        copied = content(stack, new["uri"])
        assert (len(copied), hashlib.sha256(copied).hexdigest()) == (new["bytes"], new["sha256"])
        if new["role"] not in ("report", "certificate"):
            assert copied == content(stack, old["uri"])
            assert old | {"uri": new["uri"]} == new


@pytest.mark.usefixtures("films")
def test_reports_and_certificate_of_a_copy_name_its_own_job_and_files(stack: Stack, tmp_path: Path) -> None:
    first, _ = done(stack, tmp_path, PROFILE)
    second, after = done(stack, tmp_path, PROFILE, AGAIN, "s3://media/copies/")
    texts = {
        output["uri"].rpartition("/")[2]: content(stack, output["uri"]).decode()
        for output in after["outputs"]
        if output["role"] in ("report", "certificate")
    }
    assert sorted(texts) == [
        f"a film.mp4.{kind}" for kind in ("certificate.html", "certificate.json", "vmaf.html", "vmaf.json")
    ]
    for name, text in texts.items():
        assert "s3://media/in/" not in text, name
        assert "s3://media/out/" not in text, name
    told = json.loads(texts["a film.mp4.certificate.json"])
    assert (told["job"], told["attempt"], told["copyOf"]) == (second.job_id, 1, first.job_id)
    assert told["input"]["uri"] == AGAIN
    assert told["outputs"] == [output for output in after["outputs"] if output["role"] != "certificate"]
    page, earlier = texts["a film.mp4.certificate.html"], content(stack, "s3://media/out/a film.mp4.certificate.html")
    assert first.job_id in page
    assert second.job_id in page
    assert page.count("data:image/jpeg") == earlier.count(b"data:image/jpeg") > 0


@pytest.mark.usefixtures("films")
def test_a_copied_package_plays_from_its_own_folder(stack: Stack, tmp_path: Path) -> None:
    profile = {"package": {"ladder": LADDER, "speed": "fast"}}
    first, before = done(stack, tmp_path, profile)
    second, after = done(stack, tmp_path, profile, AGAIN, "s3://media/copies/")
    assert second.encodes == 0
    old, new = first.publication.version_name, second.publication.version_name
    assert [output["uri"].replace("media/out", "media/copies").replace(old, new) for output in before["outputs"]] == [
        output["uri"] for output in after["outputs"]
    ]
    for entry in ("master.m3u8", "manifest.mpd"):
        text = content(stack, f"s3://media/copies/a film/{entry}").decode()
        assert new in text
        assert old not in text
    listed = content(stack, f"s3://media/copies/a film/{new}/files.txt").decode().split("\n")[:-1]
    assert sorted(listed) == sorted(content(stack, f"s3://media/out/a film/{old}/files.txt").decode().split("\n")[:-1])
    for member in listed:
        assert content(stack, f"s3://media/copies/a film/{new}/{member}") == content(
            stack, f"s3://media/out/a film/{old}/{member}"
        )


@pytest.mark.usefixtures("films")
def test_a_job_may_copy_onto_the_outputs_that_it_replaces(stack: Stack, tmp_path: Path) -> None:
    profile = {"ffmpeg": ENCODE, "package": {"ladder": LADDER, "speed": "fast"}}
    first, before = done(stack, tmp_path, profile)
    second, after = done(stack, tmp_path, profile)
    assert second.encodes == 0
    assert (after["copyOf"], after["replaces"]) == (first.job_id, [first.job_id])
    assert after["outputs"][0] == before["outputs"][0]
    third, last = done(stack, tmp_path, profile)
    assert (third.encodes, last["copyOf"], last["replaces"]) == (0, first.job_id, [second.job_id])


@pytest.mark.usefixtures("films")
@pytest.mark.parametrize(
    ("change", "user"),
    [
        ({"reuse": False}, "ann"),
        ({"ffmpeg": {**ENCODE, "bitrate": "900K"}}, "ann"),
        ({}, "bob"),
    ],
    ids=["not wanted", "another profile", "another user"],
)
def test_a_job_is_done_where_it_is_not_the_same(
    stack: Stack, tmp_path: Path, change: dict[str, Any], user: str
) -> None:
    done(stack, tmp_path, {"ffmpeg": ENCODE})
    second, after = done(stack, tmp_path, {"ffmpeg": ENCODE, **change}, output="s3://media/other/", user=user)
    assert second.encodes > 0
    assert after["copyOf"] is None


@pytest.mark.usefixtures("films")
def test_a_source_with_another_content_is_encoded(stack: Stack, tmp_path: Path, clip: Path) -> None:
    done(stack, tmp_path, {"ffmpeg": ENCODE})
    other = ffmpeg(tmp_path, "other.mp4", "-t", 2, "-i", clip, "-c", "copy")
    stack.s3.upload_file(str(other), "media", "in/a film.mp4")
    second, _ = done(stack, tmp_path, {"ffmpeg": ENCODE}, output="s3://media/other/")
    assert second.encodes > 0


@pytest.mark.usefixtures("films")
@pytest.mark.parametrize("change", ["removed", "replaced", "replaced under its marks"])
def test_outputs_that_are_not_as_they_were_published_are_made_again(stack: Stack, tmp_path: Path, change: str) -> None:
    _, before = done(stack, tmp_path, {"ffmpeg": ENCODE})
    key = before["outputs"][0]["uri"].removeprefix("s3://media/")
    if change == "removed":
        stack.s3.delete_object(Bucket="media", Key=key)
    elif change == "replaced":
        stack.s3.put_object(Bucket="media", Key=key, Body=bytes(before["outputs"][0]["bytes"]))
    else:
        marks = stack.s3.head_object(Bucket="media", Key=key)["Metadata"]
        stack.s3.put_object(Bucket="media", Key=key, Body=bytes(before["outputs"][0]["bytes"]), Metadata=marks)
    second, after = done(stack, tmp_path, {"ffmpeg": ENCODE}, output="s3://media/other/")
    assert second.encodes > 0
    assert after["outputs"][0]["frames"] == before["outputs"][0]["frames"]
    assert after["copyOf"] is None


def test_a_large_object_is_copied_in_parts_and_whole(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_COPIED_BYTES", 5 << 20)
    body = os.urandom((12 << 20) + 1)
    etag = stack.s3.put_object(Bucket="media", Key="old", Body=body)["ETag"]
    storage = Storage(lambda: stack.s3)
    sender, begun = uploads.Uploads(storage, "j", 1, Runner()), list[Upload]()
    digest = hashlib.sha256(body).hexdigest()
    copied = uploads.Copied("s3://media/old", etag, len(body), digest)
    assert sender.send_all([(copied, "s3://media/new.mp4")], begun) == {"s3://media/new.mp4": digest}
    parts = stack.s3.list_parts(Bucket="media", Key="new.mp4", UploadId=begun[0].uploadID)["Parts"]
    assert [part["Size"] for part in parts] == [5 << 20, 5 << 20, (2 << 20) + 1]
    sender.complete(begun[0], "")
    assert published(stack, "new.mp4") == body


def test_the_film_that_workers_have_divided_is_copied_as_one(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, profile = clips.clip(tmp_path / "clip.mp4", 13), {"ffmpeg": CRF, "vmaf": {"scale": "240p"}}
    ending = divided(stack, source, tmp_path, monkeypatch, **profile)
    second = Job(stack, tmp_path, "s3://media/in/film.mp4", "s3://media/copies/", "ann", profile)
    ended = second.run(TABLED._replace(chunk_seconds=4))
    assert (ended["state"], second.encodes) == ("finished", 0)
    assert ended["outputs"][0]["sha256"] == ending.result.outputs[0].sha256
    assert content(stack, "s3://media/copies/film.mp4") == content(stack, "s3://media/out/film.mp4")
    films = [
        json.loads(content(stack, f"s3://media/{folder}/film.mp4.certificate.json"))["film"]
        for folder in ("out", "copies")
    ]
    assert len(films[0]["parts"]) > 2
    assert films[0] == films[1]


AUTO = {"package": {"ladder": "auto", "speed": "fast", "auto": {"topVmaf": 92}}}


@pytest.mark.usefixtures("stack")
def test_the_ladder_of_a_title_is_probed_once_and_serves_other_ends(tmp_path: Path, clip: Path) -> None:
    def known(folder: str, **auto: object) -> tuple[Place, StoredLadder]:
        wanted = {"package": {**AUTO["package"], "auto": AUTO["package"]["auto"] | auto}}  # type: ignore[operator]
        at = place(tmp_path / folder, clip, wanted)._replace(known=Knowledge(Memory("jobs", "u"), ("clip",)))
        return at, ladder_of(at, None)

    first, ladder = known("first")
    second, same = known("second")
    assert first.runner.cpu_seconds > 1
    assert second.runner.cpu_seconds < first.runner.cpu_seconds / 4
    assert (same.ladder, same.title and same.title.cpuSeconds) == (ladder.ladder, 0.0)
    third, lower = known("third", topVmaf=85)
    assert third.runner.cpu_seconds < first.runner.cpu_seconds / 2
    assert rungs(lower)[0].bitrate != rungs(ladder)[0].bitrate


@pytest.mark.usefixtures("stack")
def test_a_target_is_searched_from_what_an_earlier_search_has_learnt(tmp_path: Path, clip: Path) -> None:
    def goal(folder: str, vmaf: float, user: str = "u") -> Goal:
        encode = {"codec": "h264", "scale": "source", "speed": "fast", "quality": {"vmaf": vmaf}}
        at = place(tmp_path / folder, clip, {"ffmpeg": encode})
        prober = open_prober(at, LocalFile(clip, at.runner))
        searched = find_goal(prober, Knowledge(Memory("jobs", user), ("clip",)))
        assert searched
        return searched

    first, again, lower, other = goal("1", 90), goal("2", 90), goal("3", 80), goal("4", 90, "another")
    assert sum(probe.cpuSeconds for probe in first.probes) > 0
    assert again.curve.crf == pytest.approx(first.curve.crf, abs=0.5)
    assert sum(probe.cpuSeconds for probe in again.probes) == 0
    assert lower.curve.crf > first.curve.crf + 2
    assert lower.curve.vmaf(lower.curve.crf) == pytest.approx(80, abs=0.3)
    assert len([probe for probe in lower.probes if probe.cpuSeconds]) < len(first.probes) + 3
    assert sum(probe.cpuSeconds for probe in other.probes) > 0


@pytest.mark.usefixtures("films")
@pytest.mark.parametrize(
    ("code", "status"),
    [("PreconditionFailed", 412), ("InvalidObjectState", 403), ("NoSuchKey", 404), ("AccessDenied", 403)],
)
def test_what_s3_refuses_to_copy_is_made_again(stack: Stack, tmp_path: Path, code: str, status: int) -> None:
    def refuse() -> None:
        answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "UploadPartCopy")

    done(stack, tmp_path, {"ffmpeg": ENCODE})
    second = Job(stack, tmp_path, AGAIN, "s3://media/copies/", "ann", {"ffmpeg": ENCODE})
    second.freeze_at("UploadPartCopy", refuse)
    ended = second.run()
    assert (ended["state"], ended["copyOf"], second.encodes > 0) == ("finished", None, True)
    assert not stack.s3.list_multipart_uploads(Bucket="media").get("Uploads")


@pytest.mark.usefixtures("films")
def test_a_job_that_is_done_anew_is_the_one_that_later_jobs_copy(stack: Stack, tmp_path: Path) -> None:
    done(stack, tmp_path, {"ffmpeg": ENCODE})
    second, _ = done(stack, tmp_path, {"ffmpeg": ENCODE, "reuse": False}, output="s3://media/anew/")
    third, last = done(stack, tmp_path, {"ffmpeg": ENCODE}, output="s3://media/copies/")
    assert (third.encodes, last["copyOf"]) == (0, second.job_id)


@pytest.mark.usefixtures("films")
def test_subtitles_that_were_corrected_meanwhile_are_not_those_of_a_copy(stack: Stack, tmp_path: Path) -> None:
    profile = {"ffmpeg": ENCODE, "subtitles": {"tracks": ["fr"]}}

    def say(text: str) -> None:
        lines = f"1\n00:00:00,500 --> 00:00:02,000\n{text}\n"
        stack.s3.put_object(Bucket="media", Key="in/a film.fr.srt", Body=lines.encode())

    say("vieux")
    first = Job(stack, tmp_path, FILM, "s3://media/out/", "ann", profile)
    first.freeze_at("CompleteMultipartUpload", lambda: say("corrige"))
    first.run()
    assert b"vieux" in content(stack, "s3://media/out/a film.fr.vtt")
    second, after = done(stack, tmp_path, profile, output="s3://media/copies/")
    assert b"corrige" in content(stack, "s3://media/copies/a film.fr.vtt")
    assert after["copyOf"] is None
    third, last = done(stack, tmp_path, profile, output="s3://media/more/")
    assert (third.encodes, last["copyOf"]) == (0, second.job_id)
    assert b"corrige" in content(stack, "s3://media/more/a film.fr.vtt")


@pytest.mark.usefixtures("films")
def test_a_file_a_package_and_a_score_have_the_reports_of_the_file_and_are_copied(stack: Stack, tmp_path: Path) -> None:
    profile = {**PROFILE, "package": {"ladder": LADDER, "speed": "fast"}}
    _, before = done(stack, tmp_path, profile)
    report = json.loads(content(stack, "s3://media/out/a film.mp4.vmaf.json"))
    assert report["input"] == "s3://media/out/a film.mp4"
    assert report["quality"]["vmaf"]["mean"] == before["quality"]["vmaf"]["mean"]
    for output in before["outputs"]:
        assert len(content(stack, output["uri"])) == output["bytes"], output["uri"]
    second, _ = done(stack, tmp_path, profile, AGAIN, "s3://media/copies/")
    assert second.encodes == 0


def test_the_report_of_a_copy_beside_its_source_names_its_own_file(stack: Stack, tmp_path: Path, clip: Path) -> None:
    """The URI of such a source is the start of that of its output."""
    for folder in ("one", "two"):
        stack.s3.upload_file(str(clip), "media", f"{folder}/noext")
    profile = {"ffmpeg": ENCODE, "vmaf": {"scale": "240p"}}
    done(stack, tmp_path, profile, "s3://media/one/noext", "s3://media/one/")
    second, _ = done(stack, tmp_path, profile, "s3://media/two/noext", "s3://media/other/")
    assert second.encodes == 0
    report = json.loads(content(stack, "s3://media/other/noext.vmaf.json"))
    assert (report["origin"], report["input"]) == ("s3://media/two/noext", "s3://media/other/noext.mp4")


@pytest.mark.usefixtures("films")
@pytest.mark.parametrize("broken", ["{", "{}", '{"sources": []}', None])
def test_what_is_remembered_wrongly_costs_no_job(stack: Stack, tmp_path: Path, broken: str | None) -> None:
    done(stack, tmp_path, {"ffmpeg": ENCODE})
    rows = stack.dynamodb.scan(TableName="jobs")["Items"]
    (item,) = [row for row in rows if row["jobID"]["S"].startswith("memory#")]
    if broken is None:
        del item["content"]
    elif "sources" in broken:
        item["content"]["S"] = json.dumps(json.loads(item["content"]["S"]) | json.loads(broken))
    else:
        item["content"]["S"] = broken
    stack.dynamodb.put_item(TableName="jobs", Item=item)
    second, after = done(stack, tmp_path, {"ffmpeg": ENCODE}, output="s3://media/other/")
    assert (second.encodes > 0, after["copyOf"]) == (True, None)


@pytest.mark.usefixtures("films")
def test_aws_that_refuses_to_remember_costs_no_job(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: set[str] = set()

    def refuse(operation: str, arguments: dict[str, Any]) -> None:
        if "memory#" in str(arguments):
            refused.add(operation)
            raise throttled(operation)

    done(stack, tmp_path, {"ffmpeg": ENCODE})
    with every_call(refuse, monkeypatch):
        second, after = done(stack, tmp_path, {"ffmpeg": ENCODE}, output="s3://media/other/")
    assert (second.encodes > 0, after["copyOf"]) == (True, None)
    assert refused == {"BatchGetItem", "UpdateItem"}
