"""Watchers come and go; every stored event reaches those who are there."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from elasticrecode import settings as names
from elasticrecode import streams
from elasticrecode.connections import ConnectionsTable
from tests.aws.conftest import Stack, selected
from tests.aws.test_path import event, submitted
from tests.support import function


class Gateway(ThreadingHTTPServer):
    """The management endpoint of a WebSocket API: answers each connection as told, remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, int] = {}
        self.frames: dict[str, list[dict[str, Any]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ws"


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        connection = self.path.rsplit("/", 1)[-1]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.get(connection, 200)
        if status == 200:
            self.server.frames.setdefault(connection, []).append(json.loads(body))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status == 410:
            self.send_header("x-amzn-ErrorType", "GoneException")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def push(gateway: Gateway, stack: Stack) -> None:
    settings = names.FanoutSettings(
        jobs_table="jobs", connections_table="connections", socket_management_url=gateway.url
    )
    function("fanout").build(settings)({"Records": selected(stack.changes(), streams.FANOUT)}, None)


def sockets(event_type: str, connection: str) -> Any:
    handler = function("sockets").build(names.SocketsSettings(connections_table="connections"))
    return handler({"requestContext": {"eventType": event_type, "connectionId": connection}}, None)


def test_every_stored_event_reaches_every_watcher_with_its_job(stack: Stack, gateway: Gateway) -> None:
    for connection in ("a", "b"):
        assert sockets("CONNECT", connection) == {"statusCode": 200}
    job_id = submitted(stack)
    stack.say(event(job_id, "JobStart"), event(job_id, "JobProgress", progress={"percent": 3}))
    push(gateway, stack)
    for connection in ("a", "b"):
        frames = gateway.frames[connection]
        assert sorted(frame["action"] for frame in frames) == ["JobProgress", "JobStart", "JobSummit"]
        assert all(frame["job"]["jobid"] == job_id for frame in frames)


def test_who_has_left_gets_nothing(stack: Stack, gateway: Gateway) -> None:
    sockets("CONNECT", "a")
    sockets("DISCONNECT", "a")
    submitted(stack)
    push(gateway, stack)
    assert gateway.frames == {}


def test_a_connection_that_is_gone_is_forgotten_and_harms_no_other(
    stack: Stack, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets("CONNECT", "gone")
    sockets("CONNECT", "there")
    gateway.answers["gone"] = 410
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    submitted(stack)
    push(gateway, stack)
    assert len(gateway.frames["there"]) == 1
    assert ConnectionsTable("connections").watching() == ["there"]


def test_a_connection_that_is_only_opening_is_not_taken_for_gone(stack: Stack, gateway: Gateway) -> None:
    sockets("CONNECT", "opening")
    gateway.answers["opening"] = 410
    submitted(stack)
    push(gateway, stack)
    assert ConnectionsTable("connections").watching() == ["opening"]
    del gateway.answers["opening"]
    submitted(stack)
    push(gateway, stack)
    assert len(gateway.frames["opening"]) == 1


def test_a_connection_that_fails_is_kept_and_harms_no_other(stack: Stack, gateway: Gateway) -> None:
    sockets("CONNECT", "failing")
    sockets("CONNECT", "there")
    gateway.answers["failing"] = 403
    submitted(stack)
    push(gateway, stack)
    assert len(gateway.frames["there"]) == 1
    assert sorted(ConnectionsTable("connections").watching()) == ["failing", "there"]
