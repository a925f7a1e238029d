"""What a job publishes beside its film: from an input on S3 to objects and a record with roles."""

from pathlib import Path
from typing import Any

import pytest

from elasticrecode.contract import routes
from elasticrecode.jobs.uris import MARK
from tests.aws.test_publication import OUT, Attempt, record, s3_as_it_is
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.media.case import BUNNY, SETTINGS, ffmpeg
from tests.media.measures import streams
from tests.media.sources.subtitles import pgs
from tests.support import call
from worker.errors import PermanentError
from worker.pipeline import run_job
from worker.storage import Storage

__all__ = ["s3_as_it_is"]

ENCODE = {"codec": "h264", "scale": "240p", "bitrate": "1M", "speed": "fast"}
IMAGES = {"poster": True, "sprite": {"everySeconds": 1, "width": 64}}


def submitted(stack: Stack, uri: str, user: str = "ann", **profile: object) -> str:
    body = contract("job") | {"userid": user, "input": uri, "output": OUT, "profile": {"ffmpeg": ENCODE, **profile}}
    answer = call(stack.submit, routes.SUBMIT, body)
    assert answer.status == 200, answer.body
    job_id: str = answer.body[0]["jobid"]
    return job_id


def run(stack: Stack, job_id: str, folder: Path) -> dict[str, Any]:
    """Run the job as a worker does; its record."""
    attempt = Attempt(stack, job_id, folder, b"")
    storage = Storage(lambda: attempt.s3)
    attempt.report(run_job(attempt.job, SETTINGS, storage, attempt.runner, lambda _: None, attempt.publication))
    return record(stack, job_id)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return ffmpeg(tmp_path, "film.mp4", "-t", 3, "-i", BUNNY, "-map", "0:v", "-c", "copy")


def test_a_job_with_images_publishes_them_and_lists_them_with_their_roles(
    stack: Stack, tmp_path: Path, film: Path
) -> None:
    stack.s3.upload_file(str(film), "media", "in/a film.mp4")
    ended = run(stack, submitted(stack, "s3://media/in/a film.mp4", images=IMAGES), tmp_path)
    assert ended["state"] == "finished"
    roles = {output["uri"].removeprefix(OUT): output["role"] for output in ended["outputs"]}
    assert roles == {
        "a film.mp4": "file",
        "a film.jpg": "poster",
        "a film.sprite-0.jpg": "sprite",
        "a film.thumbnails.vtt": "sprite",
        "a film.mp4.certificate.json": "certificate",
        "a film.mp4.certificate.html": "certificate",
    }
    heads = {name: stack.s3.head_object(Bucket="media", Key=f"out/{name}") for name in roles}
    types = ["video/mp4", "image/jpeg", "image/jpeg", "text/vtt", "application/json", "text/html"]
    assert [head["ContentType"] for head in heads.values()] == types
    assert [head["ContentLength"] for head in heads.values()] == [output["bytes"] for output in ended["outputs"]]
    cues = stack.s3.get_object(Bucket="media", Key="out/a film.thumbnails.vtt")["Body"].read().decode()
    assert cues == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na%20film.sprite-0.jpg#xywh=0,0,64,36\n\n"
        "00:00:01.000 --> 00:00:02.000\na%20film.sprite-0.jpg#xywh=64,0,64,36\n\n"
        "00:00:02.000 --> 00:00:03.000\na%20film.sprite-0.jpg#xywh=0,36,64,36\n"
    )


def test_a_sprite_that_is_another_users_is_not_replaced(stack: Stack, tmp_path: Path, film: Path) -> None:
    for name in ("film.mp4", "film.mov"):
        stack.s3.upload_file(str(film), "media", f"in/{name}")
    run(stack, submitted(stack, "s3://media/in/film.mp4", images={"sprite": IMAGES["sprite"]}), tmp_path)
    before = stack.s3.head_object(Bucket="media", Key="out/film.sprite-0.jpg")["ETag"]
    with pytest.raises(PermanentError) as failed:
        run(stack, submitted(stack, "s3://media/in/film.mov", "bob", images={"sprite": IMAGES["sprite"]}), tmp_path)
    assert failed.value.failure.code == "output-taken"
    assert stack.s3.head_object(Bucket="media", Key="out/film.sprite-0.jpg")["ETag"] == before
    assert "Uploads" not in stack.s3.list_multipart_uploads(Bucket="media")


def test_a_foreign_object_at_a_sprites_key_stays(stack: Stack, tmp_path: Path, film: Path) -> None:
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    stack.s3.put_object(Bucket="media", Key="out/film.sprite-0.jpg", Body=b"mine")
    with pytest.raises(PermanentError) as failed:
        run(stack, submitted(stack, "s3://media/in/film.mp4", images=IMAGES), tmp_path)
    assert failed.value.failure.code == "output-exists"
    assert stack.s3.get_object(Bucket="media", Key="out/film.sprite-0.jpg")["Body"].read() == b"mine"
    assert "Contents" not in stack.s3.list_objects_v2(Bucket="media", Prefix="out/film.mp4")


