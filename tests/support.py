"""Handlers as Lambda calls them, and an AWS of a test's own."""

import importlib.util
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from infra.openapi.asset import schema_function
from local.place import TOOLS
from tests.e2e.conftest import free_ports, wait_for

ROOT = Path(__file__).resolve().parent.parent


_SHARED = (".tools", "node_modules")
"""Folders that copies of the checkout share with it."""


def copy_checkout(folder: Path) -> Path:
    """Copy the files that git does not ignore into the folder. Installed tools become links to this checkout's."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and name not in _SHARED and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in _SHARED:
        if (ROOT / name).exists():
            (folder / name).symlink_to((ROOT / name).resolve())
    return folder


def in_the_embedded_aws(program: str, *arguments: str) -> dict[str, Any]:
    """What a program prints as JSON, run as the embedded AWS is; the folder of its patches is the last argument."""
    command = [str(TOOLS / "aws" / "bin" / "python"), "-c", program, *arguments, str(ROOT / "local")]
    done = subprocess.run(command, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def function(name: str) -> ModuleType:
    """The module of a function's handler."""
    folder = schema_function("none") if name == "schema" else ROOT / "functions" / name
    spec = importlib.util.spec_from_file_location(f"functions_{name}", folder / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Answer(NamedTuple):
    """What a client sees."""

    status: int
    headers: dict[str, str]
    body: Any


def call(
    handler: Callable[[dict[str, Any], Any], dict[str, Any]],
    route: str,
    body: Any = None,
    parameters: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Call a REST handler as API Gateway does."""
    method, resource = route.split(" ")
    path = "/api" + resource.format(**(parameters or {}))
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    answer = handler(
        {
            "httpMethod": method,
            "resource": resource,
            "path": path,
            "pathParameters": parameters,
            "queryStringParameters": query,
            "headers": headers,
            "body": text,
            "isBase64Encoded": False,
            "requestContext": {"requestId": "request-1", "path": path},
        },
        None,
    )
    return Answer(answer["statusCode"], answer["headers"], json.loads(answer["body"] or "null"))


@contextmanager
def embedded_aws(folder: Path) -> Iterator[str]:
    """The URL of an embedded AWS without a stack, whose state and log lie in a folder."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    here = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "AUTH": "false", "STATE_DIR": str(folder / "aws")}
    program = [str(TOOLS / "aws" / "bin" / "python"), str(ROOT / "local" / "ministack_patched.py")]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "aws.log").open("wb") as log:
        process = subprocess.Popen(program, env=bare | here, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(f"{url}/_ministack/health"), "the embedded AWS")
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
