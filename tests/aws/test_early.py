"""What plays early is whole at each moment, whoever makes it, and goes when nobody needs it any more."""

import subprocess
import time
from pathlib import Path
from typing import Any, cast

import m3u8
import pytest
from msgspec import structs

from elasticrecode.clock import now_ms
from elasticrecode.jobs.versions import GRACE_MS, Versions
from tests.aws.test_publication import published
from tests.e2e.conftest import wait_for
from tests.fakes.stack import Stack
from tests.media.case import FFMPEG, FFPROBE, SETTINGS
from tests.players import clips
from tests.players.growing import BELOW, GrowingFilm
from worker import versions as worker_versions
from worker.early.files import removed_on_failure
from worker.early.playback import EarlyPlayback
from worker.errors import ClaimLost, PermanentError, ShuttingDown, TransientError
from worker.parts import Parts
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.versions import VersionRemoval

SECONDS = 13
IN_TABLE = SETTINGS._replace(jobs_table="jobs", queue="q")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> GrowingFilm:
    folder = tmp_path_factory.mktemp("film")
    return GrowingFilm(clips.clip(folder / "clip.mp4", SECONDS), SECONDS, folder, None)


@pytest.fixture
def film(encoded: GrowingFilm, stack: Stack) -> GrowingFilm:
    encoded.begin(stack.s3)
    return encoded


class Shown:
    """What players see at each moment: checks every playlist when it is stored."""

    def __init__(self, stack: Stack) -> None:
        self.s3 = stack.s3
        self.puts: list[str] = []
        self.texts: dict[str, str] = {}
        stack.s3.meta.events.register("provide-client-params.s3.PutObject", self.check)

    def check(self, params: dict[str, Any], **_: object) -> None:
        """A playlist only grows, and all that it names is there."""
        name = params["Key"].removeprefix(BELOW)
        self.puts.append(name)
        if name.endswith(".m3u8"):
            text = params["Body"].decode()
            before = self.texts.get(name, "")
            assert text.startswith(before.removesuffix("#EXT-X-ENDLIST\n")), name
            self.texts[name] = text
            read = m3u8.loads(text)
            uris = [*(each.uri for each in (*read.segments, *read.playlists, *read.media)), *self.map_of(read)]
            there = set(self.objects())
            assert {f"{BELOW}{name.rpartition('/')[0]}/{uri}".replace("//", "/") for uri in uris} <= there, name

    def map_of(self, read: m3u8.M3U8) -> list[str]:
        return [each.uri for each in read.segment_map]

    def objects(self) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket="media", Prefix=BELOW).get("Contents", [])
        return [each["Key"] for each in listed]

    def playlist(self, name: str) -> m3u8.M3U8:
        (text,) = (text for key, text in self.texts.items() if key.endswith(f"/{name}.m3u8"))
        return m3u8.loads(text)

    def joined(self, name: str, path: Path) -> Path:
        """All segments of a playlist in one file."""
        (folder,) = {key.rpartition("/")[0] for key in self.texts if key.endswith(f"/{name}.m3u8")}
        read = self.playlist(name)
        uris = [read.segment_map[0].uri, *(each.uri for each in read.segments)]
        bodies = (self.s3.get_object(Bucket="media", Key=f"{BELOW}{folder}/{uri}")["Body"].read() for uri in uris)
        path.write_bytes(b"".join(bodies))
        return path


@pytest.fixture
def shown(stack: Stack) -> Shown:
    return Shown(stack)


