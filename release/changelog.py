"""The changelog: what the next release brings, and the section of each earlier one."""

import re
from pathlib import Path

from release.version import ROOT, ReleaseError, Version

NAME = "CHANGELOG.md"
_NEXT = "Unreleased"


def section(title: str, root: Path = ROOT) -> str:
    """The text of a section, such as that of a version; empty where there is none."""
    parts = re.split(r"(?m)^## (.+)$", (root / NAME).read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(title, "").strip()


def close(version: Version, root: Path = ROOT) -> None:
    """Turn the section of unreleased changes into that of a version, and begin an empty one.

    ReleaseError when nothing is unreleased, or the version has a section already.
    """
    if section(str(version), root):
        raise ReleaseError(f"{NAME} has a section {version} already.")
    if not re.search(r"(?m)^- ", section(_NEXT, root)):
        raise ReleaseError(f"{NAME} has no change below {_NEXT}: write what {version} brings its users.")
    path = root / NAME
    path.write_text(path.read_text().replace(f"## {_NEXT}\n", f"## {_NEXT}\n\n## {version}\n", 1))
