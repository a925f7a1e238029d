"""The commit that is deployed."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).resolve().parent


class Version(NamedTuple):
    """A commit's id, and its time in UTC as `YYYY.MM.DD.HHMMSS`; both are `unknown` outside git."""

    commit: str
    build: str


def current() -> Version:
    """The commit of the checkout, or in an archive of `git archive` the one in commit.txt."""
    archived = re.fullmatch(r"([0-9a-f]{40}) (\d+)", (_HERE / "commit.txt").read_text().strip())
    if archived:
        return _version(*archived.groups())
    try:
        shown = subprocess.run(
            ["git", "log", "-1", "--format=%H %ct"],  # noqa: S607
            cwd=_HERE,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return Version("unknown", "unknown")
    return _version(*shown.stdout.split())


def _version(commit: str, seconds: str) -> Version:
    return Version(commit, f"{datetime.fromtimestamp(int(seconds), UTC):%Y.%m.%d.%H%M%S}")
