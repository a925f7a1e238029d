"""Limits are kept by the kernel or the clock, not by the program that meets them."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from elasticrecode.media.profiles import Ffmpeg, Vmaf
from local.place import TOOLS
from tests.hostile.corpus import FFMPEG, H264, Maker, many_samples, undecodable
from worker.errors import Interrupted, PermanentError, TransientError
from worker.media import timestamps
from worker.media.encode import transcode
from worker.media.ffmpeg_errors import encoder_error
from worker.quality.score import Pair, score
from worker.sandbox.limits import JobLimits
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings
from worker.storage import Storage

LONG = ("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=120", *H264)
SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "n", "p", str(FFMPEG), str(TOOLS / "bin" / "ffprobe"))
MIB = 1 << 20
Encode = Callable[..., PermanentError]


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film that keeps an encoder busy for long."""
    return Maker(tmp_path_factory.mktemp("long"))("long.mp4", *LONG)


@pytest.fixture
def failure(tmp_path: Path, long: bytes) -> Encode:
    """Transcodes the film within limits, and gives what comes of that."""

    def encode(limits: JobLimits, scale: str = "1920:1080", bitrate: str = "1M") -> PermanentError:
        (tmp_path / "input").write_bytes(long)
        asked = Ffmpeg(codec="libx264", scale=scale, bitrate=bitrate, buffersize=bitrate, platform="cpu")
        with pytest.raises(PermanentError) as caught:
            transcode(
                tmp_path / "input", tmp_path / "output", "s3://b/o.mp4", "mp4", asked, SETTINGS, Runner(limits),
                lambda _: None, then_score=False,
            )  # fmt: skip
        return caught.value

    return encode


def test_wall_time_is_limited(failure: Encode) -> None:
    started = time.monotonic()
    error = failure(JobLimits(job_seconds=3))
    assert error.failure.code == "time-limit"
    assert "more than 3 s" in str(error)
    assert time.monotonic() - started < 8


def test_cpu_time_is_limited_by_the_kernel(failure: Encode) -> None:
    error = failure(JobLimits(cpu_seconds=3))
    assert error.failure.code == "time-limit"
    assert "more than 3 s of CPU time" in str(error)


def test_memory_is_limited_by_the_kernel(failure: Encode) -> None:
    error = failure(JobLimits(memory_bytes=150 * MIB), scale="3840:2160")
    assert error.failure.code == "memory-limit"
    assert f"more than {150 * MIB} bytes of memory" in str(error)


def test_disk_is_limited_by_the_kernel(failure: Encode, long: bytes, tmp_path: Path) -> None:
    most = len(long) + MIB
    error = failure(JobLimits(disk_bytes=most), bitrate="20M")
    assert error.failure.code == "disk-limit"
    assert f"the limit is {most}" in str(error)
    assert (tmp_path / "output").stat().st_size <= MIB


def test_files_that_are_too_much_together_end_the_work(tmp_path: Path) -> None:
    runner = Runner(JobLimits(disk_bytes=4 * MIB))
    writing = "i=0; while :; do head -c 3000000 /dev/zero > part$i; i=$((i+1)); sleep 0.1; done"
    with pytest.raises(PermanentError) as caught:
        Runner(runner.limits, "off").run(["sh", "-c", writing], tmp_path, tmp_path / "log", seconds=60)
    assert caught.value.failure.code == "disk-limit"


def test_a_film_that_is_too_large_for_the_whole_disk_is_hopeless_and_for_its_rest_is_not(tmp_path: Path) -> None:
    limits = JobLimits(disk_bytes=10 * MIB)
    with pytest.raises(PermanentError, match="the limit is 10485760"):
        limits.check_size("input", 11 * MIB, tmp_path)
    limits.check_size("input", 9 * MIB, tmp_path)
    with pytest.raises(TransientError):
        raise JobLimits(disk_bytes=1 << 60).disk_error(tmp_path, 1 << 59)


def test_scoring_is_limited_too(tmp_path: Path, long: bytes) -> None:
    for side in ("input", "origin"):
        (tmp_path / side).write_bytes(long)
    pair = Pair(tmp_path / "origin", tmp_path / "input", "s3://b/o", "s3://b/i")
    started = time.monotonic()
    with pytest.raises(PermanentError) as caught:
        score(
            pair,
            Vmaf(scale="640x360", model="v0.6.1"),
            SETTINGS,
            Runner(JobLimits(job_seconds=4)),
            lambda _: None,
            tmp_path,
        )
    assert caught.value.failure.code == "time-limit"
    assert time.monotonic() - started < 10
    with pytest.raises(PermanentError) as caught:
        score(pair, Vmaf(scale="640x360"), SETTINGS, Runner(JobLimits(pixels=100 * 100)), lambda _: None, tmp_path)
    assert caught.value.failure.code in ("input-too-many-pixels", "origin-too-many-pixels")


def test_frames_of_what_is_scored_are_limited(tmp_path: Path) -> None:
    for side in ("input", "origin"):
        (tmp_path / side).write_bytes(many_samples(Maker(tmp_path), 3001))
    pair = Pair(tmp_path / "origin", tmp_path / "input", "s3://b/o", "s3://b/i")
    asked = Vmaf(scale="160x90", align="nearest")
    for most, code in ((100, "too-long"), (101, "corrupt")):
        with pytest.raises(PermanentError) as caught:
            score(pair, asked, SETTINGS, Runner(JobLimits(duration_seconds=most)), lambda _: None, tmp_path)
        assert caught.value.failure.code.partition("-")[2] == code
        assert code == "corrupt" or "more than 3000 frames" in str(caught.value)


