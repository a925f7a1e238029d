"""Real clips, real libvmaf, no AWS."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elasticrecode.media.profiles import Vmaf
from local.place import TOOLS
from worker.quality.score import Pair, Scored, score
from worker.sandbox.runner import Runner
from worker.settings import Settings

FFMPEG, FFPROBE = TOOLS / "bin" / "ffmpeg", TOOLS / "bin" / "ffprobe"
BUNNY = TOOLS / "media" / "bigbuckbunny.mp4"
SETTINGS = Settings("vmaf", "CPU", "q", "c", "", 30.0, "n", "p", str(FFMPEG), str(FFPROBE))
ENCODE = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "600k", "-an")
Make = Callable[..., Path]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes files with ffmpeg, each once."""
    folder = tmp_path_factory.mktemp("films")

    def made(name: str, *arguments: object) -> Path:
        path = folder / name
        if not path.exists():
            subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments), path], check=True)
        return path

    return made


@pytest.fixture(scope="session")
def source(make: Make) -> Path:
    """The origin: two seconds of a film, 720p at 25 frames a second."""
    return make("source.mp4", "-ss", "1", "-t", "2.4", "-i", BUNNY, "-c:v", "libx264", "-crf", "8", "-an")


@pytest.fixture(scope="session")
def encoded(make: Make, source: Path) -> Path:
    """The same, compressed."""
    return make("encoded.mp4", "-i", source, *ENCODE)


def scored(origin: Path, made: Path, folder: Path, **asked: Any) -> Scored:
    """What the product says of two files in a job's folder: nothing else can be read."""
    here = {side: Path(shutil.copyfile(path, folder / side)) for side, path in (("origin", origin), ("input", made))}
    pair = Pair(here["origin"], here["input"], f"s3://films/{origin.name}", f"s3://films/{made.name}")
    wanted = Vmaf(**({"scale": "480x270"} | {name.replace("-", "_"): value for name, value in asked.items()}))
    return score(pair, wanted, SETTINGS, Runner(), lambda _: None, folder)


def plain(origin: Path, made: Path, folder: Path, size: str = "480:270") -> float:
    """What libvmaf says when it is simply called."""
    sides = ";".join(f"[{n}:v]scale={size}:flags=bicubic,setpts=PTS-STARTPTS[{side}]" for n, side in enumerate("dr"))
    graph = f"{sides};[d][r]libvmaf=log_fmt=json:log_path=plain.json:n_threads=2"
    command = [str(FFMPEG), "-v", "error", "-i", str(made), "-i", str(origin), "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(command, check=True, cwd=folder)
    said: float = json.loads((folder / "plain.json").read_text())["pooled_metrics"]["vmaf"]["mean"]
    return said
