"""The latest events of a job, batch or user are found by the index, however busy the feed is, and live ones follow."""

import random
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from elasticrecode import ids
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Event
from elasticrecode.watch.feed import Feed
from elasticrecode.watch.history import History
from elasticrecode.watch.streams import REPLAY
from elasticrecode.watch.subscription import LATEST, Cursor
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_path import pass_time
from tests.aws.test_sockets import RETENTION_SECONDS, Live, calls, gateway, live, received
from tests.fakes.gateway import Gateway
from tests.fakes.stack import Stack, selected

__all__ = ["calls", "gateway", "live"]

BATCH = "3b241101-e2bb-4255-8caf-4136c566a962"
JOB = ids.job_id(BATCH, 7)
FILTERS = [{"userID": "ann"}, {"jobID": JOB}, {"batchID": BATCH}, {"userID": "ann", "jobID": JOB, "batchID": BATCH}]


class FilledFeed:
    """The feed, written without transactions, which are slow in moto, and its index."""

    def __init__(self, stack: Stack) -> None:
        self._dynamodb = stack.dynamodb
        self._history = History("feed")
        self._unindexed = Cursor(0)
        self._last = 0

    def append(self, *chunks: Sequence[Event]) -> None:
        """Add chunks of events."""
        now_ms = time.time_ns() // 1_000_000
        items = []
        for events in chunks:
            before, self._last = self._last, max(self._last + 1, now_ms)
            items.append(
                {
                    "feed": {"S": "events"},
                    "seq": {"N": str(self._last)},
                    "before": {"N": str(before)},
                    "document": {"B": zlib.compress(msgspec.json.encode(events))},
                    "expires": {"N": str(now_ms // 1000 + RETENTION_SECONDS)},
                }
            )
        for start in range(0, len(items), 25):
            requests: Any = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            self._dynamodb.batch_write_item(RequestItems={"feed": requests})
        head = {"feed": {"S": "head"}, "seq": {"N": "0"}, "last": {"N": str(self._last)}}
        self._dynamodb.put_item(TableName="feed", Item=head)

    def index(self) -> None:
        """Index what is new."""
        while chunks := Feed("feed").read(self._unindexed, 500):
            self._history.index(chunks)
            self._unindexed = chunks[-1].end


@pytest.fixture
def feed(stack: Stack) -> FilledFeed:
    return FilledFeed(stack)


def mine(*numbers: int, action: str = "JobNote") -> list[Event]:
    return [_event("ann", JOB, f"e{number}", action) for number in numbers]


def foreign(chunks: int, events: int) -> list[list[Event]]:
    """Chunks of other users' events, each chunk of one user and one job."""
    return [[_event(f"u{n % 7}", f"j{n}", f"f{n}-{m}", "JobProgress") for m in range(events)] for n in range(chunks)]


def _event(user: str, job: str, event_id: str, action: str) -> Event:
    now_ms = time.time_ns() // 1_000_000
    return Event(ts=now_ms // 1000, userID=user, jobID=job, action=action, eventID=event_id, tsMs=now_ms)


@pytest.mark.parametrize("filters", FILTERS)
def test_on_a_feed_with_50000_foreign_events_history_takes_three_calls(
    stack: Stack, gateway: Gateway, live: Live, feed: FilledFeed, calls: Counter[str], filters: dict[str, str]
) -> None:
    feed.append(*([event] for event in mine(*range(5))), mine(5, 6, 7))
    feed.append(*foreign(1250, 40))
    feed.index()
    live.ask("CONNECT", "a", {"lastMod": "0", **filters})
    batch = {"Records": selected(stack.changes("connections"), REPLAY)}
    before: list[Counter[str]] = []
    gateway.on_post = lambda: before.append(Counter(calls))
    calls.clear()
    live.replay(batch)
    # The connection is read, and where it begins is stored; the history is found by the other three.
    assert before[0] == Counter(GetItem=1, UpdateItem=1) + Counter(Query=1, BatchGetItem=2)
    assert received(gateway, "a") == [f"e{n}" for n in range(8)]
    # Then the index tells that nothing follows, and the watcher is handed over without a look through the feed.
    assert calls - before[-1] == Counter(GetItem=1, Query=3, UpdateItem=1)


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("size", [1, 3, 40, 250])
def test_the_latest_hundred_come_in_order_and_once(
    gateway: Gateway, live: Live, feed: FilledFeed, filters: dict[str, str], size: int
) -> None:
    numbers = list(range(250))
    chunks = [mine(*numbers[start : start + size]) for start in range(0, 250, size)]
    mixed = [events + foreign(1, 3)[0] for events in chunks]
    feed.append(*mixed)
    feed.index()
    live.connect("a", lastMod="0", **filters)
    assert received(gateway, "a") == [f"e{n}" for n in range(250 - LATEST, 250)]


@pytest.mark.parametrize("indexed", [0, 1, 2, 3, 4], ids=lambda n: f"{n}-of-4-indexed")
def test_at_the_seam_nothing_is_missing_and_nothing_comes_twice(
    gateway: Gateway, live: Live, feed: FilledFeed, indexed: int
) -> None:
    for n in range(4):
        feed.append(mine(2 * n), foreign(1, 2)[0], mine(2 * n + 1))
        if n < indexed:
            feed.index()
    live.connect("a", lastMod="0", userID="ann")
    live.push()
    feed.append(mine(8))
    live.push()
    assert received(gateway, "a") == [f"e{n}" for n in range(9)]


def test_events_that_are_stored_while_history_is_sent_follow_it(gateway: Gateway, live: Live, feed: FilledFeed) -> None:
    feed.append(mine(0), mine(1))
    feed.index()
    later = iter([lambda: feed.append(mine(2)), feed.index, lambda: feed.append(mine(3)), feed.index])
    gateway.on_post = lambda: next(later, bool)()
    live.connect("a", lastMod="0", userID="ann")
    live.push()
    assert received(gateway, "a") == ["e0", "e1", "e2", "e3"]


def test_only_events_of_the_chosen_actions_count_to_the_hundred(
    gateway: Gateway, live: Live, feed: FilledFeed, calls: Counter[str]
) -> None:
    feed.append(*(mine(n, action="JobStart") for n in range(150)))
    feed.append(*(mine(n, action="JobProgress") for n in range(150, 650)))
    feed.index()
    live.connect("a", lastMod="0", userID="ann", actions="JobStart")
    assert received(gateway, "a") == [f"e{n}" for n in range(50, 150)]


def test_a_user_without_events_costs_no_look_through_the_feed(
    stack: Stack, gateway: Gateway, live: Live, feed: FilledFeed, calls: Counter[str]
) -> None:
    feed.append(*foreign(200, 2))
    feed.index()
    calls.clear()
    live.connect("a", lastMod="0", userID="nobody")
    assert calls["Query"] == 4  # the index twice, and the feed's end twice
    feed.append([_event("nobody", "j", "first", "JobStart")])
    live.push()
    assert received(gateway, "a") == ["first"]


def test_a_cursor_of_an_event_from_history_resumes_behind_it(gateway: Gateway, live: Live, feed: FilledFeed) -> None:
    feed.append(mine(0, 1), *foreign(3, 2), mine(2), mine(3))
    feed.index()
    live.connect("a", lastMod="0", userID="ann")
    for frame in gateway.told("a"):
        live.connect("b", after=frame["cursor"], userID="ann")
        number = int(frame["eventID"][1:])
        assert received(gateway, "b") == [f"e{n}" for n in range(number + 1, 4)]


def test_expired_events_are_not_in_a_history(
    gateway: Gateway, live: Live, feed: FilledFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.append(mine(0))
    feed.index()
    pass_time(monkeypatch, RETENTION_SECONDS + 10)
    feed.append(mine(1))
    feed.index()
    live.connect("a", lastMod="0", userID="ann")
    assert received(gateway, "a") == ["e1"]


def test_indexing_again_and_in_other_runs_changes_nothing(feed: FilledFeed) -> None:
    feed.append(*(mine(n, n + 1) for n in range(0, 20, 2)))
    chunks = Feed("feed").read(Cursor(0), 100)
    history = History("feed")
    rng = random.Random(1)
    history.index(chunks)
    expected = history.latest("userID#ann", (), 100), history.indexed()
    for _ in range(10):
        first, last = sorted(rng.sample(range(len(chunks) + 1), 2))
        history.index(chunks[first:last])
        assert (history.latest("userID#ann", (), 100), history.indexed()) == expected


def test_a_chunk_is_not_counted_as_indexed_before_all_of_it_is(feed: FilledFeed) -> None:
    feed.append(*(mine(n) for n in range(60)))
    chunks = Feed("feed").read(Cursor(0), 100)
    written = 0

    def refuse(operation: str, _: dict[str, Any]) -> None:
        nonlocal written
        written += operation == "BatchWriteItem"
        if operation == "BatchWriteItem" and written == 2:
            raise throttled(operation)

    history = History("feed")
    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch), pytest.raises(Unavailable):
        history.index(chunks)
    assert history.indexed() == Cursor(0)
