"""From a worker's message on the control queue to a webhook's receiver, on the deployed stack.

The embedded AWS polls streams and queues in its own time: the figures compare designs, and do not say what AWS takes.
"""

import json
import math
import statistics
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

from benchmarks.live import deployed
from local.place import Place
from tests.conftest import contract

_EVENTS = 60
_PAUSE_SECONDS = 0.25
_BURST = 300
_PATIENCE_SECONDS = 300


class _Receiver(ThreadingHTTPServer):
    """Notes when each event first arrives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived: dict[str, float] = {}
        self.changed = threading.Condition()


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.changed:
            self.server.arrived.setdefault(self.headers["webhook-id"], time.monotonic())
            self.server.changed.notify_all()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Seconds from message to receiver: one event at a time, then a burst."""
    with deployed() as place, _Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        _add_webhook(place, f"http://localhost:{receiver.server_port}/")
        _measure(place, receiver, 2, 0)  # warms the functions up
        for name, count, pause in (("one at a time", _EVENTS, _PAUSE_SECONDS), ("in a burst", _BURST, 0.0)):
            took = _measure(place, receiver, count, pause)
            for label, value in (
                ("p50", statistics.median(took)),
                ("p99", took[math.ceil(0.99 * len(took)) - 1]),
                ("last", took[-1]),
            ):
                yield f"message to receiver, {name}, {label}", f"{value:.2f} s", f"{count} events", value, math.inf
        receiver.shutdown()


def _add_webhook(place: Place, url: str) -> None:
    body = {"userID": contract("worker_event")["job"]["userid"], "url": url, "actions": ["JobStart"]}
    request = urllib.request.Request(
        f"http://localhost:{place.port}/api/v1/webhooks",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


def _measure(place: Place, receiver: _Receiver, count: int, pause: float) -> list[float]:
    """Sorted seconds from sending to receiving, of `count` events, each of its own job."""
    queue = place.stack()["ControlQueue"]
    sqs = boto3.client(
        "sqs",
        endpoint_url=place.aws_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    sent: dict[str, float] = {}
    for _ in range(count):
        event = contract("worker_event") | {"eventID": str(uuid.uuid4()), "ts": int(time.time()), "action": "JobStart"}
        event["job"] = event["job"] | {"jobid": str(uuid.uuid4())}
        sent[event["eventID"]] = time.monotonic()
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
        time.sleep(pause)
    with receiver.changed:
        if not receiver.changed.wait_for(lambda: sent.keys() <= receiver.arrived.keys(), _PATIENCE_SECONDS):
            raise RuntimeError(f"{len(sent.keys() - receiver.arrived.keys())} events did not arrive")
    return sorted(receiver.arrived[event_id] - sent[event_id] for event_id in sent)
