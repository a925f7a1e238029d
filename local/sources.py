"""The files that the deployed stack is built from, and which of them have changed since."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from infra import version
from local.place import ROOT, Place

COMMIT, OPTIONS = "the commit", "the options"
"""Pseudo-files: the other inputs of a deployment."""
_PATHS = ("app.py", "cdk.json", "infra", "functions", "layers")


def read(place: Place, root: Path = ROOT) -> dict[str, str]:
    """Path, relative to `root` → hash of its content, for all files of the deployment and the pseudo-files."""
    files = {COMMIT: version.current().commit, OPTIONS: json.dumps(place.options())}
    for name in _PATHS:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                files[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def deployed(place: Place) -> dict[str, str] | None:
    """The files of the last finished deployment; None when there is none."""
    return json.loads(_file(place).read_text()) if _file(place).exists() else None


def note(place: Place, files: Mapping[str, str] | None) -> None:
    """Write down the files of a finished deployment; None when one begins."""
    if files is None:
        _file(place).unlink(missing_ok=True)
    else:
        _file(place).write_text(json.dumps(files, indent=0))


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files that differ, exist in one only, or are new; sorted."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _file(place: Place) -> Path:
    return place.state / "deployed.json"
