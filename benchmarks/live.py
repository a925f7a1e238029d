"""From a worker's message on the control queue to the frame at a watcher, on the deployed stack.

The embedded AWS is slower than AWS in some ways and nearer in all, and its streams are polled in its own time: the
figures show that nothing waits for nothing, not what AWS would take. The consumer gathers messages for up to a second.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from websockets.sync.client import connect

from local.place import ROOT, Place
from tests.conftest import contract
from tests.e2e.conftest import free_ports

_EVENTS = 200
_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 60


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Milliseconds, 50th and 99th percentile."""
    with deployed() as place:
        took = sorted(_measure(place))
    scenario = f"{_EVENTS} events, one watcher"
    for name, value in (("p50", statistics.median(took)), ("p99", took[math.ceil(0.99 * len(took)) - 1])):
        yield f"message to frame, {name}", f"{value * 1000:.0f} ms", scenario, value, math.inf


@contextmanager
def deployed() -> Iterator[Place]:
    """An environment of its own, without workers."""
    with tempfile.TemporaryDirectory(prefix="elasticrecode-bench-") as folder:
        ports = dict(zip(("PORT", "AWS_PORT", "K8S_PORT"), map(str, free_ports(3)), strict=True))
        environment = os.environ | ports | {"LOCAL_DIR": folder, "WORKERS": "0"}
        local = [sys.executable, "-m", "local"]
        subprocess.run([*local, "up"], cwd=ROOT, env=environment, check=True, capture_output=True)
        try:
            yield Place.read(environment)
        finally:
            subprocess.run([*local, "clean"], cwd=ROOT, env=environment, check=True, capture_output=True)


def _measure(place: Place) -> list[float]:
    """Seconds from sending to receiving, of each event."""
    queue = place.stack()["ControlQueue"]
    sqs = boto3.client(
        "sqs",
        endpoint_url=place.aws_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    sent: dict[str, float] = {}

    def send(count: int) -> None:
        for _ in range(count):
            message = contract("worker_event") | {"eventID": str(uuid.uuid4()), "ts": int(time.time())}
            sent[message["eventID"]] = time.monotonic()
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(message))
            time.sleep(_PAUSE_SECONDS)

    def receive(count: int) -> Iterator[float]:
        for _ in range(count):
            event = json.loads(socket.recv(timeout=_PATIENCE_SECONDS))
            yield time.monotonic() - sent[event["eventID"]]

    with connect(f"ws://localhost:{place.port}/ws") as socket:
        send(1)
        list(receive(1))  # all functions are warm now
        sender = threading.Thread(target=send, args=(_EVENTS,))
        sender.start()
        took = list(receive(_EVENTS))
        sender.join()
    return took
