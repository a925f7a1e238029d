"""Watchers come and go; every stored event reaches those who are there."""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.client import BaseClient

from elasticrecode.errors import Unavailable
from elasticrecode.ids import new as new_id
from elasticrecode.jobs.events import Event, control_event
from elasticrecode.jobs.streams import FEED
from elasticrecode.watch import connections
from elasticrecode.watch import sockets as posting
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.watch.feed import Feed
from elasticrecode.watch.streams import CHUNKS, REPLAY
from elasticrecode.watch.subscription import Start, Watch
from tests.aws.test_path import USER, event, pass_time, submitted
from tests.fakes.gateway import Gateway, Steady
from tests.fakes.stack import Stack, selected
from tests.fakes.wiring import wired
from tests.support import function

RETENTION_SECONDS = 3600


class Live:
    """The functions between the jobs table and the connections, each with its stream."""

    def __init__(self, stack: Stack, gateway: Gateway, round_events: int = 300, patience: float = 60.0) -> None:
        self._stack = stack
        self._wiring = wired(socket_management_url=gateway.url, event_retention_seconds=RETENTION_SECONDS)
        self.encode: Callable[[bytes], bytes | str] = lambda value: base64.b64encode(value).decode()
        self._feed = self._built("append")
        self._push = self._built("push", _SECONDS=patience, _MOST_SECONDS=patience)
        self._replay = self._built("replay", _POST_SECONDS=patience, _ROUND_EVENTS=round_events)
        self._sockets = self._built("sockets")

    def _built(self, name: str, **constants: float) -> Callable[[dict[str, Any], Any], Any]:
        module = function(name)
        for constant, value in constants.items():
            setattr(module, constant, value)
        handler: Callable[[dict[str, Any], Any], Any] = module.build(self._wiring.settings_of(name))
        return handler

    def connect(self, connection: str, **query: str) -> Any:
        """A client connects, and is sent what came before."""
        answer = self.ask("CONNECT", connection, query)
        self.replay()
        return answer

    def ask(self, kind: str, connection: str, query: dict[str, str] | None = None) -> Any:
        request = {"eventType": kind, "connectionId": connection}
        return self._sockets({"requestContext": request, "queryStringParameters": query or None}, None)

    def store(self) -> None:
        """What is new in the jobs table goes into the feed."""
        batch = selected(self._stack.changes(), FEED)
        if batch:
            self._feed({"Records": batch}, None)

    def push(self) -> None:
        """What is new in the feed goes to the watchers."""
        batch = [self._as_lambda_has_it(record) for record in selected(self._stack.changes("feed"), CHUNKS)]
        if batch:
            self._push({"Records": batch}, None)

    def replay(self, batch: dict[str, Any] | None = None) -> None:
        """Watchers that are catching up are sent what they have not had."""
        batch = batch or {"Records": selected(self._stack.changes("connections"), REPLAY)}
        if batch["Records"]:
            self._replay(batch, None)

    def flow(self) -> None:
        """All of it."""
        self.store()
        self.push()
        self.replay()

    def _as_lambda_has_it(self, record: dict[str, Any]) -> dict[str, Any]:
        image = record["dynamodb"]["NewImage"]
        image = image | {"document": {"B": self.encode(image["document"]["B"])}}
        return record | {"dynamodb": record["dynamodb"] | {"NewImage": image}}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is late, or posted again, because this machine was busy."""
    monkeypatch.setattr(posting, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(posting, "time", Steady())


@pytest.fixture
def live(stack: Stack, gateway: Gateway) -> Live:
    return Live(stack, gateway)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The AWS calls by their operations."""
    counted: Counter[str] = Counter()
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def count(client: BaseClient, operation: str, arguments: Any) -> Any:
        counted[operation] += 1
        return real(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", count)
    return counted


def append(count: int, user: str = "ann", job: str = "j", *, first: int = 0, ms: int | None = None) -> None:
    """Put some events into the feed."""
    now_ms = time.time_ns() // 1_000_000 if ms is None else ms
    Feed("feed", RETENTION_SECONDS).append(
        [
            Event(ts=now_ms // 1000, userID=user, jobID=job, action="JobNote", eventID=f"{user}-{n}", tsMs=now_ms)
            for n in range(first, first + count)
        ]
    )


def received(gateway: Gateway, connection: str) -> list[str]:
    """The ids of the events that a connection was sent since it was asked last."""
    return ids(gateway.told(connection))


def ids(frames: list[dict[str, Any]]) -> list[str]:
    return [frame.get("eventID", frame["action"]) for frame in frames]


def watchers(stack: Stack) -> dict[str, str]:
    """The connections that are known, with their states."""
    items = stack.dynamodb.scan(TableName="connections")["Items"]
    return {item["connectionID"]["S"]: item["state"]["S"] for item in items if "state" in item}


@pytest.mark.parametrize("encode", [None, bytes], ids=["base64", "bytes"])
def test_every_stored_event_reaches_every_watcher_with_its_job_and_a_cursor(
    stack: Stack, gateway: Gateway, live: Live, encode: Callable[[bytes], bytes] | None
) -> None:
    live.encode = encode or live.encode
    for connection in ("a", "b"):
        assert live.connect(connection) == {"statusCode": 200}
    job_id = submitted(stack)
    stack.say(event(job_id, "JobStart"), event(job_id, "JobProgress", progress={"percent": 3}))
    live.flow()
    told = {connection: gateway.told(connection) for connection in ("a", "b")}
    assert told["a"] == told["b"]
    assert sorted(frame["action"] for frame in told["a"]) == ["JobProgress", "JobStart", "JobSummit"]
    assert all(frame["job"]["jobid"] == job_id for frame in told["a"])
    cursors = [tuple(map(int, frame["cursor"].split("."))) for frame in told["a"]]
    assert cursors == sorted(set(cursors))
    live.flow()
    assert gateway.frames == {}


def test_without_a_start_only_new_events_come(gateway: Gateway, live: Live) -> None:
    append(3)
    time.sleep(0.002)
    live.connect("a")
    live.push()
    assert gateway.frames == {}
    append(1, first=3)
    live.push()
    assert ids(gateway.told("a")) == ["ann-3"]


def test_the_latest_hundred_come_first_and_then_what_is_new(gateway: Gateway, live: Live) -> None:
    append(130)
    append(20, first=130)
    live.connect("a", lastMod="0")
    append(1, first=150)
    live.push()
    assert ids(gateway.told("a")) == [f"ann-{n}" for n in range(50, 151)]


def test_events_since_a_time_come_first(gateway: Gateway, live: Live) -> None:
    now = time.time()
    append(2, ms=int(now * 1000) - 5000)
    append(2, first=2, ms=int(now * 1000))
    live.connect("a", lastMod=f"{now - 2:.3f}")
    append(1, first=4)
    live.push()
    assert ids(gateway.told("a")) == ["ann-2", "ann-3", "ann-4"]


def test_a_watcher_that_resumes_at_a_cursor_misses_nothing(gateway: Gateway, live: Live) -> None:
    live.connect("a")
    append(5)
    live.push()
    seen = gateway.told("a")[:2]
    live.ask("DISCONNECT", "a")
    append(2, first=5)
    live.connect("b", after=seen[-1]["cursor"])
    append(1, first=7)
    live.push()
    assert ids(seen + gateway.told("b")) == [f"ann-{n}" for n in range(8)]


def test_events_stored_before_push_takes_over_are_sent_once(gateway: Gateway, live: Live) -> None:
    live.ask("CONNECT", "a", {})
    append(3)
    live.push()
    assert gateway.frames == {}
    live.replay()
    live.push()
    assert ids(gateway.told("a")) == ["ann-0", "ann-1", "ann-2"]


def test_events_are_sent_that_came_while_replay_died_after_the_hand_over(
    stack: Stack, gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.ask("CONNECT", "a", {})
    batch = {"Records": selected(stack.changes("connections"), REPLAY)}
    join = ConnectionsTable.join

    def joined(*arguments: Any) -> bool:
        append(1)
        live.push()
        join(*arguments)
        raise Unavailable("The answer got lost.")

    with monkeypatch.context() as patch:
        patch.setattr(ConnectionsTable, "join", joined)
        with pytest.raises(Unavailable):
            live.replay(batch)
    assert gateway.frames == {}
    live.replay(batch)
    assert ids(gateway.told("a")) == ["ann-0"]


def test_a_start_in_the_future_holds_no_event_back(gateway: Gateway, live: Live) -> None:
    append(1)
    live.connect("a", lastMod=f"{time.time() + 3600:.3f}")
    append(1, first=1)
    live.push()
    assert ids(gateway.told("a")) == ["ann-1"]


def test_events_that_expire_before_they_are_sent_leave_a_gap_frame(
    stack: Stack, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(stack, gateway, round_events=1)
    for n, seconds in enumerate((0, 60, 120)):
        pass_time(monkeypatch, seconds)
        append(1, first=n)
    pass_time(monkeypatch, RETENTION_SECONDS - 10)
    gateway.on_post = lambda: pass_time(monkeypatch, RETENTION_SECONDS + 90)
    live.connect("a", lastMod="1")
    assert ids(gateway.told("a")) == ["ann-0", "Gap", "ann-2"]


@pytest.mark.parametrize("place", ["cursor", "time"])
def test_a_start_before_retained_events_gets_a_gap_frame(
    gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    live.connect("a")
    append(2)
    live.push()
    seen = gateway.told("a")[0]
    begin = {"after": seen["cursor"]} if place == "cursor" else {"lastMod": str(seen["tsMs"] / 1000 - 1)}
    pass_time(monkeypatch, RETENTION_SECONDS + 10)
    append(2, first=2)
    live.connect("b", **begin)
    assert ids(gateway.told("b")) == ["Gap", "ann-2", "ann-3"]


def test_a_cursor_beyond_the_feed_gets_a_gap_frame(gateway: Gateway, live: Live) -> None:
    append(2)
    live.connect("a", after="999999999999999")
    append(1, first=2)
    live.push()
    assert ids(gateway.told("a")) == ["Gap", "ann-2"]


def test_two_users_see_only_their_own(stack: Stack, gateway: Gateway, live: Live) -> None:
    for user in ("ann", "bob"):
        submitted(stack, userid=user)
    live.store()
    for user in ("ann", "bob"):
        live.connect(user, userID=user, lastMod="0")
        submitted(stack, userid=user)
    live.flow()
    for user in ("ann", "bob"):
        assert [frame["userID"] for frame in gateway.told(user)] == [user, user]


def test_a_watcher_gets_events_that_match_all_its_filters(stack: Stack, gateway: Gateway, live: Live) -> None:
    one, other = submitted(stack), submitted(stack)
    live.flow()
    queries: dict[str, dict[str, str]] = {
        "job": {"jobID": one},
        "action": {"actions": "JobStart,JobFailed"},
        "both": {"userID": USER, "jobID": one, "actions": "JobStart"},
        "none": {"userID": "nobody", "jobID": one},
        "batch": {"batchID": "b"},
        "pack": {"pack": "1"},
    }
    for connection, query in queries.items():
        live.connect(connection, **query)
    stack.say(*(event(job_id, action) for job_id in (one, other) for action in ("JobStart", "JobFinished")))
    live.flow()
    (packed,) = gateway.told("pack")
    assert len(packed) == 4
    told = {name: [(said["jobID"], said["action"]) for said in gateway.told(name)] for name in queries}
    assert set(told["job"]) == {(one, "JobStart"), (one, "JobFinished")}
    assert set(told["action"]) == {(one, "JobStart"), (other, "JobStart")}
    assert told["both"] == [(one, "JobStart")]
    assert told["none"] == told["batch"] == []


def test_a_disconnected_watcher_gets_nothing(stack: Stack, gateway: Gateway, live: Live) -> None:
    live.connect("a")
    live.ask("DISCONNECT", "a")
    append(1)
    live.push()
    assert gateway.frames == {}
    assert watchers(stack) == {}


def test_a_closed_connection_is_deleted_and_delays_no_other(
    stack: Stack, gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.connect("gone")
    live.connect("there")
    gateway.answers["gone"] = 410
    pass_time(monkeypatch, 60)
    append(1)
    live.push()
    assert ids(gateway.told("there")) == ["ann-0"]
    assert watchers(stack) == {"there": "live"}


def test_a_connection_closed_while_catching_up_is_deleted(
    stack: Stack, gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(1)
    live.ask("CONNECT", "gone", {"lastMod": "0"})
    gateway.answers["gone"] = 410
    pass_time(monkeypatch, 60)
    live.replay()
    assert watchers(stack) == {}


def test_a_connection_that_is_opening_is_not_deleted(
    stack: Stack, gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "OPENING_SECONDS", 120)
    live.connect("opening")
    gateway.answers["opening"] = 410
    append(1)
    live.push()
    opened = threading.Timer(0.3, gateway.answers.clear)
    opened.start()
    live.replay()
    assert ids(gateway.told("opening")) == ["ann-0"]
    append(1, first=1)
    live.push()
    assert ids(gateway.told("opening")) == ["ann-1"]
    assert watchers(stack) == {"opening": "live"}


def test_a_late_watcher_delays_nobody_and_catches_up(stack: Stack, gateway: Gateway) -> None:
    live = Live(stack, gateway, patience=2.0)
    live.connect("late")
    live.connect("there")
    gateway.answers["late"] = 429
    append(3)
    live.push()
    assert ids(gateway.told("there")) == ["ann-0", "ann-1", "ann-2"]
    assert watchers(stack) == {"late": "catching-up", "there": "live"}
    append(1, first=3)
    live.push()
    gateway.answers.clear()
    live.replay()
    append(1, first=4)
    live.push()
    assert ids(gateway.told("late")) == [f"ann-{n}" for n in range(5)]
    assert ids(gateway.told("there")) == ["ann-3", "ann-4"]
    assert watchers(stack) == {"late": "live", "there": "live"}


def test_the_connection_of_a_watcher_that_takes_no_frames_is_ended(stack: Stack, gateway: Gateway) -> None:
    live = Live(stack, gateway, patience=0.2)
    live.connect("late")
    gateway.answers["late"] = 500
    append(1)
    live.push()
    assert gateway.ended == []
    live.replay()
    assert gateway.ended == ["late"]
    assert watchers(stack) == {}


def test_a_run_out_of_time_leaves_its_watcher_to_the_next(
    stack: Stack, gateway: Gateway, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(1)
    live.ask("CONNECT", "late", {"lastMod": "0"})
    gateway.answers["late"] = 429
    later = iter(range(0, 10_000, 20))
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(later))
        live.replay()
    assert watchers(stack) == {"late": "catching-up"}
    gateway.answers.clear()
    live.replay()
    assert ids(gateway.told("late")) == ["ann-0"]


@pytest.mark.parametrize("query", [{"pack": "yes"}, {"after": "1", "lastMod": "1"}, {"user": "ann"}])
def test_a_wrong_query_is_refused_with_a_sentence(stack: Stack, live: Live, query: dict[str, str]) -> None:
    answer = live.ask("CONNECT", "a", query)
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["detail"].endswith(".")
    assert watchers(stack) == {}


def test_a_message_is_answered_with_a_pong(gateway: Gateway, live: Live) -> None:
    live.connect("a")
    assert live.ask("MESSAGE", "a") == {"statusCode": 200}
    assert gateway.frames == {"a": [b"pong"]}


def test_without_watchers_a_chunk_costs_one_read(live: Live, calls: Counter[str]) -> None:
    append(10)
    calls.clear()
    live.push()
    assert not calls - Counter(BatchGetItem=1, GetShardIterator=1, GetRecords=2)


def test_watchers_of_other_topics_cost_nothing(live: Live, calls: Counter[str]) -> None:
    connections = ConnectionsTable("connections")
    for n in range(1000):
        connections.add(f"c{n}", Watch(userID=f"u{n}"), Start("now"))
    append(500)
    calls.clear()
    live.push()
    assert not calls - Counter(BatchGetItem=1, GetShardIterator=1, GetRecords=2)


def test_a_client_that_left_while_opening_delays_nobody(stack: Stack, gateway: Gateway, live: Live) -> None:
    append(1)
    live.ask("CONNECT", "left", {"lastMod": "0"})
    gateway.answers["left"] = 410
    live.ask("DISCONNECT", "left")
    live.connect("there", lastMod="0")
    assert ids(gateway.told("there")) == ["ann-0"]
    assert watchers(stack) == {"there": "joining"}


@pytest.mark.parametrize("damage", [{"at": {"S": "nowhere"}}, {"watch": {"S": "{"}}, {"state": {"N": "1"}}])
def test_an_unreadable_connection_stops_no_other(
    stack: Stack, gateway: Gateway, live: Live, damage: dict[str, Any]
) -> None:
    live.ask("CONNECT", "damaged", {"userID": "ann"})
    (row,) = [row for row in stack.dynamodb.scan(TableName="connections")["Items"] if "watch" in row]
    stack.dynamodb.put_item(TableName="connections", Item=row | damage)
    live.connect("there")
    append(1)
    live.push()
    assert ids(gateway.told("there")) == ["ann-0"]


def test_an_unreadable_chunk_stops_nobody(stack: Stack, gateway: Gateway, live: Live) -> None:
    live.connect("there")
    append(1)
    (chunk,) = [row for row in stack.dynamodb.scan(TableName="feed")["Items"] if "document" in row]
    stack.dynamodb.put_item(TableName="feed", Item=chunk | {"document": {"B": b"garbage"}})
    live.encode = lambda _: "garbage"
    live.push()
    live.encode = lambda value: base64.b64encode(value).decode()
    append(1, first=1)
    live.push()
    assert ids(gateway.told("there")) == ["ann-1"]


def test_history_stops_in_the_second_in_which_the_token_expires(
    stack: Stack, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, feed = Live(stack, gateway), Feed("feed", RETENTION_SECONDS)
    feed.append([control_event("JobStart", USER, new_id(), time.time_ns() // 1_000_000) for _ in range(1000)])
    now = time.time()
    until = int(now) + 5
    sent: list[float] = []
    clock = SimpleNamespace(time=lambda: now + len(sent) / 100, monotonic=time.monotonic)  # a post takes some time
    monkeypatch.setattr(posting, "time", clock)
    gateway.on_post = lambda: sent.append(clock.time())
    ConnectionsTable("connections").add("c", Watch(userID=USER), Start("since", "1000"), until)
    live.replay()
    assert 0 < len(sent) < 1000
    assert sent[-1] < until
