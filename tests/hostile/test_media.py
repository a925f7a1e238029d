"""Hostile files through a whole worker: each ends its job with a code and has no other effect. See `unharmed`."""

import socket

import pytest

from tests.conftest import Tell
from tests.hostile import corpus
from tests.hostile.conftest import LIMITS, MIB, Stage
from tests.sizes import SEED, sized

pytestmark = pytest.mark.usefixtures("unharmed")
DAMAGED = sized(8, 24, 400)
UNREADABLE = {
    "input-not-video", "input-no-video", "input-corrupt", "output-invalid", "encoder-failed", "memory-limit",
    "time-limit", "disk-limit", "input-too-long", "input-too-many-pixels", "input-too-many-streams",
}  # fmt: skip


def codes(stage: Stage, files: dict[str, bytes]) -> dict[str, str]:
    """The outcome of a job on each file: its error code, or `finished`."""
    outcomes = {}
    for name, content in files.items():
        event = stage.job(content, f"in/{name}")
        outcomes[name] = event["error"]["code"] if event["action"] == "JobFailed" else "finished"
        if event["action"] == "JobFailed":
            assert event["error"]["message"]
            assert str(stage.scratch) not in str(event["error"])
    return outcomes


def test_the_traps_work(stage: Stage) -> None:
    stage.traps.canary.read_bytes()
    read = stage.read()
    stage.around()
    if not read:
        pytest.skip("this file system does not record when files were read")
    with socket.create_connection(("127.0.0.1", int(stage.lure.url.rpartition(":")[2]))) as connection:
        connection.recv(1)
    assert stage.lure.connections == 1
    stage.lure.connections = 0


def test_a_good_film_is_transcoded(stage: Stage) -> None:
    event = stage.job(stage.make.mp4())
    assert event["action"] == "JobFinished", event
    assert stage.output(event)[4:8] == b"ftyp"


def test_playlists_with_a_video_extension_are_rejected(stage: Stage) -> None:
    files = corpus.playlists(stage.traps)
    # The AVI is a film whose subtitles are a playlist; it is transcoded without them.
    assert codes(stage, files) == dict.fromkeys(files, "input-not-video") | {"gab2.avi": "finished"}


def test_jobs_for_sound_alone_open_no_other_file(stage: Stage) -> None:
    files = corpus.playlists(stage.traps) | corpus.references(stage.make, stage.traps)
    outcomes = set()
    for name, content in files.items():
        event = stage.job(content, f"in/{name}", profile={"audio": {"codec": "aac"}})
        outcomes.add(event["error"]["code"] if event["action"] == "JobFailed" else "finished")
    assert outcomes <= {"input-no-audio", "input-corrupt", "finished"}


def test_sound_alone_is_encoded(stage: Stage) -> None:
    wav = stage.make("sound.wav", *corpus.SOUND)
    event = stage.job(wav, "in/sound.wav", profile={"audio": {"codec": "opus"}})
    assert event["action"] == "JobFinished", event
    assert event["result"]["outputs"][0]["uri"] == "s3://media/out/sound.opus"
    assert stage.output(event)[:4] == b"OggS"


def test_references_to_other_files_are_not_followed(stage: Stage) -> None:
    outcomes = codes(stage, corpus.references(stage.make, stage.traps))
    # ffmpeg ignores a URL and reads the film's own data; with an alias it finds no data.
    assert outcomes.pop("alias.mov") == "input-corrupt"
    assert set(outcomes.values()) == {"finished"}


