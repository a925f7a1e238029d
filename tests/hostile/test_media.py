"""Nasty files through a whole worker: each ends the job with a code, and nothing else happens. See `unharmed`."""

import socket

import pytest

from tests.conftest import FULL, SEED, Tell
from tests.hostile import corpus
from tests.hostile.conftest import LIMITS, MIB, Stage

pytestmark = pytest.mark.usefixtures("unharmed")
DAMAGED = 400 if FULL else 24
UNREADABLE = {
    "input-not-video", "input-no-video", "input-corrupt", "output-invalid", "encoder-failed", "memory-limit",
    "time-limit", "disk-limit", "input-too-long", "input-too-many-pixels", "input-too-many-streams",
}  # fmt: skip


def codes(stage: Stage, files: dict[str, bytes]) -> dict[str, str]:
    """What became of each file: the code it failed with, or that it finished."""
    found = {}
    for name, content in files.items():
        event = stage.job(content, f"in/{name}")
        found[name] = event["error"]["code"] if event["action"] == "JobFailed" else "finished"
        if event["action"] == "JobFailed":
            assert event["error"]["message"]
            assert str(stage.scratch) not in str(event["error"])
    return found


def test_the_traps_would_tell(stage: Stage) -> None:
    stage.traps.canary.read_bytes()
    told = stage.read()
    stage.around()
    if not told:
        pytest.skip("this file system does not keep when files were read")
    with socket.create_connection(("127.0.0.1", int(stage.lure.url.rpartition(":")[2]))) as visitor:
        visitor.recv(1)
    assert stage.lure.visitors == 1
    stage.lure.visitors = 0


def test_a_fine_film_is_transcoded(stage: Stage) -> None:
    event = stage.job(stage.make.mp4())
    assert event["action"] == "JobFinished", event
    assert stage.output(event)[4:8] == b"ftyp"


def test_playlists_that_pose_as_films_lead_nowhere(stage: Stage) -> None:
    files = corpus.playlists(stage.traps)
    # The last is a film with pictures, whose subtitles are a playlist: it is read without them.
    assert codes(stage, files) == dict.fromkeys(files, "input-not-video") | {"gab2.avi": "finished"}


def test_pictures_that_lie_in_other_files_are_not_fetched(stage: Stage) -> None:
    found = codes(stage, corpus.references(stage.make, stage.traps))
    # A URL is passed over, and the film's own pictures are taken; an alias says that there are none.
    assert found.pop("alias.mov") == "input-corrupt"
    assert set(found.values()) == {"finished"}


