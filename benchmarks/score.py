"""A quality score beside plain ffmpeg with libvmaf and the same metrics, on the same files of 8 seconds.

Ours probes both files, pairs their frames, looks at the pictures, writes the report and the page with its pictures.
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
    """Wall time, pairs in turn, medians; the limit is for the documented request."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bunny, origin, made = str(TOOLS / "media" / "bigbuckbunny.mp4"), folder / "origin.mp4", folder / "made.mp4"
        loop = ["-v", "error", "-stream_loop", "1", "-i", bunny, "-t", "8", "-c:v", "libx264", "-b:v", "3M", "-an"]
        subprocess.run([_FFMPEG, *loop, str(origin)], check=True)
        encode = ["-v", "error", "-i", str(origin), "-c:v", "libx264", "-b:v", "1M", "-an", str(made)]
        subprocess.run([_FFMPEG, *encode], check=True)
        yield _row("score, 720p, all metrics", _ALL, _FEATURES, origin, made, folder, 1.05)
        yield _row("score, 720p, VMAF alone", Vmaf(scale="1280x720", threads=2), "", origin, made, folder, float("inf"))


def _row(
    told: str, asked: Vmaf, features: str, origin: Path, made: Path, folder: Path, limit: float
) -> tuple[str, str, str, float, float]:
    width, height = asked.size
    sides = ";".join(
        f"[{n}:v]scale={width}:{height}:flags=bicubic,setpts=PTS-STARTPTS[{side}]" for n, side in enumerate("dr")
    )
    graph = f"{sides};[d][r]libvmaf=log_fmt=json:log_path=plain.json:n_threads=2{features}"
    plain = [_FFMPEG, "-v", "error", "-i", str(made), "-i", str(origin), "-lavfi", graph, "-f", "null", "-"]
    pair = Pair(origin, made, "s3://bench/origin.mp4", "s3://bench/made.mp4")

    def ours() -> None:
        score(pair, asked, _SETTINGS, Runner(), lambda _: None, folder)

    def theirs() -> None:
        subprocess.run(plain, check=True, cwd=folder)

    pairs = [(seconds(ours), seconds(theirs)) for _ in range(_RUNS)]
    mine, alone = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return told, f"{mine:.2f} s", f"plain ffmpeg {alone:.2f} s", ratio, limit