def frames(path: Path) -> list[float]:
    """The times of the decoded frames of a file, from the first on. Fails for a file with a damaged one.

    ffmpeg shows a track later whose decoding does not run ahead of it; players do not.
    """
    command = [FFPROBE, "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0"]
    run = subprocess.run([*command, path], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    times = [float(line.rstrip(",")) for line in run.stdout.split()]
    return [round(each - times[0], 6) for each in times]


def test_all_frames_and_the_whole_sound_are_played_by_playlists_that_only_grow(
    film: GrowingFilm, shown: Shown, tmp_path: Path
) -> None:
    with film.playback(tmp_path / "job", Runner()) as playback:
        film.encode_all()
    assert playback.notices == []
    assert frames(shown.joined("video", tmp_path / "video.mp4")) == [n / 25 for n in range(SECONDS * 25)]
    sound = shown.joined("audio", tmp_path / "audio.mp4")
    decoded = subprocess.run(
        [FFMPEG, "-v", "error", "-i", sound, "-f", "s16le", "-"], capture_output=True, check=True
    ).stdout
    assert abs(len(decoded) / 4 / 48_000 - SECONDS) < 0.03
    for name in ("video", "audio"):
        playlist = shown.playlist(name)
        assert playlist.is_endlist
        assert abs(sum(each.duration for each in playlist.segments) - SECONDS) < 0.03
        assert all(round(each.duration) <= playlist.target_duration for each in playlist.segments)
    assert [each for each in shown.puts if each == "early.m3u8"] == ["early.m3u8"]


def test_files_have_the_types_and_the_caching_that_players_and_cdns_need(
    film: GrowingFilm, shown: Shown, tmp_path: Path
) -> None:
    with film.playback(tmp_path / "job", Runner()):
        film.encode_all()
    heads = {key.split("/")[-1]: shown.s3.head_object(Bucket="media", Key=key) for key in shown.objects()}
    types = {name: (head["ContentType"], head["CacheControl"]) for name, head in heads.items()}
    playlist, always = "application/vnd.apple.mpegurl", "public, max-age=31536000, immutable"
    for name in ("early.m3u8", "video.m3u8", "audio.m3u8"):
        assert types[name] == (playlist, "no-cache")
    for name in ("video-init.mp4", "video-0.m4s"):
        assert types[name] == ("video/mp4", always)
    for name in ("audio-init.mp4", "audio-0.m4s"):
        assert types[name] == ("audio/mp4", always)


def test_a_worker_that_adopts_the_job_goes_on_behind_what_is_published(
    film: GrowingFilm, shown: Shown, tmp_path: Path
) -> None:
    first = Runner()

    def begin() -> None:
        with film.playback(tmp_path / "first", first):
            film.encode(0)
            film.encode(1)
            wait_for(lambda: len(shown.texts) == 3 and len(shown.playlist("video").segments) >= 3, "two chunks")
            first.stop(ShuttingDown("the node goes"))
            first.check()

    with pytest.raises(ShuttingDown):
        begin()
    before = list(shown.puts)
    with film.playback(tmp_path / "second", Runner()) as playback:
        film.encode_all()
    assert playback.notices == []
    after = shown.puts[len(before) :]
    segments = {name for name in before if "/video-" in name}
    assert segments
    assert not segments & set(after)
    assert frames(shown.joined("video", tmp_path / "video.mp4")) == [n / 25 for n in range(SECONDS * 25)]
    assert shown.playlist("video").is_endlist
    assert shown.playlist("audio").is_endlist


def test_a_film_without_a_sound_that_is_there_from_the_start_plays_mute(
    film: GrowingFilm, shown: Shown, tmp_path: Path
) -> None:
    with film.playback(tmp_path / "job", Runner(), mute=True):
        film.encode_all()
    (variant,) = m3u8.loads(shown.texts["early.m3u8"]).playlists
    assert variant.stream_info.codecs.startswith("avc1.")
    assert not any("audio" in name for name in shown.texts)


def test_a_storage_that_refuses_for_a_moment_delays_what_plays(
    film: GrowingFilm, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.early.files._AGAIN_SECONDS", 0.01)
    refusals = iter(range(6))

    def refuse(params: dict[str, Any], **_: object) -> None:
        if params["Key"].endswith((".m4s", ".m3u8")) and next(refusals, None) is not None:
            raise TransientError("storage-unavailable", "S3 is busy.")

    shown.s3.meta.events.register_first("provide-client-params.s3.PutObject", refuse)
    with film.playback(tmp_path / "job", Runner()) as playback:
        film.encode_all()
    assert playback.notices == []
    assert shown.playlist("video").is_endlist


def test_a_chunk_that_cannot_be_read_stops_early_playback_and_not_the_job(
    film: GrowingFilm, shown: Shown, tmp_path: Path
) -> None:
    def spoil(params: dict[str, Any], **_: object) -> None:
        if params["Key"].startswith("parts/1-"):
            params["Body"] = b"no film"

    shown.s3.meta.events.register("provide-client-params.s3.PutObject", spoil)
    with film.playback(tmp_path / "job", Runner()) as playback:
        film.encode(0)
        wait_for(lambda: "early.m3u8" in shown.texts, "the first chunk")
        film.encode(1)
        film.encode(2)
    (notice,) = playback.notices
    assert notice.code == "early-playback-stopped"
    assert not shown.playlist("video").is_endlist


class Wanted:
    """Parts of a job that still needs them, or not."""

    def __init__(self, film: GrowingFilm, *, is_wanted: bool) -> None:
        self.division, self._is_wanted = film.division, is_wanted

    def is_wanted(self) -> bool:
        return self._is_wanted


@pytest.mark.parametrize(
    ("error", "is_wanted", "stays"),
    [
        (PermanentError("input-corrupt", "The film is damaged."), True, False),
        (ClaimLost("the job is cancelled"), False, False),
        (ClaimLost("another worker has it"), True, True),
        (ShuttingDown("the node goes"), True, True),
        (TransientError("storage-unavailable", "S3 is busy."), True, True),
    ],
)
def test_what_plays_early_goes_when_the_job_fails_or_is_cancelled_and_stays_for_the_next_worker(
    error: Exception, is_wanted: bool, stays: bool, film: GrowingFilm, shown: Shown, tmp_path: Path
) -> None:
    storage, parts = Storage(lambda: shown.s3), Wanted(film, is_wanted=is_wanted)

    def work() -> None:
        with (
            removed_on_failure(film.job, storage, cast("Parts", parts)),
            film.playback(tmp_path / "job", Runner()),
        ):
            film.encode(0)
            wait_for(lambda: "early.m3u8" in shown.texts, "the first chunk")
            raise error

    with pytest.raises(type(error)):
        work()
    assert bool(shown.objects()) == stays


def sweep(film: GrowingFilm, after_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker looks for versions to remove, so much later."""
    monkeypatch.setattr(worker_versions, "now_ms", lambda: now_ms() + after_ms)
    VersionRemoval(Versions("jobs", "q"), lambda _: Storage(lambda: film.s3)).sweep()


def finished(film: GrowingFilm, folder: Path) -> EarlyPlayback:
    with film.playback(folder, Runner(), IN_TABLE) as playback:
        film.encode_all()
    return playback


def test_what_plays_early_goes_a_day_after_the_end_of_the_job(
    film: GrowingFilm, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(film, tmp_path / "job")
    sweep(film, GRACE_MS - 60_000, monkeypatch)
    assert len(shown.objects()) > SECONDS
    sweep(film, GRACE_MS + 60_000, monkeypatch)
    assert shown.objects() == []


def test_the_file_that_players_open_stays_where_a_later_job_has_replaced_it(
    film: GrowingFilm, shown: Shown, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(film, tmp_path / "job")
    earlier = film.job
    film.job = structs.replace(earlier, jobid="job-2")
    shown.texts.clear()
    try:
        film.begin(stack.s3)
        time.sleep(0.1)
        with film.playback(tmp_path / "later", Runner()):
            film.encode_all()
    finally:
        film.job = earlier
    sweep(film, GRACE_MS + 60_000, monkeypatch)
    entry = published(stack, f"{BELOW}early.m3u8")
    assert entry
    assert all(key.split("/")[-2] in entry.decode() for key in shown.objects() if "/early/" in key)
    assert len(shown.objects()) > SECONDS
