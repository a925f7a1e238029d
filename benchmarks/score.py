"""A quality score compared with plain ffmpeg and libvmaf: the same metrics on the same files of 8 seconds.

The worker also probes both files, pairs their frames, compares thumbnails, and writes both reports with their pictures.
"""

import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.transcode import seconds
from elasticrecode.media.profiles import Vmaf
from local.place import TOOLS
from worker.quality.score import Pair, score
from worker.sandbox.runner import Runner
from worker.settings import Settings

_RUNS = 3
_FFMPEG, _FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
_SETTINGS = Settings("vmaf", "CPU", "q", "c", "", 30.0, "n", "p", _FFMPEG, _FFPROBE)
_ALL = Vmaf(scale="1280x720", psnr="enable", ssim="enable", ms_ssim="enable", threads=2)
_FEATURES = ":feature=name=psnr|name=float_ssim|name=float_ms_ssim"


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Median wall times. The two alternate; only the documented request has a limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bunny, origin, encoded = (
            str(TOOLS / "media" / "bigbuckbunny.mp4"),
            folder / "origin.mp4",
            folder / "encoded.mp4",
        )
        loop = ["-v", "error", "-stream_loop", "1", "-i", bunny, "-t", "8", "-c:v", "libx264", "-b:v", "3M", "-an"]
        subprocess.run([_FFMPEG, *loop, str(origin)], check=True)
        encode = ["-v", "error", "-i", str(origin), "-c:v", "libx264", "-b:v", "1M", "-an", str(encoded)]
        subprocess.run([_FFMPEG, *encode], check=True)
        yield _row("score, 720p, all metrics", _ALL, _FEATURES, origin, encoded, folder, 1.05)
        yield _row(
            "score, 720p, VMAF alone", Vmaf(scale="1280x720", threads=2), "", origin, encoded, folder, float("inf")
        )


def _row(
    label: str, profile: Vmaf, features: str, origin: Path, encoded: Path, folder: Path, limit: float
) -> tuple[str, str, str, float, float]:
    width, height = profile.size
    sides = ";".join(
        f"[{n}:v]scale={width}:{height}:flags=bicubic,setpts=PTS-STARTPTS[{side}]" for n, side in enumerate("dr")
    )
    graph = f"{sides};[d][r]libvmaf=log_fmt=json:log_path=plain.json:n_threads=2{features}"
    plain = [_FFMPEG, "-v", "error", "-i", str(encoded), "-i", str(origin), "-lavfi", graph, "-f", "null", "-"]
    pair = Pair(origin, encoded, "s3://bench/origin.mp4", "s3://bench/encoded.mp4")

    def run_score() -> None:
        score(pair, profile, _SETTINGS, Runner(), lambda _: None, folder)

    def run_ffmpeg() -> None:
        subprocess.run(plain, check=True, cwd=folder)

    pairs = [(seconds(run_score), seconds(run_ffmpeg)) for _ in range(_RUNS)]
    scored, alone = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return label, f"{scored:.2f} s", f"plain ffmpeg {alone:.2f} s", ratio, limit
