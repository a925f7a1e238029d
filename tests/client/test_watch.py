"""Watches outlive their connections; waits end with the jobs."""

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from elasticrecode_client import Client, ConnectionFailed, Token, Unauthorised, following
from elasticrecode_client.calls import Pause, run
from elasticrecode_client.exchange import Exchange
from elasticrecode_client.watching import Watching
from tests.client.conftest import Make
from tests.client.server import Reply, Server


def later(seconds: float, action: Callable[[], None]) -> None:
    threading.Timer(seconds, action).start()


def once(condition: Callable[[], bool], action: Callable[[], None]) -> None:
    """Act as soon as a condition holds, beside the test."""

    def wait() -> None:
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        action()

    threading.Thread(target=wait, daemon=True).start()


def test_a_watch_goes_on_behind_its_last_event_after_every_break(client: Any, server: Server) -> None:
    for number in range(20):
        server.event(f"j{number}", "JobStart")
    server.cuts = [3, 0, 1, 7]
    with client.watch(since=0) as watch:
        events = list(islice(iter(watch), 20))
        assert watch.cursor == "19"
    assert [event["jobID"] for event in events] == [f"j{number}" for number in range(20)]
    queries = [request.query for request in server.requests("GET /ws")]
    assert len(queries) == 5
    assert queries[0]["lastMod"] == "0"
    assert [query.get("after") for query in queries[1:]] == ["2", "2", "3", "10"]


def test_the_cursor_is_that_of_the_event_that_was_handed_out(client: Any, server: Server) -> None:
    for number in range(3):
        server.event(f"j{number}", "JobStart")
    with client.watch(since=0) as watch:
        assert watch.next_event()["jobID"] == "j0"
        cursor = watch.cursor
    with client.watch(cursor=cursor) as watch:
        assert watch.next_event()["jobID"] == "j1"


def test_a_watch_of_live_events_misses_none_around_a_break_before_the_first(client: Any, server: Server) -> None:
    server.always["GET /api/v1/health"] = {"status": "ok"}
    client.health()
    server.cuts = [0]
    with client.watch() as watch:
        watch.open()
        server.event("j", "JobStart")
        assert watch.next_event()["jobID"] == "j"
    assert "lastMod" not in server.requests("GET /ws")[0].query
    assert "lastMod" in server.requests("GET /ws")[1].query


def test_events_that_come_twice_are_handed_out_once_and_gaps_always() -> None:
    watching = Watching(filters={}, jobs=["a", "b"])
    frame = '[{"eventID": "1", "jobID": "a", "cursor": "1"}, {"eventID": "2", "jobID": "c", "cursor": "2"}]'
    gap = '{"action": "Gap", "cursor": "7", "msg": "gone"}'
    assert [event["eventID"] for event in watching.take(frame)] == ["1"]
    assert watching.take(frame) == []
    assert watching.cursor == "2"
    assert [event["action"] for event in watching.take(gap)] == ["Gap"]
    assert [watching.take(other) for other in ("pong", "", "5", "[1, null]", '"a"', "[" * 99999)] == [[]] * 6
    assert watching.query() == "after=7&pack=1"


def test_filters_are_the_apis(client: Any, server: Server) -> None:
    server.event("j1", "JobStart")
    with client.watch("j1", user_id="ann b", batch_id="x", actions=["JobStart", "JobFailed"], since=12.5) as watch:
        watch.next_event()
    expected = {"jobID": "j1", "userID": "ann b", "batchID": "x", "actions": "JobStart,JobFailed", "lastMod": "12.500"}
    assert server.requests("GET /ws")[0].query == {**expected, "pack": "1"}


def test_with_authentication_each_connection_has_a_ticket_of_its_own(make: Make, server: Server) -> None:
    server.tickets = {"t1", "t2", "t3"}
    server.replies["POST /api/v1/socket-tickets"] = [
        Reply(body={"ticket": ticket, "expiresAt": 1}) for ticket in ("t1", "stale", "t2")
    ]
    server.event("j1", "JobStart")
    server.event("j2", "JobStart")
    server.cuts = [1]
    with make(server.url, auth=Token("abc")).watch(since=0) as watch:
        assert [event["jobID"] for event in islice(iter(watch), 2)] == ["j1", "j2"]
    assert server.tickets == {"t3"}
    server.replies["POST /api/v1/socket-tickets"] = [Reply(401, {"message": "Unauthorized"})]
    with make(server.url, auth=Token("abc")).watch() as watch, pytest.raises(Unauthorised):
        watch.open()


def test_a_watch_gives_up_after_its_patience_and_says_no_ticket(make: Make) -> None:
    with (
        make("http://127.0.0.1:9", patience=0.3).watch() as watch,
        pytest.raises(ConnectionFailed, match="No WebSocket"),
    ):
        watch.next_event()


