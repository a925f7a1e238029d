"""The releases so far, each with its commit: `releases.txt`, since not every clone has the tags."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from release.version import ROOT, ReleaseError, Version

NAME = "release/releases.txt"


class Release(NamedTuple):
    """A version, and the full hash of the commit that has it."""

    version: Version
    commit: str


def releases(root: Path = ROOT) -> list[Release]:
    """All releases, the oldest first."""
    lines = (line.split() for line in (root / NAME).read_text().splitlines())
    return [Release(Version.read(version), commit) for version, commit in lines]


def append(release: Release, root: Path = ROOT) -> None:
    """Note a release behind the others."""
    with (root / NAME).open("a") as file:
        file.write(f"{release.version} {release.commit}\n")


def git(*arguments: str, root: Path = ROOT) -> str:
    """What git prints, without the last line break. ReleaseError with git's words when it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        raise ReleaseError(f"`git {arguments[0]}` failed: {done.stderr.strip()}")
    return done.stdout.strip()
