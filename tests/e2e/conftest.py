"""The deployed stack: an environment of its own, beside whatever the user runs, with real ffmpeg."""

import json
import os
import pty
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import boto3
import pytest
from websockets.sync.client import ClientConnection, connect

from elasticrecode.contract.tables import CONNECTIONS_KEYS
from elasticrecode.jobs.uris import CERTIFICATE_FILES
from local import users
from local.cluster import administrator_token
from local.place import TOOLS, Place
from local.processes import Supervisor
from tests import described
from tests.conftest import ROOT, contract
from worker.sandbox.isolation import program_environment

FFMPEG, FFPROBE = TOOLS / "bin" / "ffmpeg", TOOLS / "bin" / "ffprobe"
LEASE_SECONDS = 6
LONG_LEASE_SECONDS = 20
"""For workers side by side: a stall of one of them, as long as below, lets no other take its job."""
TENANTS = ("ann", "bob")
"""Two users with the same rights."""
PASSWORD = f"{secrets.token_urlsafe(18)}-aA1"
_FRAME = re.compile(r"\{.*\}")
_SECONDS = 180
STALL_SECONDS = 16.0
"""So long a process may get no processor where other tests run at the same time: added to what a promise allows."""
_PORTS = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections."""
_TOKEN_SECONDS = 1800
"""So long a token is used, which is good for an hour."""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = _SECONDS) -> Any:
    """Wait until the condition gives something; fail with `what` when it does not in time."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            pytest.fail(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)
    return found


def certified(*keys: str) -> list[str]:
    """The keys of the files of jobs, and of their certificates, in the order of a listing."""
    return sorted(key + suffix for key in keys for suffix in ("", *CERTIFICATE_FILES))


