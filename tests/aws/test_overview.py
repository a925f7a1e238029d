"""The overview counts each move of each job once, and reads the counts of any number of jobs in one call."""

import base64
import random
import time
import uuid
from collections import Counter
from typing import Any

import pytest
from msgspec import structs

from elasticrecode import ids
from elasticrecode.aws.dynamodb import ConditionFailed, Table
from elasticrecode.clock import now_ms
from elasticrecode.contract import routes
from elasticrecode.jobs import streams
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.lifecycle import COUNTED, STATES
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.store import JobsTable
from elasticrecode.overview import store as overview_store
from elasticrecode.overview.moves import CountedMove, Place
from elasticrecode.overview.store import ALL, OverviewTable
from tests.aws.test_batches import give, small_pages, take, taken, uris, work
from tests.aws.test_faults import every_call, throttled
from tests.aws.test_lists import DAY, USER, calls, job_of
from tests.aws.test_path import event
from tests.fakes.stack import Stack, selected
from tests.support import call

__all__ = ("calls", "small_pages")
NONE = dict.fromkeys(STATES, 0)


def submit(count: int = 1, user: str = USER) -> list[str]:
    """New jobs of a user, queued; their ids."""
    names = [str(uuid.uuid4()) for _ in range(count)]
    accepted = [Accepted(_owned(name, user), Choice("ffmpeg_job", ""), now_ms()) for name in names]
    assert JobsTable("jobs").accept(accepted, DAY) == set()
    return names


def _owned(name: str, user: str) -> Any:
    return structs.replace(job_of("ffmpeg", name), userid=user)


def start(stack: Stack, *names: str) -> None:
    for name in names:
        assert Claims("jobs", 60).claim(name, "w")


def end(stack: Stack, *names: str, action: str = "JobFinished", attempt: int = 1, **more: Any) -> None:
    stack.say(*(event(name, action, attempt=attempt, **more) for name in names))


def expire(stack: Stack, *names: str) -> None:
    """Delete records as DynamoDB's TTL does."""
    for name in names:
        stack.dynamodb.delete_item(TableName="jobs", Key={"jobID": {"S": name}, "item": {"S": "job"}})


def shown(stack: Stack, user: str | None = USER) -> dict[str, Any]:
    answer = call(stack.jobs, routes.OVERVIEW, query={} if user is None else {"userID": user})
    assert answer.status == 200
    overview: dict[str, Any] = answer.body
    return overview


def states(stack: Stack, user: str | None = USER) -> dict[str, int]:
    """The states that have jobs."""
    return {state: jobs for state, jobs in shown(stack, user)["states"].items() if jobs}


def test_a_user_without_jobs_has_an_empty_overview(stack: Stack) -> None:
    for user in (USER, None):
        assert shown(stack, user) == {"states": NONE, "failures": [], "minutes": []}


def test_counts_follow_a_job_through_its_life(stack: Stack) -> None:
    (name,) = submit()

    def counted(**expected: int) -> None:
        work(stack)
        assert states(stack) == states(stack, None) == expected

    counted(queued=1)
    start(stack, name)
    counted(running=1)
    end(stack, name, action="JobReturned")
    counted(queued=1)
    start(stack, name)
    end(stack, name, action="JobFailed", attempt=2, error={"code": "input-corrupt", "message": "x"})
    counted(failed=1)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": name}).status == 202
    counted(queued=1)
    assert shown(stack)["failures"] == []
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": name}).status == 202
    counted(cancelled=1)
    expire(stack, name)
    counted()


def test_failures_are_counted_by_code_with_advice_the_most_frequent_first(stack: Stack) -> None:
    names = submit(6)
    start(stack, *names)
    for code, some in (("input-corrupt", names[:2]), ("input-not-found", names[2:5]), ("of-another-maker", names[5:])):
        end(stack, *some, action="JobFailed", error={"code": code, "message": ""})
    work(stack)
    failures = shown(stack)["failures"]
    assert [(each["code"], each["jobs"]) for each in failures] == [
        ("input-not-found", 3),
        ("input-corrupt", 2),
        ("of-another-maker", 1),
    ]
    assert "Check the bucket" in failures[0]["advice"]
    assert all(each["advice"] for each in failures)
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": USER}).body == {"retried": 6}
    work(stack)
    assert shown(stack)["failures"] == []
    assert states(stack) == {"queued": 6}


def test_minutes_have_what_was_submitted_and_what_has_ended(stack: Stack) -> None:
    names = submit(5)
    start(stack, *names[:4])
    end(stack, *names[:2])
    end(stack, names[2], action="JobFailed", error={"code": "input-corrupt", "message": ""})
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": names[4]}).status == 202
    work(stack)
    minutes = shown(stack)["minutes"]
    assert minutes == shown(stack, None)["minutes"]
    assert 1 <= len(minutes) <= 2
    assert all(minute["at"] % 60 == 0 and abs(minute["at"] - time.time()) < 180 for minute in minutes)
    sums = {name: sum(minute[name] for minute in minutes) for name in ("submitted", "finished", "failed", "cancelled")}
    assert sums == {"submitted": 5, "finished": 2, "failed": 1, "cancelled": 1}


