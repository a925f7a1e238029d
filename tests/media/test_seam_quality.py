"""No picture near a seam is poorer than elsewhere: VMAF and sizes of divided films beside undivided ones.

The table in docs/explanation/long-films.md comes from a run with SIZE=full.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tell
from tests.media.case import BUNNY, FFMPEG, ffmpeg, make
from tests.media.dividing import divide
from tests.media.seams import film_times, spilled
from tests.sizes import sized

RATE = 25
SECONDS = sized(24, 72, 128)
_NEAR_SECONDS = 0.5
_PANS = "scale=800:-2,crop=320:180:x='240+240*sin(t/7)':y='135+130*cos(t/5)'"
_HARD = "noise=alls=14:allf=t:enable='between(mod(t,37),9,17)',eq=brightness=-0.2:enable='between(mod(t,53),30,40)'"
ENCODES = {  # a cap far below what the film wants gives the pictures behind a seam less than it gives others
    "h264": {"codec": "h264", "quality": {"crf": 24}},
    "h264, cap 900K": {"codec": "h264", "quality": {"crf": 20}, "maxBitrate": "900K", "buffersize": "1800K"},
    "h265": {"codec": "h265", "quality": {"crf": 26}},
    "av1": {"codec": "av1", "quality": {"crf": 35}},
}
JOBS = sized(
    [("h264", 8.0)],
    [("h264", 4.0), ("h264", 60.0), *((name, 16.0) for name in ENCODES)],
    [(name, seconds) for name in ENCODES for seconds in (4.0, 16.0, 60.0)],
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real film that pans through its pictures, with grain and darkness at times and a cut each five seconds."""
    options = ("-an", "-t", SECONDS, "-vf", f"fps={RATE},{_PANS},{_HARD}", "-c:v", "libx264", "-preset", "veryfast")
    folder = tmp_path_factory.mktemp("film")
    return ffmpeg(folder, "film.mp4", "-stream_loop", -1, "-i", BUNNY, *options, "-crf", 12, "-g", 50)


@pytest.fixture(scope="module")
def wholes() -> dict[str, tuple[list[float], int]]:
    """The scores and the size of each undivided encode that was made."""
    return {}


def frame_scores(file: Path, film: Path, folder: Path) -> list[float]:
    """The VMAF of each picture."""
    clock = f"settb=AVTB,setpts=N/{RATE}/TB"
    graph = f"[0:v]{clock}[a];[1:v]{clock}[b];[a][b]libvmaf=log_fmt=json:log_path=scores.json:n_threads=1"
    command = [FFMPEG, "-v", "error", "-i", str(file), "-i", str(film), "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    frames: list[dict[str, Any]] = json.loads((folder / "scores.json").read_text())["frames"]
    return [each["metrics"]["vmaf"] for each in frames]


def worst(scores: Sequence[float], times: Sequence[float]) -> float:
    """The lowest score near any of the times."""
    near = [score for n, score in enumerate(scores) if any(abs(n / RATE - time) <= _NEAR_SECONDS for time in times)]
    return min(near)


@pytest.mark.timeout(sized(300, 1200, 1200))
@pytest.mark.parametrize(("name", "seconds"), JOBS)
def test_pictures_near_seams_are_as_good_as_others(
    tmp_path: Path, film: Path, wholes: dict[str, tuple[list[float], int]], name: str, seconds: float, tell: Tell
) -> None:
    encode = {"scale": "source", "speed": "fast", **ENCODES[name]}
    profile = {"split": "auto", "ffmpeg": encode, "audio": {"codec": "none"}}
    for folder in ("whole", "divided"):
        (tmp_path / folder).mkdir()
    if name not in wholes:
        target = make(tmp_path / "whole", film, profile).target
        wholes[name] = frame_scores(target, film, tmp_path), target.stat().st_size
    divided = divide(tmp_path / "divided", film, profile, seconds)
    assert divided.plan, divided.reason
    seams = [float(work.file.start) for work in divided.plan.work if work.file and work.file.start]
    assert seams
    one, other = wholes[name][0], frame_scores(divided.file, film, tmp_path)
    assert len(other) == len(one) == SECONDS * RATE
    ticks = max(time for time, _ in film_times(divided.file)) / (SECONDS - 1 / RATE)
    keys = [time / ticks for time, is_key in film_times(divided.file) if is_key]
    others = [key for key in keys[1:] if all(abs(key - seam) > 2 * _NEAR_SECONDS for seam in seams)]
    size = divided.file.stat().st_size / wholes[name][1] - 1
    mean = sum(other) / len(other) - sum(one) / len(one)
    near = worst(other, seams), worst(one, seams), worst(other, others)
    row = f"size {100 * size:+.2f} %, mean {mean:+.3f}, seams {near[0]:.1f} ({near[1]:.1f}), keys {near[2]:.1f}"
    tell(f"{name}, {len(seams) + 1} chunks of up to {seconds:g} s", {row: 1})
    assert near[0] >= near[2] - 1
    if seconds >= 60:
        assert abs(size) <= 0.01
        assert abs(mean) <= 0.1
    if "maxBitrate" in encode:
        assert spilled(divided.file, 900_000, 1_800_000) == 0
