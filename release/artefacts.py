"""What a release consists of, built from the files of one commit: nothing is published."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from release.history import git
from release.version import ReleaseError, Version

_IMAGE = ("worker", "layers/core/python/elasticrecode")
"""What `worker/Dockerfile` copies."""
_CDK = Path("node_modules/.bin/cdk")
SUMS = "SHA256SUMS"


def build(version: Version, root: Path) -> Path:
    """Build all artefacts below `.build/release/<version>` with their checksums; the folder.

    The client's wheel and source archive, the context to build the worker's image from, and the CloudFormation
    template of the default options with its assets. ReleaseError when a tool fails.
    """
    folder = root / ".build" / "release" / str(version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seconds = int(git("log", "-1", "--format=%ct", root=root))
    name = f"elasticrecode-{version}"
    with tempfile.TemporaryDirectory() as scratch:
        sources = _sources(root, Path(scratch) / "sources")
        _client(sources, folder, seconds)
        _pack(sources, _IMAGE, folder / f"elasticrecode-worker-{version}.tar.gz", f"elasticrecode-worker-{version}")
        template = Path(scratch) / name
        _synthesise(root, template)
        _pack(template, [path.name for path in template.iterdir()], folder / f"{name}-cloudformation.tar.gz", name)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(lines))
    return folder


def _sources(root: Path, target: Path) -> Path:
    """The files of the commit, without what lies about in the checkout."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=root, capture_output=True, check=True).stdout  # noqa: S607
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(target, filter="data")
    return target


def _client(sources: Path, folder: Path, seconds: int) -> None:
    """Build the wheel and the source archive of the client, the same bytes each time."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    _run(command, sources / "client", environment, "The client cannot be built")


def _synthesise(root: Path, target: Path) -> None:
    environment = {**os.environ, "CDK_DISABLE_VERSION_CHECK": "1"}
    command = [str(root / _CDK), "synth", "--quiet", "--no-notices", "--output", str(target)]
    _run(command, root, environment, "The template cannot be synthesised")


def _run(command: list[str], folder: Path, environment: dict[str, str], otherwise: str) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{otherwise}:\n{done.stdout.strip()}\n{done.stderr.strip()}")


def _pack(base: Path, names: tuple[str, ...] | list[str], archive: Path, top: str) -> None:
    """Pack files of a folder into an archive below one top folder."""
    with tarfile.open(archive, "w:gz") as file:
        for name in sorted(names):
            file.add(base / name, f"{top}/{name}", filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An entry without its owner; None for bytecode."""
    if "__pycache__" in Path(entry.name).parts:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