def test_two_users_do_not_mix_and_operators_see_the_sum(stack: Stack) -> None:
    submit(3)
    start(stack, *submit(2, "another"))
    work(stack)
    assert states(stack) == {"queued": 3}
    assert states(stack, "another") == {"running": 2}
    assert states(stack, None) == {"queued": 3, "running": 2}
    assert states(stack, "nobody") == {}


def test_stream_batches_that_come_again_count_once(stack: Stack) -> None:
    """Whole, cut in two as Lambda bisects them, and together with what came later."""
    names = submit(8)
    start(stack, *names)
    first = selected(stack.changes(), streams.DISPATCH)
    end(stack, *names[:4])
    second = selected(stack.changes(), streams.DISPATCH)
    dispatch = stack.build("dispatch")
    for batch in (first, first, first[5:], first[:5], first[2:] + second, second, first + second):
        dispatch({"Records": batch}, None)
        messages = take(stack, "tallies")
        assert give(stack.tally, *messages) == {"batchItemFailures": []}
        assert give(stack.tally, *messages, *messages) == {"batchItemFailures": []}
    assert states(stack) == states(stack, None) == {"running": 4, "finished": 4}
    assert sum(minute["submitted"] for minute in shown(stack)["minutes"]) == 8
    assert sum(minute["finished"] for minute in shown(stack)["minutes"]) == 4


@pytest.mark.parametrize("seed", range(4))
def test_messages_late_doubled_and_in_any_order_count_once(stack: Stack, seed: int) -> None:
    rng = random.Random(seed)
    names = submit(20)
    messages = []

    def report() -> None:
        stack.flow()
        messages.extend(take(stack, "tallies"))

    for name in names:
        start(stack, name)
        report()
        end(stack, name, action=rng.choice(("JobFinished", "JobFailed")))
        report()
    expire(stack, *names[:5])
    report()
    twice = messages + messages
    rng.shuffle(twice)
    while twice:
        some = [twice.pop() for _ in range(min(len(twice), rng.randint(1, 6)))]
        assert give(stack.tally, *some) == {"batchItemFailures": []}
    expected = Counter(record["state"]["S"] for record in stack.items() if record["item"]["S"] == "job")
    assert states(stack) == states(stack, None) == expected
    assert sum(each["jobs"] for each in shown(stack)["failures"]) == expected["failed"]


def test_the_renewal_of_a_lease_and_a_tick_are_not_reported(stack: Stack) -> None:
    (name,) = submit()
    claim = Claims("jobs", 60).claim(name, "w")
    assert claim
    stack.say(event(name, "JobStart", attempt=1))
    work(stack)
    assert Claims("jobs", 60).renew(name, claim.attempt) is None
    stack.say(event(name, "JobProgress", attempt=1))
    changes = stack.changes()
    assert changes != []
    assert selected(changes, streams.DISPATCH) == []


def test_parts_plans_and_jobs_of_before_are_not_counted(stack: Stack) -> None:
    submit()
    plan = ids.plan_id(str(uuid.uuid4()))
    JobsTable("jobs").accept([Accepted(_owned(plan, USER), Choice("ffmpeg_job", ""), now_ms())], DAY)
    (old,) = submit()
    stack.dynamodb.update_item(
        TableName="jobs", Key={"jobID": {"S": old}, "item": {"S": "job"}}, UpdateExpression=f"REMOVE {COUNTED}"
    )
    stack.changes()  # nothing reported the acceptance of any
    start(stack, old, plan)
    work(stack)
    end(stack, old)
    expire(stack, old, plan)
    work(stack)
    assert shown(stack) == {"states": NONE, "failures": [], "minutes": []}


def test_the_jobs_of_a_batch_are_counted(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(120))
    work(stack)
    start(stack, ids.job_id(batch_id, 3))
    work(stack)
    assert states(stack) == {"queued": 119, "running": 1}