def test_a_quiet_connection_is_kept_and_a_dead_one_replaced(
    client: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_QUIET_SECONDS", 0.2)
    with client.watch() as watch:
        wait_quietly(watch, lambda: len(server.frames) > 2)
        assert set(server.frames) == {"ping"}
        server.silent = True
        before = server.sockets
        wait_quietly(watch, lambda: server.sockets > before)


def wait_quietly(watch: Any, condition: Callable[[], bool]) -> None:
    """Watch without an event until a condition holds."""
    until = time.monotonic() + 60
    while not condition():
        assert watch.next_event(timeout=0.1) is None
        assert time.monotonic() < until


class Gateway:
    """API Gateway on a clock of its own: it closes a WebSocket after ten minutes without a message."""

    def __init__(self) -> None:
        self.now = 0.0
        self.connected: list[float] = []
        self._latest = 0.0
        self._answers: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def take(self, step: Any) -> Any:
        match step:
            case following.Connect():
                self._latest = self.now
                self.connected.append(self.now)
            case following.Say():
                self._latest = self.now
                self._answers.append("pong")
            case following.Receive(seconds):
                if self._answers:
                    return self._answers.pop()
                self.now = min(self.now + seconds, self._latest + 600)
                return following.Lost("going away") if self.now == self._latest + 600 else None
            case Pause(seconds):
                self.now += seconds
        return None


@pytest.mark.parametrize("timeout", [15.0, 60.0, 90.0])
def test_a_connection_stays_open_for_hours_without_an_event(monkeypatch: pytest.MonkeyPatch, timeout: float) -> None:
    gateway = Gateway()
    monkeypatch.setattr(following, "time", gateway)
    exchange = Exchange("http://localhost", None, "ann", 60.0, "test")
    quiet = following.Following(exchange, "ws://localhost/ws", Watching(filters={}))
    while gateway.now < 7200:
        assert run(quiet.next_event(timeout), gateway.take) is None
    assert gateway.connected == [0.0]


def test_a_watch_can_be_closed_from_another_thread(server: Server) -> None:
    with Client(server.url) as client, client.watch() as watch:
        watch.open()
        later(0.3, watch.close)
        assert list(watch) == []


def test_a_timeout_returns_none_in_time(client: Any, server: Server) -> None:
    with client.watch() as watch:
        watch.open()
        began = time.monotonic()
        assert watch.next_event(timeout=0.2) is None
        assert time.monotonic() - began < 40  # a watch without a timeout says nothing for a minute


def records(server: Server, **states: str) -> None:
    for job_id, state in states.items():
        server.always[f"GET /api/v1/jobs/{job_id}/status"] = {"jobID": job_id, "state": state, "userID": "ann"}


def test_a_wait_ends_with_the_last_job_without_polling(client: Any, server: Server) -> None:
    records(server, j1="running", j2="finished", j3="queued")

    def end(job_id: str, state: str, action: str) -> None:
        records(server, **{job_id: state})
        server.event(job_id, action)

    def reads() -> int:
        return len([request for request in server.seen if request.path.endswith("/status")])

    # Each ends while the record of the other is read: a read is counted a moment before it is answered.
    once(lambda: reads() == 3, lambda: end("j1", "finished", "JobFinished"))
    once(lambda: reads() == 4, lambda: end("j3", "failed", "JobFailed"))
    ended = client.wait(["j1", "j2", "j3"], timeout=60)
    assert [(record["jobID"], record["state"]) for record in ended] == [
        ("j1", "finished"),
        ("j2", "finished"),
        ("j3", "failed"),
    ]
    assert reads() == 5


def test_a_wait_survives_a_broken_connection(client: Any, server: Server) -> None:
    records(server, j1="running")
    server.cuts = [0, 0]

    def end() -> None:
        records(server, j1="cancelled")
        server.event("j1", "JobCancelled")

    later(0.5, end)
    assert client.wait("j1", timeout=60)[0]["state"] == "cancelled"


def test_a_wait_has_an_end(client: Any, server: Server) -> None:
    records(server, j1="running")
    with pytest.raises(TimeoutError, match="1 of 1 jobs"):
        client.wait(["j1"], timeout=0.3)


def test_a_plan_is_read_until_it_ends(client: Any, server: Server) -> None:
    server.replies["GET /api/v1/plans/p"] = [Reply(body={"state": "running"}), Reply(body={"state": "finished"})]
    assert client.wait_for_plan("p")["state"] == "finished"
    server.always["GET /api/v1/plans/p"] = {"state": "running"}
    with pytest.raises(TimeoutError):
        client.wait_for_plan("p", timeout=0.1)
