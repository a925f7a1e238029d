"""`compare` scores local files by the workers' own scoring: in a checkout, and from the wheel alone."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local.place import TOOLS
from tests.conftest import ROOT
from tests.quality.conftest import scored
from tests.support import copy_checkout

BUNNY = TOOLS / "media" / "bigbuckbunny.mp4"
TOOLS_PATH = f"{TOOLS / 'bin'}:/usr/bin:/bin"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film, `film.mp4`, and its encode, `small.mp4`."""
    folder = tmp_path_factory.mktemp("films")
    ffmpeg = [str(TOOLS / "bin" / "ffmpeg"), "-v", "error", "-y"]
    subprocess.run(
        [*ffmpeg, "-t", "1", "-i", BUNNY, "-c:v", "libx264", "-crf", "8", "-an", folder / "film.mp4"], check=True
    )
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "600k", str(folder / "small.mp4")]
    subprocess.run([*ffmpeg, "-i", folder / "film.mp4", *encode], check=True)
    return folder


def compare(films: Path, *words: str, path: str = str(ROOT / "client" / "src")) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "elasticrecode_client.command", "compare", *words]
    environment = {
        "PATH": TOOLS_PATH,
        "PYTHONPATH": path,
        "HOME": str(films),
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=films, env=environment)


def test_the_score_is_that_of_a_worker(films: Path, tmp_path: Path) -> None:
    ended = compare(films, "small.mp4", "film.mp4", "--scale", "480x270", "--psnr", "--json")
    assert ended.returncode == 0, ended.stderr
    of_worker = scored(films / "film.mp4", films / "small.mp4", tmp_path, psnr="enable")
    quality = json.loads(ended.stdout)["quality"]
    assert quality["vmaf"]["mean"] == pytest.approx(of_worker.quality.vmaf.mean, abs=0.001)
    assert of_worker.quality.psnr
    assert quality["psnr"]["mean"] == pytest.approx(of_worker.quality.psnr.mean, abs=0.001)


def test_a_bar_decides_the_exit_status_and_reports_are_kept(films: Path) -> None:
    words = ("small.mp4", "film.mp4", "--scale", "480x270")
    assert compare(films, *words, "--min-vmaf", "10", "--report", "scores").returncode == 0
    assert {path.name for path in (films / "scores").iterdir()} == {"small.mp4.vmaf.html", "small.mp4.vmaf.json"}
    below = compare(films, *words, "--min-vmaf", "99.9")
    assert below.returncode == 3
    assert "is below the bar, 99.9." in below.stderr


def test_what_cannot_be_compared_is_refused(films: Path) -> None:
    swapped = compare(films, "film.mp4", "small.mp4", "--scale", "480x270")
    assert swapped.returncode == 1
    assert swapped.stderr.startswith("inputs-swapped: ")
    wrong = compare(films, "small.mp4", "film.mp4", "--scale", "9p")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("scale must be one of ")


def test_nothing_of_the_folder_is_run(films: Path) -> None:
    (films / "worker").mkdir()
    (films / "worker" / "__init__.py").write_text("raise SystemExit('run')")
    assert compare(films, "small.mp4", "film.mp4", "--scale", "9p").stderr.startswith("scale must be one of ")


def test_a_score_needs_an_ffmpeg_with_libvmaf(films: Path) -> None:
    ended = compare(films, "small.mp4", "film.mp4", "--ffmpeg", "/bin/true")
    assert ended.returncode == 2
    assert "--ffmpeg /bin/true: cannot be run, or lacks what a score needs" in ended.stderr


def test_the_wheel_has_all_that_a_score_takes(films: Path, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=checkout / "client", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    ended = compare(films, "small.mp4", "film.mp4", "--scale", "480x270", "--json", path=str(tmp_path / "installed"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["quality"]["vmaf"]["frames"] == 25
    assert not (tmp_path / "installed" / "elasticrecode_client" / "_scoring" / "worker" / "loop.py").exists()
