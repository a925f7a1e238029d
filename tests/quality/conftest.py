"""Scores of real clips by real libvmaf, without AWS."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elasticrecode.jobs.events import Progress
from elasticrecode.media.profiles import Vmaf
from local.place import TOOLS
from worker.quality.pooled import Scored
from worker.quality.score import Pair, score
from worker.sandbox.runner import Runner
from worker.settings import Settings

FFMPEG, FFPROBE = TOOLS / "bin" / "ffmpeg", TOOLS / "bin" / "ffprobe"
BUNNY = TOOLS / "media" / "bigbuckbunny.mp4"
SETTINGS = Settings("vmaf", "CPU", "q", "c", "", 30.0, "n", "p", str(FFMPEG), str(FFPROBE))
ENCODE = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "600k", "-an")
Make = Callable[..., Path]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds files with ffmpeg, each once."""
    folder = tmp_path_factory.mktemp("films")

    def build(name: str, *arguments: object) -> Path:
        path = folder / name
        if not path.exists():
            subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments), path], check=True)
        return path

    return build


@pytest.fixture(scope="session")
def source(make: Make) -> Path:
    """The origin: 2.4 seconds of a film, 720p at 25 frames per second."""
    return make("source.mp4", "-ss", "1", "-t", "2.4", "-i", BUNNY, "-c:v", "libx264", "-crf", "8", "-an")


@pytest.fixture(scope="session")
def encoded(make: Make, source: Path) -> Path:
    """The origin, encoded at a low bitrate."""
    return make("encoded.mp4", "-i", source, *ENCODE)


def scored(
    origin: Path, encoded: Path, folder: Path, report: Callable[[Progress], None] = lambda _: None, **profile: Any
) -> Scored:
    """The product's score of two files, copied to a job's folder because the sandbox can read nothing else."""
    files = {
        side: Path(shutil.copyfile(path, folder / side)) for side, path in (("origin", origin), ("input", encoded))
    }
    pair = Pair(files["origin"], files["input"], f"s3://films/{origin.name}", f"s3://films/{encoded.name}")
    options = Vmaf(**({"scale": "480x270"} | {name.replace("-", "_"): value for name, value in profile.items()}))
    return score(pair, options, SETTINGS, Runner(), report, folder)


def plain(origin: Path, encoded: Path, folder: Path, size: str = "480:270") -> float:
    """The mean VMAF of a plain call of libvmaf."""
    sides = ";".join(f"[{n}:v]scale={size}:flags=bicubic,setpts=PTS-STARTPTS[{side}]" for n, side in enumerate("dr"))
    graph = f"{sides};[d][r]libvmaf=log_fmt=json:log_path=plain.json:n_threads=2"
    command = [str(FFMPEG), "-v", "error", "-i", str(encoded), "-i", str(origin), "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(command, check=True, cwd=folder)
    mean: float = json.loads((folder / "plain.json").read_text())["pooled_metrics"]["vmaf"]["mean"]
    return mean
