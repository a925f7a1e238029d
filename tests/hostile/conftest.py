"""A worker on an embedded AWS of its own, and files and a server that it must not touch."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.place import TOOLS
from tests.conftest import ROOT
from tests.hostile.corpus import H264, SMALL, Maker, Traps
from tests.support import embedded_aws

MIB = 1 << 20
LIMITS = {
    "MAX_INPUT_BYTES": 64 * MIB,
    "MAX_DURATION_SECONDS": 3600,
    "MAX_PIXELS": 3840 * 2160,
    "MAX_STREAMS": 64,
    "MAX_JOB_SECONDS": 120,
    "MAX_MEMORY_BYTES": 1024 * MIB,
    "MAX_DISK_BYTES": 256 * MIB,
}
_LONGEST = 150
_WORKER_MEMORY = 400 * MIB


class Lure:
    """A server that nothing may connect to. It counts connections."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


class Stage:
    """The worker, its queues and bucket, and the files around its job folder."""

    def __init__(self, root: Path) -> None:
        self.lure = Lure()
        self.outside, self.scratch = root / "outside", root / "scratch"
        for folder in (self.outside, self.scratch, root / "clips"):
            folder.mkdir()
        self.make = Maker(root / "clips")
        self.traps = Traps(self.outside / "canary.mp4", self.lure.url)
        self.traps.canary.write_bytes(self.make("canary.mp4", *SMALL, *H264))
        self._running = ExitStack()
        url = self._running.enter_context(embedded_aws(root))
        aws = os.environ | {"AWS_ENDPOINT_URL": url}
        self._sqs = boto3.client("sqs", endpoint_url=url)
        self.s3 = boto3.client("s3", endpoint_url=url)
        self._jobs, self._events = (self._sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("jobs", "control"))
        self.s3.create_bucket(Bucket="media")
        settings = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "jobs", "CONTROL_PLANE": "control", "POD_NAME": "hostile"}
        settings |= {"TMPDIR": str(self.scratch), "PATH": f"{TOOLS / 'bin'}:{os.defpath}", "SANDBOX": "required"}
        settings |= {"PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}"}
        self.log = root / "worker.log"
        with self.log.open("wb") as log:
            limits = {name: str(value) for name, value in LIMITS.items()}
            command = [sys.executable, "-m", "worker"]
            self.worker = subprocess.Popen(command, cwd=root, env=aws | settings | limits, stdout=log, stderr=log)
        self.before = self.around()

    def around(self) -> dict[str, tuple[int, bytes]]:
        """The files outside the worker's folder: the time each was last read, and its content."""
        paths = [path for path in self.outside.rglob("*") if path.is_file()]
        times = {path: path.stat().st_atime_ns for path in paths}
        files = {str(path): (times[path], path.read_bytes()) for path in paths}
        for path in paths:  # the file system updates the access time only if it is before the last change
            os.utime(path, (1, 2))
        return {path: (1_000_000_000, content) for path, (_, content) in files.items()}

    def read(self) -> list[Path]:
        """The files outside that something has read."""
        return [path for path in self.outside.rglob("*") if path.is_file() and path.stat().st_atime_ns != 1_000_000_000]

    def job(self, content: bytes, key: str = "in/film.mp4", output: str = "out/", **more: object) -> dict[str, Any]:
        """Upload an object with this content, run a job on it, and return the job's last event."""
        self.s3.put_object(Bucket="media", Key=key, Body=content)
        return self.run(f"s3://media/{key}", output, **more)

    def run(self, uri: str, output: str = "out/", **more: object) -> dict[str, Any]:
        """Run a job and return its last event."""
        profile = {"codec": "libx264", "scale": "160:90", "bitrate": "1M", "buffersize": "1M", "platform": "cpu"}
        job_id = str(uuid.uuid4())
        job = {"userid": "u", "jobid": job_id, "input": uri, "output": f"s3://media/{output}", "priority": 1}
        job |= {"profile": {"ffmpeg": profile | {"profile": "latency"}}} | more
        self._sqs.send_message(QueueUrl=self._jobs, MessageBody=json.dumps(job))
        deadline = time.monotonic() + _LONGEST
        while time.monotonic() < deadline and self.worker.poll() is None:
            answer = self._sqs.receive_message(QueueUrl=self._events, MaxNumberOfMessages=10, WaitTimeSeconds=5)
            for message in answer.get("Messages", ()):
                self._sqs.delete_message(QueueUrl=self._events, ReceiptHandle=message["ReceiptHandle"])
                event: dict[str, Any] = json.loads(message["Body"])
                if event["job"]["jobid"] == job_id and event["action"] in ("JobFinished", "JobFailed"):
                    return event
        raise AssertionError(f"the job did not end:\n{self.log.read_text()[-3000:]}")

    def output(self, event: dict[str, Any]) -> bytes:
        """The output of a finished job."""
        output, *others = event["result"]["outputs"]
        assert [other["role"] for other in others] == ["certificate", "certificate"] * (
            "ffmpeg" in event["job"]["profile"]
        )
        body: bytes = self.s3.get_object(Bucket="media", Key=output["uri"].removeprefix("s3://media/"))["Body"].read()
        return body

    def peak(self) -> int:
        """The worker process's peak memory, in bytes."""
        status = Path(f"/proc/{self.worker.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    def close(self) -> None:
        self.worker.terminate()
        self.worker.wait()
        self._running.close()
        self.lure.close()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker for all hostile files; it must survive them."""
    stage = Stage(tmp_path_factory.mktemp("hostile"))
    stage.job(stage.make.mp4())  # a worker that begins looks at its host, and has files in its folder meanwhile
    yield stage
    stage.close()


@pytest.fixture
def unharmed(stage: Stage) -> Iterator[None]:
    """Checks that a file caused no connection and no access outside its folder, and that the worker runs on."""
    entries = sorted(stage.outside.parent.iterdir())
    yield
    assert stage.lure.connections == 0
    assert stage.read() == []
    assert stage.around() == stage.before
    assert sorted(stage.outside.parent.iterdir()) == entries
    assert list(stage.scratch.iterdir()) == []
    assert stage.worker.poll() is None
    assert stage.peak() < _WORKER_MEMORY
