"""The folders of the two Lambda layers, built once and kept under `.build/`.

Both hold bytecode if this Python has the version of the runtime: without it a cold start compiles every module again.
The dependencies are wheels for the runtime's platform, so nothing is compiled here.
"""

import compileall
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.options import ROOT, Options

_BUILT = ROOT / ".build" / "layers"
_CORE = ROOT / "layers" / "core" / "python"
_UV_INSTALL = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps")
_REQUIREMENTS = ROOT / "layers" / "deps" / "requirements.txt"


class LayerError(Exception):
    """A layer cannot be built; the message says why and what to do."""


def core(options: Options) -> Path:
    """A folder with the product's own package. Its name ends in the hash of the content."""
    sources = sorted(_CORE.rglob("*.py"))
    content = b"".join(str(path.relative_to(_CORE)).encode() + path.read_bytes() for path in sources)

    def fill(target: Path) -> None:
        shutil.copytree(_CORE, target, ignore=shutil.ignore_patterns("__pycache__"))

    return _built("core", content, options, fill)


def dependencies(options: Options) -> Path:
    """A folder with the pinned third-party packages.

    The first build for a set of pins and a platform downloads wheels. Raises LayerError if one cannot be installed.
    """

    def fill(target: Path) -> None:
        python = options.lambdaRuntime.removeprefix("python")
        wheels = ["--python-platform", options.lambdaPlatform, "--python-version", python, "--only-binary", ":all:"]
        command = [*_UV_INSTALL, *wheels, "--requirements", str(_REQUIREMENTS), "--target", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LayerError(
                f"The wheels of {_REQUIREMENTS.relative_to(ROOT)} cannot be installed for Python {python} on "
                f"{options.lambdaPlatform}. Check the options lambdaRuntime and lambdaPlatform, and that this "
                f"machine reaches the package index. uv reports:\n{done.stderr.strip()}"
            )

    return _built("deps", _REQUIREMENTS.read_bytes() + options.lambdaPlatform.encode(), options, fill)


def _built(name: str, content: bytes, options: Options, fill: Callable[[Path], None]) -> Path:
    folder = _BUILT / f"{name}-{hashlib.sha256(content + options.lambdaRuntime.encode()).hexdigest()[:32]}"
    if not folder.exists():
        _BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_BUILT) as unfinished:
            target = Path(unfinished, "layer", "python")
            target.parent.mkdir()
            fill(target)
            if options.lambdaRuntime == f"python{sys.version_info.major}.{sys.version_info.minor}":
                compileall.compile_dir(
                    target,
                    quiet=1,
                    stripdir=str(target),
                    prependdir="/opt/python",
                    invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
                )
            try:
                os.rename(target.parent, folder)  # noqa: PTH104
            except OSError:
                if not folder.exists():
                    raise
    return folder
