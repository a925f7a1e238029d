"""After a retry nothing of an earlier attempt is shown as the job's, whatever arrives in whatever order."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.events import Action, Event
from elasticrecode.jobs.lifecycle import COMMIT, ENDED
from tests.aws.test_order import Message, second_generation, shown
from tests.aws.test_path import event, status, submitted
from tests.fakes.memory import Aws
from tests.fakes.stack import Stack
from tests.fakes.turns import call_in_turn
from tests.sizes import sized
from tests.support import call

ENDS = ("JobFinished", "JobFailed", "JobReturned", "JobLost")
STATES = {"JobFinished": "finished", "JobFailed": "failed", "JobCancelled": "cancelled"}
FAILURE = {"code": "storage-unavailable", "message": "S3 did not serve it.", "log": ["line of attempt"]}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack in memory, for hundreds of lives."""
    call_in_turn(monkeypatch)
    aws = Aws(random.Random(1))
    monkeypatch.setattr(BaseClient, "_make_api_call", lambda *asked: aws(*asked))
    return Stack()


class Life:
    """One job, its workers, its user, and what a watcher has been shown of it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.job_id = submitted(stack)
        self.attempt = 0
        self.sent: list[Message] = []
        """Every message of a worker, which SQS may deliver at any time, more than once."""
        self.retries: list[int] = []
        """Of each JobRetried, the last attempt before it."""
        self.shown: list[Event] = []

    def claim(self, lease_seconds: float = 600) -> None:
        """A worker begins the next attempt, if it may. It will send all that a worker can, even what cannot be."""
        answer = Claims("jobs", lease_seconds).claim(self.job_id, f"w{self.attempt}")
        if not isinstance(answer, Claim):
            return
        self.attempt = answer.attempt
        for end in ENDS:
            messages = second_generation(self.job_id, self.attempt, 1_900_000_000_000 + self.attempt * 100, end)
            messages[-1]["eventID"] = f"{end}-{self.attempt}"
            if end == "JobReturned":
                messages[-1]["error"] = FAILURE
            self.sent += messages if end == ENDS[0] else messages[-1:]
        note = messages[-1] | {"action": "JobNote", "eventID": f"note-{self.attempt}"}
        self.sent.append(note)

    def release(self) -> None:
        """The worker of the last attempt is terminated. It says so if it had the job."""
        if self.attempt and Claims("jobs", 600).release(self.job_id, self.attempt):
            _, *_, returned = second_generation(self.job_id, self.attempt, end="JobReturned")
            self.sent.append(returned | {"eventID": f"released-{self.attempt}"})

    def expire(self) -> None:
        """The lease of the last attempt runs out."""
        self.stack.dynamodb.update_item(
            TableName="jobs",
            Key={"jobID": {"S": self.job_id}, "item": {"S": "job"}},
            UpdateExpression="SET lease = :past",
            ConditionExpression="attribute_exists(lease)",
            ExpressionAttributeValues={":past": {"N": "1"}},
        )

    def cancel(self) -> None:
        """The user cancels, if they may."""
        call(self.stack.jobs, routes.CANCEL, parameters={"jobID": self.job_id})

    def retry(self) -> None:
        """The user retries, if they may."""
        if call(self.stack.jobs, routes.RETRY, parameters={"jobID": self.job_id}).status == 202:
            self.retries.append(self.attempt)

    def deliver(self, *messages: Message) -> None:
        """SQS delivers messages in one invocation."""
        assert self.stack.say(*messages) == []

    def look(self) -> None:
        """The watcher reads on."""
        self.shown += (event for event in shown(self.stack) if event.jobID == self.job_id)

    def judge(self) -> None:
        """Fail unless the watcher could fold the events into the job's state, attempt after attempt."""
        self.look()
        began: set[int] = set()
        floor, running, ended, retries = 0, 0, "", iter(self.retries)
        trail = [(event.action, event.attempt or 0) for event in self.shown]
        for action, attempt in trail:
            if action == Action.JOB_RETRIED:
                floor, running, ended = next(retries) + 1, 0, ""
            elif action != Action.JOB_SUMMIT:
                assert not ended, trail
                assert action == Action.JOB_CANCELLED or attempt >= floor, trail
                if action == Action.JOB_START:
                    assert attempt not in began, trail
                    began.add(attempt)
                    floor = running = attempt
                elif action in (Action.JOB_PROGRESS, "JobNote"):
                    assert attempt == running, trail
                elif action in (Action.JOB_RETURNED, Action.JOB_LOST):
                    running = 0
                else:
                    ended = action
        record = status(self.stack, self.job_id)
        assert record["state"] == STATES[ended] if ended else record["state"] not in ENDED, (trail, record)
        listed = call(self.stack.logs, routes.JOB_EVENTS, parameters={"jobID": self.job_id}, query={"limit": "1000"})
        finals = [event for event in listed.body if event["action"] in ("JobFinished", "JobFailed")]
        assert {event["eventID"] for event in finals} == {
            event.eventID for event in self.shown if event.action in ("JobFinished", "JobFailed")
        }, trail


