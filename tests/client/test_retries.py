"""A request is sent again where that does no harm, with the same key, for a bounded time."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from elasticrecode_client import Conflict, ConnectionFailed, Problem, Unavailable, exchange
from tests.client.conftest import Make
from tests.client.server import Reply, Server, problem

JOB = {"status": {"status": "success", "event": "JobSummit"}, "jobid": "j1", "userid": "ann"}
TROUBLES = [
    Reply(broken=True),
    problem(503, "Unavailable", "AWS refused"),
    Reply(502, b"bad gateway"),
    Reply(504, {"message": "Endpoint request timed out"}),
    Reply(429, {"message": "Too Many Requests"}),
]


def test_a_submission_survives_every_trouble_with_one_key(client: Any, server: Server) -> None:
    server.always["POST /api/v1/jobs"] = [JOB]
    server.replies["POST /api/v1/jobs"] = list(TROUBLES)
    assert client.submit("s3://in/a.mov", "s3://out/", "web-720p")["jobid"] == "j1"
    requests = server.requests("POST /api/v1/jobs")
    assert len(requests) == 1 + len(TROUBLES)
    assert len({request.headers["idempotency-key"] for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    client.submit("s3://in/a.mov", "s3://out/", "web-720p")
    assert server.seen[-1].headers["idempotency-key"] != requests[0].headers["idempotency-key"]
    client.submit("s3://in/a.mov", "s3://out/", "web-720p", key="mine")
    assert server.seen[-1].headers["idempotency-key"] == "mine"


def test_a_submission_waits_for_its_own_first_request(client: Any, server: Server) -> None:
    busy = problem(409, "Request in progress", "wait")
    busy.headers["Retry-After"] = "1"
    server.always["POST /api/v1/jobs"] = [JOB]
    server.replies["POST /api/v1/jobs"] = [busy]
    began = time.monotonic()
    client.submit("s3://in/a.mov", "s3://out/", "web-720p")
    assert time.monotonic() - began >= 1
    server.replies["POST /api/v1/jobs"] = [problem(409, "Refused", "no queue")]
    with pytest.raises(Conflict):
        client.submit("s3://in/a.mov", "s3://out/", "web-720p")


@pytest.mark.parametrize("trouble", TROUBLES[:4])
def test_a_request_that_would_act_twice_is_not_repeated(client: Any, server: Server, trouble: Reply) -> None:
    server.replies["POST /api/v1/webhooks"] = [trouble]
    with pytest.raises((ConnectionFailed, Unavailable)):
        client.add_webhook("https://example.com", ["JobFailed"])
    assert len(server.requests("POST /api/v1/webhooks")) == 1


def test_even_such_a_request_is_repeated_where_it_had_no_effect(client: Any, server: Server) -> None:
    server.always["POST /api/v1/webhooks"] = {"webhookID": "w"}
    server.replies["POST /api/v1/webhooks"] = [Reply(429, {}, {"Retry-After": "1"})]
    began = time.monotonic()
    assert client.add_webhook("https://example.com", ["JobFailed"]) == {"webhookID": "w"}
    assert time.monotonic() - began >= 1


def test_patience_ends(make: Make, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each request takes half a second."""
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=lambda: len(server.seen) / 2, time=time.time))
    server.replies["GET /api/v1/jobs/j/status"] = [problem(503, "Unavailable", "AWS refused") for _ in range(1000)]
    with pytest.raises(Unavailable, match="AWS refused"):
        make(server.url, patience=2.0).job("j")
    assert len(server.seen) in (4, 5)


def test_a_long_retry_after_is_told_not_waited_for(make: Make, server: Server) -> None:
    server.replies["GET /api/v1/jobs/j/status"] = [Reply(429, {}, {"Retry-After": "3600"})]
    with pytest.raises(Problem) as caught:
        make(server.url).job("j")
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e400", "99" * 400, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_odd_retry_after_does_no_harm(client: Any, server: Server, value: str) -> None:
    server.replies["GET /api/v1/jobs/j/status"] = [Reply(503, {}, {"Retry-After": value})]
    server.always["GET /api/v1/jobs/j/status"] = {"jobID": "j"}
    if value.startswith("99"):
        with pytest.raises(Unavailable):
            client.job("j")
    else:
        assert client.job("j") == {"jobID": "j"}


def test_a_server_that_is_not_there_yet(make: Make) -> None:
    with pytest.raises(ConnectionFailed, match=r"No answer from http://127\.0\.0\.1:9"):
        make("http://127.0.0.1:9", patience=0.3).health()


def test_a_late_answer_is_no_answer(make: Make, server: Server) -> None:
    server.replies["GET /api/v1/health"] = [Reply(seconds=300.0)]
    server.always["GET /api/v1/health"] = {"status": "ok"}
    assert make(server.url, timeout=1.0, patience=120.0).health() == {"status": "ok"}
    assert len(server.seen) > 1


def test_a_redirect_is_not_followed(make: Make, server: Server) -> None:
    with Server() as elsewhere:
        server.replies["GET /api/v1/health"] = [Reply(302, b"", {"Location": f"{elsewhere.url}/api/v1/health"})]
        with pytest.raises(Problem, match="redirects"):
            make(server.url).health()
        assert elsewhere.seen == []
