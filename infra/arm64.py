"""`python -m infra.arm64`: import every function's module on arm64, with the layers that the stack deploys.

An arm64 Python of the runtime's version, from Debian's packages, runs under qemu's user-mode emulation, out of a folder
in `.tools`: the packages of this machine are left as they are. Needs a Debian or Ubuntu with apt, and a network for the
first run.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3

from infra import layers
from infra.options import ROOT, Options

FOLDER = ROOT / ".tools" / "arm64"
SUITE = "forky"
"""The release of Debian that has the Python of the option `lambdaRuntime`."""
_PYTHON = Options(auth="none").lambdaRuntime
_PACKAGES = (
    f"{_PYTHON}-minimal", f"lib{_PYTHON}-minimal", f"lib{_PYTHON}-stdlib", "libc6", "libgcc-s1", "libstdc++6",
    "libexpat1", "zlib1g", "libssl3t64", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libuuid1", "libzstd1",
)  # fmt: skip
_EMULATOR = FOLDER / "qemu" / "usr" / "bin" / "qemu-aarch64-static"
_OF_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "urllib3", "six.py")
"""Packages that Lambda's runtime brings, all of pure Python."""
_IMPORT = """
import importlib.util, platform, sys
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("handler", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
files = (getattr(module, "__file__", "") or "" for module in sys.modules.values())
native = sorted({file.split("/")[-1] for file in files if file.startswith("LAYER") and file.endswith(".so")})
print(f"{len(sys.argv) - 1} functions imported by Python {platform.python_version()} on {platform.machine()}")
print("compiled:", *native)
"""


def install() -> None:
    """Unpack the emulator and the arm64 Python into FOLDER, unless they are there."""
    if (FOLDER / "installed").exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        work = Path(place)
        for part in ("state/lists/partial", "cache/archives/partial", "host", "foreign"):
            (work / part).mkdir(parents=True)
        (work / "status").touch()
        urls = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").split()
        mirror = next(url for url in urls if url.rstrip("/").endswith("/debian"))
        (work / "sources.list").write_text(f"deb {mirror} {SUITE} main\n")
        chosen = {
            "Dir::State": "state", "Dir::Cache": "cache", "Dir::Etc::sourcelist": "sources.list",
            "Dir::State::status": "status",
        }  # fmt: skip
        apt = [f"-o={name}={work / path}" for name, path in chosen.items()]
        apt += ["-o=Dir::Etc::sourceparts=-", "-o=APT::Architecture=arm64", "-o=APT::Architectures=arm64"]
        own = "-o=APT::Sandbox::User=root"
        _run("apt-get", own, "download", "-qq", "qemu-user-static", cwd=work / "host")
        _run("apt-get", own, *apt, "update", "-qq")
        _run("apt-get", own, *apt, "download", "-qq", *_PACKAGES, cwd=work / "foreign")
        for name, target in (("host", "qemu"), ("foreign", "root")):
            for package in sorted((work / name).glob("*.deb")):
                _run("dpkg-deb", "--extract", str(package), str(FOLDER / target))
    for name in ("lib", "bin"):
        if not (FOLDER / "root" / name).exists():
            (FOLDER / "root" / name).symlink_to(f"usr/{name}")
    (FOLDER / "installed").touch()


def imported() -> str:
    """What the arm64 Python says after it has imported every function's module. Raises CalledProcessError."""
    options = Options(auth="none")
    deployed = [layers.core(options) / "python", layers.dependencies(options) / "python"]
    brought = FOLDER / "runtime"
    brought.mkdir(exist_ok=True)
    for name in _OF_THE_RUNTIME:
        link = brought / name
        link.unlink(missing_ok=True)
        link.symlink_to((Path(boto3.__file__).parents[1] / name).resolve())
    path = ":".join(str(each) for each in (*deployed, brought))
    modules = sorted(str(each) for each in (ROOT / "functions").glob("*/handler.py"))
    python = FOLDER / "root" / "usr" / "bin" / _PYTHON
    settings = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "AWS_DEFAULT_REGION": "us-east-1"}
    script = _IMPORT.replace("LAYER", str(deployed[1]))
    return _run(str(_EMULATOR), "-L", str(FOLDER / "root"), str(python), "-c", script, *modules, environment=settings)


def _run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment or dict(os.environ), stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def main() -> None:
    """Install what is missing, then import."""
    install()
    sys.stdout.write(imported())


if __name__ == "__main__":
    main()