class Deployed:
    """The stack as its users see it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.supervisor = Supervisor(place)
        self.stack = place.stack()
        self.s3 = boto3.client("s3", endpoint_url=place.aws_url)
        self.sqs = boto3.client("sqs", endpoint_url=place.aws_url)
        self.dynamodb = boto3.client("dynamodb", endpoint_url=place.aws_url)
        self.bucket = self.stack["MediaBucket"]
        self._tokens: dict[str, tuple[float, str]] = {}

    def signed(self, name: str = users.OPERATOR) -> dict[str, str]:
        """The header that makes a request this user's."""
        until, token = self._tokens.get(name, (0.0, ""))
        if time.monotonic() > until:
            token = users.token(self.place, name, PASSWORD if name in TENANTS else "")
            self._tokens[name] = time.monotonic() + _TOKEN_SECONDS, token
        return {"Authorization": f"Bearer {token}"}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        base: str = "",
        user: str | None = users.OPERATOR,
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of a request of a user through the front door, or at another base."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        told = {**(self.signed(user) if user else {}), **(headers or {})}
        request = urllib.request.Request((base or self.place.url) + path, data, told, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=40)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, json.loads(text) if "json" in kind and text else text, dict(answer.headers)

    def cluster(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of a request to the cluster, as its administrator."""
        headers = {
            "Authorization": f"Bearer {administrator_token(self.place)}",
            "Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.place.kubernetes_url + path, data, headers, method=method)
        trust = ssl.create_default_context(cafile=self.place.cluster_authority)
        try:
            answer = urllib.request.urlopen(request, timeout=40, context=trust)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, json.load(answer)

    def watch(self, query: str = "lastMod=0", user: str | None = users.OPERATOR) -> ClientConnection:
        """A user's connection to `/ws`. Each of its frames must be as the AsyncAPI document describes it.

        A frame whose answer a stall has cut off is posted again: the second of two such frames is left out.
        """
        told = self.signed(user) if user else None
        return connect(
            f"ws://localhost:{self.place.port}/ws?{query}",
            additional_headers=told,
            open_timeout=_SECONDS,
            create_connection=_Watched,
        )

    def resources(self, kind: str = "") -> dict[str, str]:
        """Logical name → physical name of the stack's resources, of one type if `kind` names it."""
        client = boto3.client("cloudformation", endpoint_url=self.place.aws_url)
        pages = client.get_paginator("list_stack_resources").paginate(StackName="ElasticRecode")
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if not kind or one["ResourceType"] == kind
        }

    @cached_property
    def functions(self) -> dict[str, str]:
        """Folder in `functions/` → physical name of the deployed function."""
        return {
            logical.removeprefix("Functions")[:-8].lower(): physical
            for logical, physical in self.resources("AWS::Lambda::Function").items()
            if logical.startswith("Functions")
        }

    def invoke(self, function: str) -> Any:
        """Run a scheduled function now, and return its answer."""
        client = boto3.client("lambda", endpoint_url=self.place.aws_url)
        answer = client.invoke(FunctionName=self.functions[function])
        content = json.load(answer["Payload"])
        assert "FunctionError" not in answer, content
        return content

    def watchers(self) -> set[str]:
        """The connections that are known."""
        rows = self.dynamodb.scan(TableName=self.stack["ConnectionsTable"], ConsistentRead=True)["Items"]
        return {row[CONNECTIONS_KEYS[1]]["S"] for row in rows}

    @contextmanager
    def wscat(self, path: str) -> Iterator[Callable[[], list[str]]]:
        """wscat in a terminal, connected; the frames it has printed so far, without those that were posted again."""
        terminal, end = pty.openpty()
        command = [str(ROOT / "node_modules" / ".bin" / "wscat"), "--no-color", "-c", self.place.url + path]
        command += [word for name, value in self.signed().items() for word in ("-H", f"{name}: {value}")]
        with (
            os.fdopen(terminal, "rb", buffering=0) as screen,
            subprocess.Popen(command, stdin=end, stdout=end, stderr=end) as process,
        ):
            os.close(end)
            shown = bytearray()
            reader = threading.Thread(target=_read_all, args=(screen, shown), daemon=True)
            reader.start()

            def printed() -> list[str]:
                whole = shown[: shown.rfind(b"\n") + 1]  # the last line may be half there
                return _each_once(_FRAME.findall(whole.decode()))

            try:
                wait_for(lambda: b"Connected" in shown, f"wscat's connection to {path}")
                yield printed
            finally:
                os.write(terminal, b"\x03")  # Ctrl-C, as its first line says
                process.wait()
                reader.join()

    def put(self, path: Path, key: str) -> str:
        """Upload a file; its URI."""
        self.s3.upload_file(str(path), self.bucket, key)
        return f"s3://{self.bucket}/{key}"

    def submit(self, uri: str, output: str = "out/", **ffmpeg: str) -> str:
        """Submit a transcode of an object; the job's id."""
        body = contract("job") | {"input": uri, "output": f"s3://{self.bucket}/{output}"}
        body["profile"]["ffmpeg"] |= {"scale": "240p"} | ffmpeg
        status, answer, _ = self.call("POST", "/api/v1/jobs", body)
        assert status == 200, answer
        job_id: str = answer[0]["jobid"]
        return job_id

    def record(self, job_id: str) -> dict[str, Any]:
        """Where a job stands."""
        found: dict[str, Any] = self.call("GET", f"/api/v1/jobs/{job_id}/status")[1]
        return found

    def until(self, job_id: str, *states: str) -> dict[str, Any]:
        """The record once it is in one of the states."""

        def reached() -> dict[str, Any] | None:
            record = self.record(job_id)
            return record if record["state"] in states else None

        found: dict[str, Any] = wait_for(reached, f"job {job_id} {' or '.join(states)}")
        return found

    def actions(self, job_id: str) -> list[str]:
        """What the job's log tells, progress left out."""
        listed = self.call("GET", f"/api/v1/jobs/{job_id}")[1]
        return [event["action"] for event in listed if event["action"] != "JobProgress"]

    def keys(self, prefix: str) -> list[str]:
        """The objects under a prefix."""
        return [
            found["Key"] for found in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())
        ]

    def probe(self, uri: str, folder: Path) -> dict[str, Any]:
        """ffprobe's word on an object."""
        path = folder / "probed"
        self.s3.download_file(self.bucket, uri.split("/", 3)[3], str(path))
        said = subprocess.run(
            [FFPROBE, "-v", "error", "-show_streams", "-show_format", "-of", "json", path],
            env=program_environment(),
            capture_output=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(said.stdout)
        return found


class _Watched(ClientConnection):
    """A connection whose frames are checked."""

    _latest = ""

    def recv(self, *arguments: Any, **options: Any) -> Any:
        frame = super().recv(*arguments, **options)
        while (event_id := _event_id(frame)) and event_id == self._latest:
            frame = super().recv(*arguments, **options)
        self._latest = event_id
        described.frames([frame])
        return frame


def _event_id(frame: Any) -> str:
    """The id of a frame's one event; empty for any other frame."""
    content = json.loads(frame) if frame[:1] == "{" else {}
    return str(content.get("eventID", ""))


def _each_once(lines: list[str]) -> list[str]:
    """Events without those that came again behind themselves."""
    ids = [_event_id(line) for line in lines]
    return [line for n, line in enumerate(lines) if n == 0 or not ids[n] or ids[n] != ids[n - 1]]


def _read_all(screen: IO[bytes], shown: bytearray) -> None:
    """Keep what a terminal shows until its last program is gone, which Linux tells as an error."""
    with suppress(OSError):
        while text := screen.read(65536):
            shown.extend(text)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, and that no connection is given while a server that has one starts again."""
    found = list[int]()
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """Up before the first test, gone after the last."""
    folder = Path(tempfile.mkdtemp(prefix="elasticrecode-e2e-"))
    port, aws_port, k8s_port = free_ports(3)
    environment = os.environ | {
        "LOCAL_DIR": str(folder),
        "PORT": str(port),
        "AWS_PORT": str(aws_port),
        "K8S_PORT": str(k8s_port),
        "WORKERS": "1",
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "AUTH": "cognito",
        "IAM": "enforced",
        "REUSE": "off",
        "PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}",
    }
    local = [sys.executable, "-m", "local"]
    done = subprocess.run([*local, "up"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        place = Place.read(environment)
        for name in TENANTS:
            users.make(users.cognito(place), place.stack()["UserPool"], name, PASSWORD, [])
        yield Deployed(place)
    finally:
        ended = subprocess.run(
            [*local, "clean"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        shutil.rmtree(folder, ignore_errors=True)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes clips with ffmpeg, each once."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str, *arguments: str) -> Path:
        path = folder / name
        if not path.exists():
            subprocess.run([FFMPEG, "-v", "error", "-y", *arguments, path], check=True)
        return path

    return make