def test_an_overview_is_read_in_one_call_whatever_the_number_of_jobs(stack: Stack, calls: Counter[str]) -> None:
    moves = [_move(n, 1000 + n // 2000) for n in range(20_000)]
    OverviewTable("batches", DAY).count({USER: moves})
    for user in (USER, None):
        calls.clear()
        assert states(stack, user) == {"queued": 20_000}
        assert calls == {"GetItem": 1}


def test_a_message_of_many_moves_is_counted_in_few_calls(stack: Stack, calls: Counter[str]) -> None:
    submit(100)
    stack.flow()
    messages = take(stack, "tallies")
    calls.clear()
    give(stack.tally, *messages)
    assert calls["BatchGetItem"] == calls["TransactWriteItems"] == 1


def test_more_users_and_seconds_than_a_transaction_takes_are_counted_in_several(stack: Stack) -> None:
    table = OverviewTable("batches", DAY)
    users = {f"user-{n}": [_move(n, second) for second in range(n % 3 + 1)] for n in range(250)}
    table.count(users)
    table.count(users)
    table.count({USER: [_move(1000 + n, 7 * n) for n in range(300)]})
    for n in (0, 1, 2, 249):
        assert table.counts(f"user-{n}").states == {"queued": n % 3 + 1}
    assert table.counts(USER).states == {"queued": 300}
    assert table.counts(ALL).states == {"queued": sum(n % 3 + 1 for n in range(250)) + 300}


def test_concurrent_counts_lose_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another invocation counts between the read and the write of the first."""
    table, other = OverviewTable("batches", DAY), OverviewTable("batches", DAY)
    real, meanwhile = Table.transact, [{"b": [_move(1, 5)]}, {"a": [_move(2, 5)]}, {"a": [_move(0, 5)]}]

    def transact(of: Table, writes: Any, doing: str) -> None:
        if meanwhile:
            other.count(meanwhile.pop())
        real(of, writes, doing)

    monkeypatch.setattr(Table, "transact", transact)
    table.count({"a": [_move(0, 5)]})
    assert table.counts("a").states == {"queued": 2}
    assert table.counts("b").states == {"queued": 1}
    assert table.counts(ALL).states == {"queued": 3}


@pytest.mark.parametrize("is_done", [False, True])
def test_a_count_whose_answer_is_lost_is_right_after_the_next_delivery(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    submit(3)
    stack.flow()
    messages = take(stack, "tallies")
    real = Table.transact

    def transact(of: Table, writes: Any, doing: str) -> None:
        if is_done:
            real(of, writes, doing)
        raise ConditionFailed({})

    with monkeypatch.context() as broken:
        broken.setattr(Table, "transact", transact)
        broken.setattr(overview_store, "pauses", lambda: iter([0.0, 0.0]))
        give(stack.tally, *messages)
    assert give(stack.tally, *messages) == {"batchItemFailures": []}
    assert states(stack) == states(stack, None) == {"queued": 3}


def test_counting_that_fails_delays_neither_jobs_nor_batches(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = taken(stack, inputs=uris(2))
    for queue, handler in (("surveys", stack.survey), ("pages", stack.expand)):
        for message in take(stack, queue):
            give(handler, message)
    stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 2
    messages = take(stack, "tallies")

    def watch(operation: str, _: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems":
            raise throttled(operation)

    with every_call(watch, monkeypatch):
        answer = give(stack.tally, *messages)
    assert len(answer["batchItemFailures"]) == sum('"users"' in message["body"] for message in messages) == 1
    assert call(stack.batch, routes.BATCH, parameters={"batchID": batch_id}).body["queued"] == 2
    assert give(stack.tally, *messages) == {"batchItemFailures": []}
    assert states(stack) == {"queued": 2}


def test_moves_are_counted_although_their_queue_takes_no_report(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    names = submit(3)

    def refuse(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch" and arguments["QueueUrl"].endswith("tallies"):
            raise throttled(operation)

    with every_call(refuse, monkeypatch):
        stack.flow()
    assert len(stack.messages("ffmpeg_job")) == 3
    assert states(stack) == states(stack, None) == {"queued": 3}
    start(stack, *names)
    work(stack)
    assert states(stack) == {"running": 3}


def test_jobs_are_sent_before_their_moves_are_reported(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(3)
    sent = []

    def watch(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch":
            sent.append(arguments["QueueUrl"].rpartition("/")[2])

    with every_call(watch, monkeypatch):
        stack.flow()
    assert sent == ["ffmpeg_job", "tallies"]


def test_counts_outlive_the_jobs_that_they_count(stack: Stack) -> None:
    table = OverviewTable("batches", 90 * DAY)
    table.count({USER: [_move(0, 5)]})
    OverviewTable("batches", DAY).count({USER: [_move(1, 5)]})
    items = stack.dynamodb.scan(TableName="batches")["Items"]
    expires = {item["batchID"]["S"] + item["item"]["S"]: int(item["expires"]["N"]) for item in items}
    assert expires.pop("jobs#second#00000000005") > time.time() + 15 * DAY
    assert set(expires) == {f"jobs#{USER}counts", "jobs#counts"}
    assert all(until > time.time() + 100 * DAY for until in expires.values())


def test_an_empty_user_is_no_user(stack: Stack) -> None:
    assert call(stack.jobs, routes.OVERVIEW, query={"userID": ""}).status == 400


def _move(n: int, at: int) -> CountedMove:
    """The acceptance of a job with a number."""
    return CountedMove(base64.b64encode(n.to_bytes(8, "big")).decode(), at, None, Place("queued"))
