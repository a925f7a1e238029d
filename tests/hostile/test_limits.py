"""The kernel or the worker's clock enforces limits, not the program that is limited."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from elasticrecode.media.profiles import Ffmpeg, Profile, Vmaf
from local.place import TOOLS
from tests.e2e.conftest import STALL_SECONDS
from tests.fakes.s3 import S3
from tests.hostile.corpus import FFMPEG, H264, Maker, many_samples, undecodable
from worker.errors import HostError, Interrupted, PermanentError
from worker.media.encode import transcode
from worker.media.ffmpeg_errors import encoder_error
from worker.media.probe import probe_video
from worker.quality import results
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
    """A film of two minutes, which keeps an encoder busy."""
    return Maker(tmp_path_factory.mktemp("long"))("long.mp4", *LONG)


@pytest.fixture
def failure(tmp_path: Path, long: bytes) -> Encode:
    """Transcodes the film within limits that it exceeds, and returns the error."""

    def encode(limits: JobLimits, scale: str = "1920:1080", bitrate: str = "1M") -> PermanentError:
        (tmp_path / "input").write_bytes(long)
        profile = Ffmpeg(codec="libx264", scale=scale, bitrate=bitrate, buffersize=bitrate, platform="cpu")
        with pytest.raises(PermanentError) as caught:
            transcode(
                tmp_path / "input", tmp_path / "output", "s3://b/o.mp4", "mp4", Profile(ffmpeg=profile), profile,
                SETTINGS, Runner(limits), lambda _: None, then_score=False,
            )  # fmt: skip
        return caught.value

    return encode


def test_wall_time_is_limited(failure: Encode) -> None:
    started = time.monotonic()
    error = failure(JobLimits(job_seconds=3))
    assert error.failure.code == "time-limit"
    assert "limit of 3 s." in str(error)
    assert time.monotonic() - started < 3 + 3 * STALL_SECONDS


def test_cpu_time_is_limited_by_the_kernel(failure: Encode) -> None:
    error = failure(JobLimits(cpu_seconds=3))
    assert error.failure.code == "time-limit"
    assert "limit of 3 s of CPU time" in str(error)


def test_a_probe_that_takes_too_long_is_a_time_limit(tmp_path: Path) -> None:
    ffprobe = tmp_path / "ffprobe"
    ffprobe.write_text("#!/bin/sh\nexec sleep 60\n")
    ffprobe.chmod(0o755)
    with pytest.raises(PermanentError) as caught:
        probe_video(str(ffprobe), Runner(JobLimits(job_seconds=1), "off"), tmp_path / "input")
    assert caught.value.failure.code == "time-limit"


def test_memory_is_limited_by_the_kernel(failure: Encode) -> None:
    error = failure(JobLimits(memory_bytes=150 * MIB), scale="3840:2160")
    assert error.failure.code == "memory-limit"
    assert f"limit of {150 * MIB} bytes of memory" in str(error)


def test_disk_is_limited_by_the_kernel(failure: Encode, long: bytes, tmp_path: Path) -> None:
    most = len(long) + MIB
    error = failure(JobLimits(disk_bytes=most), bitrate="20M")
    assert error.failure.code == "disk-limit"
    assert f"the limit is {most}" in str(error)
    assert (tmp_path / "output").stat().st_size <= MIB


def test_the_disk_limit_covers_all_files_of_a_job_together(tmp_path: Path) -> None:
    runner = Runner(JobLimits(disk_bytes=4 * MIB))
    writing = "i=0; while :; do head -c 3000000 /dev/zero > part$i; i=$((i+1)); sleep 0.1; done"
    with pytest.raises(PermanentError) as caught:
        Runner(runner.limits, "off").run(["sh", "-c", writing], tmp_path, tmp_path / "log", seconds=60)
    assert caught.value.failure.code == "disk-limit"


def test_exceeding_the_disk_limit_is_permanent_and_a_full_disk_is_the_hosts(tmp_path: Path) -> None:
    limits = JobLimits(disk_bytes=10 * MIB)
    with pytest.raises(PermanentError, match="the limit is 10485760"):
        limits.check_size("input", 11 * MIB, tmp_path)
    limits.check_size("input", 9 * MIB, tmp_path)
    with pytest.raises(HostError):
        raise JobLimits(disk_bytes=1 << 60).disk_error(tmp_path, 1 << 59)


def test_scoring_is_limited(tmp_path: Path, long: bytes) -> None:
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
    assert time.monotonic() - started < 4 + 3 * STALL_SECONDS
    with pytest.raises(PermanentError) as caught:
        score(pair, Vmaf(scale="640x360"), SETTINGS, Runner(JobLimits(pixels=100 * 100)), lambda _: None, tmp_path)
    assert caught.value.failure.code in ("input-too-many-pixels", "origin-too-many-pixels")


def test_frames_of_a_scored_video_are_limited(tmp_path: Path) -> None:
    for side in ("input", "origin"):
        (tmp_path / side).write_bytes(many_samples(Maker(tmp_path), 3001))
    pair = Pair(tmp_path / "origin", tmp_path / "input", "s3://b/o", "s3://b/i")
    profile = Vmaf(scale="160x90", align="nearest")
    for most, code in ((100, "too-long"), (101, "corrupt")):
        with pytest.raises(PermanentError) as caught:
            score(pair, profile, SETTINGS, Runner(JobLimits(duration_seconds=most)), lambda _: None, tmp_path)
        assert caught.value.failure.code.partition("-")[2] == code
        assert code == "corrupt" or "more than 3000 frames" in str(caught.value)


def test_the_time_of_a_frame_takes_less_than_64_bytes() -> None:
    count = 200_000
    tracemalloc.start()
    times = results.frame_times((f"frame:{n}    pts:{n * 40_000} pts_time:0" for n in range(count)), 25.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(times) == count
    assert peak < 64 * count


def test_only_the_last_64_kib_of_a_log_are_kept_and_output_is_limited(tmp_path: Path) -> None:
    log = tmp_path / "log"
    talking = "head -c 20000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2"
    assert Runner(sandbox="off").run(["sh", "-c", talking], tmp_path, log, seconds=60, file_bytes=1 << 20) == 0
    assert log.stat().st_size == 1 << 16
    assert last_lines(log, tmp_path)[-1] == "last"
    with pytest.raises(PermanentError, match="The program's output exceeds the limit of 1000 bytes") as caught:
        Runner(sandbox="off").run(
            ["head", "-c", "9999", "/dev/zero"], tmp_path, log, seconds=60, file_bytes=1000, output=tmp_path / "output"
        )
    assert caught.value.failure.code == "disk-limit"


def test_a_long_line_is_accepted_in_pieces(tmp_path: Path) -> None:
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
def test_the_error_names_the_side_that_has_no_decoder(tmp_path: Path, bad: str, good: str) -> None:
    make = Maker(tmp_path)
    (tmp_path / good).write_bytes(make.mp4())
    for content in undecodable(make).values():
        (tmp_path / bad).write_bytes(content)
        pair = Pair(tmp_path / "origin", tmp_path / "input", "s3://b/o", "s3://b/i")
        with pytest.raises(PermanentError) as caught:
            score(pair, Vmaf(scale="160x90", align="nearest"), SETTINGS, Runner(), lambda _: None, tmp_path)
        assert caught.value.failure.code == f"{bad}-no-video"
        assert caught.value.failure.message == f"This worker has no decoder for the {bad}'s video codec."


def test_the_missing_decoder_message_of_ffmpeg_5_is_recognised() -> None:
    lines = ["Stream mapping:", "Decoder (codec none) not found for input stream #1:0"]
    assert encoder_error(lines, 1, ("input", "origin")).failure.code == "origin-no-video"
    assert encoder_error(["x264 [error]: broken"], 1).failure.code == "encoder-failed"


def test_the_timeout_grows_with_the_duration_up_to_the_jobs_limit() -> None:
    limits = JobLimits()
    assert limits.timeout_seconds(0) == 600
    assert limits.timeout_seconds(60) == 600 + 60 * limits.slowness
    assert limits.timeout_seconds(86_400) == limits.timeout_seconds(None) == limits.job_seconds < 12 * 3600


@pytest.mark.parametrize(
    ("width", "height", "is_accepted"),
    [
        (7680, 4320, True),
        (8192, 4320, True),
        (4320, 7680, True),
        (8192, 8192, True),
        (16384, 8192, False),
        (1, 2**24, False),
    ],
)
def test_the_default_pixel_limit_accepts_8k(width: int, height: int, is_accepted: bool) -> None:
    def check() -> None:
        JobLimits().check_video("input", duration=3 * 3600.0, width=width, height=height, streams=70)

    if is_accepted:
        check()
    else:
        with pytest.raises(PermanentError, match=f"{width}x{height}; the limit is 67108864 pixels"):
            check()


def test_a_stopped_runner_starts_no_program(tmp_path: Path) -> None:
    runner = Runner()
    runner.stop(Interrupted("enough"))
    with pytest.raises(Interrupted, match="enough"):
        runner.run(["true"], tmp_path, tmp_path / "log", seconds=1)


def test_download_time_counts_towards_the_jobs_limit(tmp_path: Path) -> None:
    runner = Runner(JobLimits(job_seconds=1))
    s3 = S3()
    s3.seconds = 1.1
    with s3.serving(), pytest.raises(PermanentError) as caught:
        Storage(s3.client).download("s3://bucket/key", tmp_path / "input", runner)
    assert caught.value.failure.code == "time-limit"