def test_a_packet_takes_little_room() -> None:
    count = 200_000
    tracemalloc.start()
    times = timestamps.presentation_times(((n / 25, "K_" if n % 25 == 0 else "__") for n in range(count)), 25.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(times) == count
    assert peak < 64 * count


def test_what_a_program_says_fills_no_disk_and_is_not_taken_for_its_work(tmp_path: Path) -> None:
    log = tmp_path / "log"
    talking = "head -c 20000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2"
    assert Runner(sandbox="off").run(["sh", "-c", talking], tmp_path, log, seconds=60, file_bytes=1 << 20) == 0
    assert log.stat().st_size == 1 << 16
    assert last_lines(log, tmp_path)[-1] == "last"
    with pytest.raises(PermanentError, match="The program's output exceeds the limit of 1000 bytes") as caught:
        Runner(sandbox="off").run(
            ["head", "-c", "9999", "/dev/zero"], tmp_path, log, seconds=60, file_bytes=1000, output=tmp_path / "said"
        )
    assert caught.value.failure.code == "disk-limit"


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    lengths: list[int] = []
    Runner(sandbox="off").run(
        ["head", "-c", "100000", "/dev/zero"],
        tmp_path,
        tmp_path / "log",
        seconds=60,
        on_line=lambda line, _: lengths.append(len(line)),
    )
    assert sum(lengths) == 100_000
    assert max(lengths) <= 4096


@pytest.mark.parametrize(("bad", "good"), [("input", "origin"), ("origin", "input")])
def test_the_side_that_nobody_decodes_is_told(tmp_path: Path, bad: str, good: str) -> None:
    make = Maker(tmp_path)
    (tmp_path / good).write_bytes(make.mp4())
    for content in undecodable(make).values():
        (tmp_path / bad).write_bytes(content)
        pair = Pair(tmp_path / "origin", tmp_path / "input", "s3://b/o", "s3://b/i")
        with pytest.raises(PermanentError) as caught:
            score(pair, Vmaf(scale="160x90", align="nearest"), SETTINGS, Runner(), lambda _: None, tmp_path)
        assert caught.value.failure.code == f"{bad}-no-video"
        assert caught.value.failure.message == f"The {bad}'s video is of a codec that this worker can't decode."


def test_what_ffmpeg_5_says_of_a_codec_without_a_decoder_is_known() -> None:
    said = ["Stream mapping:", "Decoder (codec none) not found for input stream #1:0"]
    assert encoder_error(said, 1, ("input", "origin")).failure.code == "origin-no-video"
    assert encoder_error(["x264 [error]: broken"], 1).failure.code == "encoder-failed"


def test_the_time_for_a_film_grows_with_its_length_up_to_the_jobs() -> None:
    limits = JobLimits()
    assert limits.timeout_seconds(0) == 600
    assert limits.timeout_seconds(60) == 600 + 60 * limits.slowness
    assert limits.timeout_seconds(86_400) == limits.timeout_seconds(None) == limits.job_seconds < 12 * 3600


@pytest.mark.parametrize(
    ("width", "height", "is_read"),
    [
        (7680, 4320, True),
        (8192, 4320, True),
        (4320, 7680, True),
        (8192, 8192, True),
        (16384, 8192, False),
        (1, 2**24, False),
    ],
)
def test_pictures_of_films_are_read_8k_among_them(width: int, height: int, is_read: bool) -> None:
    def refuse() -> None:
        JobLimits().check_video("input", duration=3 * 3600.0, width=width, height=height, streams=70)

    if is_read:
        refuse()
    else:
        with pytest.raises(PermanentError, match=f"{width}x{height}; the limit is 67108864 pixels"):
            refuse()


def test_stopped_work_starts_nothing_and_says_why(tmp_path: Path) -> None:
    runner = Runner()
    runner.stop(Interrupted("enough"))
    with pytest.raises(Interrupted, match="enough"):
        runner.run(["true"], tmp_path, tmp_path / "log", seconds=1)


class Growing:
    """S3 with an object that is replaced by a larger one between two calls, and comes slowly."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def head_object(self, **_: str) -> dict[str, int]:
        return {"ContentLength": 10}

    def download_file(self, bucket: str, key: str, path: str, Callback: Callable[[int], None]) -> None:  # noqa: N803
        for _ in range(3):
            time.sleep(self._seconds)
            Callback(5)


def test_an_object_that_has_grown_since_it_was_asked_for_is_not_fetched_whole(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="replaced by a larger object"):
        Storage(lambda: Growing()).download("s3://bucket/key", tmp_path / "input", Runner())


def test_a_download_counts_as_the_jobs_time(tmp_path: Path) -> None:
    runner = Runner(JobLimits(job_seconds=1))
    with pytest.raises(PermanentError) as caught:
        Storage(lambda: Growing(0.6)).download("s3://bucket/key", tmp_path / "input", runner)
    assert caught.value.failure.code == "time-limit"
