"""The checkout of the last release, out of the history: what an upgrade begins with."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from release.history import Release, releases
from tests.conftest import ROOT


def last_release(folder: Path) -> Release:
    """Put the files of the last release into a folder, with the tools of this checkout. Skips where git lacks them."""
    release = releases()[-1]
    archived = subprocess.run(["git", "archive", release.commit], cwd=ROOT, capture_output=True, check=False)
    if archived.returncode:
        pytest.skip(f"this checkout lacks the commit of release {release.version}: {archived.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as files:
        files.extractall(folder, filter="data")
    (folder / ".build").mkdir()
    (ROOT / ".build" / "layers").mkdir(parents=True, exist_ok=True)
    for name in (".tools", "node_modules", ".build/layers"):
        (folder / name).symlink_to((ROOT / name).resolve())
    return release
