"""The version, where it is typed, and where it is repeated for people who copy a command."""

import re
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""
SOURCE = "layers/core/python/elasticrecode/__init__.py"
"""The file that the version is typed in. The stack and the worker image read it there."""
_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", re.ASCII)
_PLACES = {
    SOURCE: r'(?m)^__version__ = "([\d.]+)"$',
    "client/src/elasticrecode_client/version.py": r'(?m)^__version__ = "([\d.]+)"$',
    "deploy/k8s/settings.env": r"(?m)^version=([\d.]+)$",
    "deploy/k8s/workers/cpu.yaml": r"elasticrecode-worker:([\d.]+)$",
    "deploy/k8s/workers/gpu.yaml": r"elasticrecode-worker-gpu:([\d.]+)$",
    "deploy/k8s/workers/spot.yaml": r"elasticrecode-worker:([\d.]+)$",
    "deploy/k8s/workers/vmaf.yaml": r"elasticrecode-worker:([\d.]+)$",
    "docs/how-to/eks.md": r"(?m)^export .* VERSION=([\d.]+)$",
}
"""File → where it has the version. `docs/openapi.json` has it, too, and is generated."""


class ReleaseError(Exception):
    """A release cannot be made; the message says why and what to do."""


class Version(NamedTuple):
    """A semantic version without a suffix. Versions are ordered."""

    major: int
    minor: int
    patch: int

    @classmethod
    def read(cls, text: str) -> Self:
        """From `1.2.3`. ReleaseError for anything else."""
        match = _VERSION.fullmatch(text)
        if not match:
            raise ReleaseError(f"VERSION must be three numbers such as 1.2.3, not {text!r}.")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def current(root: Path = ROOT) -> Version:
    """The version of the checkout."""
    return Version.read(repeated(root)[SOURCE])


def repeated(root: Path = ROOT) -> dict[str, str]:
    """File → the version in it. ReleaseError where a file has none, or has two."""
    return {name: _only(pattern, (root / name).read_text(), name)[1] for name, pattern in _PLACES.items()}


def write(version: Version, root: Path = ROOT) -> list[str]:
    """Write the version into every file that has it; their names."""
    for name, pattern in _PLACES.items():
        path = root / name
        text = path.read_text()
        start, end = _only(pattern, text, name).span(1)
        path.write_text(f"{text[:start]}{version}{text[end:]}")
    return list(_PLACES)


def _only(pattern: str, text: str, name: str) -> re.Match[str]:
    matches = list(re.finditer(pattern, text, re.MULTILINE))
    if len(matches) != 1:
        raise ReleaseError(f"{name} has the version {len(matches)} times; it must have it once.")
    return matches[0]
