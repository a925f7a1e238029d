"""The worker beside raw ffmpeg with the same arguments on the same file of 8 seconds."""

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
from worker.media import plan
from worker.media.probe import probe_video
from worker.media.progress import ProgressReader
from worker.media.video import Video
from worker.pipeline import run_job
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

_RUNS = 5
_QUARTER = 25
_SECONDS = 600
_FFMPEG, _FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Wall time of the worker's part, download to upload, beside the encoder alone; pairs in turn, medians."""
    asked = Ffmpeg(codec="libx264", scale="1920:1080", bitrate="1M", buffersize="2M", platform="cpu")
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
            profile=Profile(ffmpeg=asked),
        )
        found = probe_video(_FFPROBE, Runner(), clip)
        raw = plan.encode_arguments(asked, found.demuxer, found.stream, "mp4", str(clip), str(Path(folder, "raw.mp4")))

        def ours() -> None:
            run_job(job, settings, Storage(lambda: s3), Runner(), lambda _: None, lambda: None)

        def theirs() -> None:
            subprocess.run([_FFMPEG, *raw], check=True, capture_output=True)

        etas = [_eta(raw, found, Path(folder)) for _ in range(_RUNS)]
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(_RUNS)]
    worker, alone = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for mine, other in pairs)
    yield "worker's wall time, 8 s clip to 1080p", f"{worker:.2f} s", f"raw ffmpeg {alone:.2f} s", ratio, 1.05
    told, true, off = sorted(etas, key=lambda eta: eta[2])[_RUNS // 2]
    yield "ETA after a quarter: share it is off by", f"{told:.1f} s told", f"{true:.1f} s it took", off, 0.2


def _eta(arguments: list[str], found: Video, folder: Path) -> tuple[float, float, float]:
    """Seconds to go as told after a quarter of the frames, as it came to be, and the share it was off by."""
    reader = ProgressReader(found.frames, found.duration)
    said: list[tuple[float, Progress]] = []

    def read(line: str, elapsed: float) -> None:
        progress = reader.feed(line, elapsed)
        if progress:
            said.append((elapsed, progress))

    Runner().run([_FFMPEG, *arguments], folder, folder / "log", seconds=_SECONDS, on_line=read)
    told_at, quarter = next((at, progress) for at, progress in said if (progress.percent or 0) >= _QUARTER)
    told, true = quarter.etaSeconds or 0.0, said[-1][0] - told_at
    return told, true, abs(told - true) / true


def seconds(run: Callable[[], None]) -> float:
    """Wall seconds of a call."""
    started = time.monotonic()
    run()
    return time.monotonic() - started
