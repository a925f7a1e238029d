"""A whole job that plays early: its film is divided, and plays from the first chunk on. Its package ends it."""

from pathlib import Path
from typing import Any

import boto3
import m3u8
import msgspec
import pytest

from elasticrecode.jobs.claims import Claim
from elasticrecode.jobs.commits import OutputKeys
from elasticrecode.jobs.job import Job
from elasticrecode.parts.store import PartsTable
from tests.aws.test_parts import Fleet
from tests.aws.test_publication import published, submitted
from tests.fakes.multipart import answer_as_s3
from tests.fakes.stack import Stack
from tests.media.case import SETTINGS
from tests.players import clips
from worker.parts import Parts, Place
from worker.pipeline import run_job
from worker.publication import Publication
from worker.storage import Storage

SECONDS = 13
HERE = SETTINGS._replace(jobs_table="jobs", parts_bucket="parts", divide_seconds=0, chunk_seconds=4)
PACKAGE = {
    "early": True,
    "speed": "fast",
    "segmentSeconds": 2,
    "ladder": [{"scale": "426:240", "bitrate": "300K"}, {"scale": "320:180", "bitrate": "200K"}],
}


def test_a_film_plays_early_and_its_package_appears_whole_at_the_end(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_as_s3(monkeypatch)
    stack.s3.create_bucket(Bucket="parts")
    clip = clips.clip(tmp_path / "clip.mp4", SECONDS)
    stack.s3.put_object(Bucket="media", Key="a/clip.mp4", Body=clip.read_bytes())
    job_id = submitted(stack, "s3://media/a/clip.mp4", profile={"package": PACKAGE})
    fleet = Fleet(stack, tmp_path, monkeypatch)
    claim = fleet.claims.claim(job_id, "w0")
    assert isinstance(claim, Claim)
    job = msgspec.json.decode(claim.job, type=Job)
    holder = fleet.holder("w0", job_id, claim.attempt)
    storage, puts = Storage(lambda: stack.s3), list[str]()
    stack.s3.meta.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: puts.append(params["Key"].rpartition("/")[2])
    )
    place = Place("ffmpeg_job", "s3://parts/")
    parts = Parts(holder._replace(storage=storage), job, claim, place, lambda _: None, fleet.report_lost)
    keys = OutputKeys("jobs", job, claim.attempt, claim.expires)
    publication = Publication(job, claim.attempt, storage, holder.runner, keys)
    ending = run_job(job, HERE, storage, holder.runner, lambda _: None, publication, parts)
    assert ending.action == "JobFinished"
    division = PartsTable("jobs").whole(job_id).division
    assert division
    assert division.parts > 3
    entry = published(stack, "out/clip/early.m3u8")
    assert entry
    (variant,) = m3u8.loads(entry.decode()).playlists
    early = m3u8.loads((published(stack, f"out/clip/{variant.uri}") or b"").decode())
    assert early.is_endlist
    assert sum(each.duration for each in early.segments) == pytest.approx(SECONDS)
    assert puts.index("early.m3u8") < puts.index("video-2.m4s")
    master = m3u8.loads((published(stack, "out/clip/master.m3u8") or b"").decode())
    assert len(master.playlists) == 2
    listed: Any = ending.result
    assert not any("early" in output.uri for output in listed.outputs)
    left = boto3.client("s3").list_objects_v2(Bucket="parts").get("Contents", [])
    assert left == []