def test_a_codec_without_decoder_is_input_no_video(stage: Stage) -> None:
    files = corpus.undecodable(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-no-video")


def test_huge_pictures_in_a_small_file_are_rejected(stage: Stage) -> None:
    files = corpus.huge(stage.make)
    assert max(map(len, files.values())) < MIB
    assert codes(stage, files) == dict.fromkeys(files, "input-too-many-pixels")


def test_pictures_that_become_huge_later_are_rejected(stage: Stage) -> None:
    event = stage.job(corpus.grows(stage.make), "in/grows.ts")
    assert event["error"]["code"] == "input-too-many-pixels"
    assert event["error"]["message"] == f"The input has pictures of 8000x8000; the limit is {3840 * 2160} pixels."


def test_huge_declared_durations_are_rejected_where_the_file_can_have_them(stage: Stage) -> None:
    outcomes = codes(stage, corpus.endless(stage.make))
    assert [outcomes.pop(name) for name in ("double.mkv", "length.avi")] == ["finished"] * 2  # too few bytes: unknown
    assert outcomes
    assert outcomes == dict.fromkeys(outcomes, "input-too-long")


def test_decompression_bombs_are_rejected(stage: Stage) -> None:
    assert codes(stage, corpus.bombs()) == {
        "zip.mp4": "input-not-video",
        "gzip.mp4": "input-not-video",
        "gzip.mkv": "input-not-video",
        "cmov.mov": "input-not-video",  # ffprobe is built without zlib, and reads no compressed header
    }


def test_compressed_matroska_tracks_stay_within_limits(stage: Stage) -> None:
    outcomes = codes(stage, corpus.compressed_tracks())
    assert outcomes == {"zlib.mkv": "input-corrupt", "header.mkv": "finished"}


def test_too_many_streams_are_rejected(stage: Stage) -> None:
    files = corpus.many_streams(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-too-many-streams")


def test_malformed_containers_are_rejected(stage: Stage) -> None:
    files = corpus.broken(stage.make)
    assert set(codes(stage, files).values()) <= {"input-not-video", "input-no-video"}


def test_pictures_and_audio_are_rejected(stage: Stage) -> None:
    files = corpus.pictures(stage.make)
    assert codes(stage, files) == dict.fromkeys(files, "input-not-video")
    m4a = stage.make("one.m4a", *corpus.SOUND, "-c:a", "aac")
    assert codes(stage, {"m4a.mp4": m4a}) == {"m4a.mp4": "input-no-video"}


def test_attachments_and_subtitles_are_not_written_out(stage: Stage) -> None:
    text = f"1\n00:00:00,000 --> 00:00:01,000\n<img src='{stage.traps.url}/x.png'>{stage.traps.canary}\n"
    subtitles = stage.scratch.parent / "clips" / "subtitles.srt"
    subtitles.write_text(text)
    film = stage.make(
        "attached.mkv", *corpus.SMALL, "-f", "srt", "-i", str(subtitles), *corpus.H264, "-c:s", "srt",
        "-attach", str(subtitles), "-metadata:s:t", "mimetype=application/x-truetype-font",
        "-metadata:s:t", "filename=../../../outside/evil.ttf",
    )  # fmt: skip
    assert b"canary" in film
    event = stage.job(film, "in/attached.mkv")
    assert event["action"] == "JobFinished", event
    assert b"canary" not in stage.output(event)


def test_damaged_clips_fail_with_a_known_code_or_finish(stage: Stage, tell: Tell) -> None:
    outcomes = codes(stage, corpus.damaged(stage.make, SEED, DAMAGED))
    assert set(outcomes.values()) <= UNREADABLE | {"finished"}
    tell("damaged clips", {code: list(outcomes.values()).count(code) for code in sorted(set(outcomes.values()))})


def test_a_too_large_object_is_not_downloaded(stage: Stage) -> None:
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
def test_unusual_file_names_are_accepted(stage: Stage, name: str) -> None:
    event = stage.job(stage.make.mp4(), f"in/{name}")
    assert event["action"] == "JobFinished", event
    output, *others = event["result"]["outputs"]
    assert [other["role"] for other in others] == ["certificate", "certificate"]
    assert output["uri"].startswith(f"s3://media/out/{name}")
    assert len(stage.output(event)) == output["bytes"]


@pytest.mark.parametrize(
    "key", ["../../../outside/canary.mp4", "in/../../outside/canary.mp4", "/etc/passwd", "a//b.mp4"]
)
def test_keys_with_path_segments_are_not_paths(stage: Stage, key: str) -> None:
    event = stage.run(f"s3://media/{key}")
    assert (event["action"], event["error"]["code"]) == ("JobFailed", "input-not-found")


def test_names_cannot_forge_lines_of_the_log(stage: Stage) -> None:
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