def test_a_job_that_replaces_another_with_more_sprites_says_so(stack: Stack, tmp_path: Path, film: Path) -> None:
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    first = submitted(stack, "s3://media/in/film.mp4", images=IMAGES)
    run(stack, first, tmp_path)
    second = submitted(stack, "s3://media/in/film.mp4")
    assert run(stack, second, tmp_path)["replaces"] == [first]
    assert record(stack, first)["replacedBy"] == second


SRT = "1\n00:00:00,500 --> 00:00:02,000\nGrüße\n"


def beside(stack: Stack, film: Path, tmp_path: Path, files: dict[str, bytes], **subtitles: object) -> dict[str, Any]:
    """Run a job on the film with these objects beside it; its record."""
    stack.s3.upload_file(str(film), "media", "in/film.mp4")
    for name, body in files.items():
        stack.s3.put_object(Bucket="media", Key=f"in/{name}", Body=body)
    return run(stack, submitted(stack, "s3://media/in/film.mp4", subtitles=subtitles), tmp_path)


def texts(stack: Stack, ended: dict[str, Any]) -> dict[str, str]:
    """The published subtitles: name → the first cue."""
    names = [output["uri"].removeprefix(OUT) for output in ended["outputs"] if output["role"] == "subtitles"]
    bodies = {name: stack.s3.get_object(Bucket="media", Key=f"out/{name}")["Body"].read().decode() for name in names}
    return {name: " ".join(body.splitlines()[2:4]) for name, body in bodies.items()}


CUE = "00:00:00.500 --> 00:00:02.000 Grüße"


def test_side_files_in_the_wanted_languages_become_tracks_and_webvtt(stack: Stack, tmp_path: Path, film: Path) -> None:
    files = {
        "film.de.srt": SRT.encode(),
        "film.fra.vtt": "WEBVTT\n\n00:00.500 --> 00:02.000\nGrüße\n".encode(),
        "film.fr.forced.srt": SRT.encode("utf-16"),
        "film.es.srt": SRT.encode(),
        "film.de.sdh.srt": b"\xef\xbb\xbf" + SRT.replace("\n", "\r\n").encode(),
    }
    ended = beside(stack, film, tmp_path, files, tracks=["de", "fr", "deu", "de-DE"])
    expected = {"film.de.vtt", "film.de-2.vtt", "film.fr.vtt", "film.fr-2.vtt"}
    assert texts(stack, ended) == dict.fromkeys(expected, CUE)
    assert not ended["warnings"]
    stack.s3.download_file("media", "out/film.mp4", str(tmp_path / "out.mp4"))
    marks = [
        (track["tags"]["language"], track["disposition"]["forced"], track["disposition"]["hearing_impaired"])
        for track in streams(tmp_path / "out.mp4", "subtitle")
    ]
    assert sorted(marks) == [("deu", 0, 0), ("deu", 0, 1), ("fra", 0, 0), ("fra", 1, 0)]


def test_bad_side_files_are_a_warning(stack: Stack, tmp_path: Path, film: Path) -> None:
    files = {
        "film.de.srt": SRT.encode("latin-1"),
        "film.de.vtt": b"\x00\x01 not subtitles",
        "film.de.ass": b"#EXTM3U\nfile:///etc/passwd\n",
        "film.de.sdh.srt": b"1" * ((8 << 20) + 1),
    }
    ended = beside(stack, film, tmp_path, files, tracks=["de"])
    assert ended["state"] == "finished"
    assert texts(stack, ended) == {"film.de.vtt": CUE}
    codes = sorted(warning["code"] for warning in ended["warnings"])
    assert codes == ["subtitles-charset-guessed", "subtitles-empty", "subtitles-empty", "subtitles-left-out"]


def test_subtitles_that_a_job_published_are_no_side_files(stack: Stack, tmp_path: Path, film: Path) -> None:
    stack.s3.put_object(Bucket="media", Key="in/film.de.vtt", Body=SRT.encode(), Metadata={MARK: "a job"})
    ended = beside(stack, film, tmp_path, {}, tracks=["de"])
    assert texts(stack, ended) == {}


def test_a_side_file_is_burnt_in(stack: Stack, tmp_path: Path, film: Path) -> None:
    ended = beside(stack, film, tmp_path, {"film.en.srt": SRT.encode()}, burn="en")
    assert (ended["state"], texts(stack, ended), ended["warnings"]) == ("finished", {}, None)


def test_a_burnt_in_film_is_scored_against_one_with_the_same_subtitles(
    stack: Stack, tmp_path: Path, film: Path
) -> None:
    (tmp_path / "s.sup").write_bytes(pgs([(0.52, 2.0)], 1920, 1080))
    inputs = ("-i", film, "-itsoffset", 0.52, "-i", "s.sup", "-map", 0, "-map", 1, "-c", "copy")
    whole = ffmpeg(tmp_path, "discs.mkv", *inputs, "-metadata:s:s:0", "language=eng")
    stack.s3.upload_file(str(whole), "media", "in/discs.mkv")
    job = submitted(stack, "s3://media/in/discs.mkv", subtitles={"burn": "en"}, vmaf={"scale": "360p", "subsample": 5})
    ended = run(stack, job, tmp_path)
    assert ended["state"] == "finished"
    assert ended["quality"]["vmaf"]["min"] > 60