def test_what_nobody_decodes_is_the_inputs_fault(stage: Stage) -> None:
    files = corpus.undecodable(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-no-video")


def test_huge_pictures_in_a_small_file_are_refused(stage: Stage) -> None:
    files = corpus.huge(stage.make)
    assert max(map(len, files.values())) < MIB
    assert codes(stage, files) == dict.fromkeys(files, "input-too-many-pixels")


def test_pictures_that_become_huge_on_the_way_are_refused(stage: Stage) -> None:
    event = stage.job(corpus.grows(stage.make), "in/grows.ts")
    assert event["error"]["code"] == "input-too-many-pixels"
    assert event["error"]["message"] == f"The input has pictures of 8000x8000; the limit is {3840 * 2160} pixels."


def test_films_that_say_they_last_for_ages_are_refused(stage: Stage) -> None:
    files = corpus.endless(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-too-long")


def test_bombs_do_not_go_off(stage: Stage) -> None:
    assert codes(stage, corpus.bombs()) == {
        "zip.mp4": "input-not-video",
        "gzip.mp4": "input-not-video",
        "gzip.mkv": "input-not-video",
        "cmov.mov": "memory-limit",
    }


def test_squeezed_tracks_do_not_go_off(stage: Stage) -> None:
    found = codes(stage, corpus.squeezed_tracks())
    assert found == {"zlib.mkv": "input-corrupt", "header.mkv": "finished"}


def test_more_streams_than_may_be_are_refused(stage: Stage) -> None:
    files = corpus.many_streams(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-too-many-streams")


def test_boxes_without_sense_are_refused(stage: Stage) -> None:
    files = corpus.broken(stage.make)
    assert set(codes(stage, files).values()) <= {"input-not-video", "input-no-video"}


def test_pictures_and_sound_are_no_films(stage: Stage) -> None:
    files = corpus.pictures(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-not-video")
    m4a = stage.make("one.m4a", *corpus.SOUND, "-c:a", "aac")
    assert codes(stage, {"m4a.mp4": m4a}) == {"m4a.mp4": "input-no-video"}


def test_attachments_and_subtitles_stay_inside(stage: Stage) -> None:
    told = f"1\n00:00:00,000 --> 00:00:01,000\n<img src='{stage.traps.url}/x.png'>{stage.traps.canary}\n"
    subtitles = stage.scratch.parent / "clips" / "subtitles.srt"
    subtitles.write_text(told)
    film = stage.make(
        "attached.mkv", *corpus.SMALL, "-f", "srt", "-i", str(subtitles), *corpus.H264, "-c:s", "srt",
        "-attach", str(subtitles), "-metadata:s:t", "mimetype=application/x-truetype-font",
        "-metadata:s:t", "filename=../../../outside/evil.ttf",
    )  # fmt: skip
    assert b"canary" in film
    event = stage.job(film, "in/attached.mkv")
    assert event["action"] == "JobFinished", event
    assert b"canary" not in stage.output(event)


def test_damaged_clips_end_one_way_or_the_other(stage: Stage, tell: Tell) -> None:
    found = codes(stage, corpus.damaged(stage.make, SEED, DAMAGED))
    assert set(found.values()) <= UNREADABLE | {"finished"}
    tell("damaged clips", {code: list(found.values()).count(code) for code in sorted(set(found.values()))})


def test_an_object_that_is_too_large_is_not_fetched(stage: Stage) -> None:
    event = stage.job(bytes(LIMITS["MAX_INPUT_BYTES"] + 1))
    assert (event["action"], event["error"]["code"]) == ("JobFailed", "input-too-large")
    assert event["error"]["message"] == f"The input has {64 * MIB + 1} bytes; the limit is {64 * MIB}."


NAMES = [
    "-i.mp4",
    "-",
    "--help",
    ".mp4",
    "%d.mp4",
    "%s%n%x.mkv",
    "a'b\"c.mp4",
    "line\nbreak\r.mp4",
    "tab\t.mp4",
    "$(touch evil).mp4",
    "`touch evil`.mp4",
    "a;touch evil;.mp4",
    "a|b&c>d<e.mp4",
    "*?[x]{y}.mp4",
    "back\\slash.mp4",
    "pipe:0.mp4",
    "concat:a|b.mp4",
    "http:x.mp4",
    "file,subfile.mp4",
    "ünïcødé-漢字-🎬.mp4",
    "e\u0301.mp4",
    "\u202egnp.mp4",
    "x" * 900 + ".mp4",
    "漢" * 300 + ".mp4",
    "film.mp4.exe",
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:24] for name in NAMES])
def test_strange_names_are_just_names(stage: Stage, name: str) -> None:
    event = stage.job(stage.make.mp4(), f"in/{name}")
    assert event["action"] == "JobFinished", event
    (made,) = event["result"]["outputs"]
    assert made["uri"].startswith(f"s3://media/out/{name}")
    assert len(stage.output(event)) == made["bytes"]


@pytest.mark.parametrize(
    "key", ["../../../outside/canary.mp4", "in/../../outside/canary.mp4", "/etc/passwd", "a//b.mp4"]
)
def test_keys_that_look_like_paths_are_no_paths(stage: Stage, key: str) -> None:
    event = stage.run(f"s3://media/{key}")
    assert (event["action"], event["error"]["code"]) == ("JobFailed", "input-not-found")


def test_names_do_not_forge_lines_of_the_log(stage: Stage) -> None:
    forged = "2026-01-01 00:00:00,000 INFO job 1 finished"
    for key in (f"a\n{forged}", f"a\r\n{forged}\x1b[2J", f"a\u2028{forged}"):
        event = stage.run(f"s3://media/{key}")
        assert event["error"]["code"] == "input-not-found"
    log = stage.log.read_text()
    assert log.count(forged) == 3
    assert not [line for line in log.splitlines() if line.startswith(forged)]
    assert "\x1b" not in log


def test_the_worker_still_works(stage: Stage) -> None:
    assert stage.job(stage.make.mp4())["action"] == "JobFinished"