@settings(
    max_examples=sized(150, 1000, 20_000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(data=st.data())
def test_whatever_arrives_late_nothing_of_an_earlier_attempt_is_shown(quick: Stack, data: st.DataObject) -> None:
    life = Life(quick)

    def draw(strategy: Callable[[list[str]], st.SearchStrategy[list[str]]], name: str) -> list[Message]:
        sent = {message["eventID"]: message for message in life.sent}
        return [sent[event_id] for event_id in data.draw(strategy(list(sent)), name)]

    def some(ids: list[str]) -> st.SearchStrategy[list[str]]:
        return st.lists(st.sampled_from(ids), min_size=1, max_size=4)

    steps: dict[str, Callable[[], None]] = {
        "claim": life.claim,
        "cancel": life.cancel,
        "retry": life.retry,
        "release": life.release,
        "look": life.look,
        "deliver": lambda: life.deliver(*draw(some, "messages")),
    }
    life.claim()
    for _ in range(data.draw(st.integers(4, 14), "steps")):
        step = data.draw(st.sampled_from(["claim", "cancel", "retry", "retry", "release", "look", *["deliver"] * 5]))
        if status(life.stack, life.job_id)["state"] == "running" and data.draw(st.booleans(), "the lease runs out"):
            life.expire()
        steps[step]()
    life.deliver(*draw(st.permutations, "the rest"))
    life.judge()


@contextmanager
def interrupted(nth: int, do: Callable[[], None], *, after: bool) -> Iterator[list[str]]:
    """Let something happen before or after the `nth` AWS call; the calls."""
    calls: list[str] = []
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def made(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        calls.append(operation)
        is_it = len(calls) == nth + 1 and not busy
        if is_it and not after:
            interrupt()
        answer = real(client, operation, arguments)
        if is_it and after:
            interrupt()
        return answer

    busy: list[bool] = []

    def interrupt() -> None:
        busy.append(True)
        BaseClient._make_api_call = real  # type: ignore[attr-defined]
        do()
        BaseClient._make_api_call = made  # type: ignore[attr-defined]

    BaseClient._make_api_call = made  # type: ignore[attr-defined]
    try:
        yield calls
    finally:
        BaseClient._make_api_call = real  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_started", [True, False])
def test_the_end_of_an_attempt_is_shown_before_the_next_begins_or_never(
    quick: Stack, end: str, is_started: bool
) -> None:
    def next_attempt(life: Life) -> None:
        life.cancel()
        life.retry()
        life.claim()
        life.deliver(next(message for message in life.sent if message["eventID"] == f"start-{life.attempt}"))

    for nth in range(12):
        for after in (False, True):
            life = Life(quick)
            life.claim()
            if is_started:
                life.deliver(life.sent[0])
            if end == "JobLost":
                life.expire()
            last = next(message for message in life.sent if message["eventID"] == f"{end}-1")
            with interrupted(nth, lambda: next_attempt(life), after=after) as calls:  # noqa: B023
                life.deliver(last)
            life.judge()
        if nth >= len(calls):
            return
    pytest.fail("the end of an attempt took more calls than expected")


def test_a_retried_job_shows_nothing_of_the_attempt_before(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    start, tick, *_ = life.sent
    failed = next(message for message in life.sent if message["action"] == "JobFailed") | {"error": FAILURE}
    life.deliver(start, tick, failed)
    assert status(stack, life.job_id)["error"] == FAILURE
    life.retry()
    life.deliver(*life.sent, failed)
    record = status(stack, life.job_id)
    assert (record["state"], record["attempt"]) == ("queued", 1)
    assert {record[name] for name in ("progress", "error", "startedAt", "endedAt")} == {None}
    assert record["outputs"] is record["quality"] is None
    life.judge()


def test_a_returned_job_shows_why_it_waits_until_the_next_attempt_begins(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    returned = next(message for message in life.sent if message["eventID"] == "JobReturned-1")
    life.deliver(*life.sent[:3], returned)
    record = status(stack, life.job_id)
    assert (record["state"], record["error"], record["progress"], record["startedAt"]) == (
        "queued",
        FAILURE,
        None,
        None,
    )
    life.claim()
    record = status(stack, life.job_id)
    assert (record["state"], record["error"], record["progress"]) == ("running", None, None)


def test_a_job_whose_lease_ran_out_shows_no_progress(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    life.deliver(*life.sent[:3])
    assert status(stack, life.job_id)["progress"] is not None
    life.expire()
    record = status(stack, life.job_id)
    assert (record["state"], record["progress"], record["startedAt"]) == ("queued", None, None)


def test_the_end_of_a_lost_attempt_is_neither_shown_nor_listed(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    start, *_ = life.sent
    sent = {message["eventID"]: message for message in life.sent}
    life.deliver(start)
    life.expire()
    life.deliver(sent["JobLost-1"])
    life.deliver(sent["JobFinished-1"], sent["JobFailed-1"], sent["JobReturned-1"])
    life.judge()
    listed = call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": life.job_id}).body
    assert [entry["action"] for entry in listed] == ["JobSummit", "JobStart", "JobLost"]


def test_a_lost_attempt_is_shown_and_listed_once_whoever_finds_it(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    life.expire()
    for n in range(3):
        life.deliver(event(life.job_id, "JobLost", attempt=1, eventID=f"found-{n}", tsMs=1_900_000_000_000 + n))
    life.look()
    assert [event.eventID for event in life.shown if event.action == Action.JOB_LOST] == ["found-0"]


def test_a_note_of_an_earlier_attempt_is_listed_with_its_attempt_and_not_shown(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    note = life.sent[-1]
    life.cancel()
    life.retry()
    life.deliver(note)
    life.look()
    assert "JobNote" not in [event.action for event in life.shown]
    listed = call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": life.job_id}).body
    assert [entry["attempt"] for entry in listed if entry["action"] == "JobNote"] == [1]


def test_an_adopted_attempt_shows_no_second_start_and_no_more_ticks(stack: Stack) -> None:
    life = Life(stack)
    life.claim()
    sent = {message["eventID"]: message for message in life.sent}
    life.deliver(sent["start-1"], sent["tick-1-1"])
    stack.dynamodb.update_item(
        TableName="jobs",
        Key={"jobID": {"S": life.job_id}, "item": {"S": "job"}},
        UpdateExpression="SET #commit = :commit",
        ExpressionAttributeNames={"#commit": COMMIT},
        ExpressionAttributeValues={":commit": {"S": '{"uploads": [], "ending": {"action": "JobFinished"}}'}},
    )
    life.expire()
    life.deliver(sent["JobLost-1"])
    adopted = Claims("jobs", 600).claim(life.job_id, "v")
    assert isinstance(adopted, Claim)
    assert adopted.attempt == 1
    life.deliver(sent["start-1"], sent["tick-1-2"])
    life.deliver(sent["JobFinished-1"])
    life.deliver(sent["JobFailed-1"])
    life.judge()
    assert [event.eventID for event in life.shown[1:]] == ["start-1", "tick-1-1", "JobLost-1", "JobFinished-1"]
