"""The worker compared with ffmpeg alone: the same arguments on the same file of 8 seconds."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
from moto import mock_aws

from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Ffmpeg, Profile
from local.place import TOOLS
from worker.media.plan import arguments, make_plan
from worker.media.probe import probe_source
from worker.media.progress import ProgressReader
from worker.media.video import Video
from worker.pipeline import run_job
from worker.publication import Publication
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

_RUNS = 5
_QUARTER = 25
_SECONDS = 600
_FFMPEG, _FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Median wall time of a job, download to upload, compared with the encoder alone. The two alternate."""
    profile = Ffmpeg(codec="libx264", scale="1920:1080", bitrate="1M", buffersize="2M", platform="cpu")
    settings = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "n", "p", _FFMPEG, _FFPROBE)
    with tempfile.TemporaryDirectory() as folder, mock_aws():
        clip = Path(folder, "clip.mp4")
        bunny = str(TOOLS / "media" / "bigbuckbunny.mp4")
        loop = ["-v", "error", "-stream_loop", "1", "-i", bunny, "-t", "8", "-c:v", "libx264", "-b:v", "3M"]
        subprocess.run([_FFMPEG, *loop, str(clip)], check=True)
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        s3.create_bucket(Bucket="bench")
        s3.upload_file(str(clip), "bench", "in/clip.mp4")
        job = Job(
            userid="u",
            jobid="j",
            input="s3://bench/in/clip.mp4",
            output="s3://bench/out/",
            profile=Profile(ffmpeg=profile),
        )
        source = probe_source(_FFPROBE, Runner(), clip)
        video = source.video
        raw = arguments(make_plan(source, job.profile, profile, "mp4"), str(clip), str(Path(folder, "raw.mp4")))

        def run_worker() -> None:
            storage, runner = Storage(lambda: s3), Runner()
            run_job(job, settings, storage, runner, lambda _: None, Publication(job, 1, storage, runner))

        def run_ffmpeg() -> None:
            subprocess.run([_FFMPEG, *raw], check=True, capture_output=True)

        etas = [_eta(raw, video, Path(folder)) for _ in range(_RUNS)]
        pairs = [(seconds(run_worker), seconds(run_ffmpeg)) for _ in range(_RUNS)]
    worker, alone = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(job / encoder for job, encoder in pairs)
    yield "worker's wall time, 8 s clip to 1080p", f"{worker:.2f} s", f"raw ffmpeg {alone:.2f} s", ratio, 1.05
    estimate, actual, error = sorted(etas, key=lambda eta: eta[2])[_RUNS // 2]
    yield "ETA after a quarter: relative error", f"{estimate:.1f} s estimated", f"{actual:.1f} s actual", error, 0.2


def _eta(command: list[str], video: Video, folder: Path) -> tuple[float, float, float]:
    """Estimated and actual seconds left after a quarter of the frames, and the relative error."""
    reader = ProgressReader(video.frames, video.duration)
    reports: list[tuple[float, Progress]] = []

    def read(line: str, elapsed: float) -> None:
        progress = reader.feed(line, elapsed)
        if progress:
            reports.append((elapsed, progress))

    Runner().run([_FFMPEG, *command], folder, folder / "log", seconds=_SECONDS, on_line=read)
    at_quarter, quarter = next((at, progress) for at, progress in reports if (progress.percent or 0) >= _QUARTER)
    estimate, actual = quarter.etaSeconds or 0.0, reports[-1][0] - at_quarter
    return estimate, actual, abs(estimate - actual) / actual


def seconds(run: Callable[[], None]) -> float:
    """Wall seconds of a call."""
    started = time.monotonic()
    run()
    return time.monotonic() - started
