"""The package as its users get it: built, installed into an environment of its own, imported, and checked by mypy."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from release.version import current
from tests.conftest import ROOT

IMPORT_SECONDS = 0.3
PROGRAM = """
from elasticrecode_client import AsyncClient, Client, Cognito, Invalid, Token
from elasticrecode_client.types import JobRecord, Profile

def failed(client: Client) -> list[JobRecord]:
    try:
        profile: Profile = {"ffmpeg": {"codec": "h264", "scale": "720p", "bitrate": "3M"}}
        job = client.submit("s3://a/b.mov", "s3://a/out/", profile)
    except Invalid as problem:
        print([fault.pointer for fault in problem.errors])
        return []
    record: JobRecord = client.job(job["jobid"])
    for event in client.watch(record["jobID"]):
        print(event["action"], event.get("progress"))
    return [one for one in client.jobs(state="failed", since=1.5) if one["error"] is not None]

async def main() -> None:
    async with AsyncClient("https://farm.example", auth=Cognito("ann", "secret")) as client:
        async for record in client.jobs():
            print(record["state"].upper(), (await client.version())["version"])

client = Client("https://farm.example", auth=Token(lambda: "token"))
print(failed(client), client.upload("film.mov", progress=lambda sent: print(sent.sent / sent.total)))
"""
WRONG = ('client.jobs(stat="failed")', 'client.job("a")["jobId"]', 'client.submit("a", "b")', "await client.jobs()")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "client", folder / "client", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=folder / "client", check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"elasticrecode-{current()}-py3-none-any.whl"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, wheel], check=True)
    return python


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def cpu_seconds(python: Path, program: str) -> float:
    """The least processor time of a few runs: other work on this machine does not count."""
    runs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([python, "-c", program], env=clean(), check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(runs)


def test_the_import_is_quick(installed: Path) -> None:
    seconds = cpu_seconds(installed, "import elasticrecode_client")
    print(f"import elasticrecode_client: {seconds * 1000:.0f} ms, bare: {cpu_seconds(installed, '') * 1000:.0f} ms")
    assert seconds < IMPORT_SECONDS


def test_the_version_is_the_products(installed: Path) -> None:
    imports = "import elasticrecode_client; from importlib.metadata import version"
    program = f"{imports}; print(elasticrecode_client.__version__, version('elasticrecode'))"
    done = subprocess.run([installed, "-c", program], env=clean(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(current())] * 2


def test_strict_types_pass_and_mistakes_are_seen(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(PROGRAM)
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        str(installed),
        "--cache-dir",
        str(tmp_path),
    ]
    done = subprocess.run([*mypy, "good.py"], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    lines = "\n".join(f"    {line}" for line in WRONG)
    (tmp_path / "wrong.py").write_text(
        f"from elasticrecode_client import Client\n\nasync def main(client: Client) -> None:\n{lines}\n"
    )
    done = subprocess.run([*mypy, "wrong.py"], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False)
    assert done.stdout.count(": error:") == len(WRONG), done.stdout
