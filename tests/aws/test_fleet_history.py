"""The history of the worker queues: a sample a minute, of the last hour."""

import time
from collections import Counter
from typing import Any

import pytest

from elasticrecode.contract import routes
from elasticrecode.workers import history, registry
from elasticrecode.workers.fleet import SAMPLED_LIMIT, Load, Queue
from elasticrecode.workers.history import SAMPLES, History
from tests.aws.test_faults import every_call
from tests.aws.test_path import event, submitted
from tests.aws.test_registry import backlog, discovered
from tests.fakes.stack import Stack
from tests.support import call

ITEM_LIMIT = 400_000


class Clock:
    """A clock that shows the time it is set to."""

    def __init__(self) -> None:
        self.now = time.time() // 60 * 60

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(history, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def unbuffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the registry at every call."""
    monkeypatch.setattr(registry, "REFRESH_SECONDS", 0)


def samples(stack: Stack) -> list[dict[str, Any]]:
    answer = call(stack.workers, routes.WORKER_HISTORY)
    assert answer.status == 200, answer
    return list(answer.body)


def queue(name: str, visible: int = 0, **given: Any) -> Queue:
    load = Load(at=time.time(), visible=visible, seconds=30.0)
    fields: dict[str, Any] = {"name": name, "group": "cpu", "url": "u", "ready": 1, "load": load} | given
    return Queue(**fields)


def test_reconcile_keeps_a_sample_of_all_queues_each_minute(stack: Stack, clock: Clock) -> None:
    assert samples(stack) == []
    for _ in range(3):
        submitted(stack)
    stack.flow()
    stack.reconcile({}, None)
    clock.now += 60
    stack.messages("ffmpeg_job")
    stack.reconcile({}, None)
    first, second = samples(stack)
    assert (first["at"], second["at"]) == (clock.now - 60, clock.now)
    ffmpeg, vmaf = first["queues"]
    expected = {"visible": 3, "inFlight": 0, "readyReplicas": None, "expectedSeconds": 90.0}
    assert ffmpeg == {"queue": "ffmpeg_job", **expected}
    assert vmaf == {
        "queue": "vmaf_job",
        **dict.fromkeys(("visible", "inFlight", "expectedSeconds"), 0),
        "readyReplicas": None,
    }
    assert second["queues"][0]["visible"] == 0


def test_the_sample_shows_the_wait_that_the_backlog_shows(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_job", 4))
    jobs = [submitted(stack) for _ in range(20)]
    stack.flow()
    stack.say(event(jobs[0], "JobStart", ts=1_700_000_000), event(jobs[0], "JobFinished", ts=1_700_000_008))
    stack.reconcile({}, None)
    (sample,) = samples(stack)
    assert sample["queues"][0]["expectedSeconds"] == pytest.approx(
        backlog(stack, "ffmpeg_job")["expectedSeconds"], abs=10
    )
    assert sample["queues"][0]["readyReplicas"] == 4


def test_the_wait_is_null_without_workers(stack: Stack) -> None:
    discovered(stack, ("ffmpeg_job", 0))
    submitted(stack)
    stack.flow()
    stack.reconcile({}, None)
    assert backlog(stack, "ffmpeg_job")["expectedSeconds"] is None
    assert samples(stack)[0]["queues"][0]["expectedSeconds"] is None


def test_the_last_hour_is_shown_oldest_first(stack: Stack, clock: Clock) -> None:
    kept = History("registry")
    for n in range(SAMPLES + 30):
        kept.keep([queue("a", visible=n)])
        clock.now += 60
    clock.now -= 60
    shown = samples(stack)
    assert [sample["queues"][0]["visible"] for sample in shown] == list(range(30, 30 + SAMPLES))
    assert [sample["at"] for sample in shown] == [clock.now - 60 * n for n in reversed(range(SAMPLES))]


def test_two_samples_of_a_minute_are_one(stack: Stack, clock: Clock) -> None:
    kept = History("registry")
    kept.keep([queue("a", visible=1)])
    clock.now += 59
    kept.keep([queue("a", visible=2)])
    (sample,) = samples(stack)
    assert (sample["at"], sample["queues"][0]["visible"]) == (clock.now, 2)


def test_a_sample_costs_one_write_and_a_view_one_read(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def count(operation: str, arguments: dict[str, Any]) -> None:
        calls[operation] += "history" in str(arguments)

    with every_call(count, monkeypatch):
        stack.reconcile({}, None)
        assert +calls == {"PutItem": 1}
        calls.clear()
        samples(stack)
    assert calls == {"Query": 1}


def test_routing_does_not_read_the_history(stack: Stack) -> None:
    before = stack.registry.read()
    History("registry").keep([queue("a")])
    assert stack.registry.read() == before


def test_a_sample_has_the_busiest_queues_and_fits_an_item(stack: Stack) -> None:
    busy = [queue(f"a-long-name-of-a-queue-{n:032x}", visible=n * 7919 % 1_000_000) for n in range(3000)]
    History("registry").keep(busy)
    (sample,) = samples(stack)
    names = {each.name for each in sorted(busy, key=lambda each: -each.load.visible)[:SAMPLED_LIMIT]}
    assert {row["queue"] for row in sample["queues"]} == names
    (item,) = [each for each in stack.dynamodb.scan(TableName="registry")["Items"] if each["part"]["S"] == "history"]
    assert len(item["rows"]["B"]) < ITEM_LIMIT / 20


def test_a_queue_of_two_groups_has_one_row_of_a_group_that_can_use_it(stack: Stack) -> None:
    History("registry").keep([queue("a"), queue("a", group="vmaf", fault="it is configured for cpu jobs", ready=3)])
    (sample,) = samples(stack)
    assert [(row["queue"], row["readyReplicas"]) for row in sample["queues"]] == [("a", 1)]


def test_a_queue_whose_workers_are_gone_is_shown_while_it_has_jobs(stack: Stack) -> None:
    gone: dict[str, Any] = {"is_orphaned": True, "ready": 0, "fault": "no Deployment serves it any more"}
    History("registry").keep([queue("full", visible=1, **gone), queue("empty", **gone)])
    (sample,) = samples(stack)
    assert [row["queue"] for row in sample["queues"]] == ["full"]


def test_a_sample_of_another_shape_is_left_out(stack: Stack, clock: Clock) -> None:
    kept = History("registry")
    kept.keep([queue("a")])
    clock.now += 60
    kept.keep([queue("a")])
    (item, _) = stack.dynamodb.scan(TableName="registry")["Items"]
    stack.dynamodb.put_item(TableName="registry", Item=item | {"rows": {"B": b"x"}})
    assert len(samples(stack)) == 1


def test_a_sample_that_cannot_be_stored_stops_no_step(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(operation: str, arguments: dict[str, Any]) -> None:
        if operation == "PutItem" and "history" in str(arguments):
            raise ConnectionError

    with every_call(refuse, monkeypatch), pytest.raises(RuntimeError, match="1 steps or jobs failed"):
        stack.reconcile({}, None)
    assert stack.registry.read().loads["ffmpeg_job"].at
