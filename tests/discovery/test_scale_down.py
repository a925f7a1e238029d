"""Which workers end when a Deployment scales down: Kubernetes' order, and real workers under it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme

from local.place import TOOLS
from tests.conftest import ROOT
from tests.e2e.conftest import STALL_SECONDS, wait_for
from tests.fakes.kubernetes import Api
from tests.fakes.pods import COST, NAMESPACE, Json, Pods, cost, first_to_end, pod, selected
from tests.kit.manifests import KIT, objects, worker
from tests.support import embedded_aws

NAMES = ("worker-1", "worker-2", "worker-3")
STOP_SECONDS = 10
"""A worker stops within this time (docs/reference/workers.md)."""
WORKER = """
import pathlib, runpy
from worker import pod_cost
pod_cost.FOLDER, pod_cost.SETTLE_SECONDS = pathlib.Path({folder!r}), 0.5
runpy.run_module("worker", run_name="__main__")
"""


def costly(one: Json, value: int) -> Json:
    one["metadata"]["annotations"][COST] = str(value)
    return one


ORDER: dict[str, tuple[Json, Json]] = {
    "one without a node before one with": (pod("a"), pod("b", "n")),
    "a pending one before a running one": (pod("a", "n", "Pending"), pod("b", "n")),
    "one that is not ready before a cheap one": (costly(pod("a", "n", "Unknown"), 9), pod("b", "n")),
    "a cheap one before a costly one": (pod("a", "n"), costly(pod("b", "n"), 1)),
    "a cheap one before a costly one that is newer and restarts": (
        pod("a", "n"),
        costly(pod("b", "n", restarts=9, age=1), 1),
    ),
    "a new one before an old one": (pod("a", "n", age=60), pod("b", "n", age=600_000)),
    "one that restarts before one that does not": (pod("a", "n", restarts=3), pod("b", "n")),
}


@pytest.mark.parametrize("pair", ORDER.values(), ids=ORDER)
def test_kubernetes_ends(pair: tuple[Json, Json]) -> None:
    for pods in (list(pair), list(reversed(pair))):
        assert first_to_end(pods)[0] is pair[0]


def test_kubernetes_ends_one_of_the_pods_that_share_a_node_first() -> None:
    pods = [pod("a", "n-1", age=9000), pod("b", "n-2", age=9), pod("c", "n-1", age=9000)]
    assert [one["metadata"]["name"] for one in first_to_end(pods)] == ["a", "c", "b"]


class Stage:
    """Three real workers, each in its pod, on an embedded AWS of their own."""

    def __init__(self, root: Path, aws: str, api: Api, authority: bytes) -> None:
        (root / "tokens").mkdir()
        self._root, self._api = root, api
        self._environment = os.environ | {
            "AWS_ENDPOINT_URL": aws,
            "PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}",
            "PATH": f"{TOOLS / 'bin'}:{os.defpath}",
            "WORKER_TYPE": "ffmpeg",
            "QUEUE_NAME": "jobs",
            "CONTROL_PLANE": "control",
            "POD_NAMESPACE": NAMESPACE,
            "KUBERNETES_SERVICE_HOST": "localhost",
            "KUBERNETES_SERVICE_PORT": str(api.server_port),
        }
        self.cluster = Pods(api, objects(KIT / "scale-down.yaml"), root / "tokens", authority)
        self._sqs = boto3.client("sqs", endpoint_url=aws)
        self._s3 = boto3.client("s3", endpoint_url=aws)
        self._jobs, self._events = (self._sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("jobs", "control"))
        self._s3.create_bucket(Bucket="media")
        self.processes = {name: self._start(name) for name in NAMES}

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        folder = self.cluster.add(pod(name, f"node-{name}"))
        command = [sys.executable, "-c", WORKER.format(folder=str(folder))]
        scratch = self._root / name
        scratch.mkdir()
        own = {"POD_NAME": name, "TMPDIR": str(scratch)}
        with self.log(name).open("wb") as log:
            return subprocess.Popen(command, env=self._environment | own, stdout=log, stderr=log)

    def log(self, name: str) -> Path:
        return self._root / f"{name}.log"

    def run_long_job(self) -> None:
        """Submit a job that takes longer than the test."""
        film = self._root / "film.mp4"
        source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=100"]
        command = [str(TOOLS / "bin" / "ffmpeg"), "-loglevel", "error", *source, "-preset", "ultrafast", str(film)]
        subprocess.run(command, check=True)
        self._s3.upload_file(str(film), "media", "in/film.mp4")
        profile = {"codec": "libx264", "scale": "3840:2160", "bitrate": "9M", "buffersize": "9M", "platform": "cpu"}
        job = {
            "userid": "u",
            "jobid": "1",
            "input": "s3://media/in/film.mp4",
            "output": "s3://media/out/",
            "priority": 1,
        }
        job["profile"] = {"ffmpeg": profile | {"profile": "quality"}}
        self._sqs.send_message(QueueUrl=self._jobs, MessageBody=json.dumps(job))

    def scale(self, count: int) -> list[str]:
        """Let the ReplicaSet end the pods of its choice, and wait until their workers have stopped."""
        names = self.cluster.scale(count)
        for name in names:
            self.processes[name].send_signal(signal.SIGTERM)
        for name in names:
            assert self.processes[name].wait(STOP_SECONDS + STALL_SECONDS) == 0, self.log(name).read_text()
        return names

    def events(self, action: str) -> list[Any]:
        """The next events, up to the first of an action."""
        seen: list[Any] = []
        while not seen or seen[-1]["action"] != action:
            receive = lambda: self._sqs.receive_message(QueueUrl=self._events, WaitTimeSeconds=20).get("Messages")  # noqa: E731
            for message in wait_for(receive, f"{action} after {[event['action'] for event in seen]}"):
                self._sqs.delete_message(QueueUrl=self._events, ReceiptHandle=message["ReceiptHandle"])
                seen.append(json.loads(message["Body"]))
        return seen

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def stage(tmp_path: Path, serve: Callable[..., Api], authority: trustme.CA) -> Iterator[Stage]:
    with embedded_aws(tmp_path) as url:
        stage = Stage(tmp_path, url, serve(), authority.cert_pem.bytes())
        yield stage
        stage.close()


def test_the_busy_one_of_three_workers_outlives_a_scale_down(stage: Stage) -> None:
    pods = stage.cluster.pods
    stage.run_long_job()
    busy = stage.events("JobStart")[-1]["podName"]
    wait_for(lambda: cost(pods[busy]), "the deletion cost of the busy pod")
    # KEDA would count the busy pod even if its job had no message any more.
    trigger = worker("cpu", "ScaledObject")["spec"]["triggers"][1]["metadata"]
    assert selected(list(pods.values()), trigger["podSelector"]) == [busy]

    # By all that Kubernetes compares after the cost, the busy pod would be the first to end.
    pods[busy] = pod(busy, pods[busy]["spec"]["nodeName"], restarts=5, age=10) | {"metadata": pods[busy]["metadata"]}
    free = [pod(name) | {"status": one["status"], "spec": one["spec"]} for name, one in pods.items()]
    assert first_to_end(free)[0]["metadata"]["name"] == busy

    assert sorted(stage.scale(1)) == sorted(set(NAMES) - {busy})
    assert list(pods) == [busy]
    ended = time.time()
    wait_for(lambda: stage.events("JobProgress")[-1]["tsMs"] > ended * 1000, "progress after the scale-down")
    assert stage.processes[busy].poll() is None

    # Ended nevertheless, it returns the job at once.
    assert stage.scale(0) == [busy]
    assert "job 1 returned: asked to terminate" in stage.log(busy).read_text()
