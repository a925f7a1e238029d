"""The product's time is AWS's, however wrong the local clock is."""

import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import boto3
import pytest

from elasticrecode import clock
from elasticrecode.clock import _Correction


@pytest.fixture(autouse=True)
def no_correction() -> Iterator[None]:
    """The clock before and after each test is uncorrected."""
    clock._correction.seconds = 0.0
    yield
    clock._correction.seconds = 0.0


@pytest.mark.parametrize("behind", [0.0, 0.9, -0.9, 1.2])
def test_a_clock_that_agrees_to_about_a_second_is_trusted(behind: float) -> None:
    correction = _Correction()
    correction.learn(date=1000.0, sent=1000.2 - behind, received=1000.3 - behind)
    assert correction.seconds == 0.0


@pytest.mark.parametrize("behind", [60.0, 600.0, -60.0, -600.0])
def test_a_clock_that_is_off_is_corrected_to_within_a_second(behind: float) -> None:
    correction = _Correction()
    correction.learn(date=1000.0, sent=1000.2 - behind, received=1000.3 - behind)
    assert correction.seconds == pytest.approx(behind, abs=1.0)


def test_an_answer_read_after_a_freeze_does_not_undo_what_a_fast_one_has_taught() -> None:
    correction = _Correction()
    correction.learn(date=1000.0, sent=940.2, received=940.3)
    learned = correction.seconds
    correction.learn(date=1010.0, sent=935.0, received=1012.0)
    assert correction.seconds == learned


def test_a_right_clock_stays_right_when_its_host_freezes_between_request_and_answer() -> None:
    correction = _Correction()
    correction.learn(date=1000.0, sent=1000.1, received=1090.0)
    assert correction.seconds == 0.0


def test_a_clock_that_is_set_right_is_trusted_again() -> None:
    correction = _Correction()
    correction.learn(date=1000.0, sent=400.2, received=400.3)
    correction.learn(date=1001.0, sent=1001.2, received=1001.3)
    assert correction.seconds == 0.0


class Ahead(BaseHTTPRequestHandler):
    """An AWS whose clock is ten minutes ahead of this one."""

    def do_POST(self) -> None:
        """Answer any request."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response_only(200)
        self.send_header("date", formatdate(time.time() + 600, usegmt=True))
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_a_client_learns_the_time_from_any_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer takes no time by this clock, however long it takes."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now * 1e9))
    with HTTPServer(("127.0.0.1", 0), Ahead) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            client = boto3.client("sqs", endpoint_url=f"http://127.0.0.1:{server.server_port}")
            clock.watch(client)
            client.list_queues()
        finally:
            server.shutdown()
            thread.join()
    assert clock.now_ms() / 1000 == pytest.approx(now + 600, abs=1)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Nov 2026 00:00:00 GMT"])
def test_an_answer_without_a_readable_date_teaches_nothing(date: str) -> None:
    clock.learn(date, time.time())
    assert clock.correction() == 0.0
