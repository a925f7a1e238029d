"""Events of a job are shown in the order in which its worker sent them, however SQS delivers them."""

import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elasticrecode.aws.dynamodb import Table
from elasticrecode.contract import routes
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.events import Action, Event
from elasticrecode.jobs.items import new_events
from elasticrecode.jobs.streams import FEED
from tests.aws.test_path import actions, event, status, submitted
from tests.fakes.stack import Stack, selected
from tests.support import call

T0 = 1_900_000_000_000
Message = dict[str, Any]


def shown(stack: Stack) -> list[Event]:
    """The events that the feed gets of what changed since the last look, in its order."""
    return [event for record in selected(stack.changes(), FEED) for event in new_events(record)]


def second_generation(job_id: str, attempt: int = 1, begin: int = T0, end: str = "JobFinished") -> list[Message]:
    """What a worker sends for an attempt: a start, three ticks, an end."""
    start = {"eventID": f"start-{attempt}", "tsMs": begin}
    common: dict[str, Any] = {"attempt": attempt, "start": start}
    ticks = [
        event(job_id, "JobProgress", tsMs=begin + n, eventID=f"tick-{attempt}-{n}", progress={"percent": n}, **common)
        for n in (1, 2, 3)
    ]
    ended = event(job_id, end, tsMs=begin + 4, eventID=f"end-{attempt}", **common)
    return [event(job_id, "JobStart", attempt=attempt, **start), *ticks, ended]


def first_generation(job_id: str) -> list[Message]:
    """What a first-generation worker sends: whole seconds, no ids."""
    return [event(job_id, "JobStart", ts=T0 // 1000), event(job_id, "JobFinished", ts=T0 // 1000 + 5)]


def deliver(stack: Stack, messages: Sequence[Message], cuts: Sequence[int] = ()) -> list[Event]:
    """Deliver messages, cut into invocations; what is shown of them."""
    begin = 0
    for end in [*sorted(set(cuts)), len(messages)]:
        if messages[begin:end]:
            assert stack.say(*messages[begin:end]) == []
        begin = end
    return shown(stack)


def assert_in_order(events: Sequence[Event], sent: Sequence[Message]) -> None:
    """Each event once, in the order in which they were sent, the start and the end among them."""
    ids = [message["eventID"] for message in sent]
    places = [ids.index(event.eventID) for event in events]
    assert places == sorted(set(places)), [event.eventID for event in events]
    assert (places[0], places[-1]) == (0, len(sent) - 1)


def running(stack: Stack, claims: Claims) -> str:
    """A job whose first attempt a worker has claimed."""
    job_id = submitted(stack)
    assert claims.claim(job_id, "w") == Claim(1)
    shown(stack)
    return job_id


def test_every_order_of_a_start_a_tick_and_an_end_is_shown_as_it_was_sent(stack: Stack) -> None:
    claims = Claims("jobs", lease_seconds=600)
    for order in permutations(range(3)):
        for cuts in ((), (1,), (2,), (1, 2)):
            job_id = running(stack, claims)
            start, tick, _, _, end = second_generation(job_id)
            sent = [start, tick, end]
            assert_in_order(deliver(stack, [sent[n] for n in order], cuts), sent)
            assert status(stack, job_id)["state"] == "finished"
            assert actions(stack, job_id) == ["JobSummit", "JobStart", "JobFinished"]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_swapped_doubled_and_split_deliveries_are_shown_as_they_were_sent(stack: Stack, data: st.DataObject) -> None:
    job_id = running(stack, Claims("jobs", lease_seconds=600))
    sent = second_generation(job_id, end=data.draw(st.sampled_from(["JobFinished", "JobFailed", "JobReturned"])))
    doubled = data.draw(st.lists(st.sampled_from(sent), max_size=3))
    messages = data.draw(st.permutations([*sent, *doubled]))
    cuts = data.draw(st.lists(st.integers(0, len(messages)), max_size=5))
    assert_in_order(deliver(stack, messages, cuts), sent)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_first_generation_start_that_comes_after_the_end_is_listed_and_not_shown(stack: Stack, swapped: bool) -> None:
    job_id = submitted(stack)
    shown(stack)
    messages = first_generation(job_id)
    messages = messages[::-1] if swapped else messages
    events = deliver(stack, messages, (1,))
    assert [event.action for event in events] == (["JobFinished"] if swapped else ["JobStart", "JobFinished"])
    assert actions(stack, job_id) == ["JobSummit", "JobStart", "JobFinished"]
    assert deliver(stack, messages) == []  # doubled


def test_the_record_never_goes_back(stack: Stack) -> None:
    job_id = running(stack, Claims("jobs", lease_seconds=600))
    start, *ticks, _ = second_generation(job_id)
    stack.say(start)
    rng, seen = random.Random(7), [0.0]
    for tick in [*rng.choices(ticks, k=12), *ticks]:
        stack.say(tick)
        seen.append(status(stack, job_id)["progress"]["percent"])
    assert seen == sorted(seen)
    assert seen[-1] == 3


def test_progress_of_an_attempt_that_was_cancelled_does_not_show_in_the_next(stack: Stack) -> None:
    claims = Claims("jobs", lease_seconds=600)
    job_id = running(stack, claims)
    start, first, second, third, _ = second_generation(job_id)
    stack.say(start, second)
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id}).status == 202
    stack.say(third)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202
    assert claims.claim(job_id, "w") == Claim(2)
    stack.say(first)
    assert status(stack, job_id)["progress"] is None
    again = second_generation(job_id, attempt=2, begin=T0 - 5000)  # by a clock that is behind
    stack.say(third, again[0], again[1])
    assert status(stack, job_id)["progress"]["percent"] == 1
    ids = [event.eventID for event in shown(stack) if event.action in (Action.JOB_START, Action.JOB_PROGRESS)]
    assert ids == ["start-1", "tick-1-2", "start-2", "tick-2-1"]


def test_a_tick_that_comes_before_its_start_has_the_start_shown_first(stack: Stack) -> None:
    job_id = running(stack, Claims("jobs", lease_seconds=600))
    start, tick, *_ = second_generation(job_id)
    stack.say(tick)
    stack.say(start)
    assert [event.eventID for event in shown(stack)] == ["start-1", "tick-1-1"]
    assert status(stack, job_id)["progress"]["percent"] == 1


def test_a_late_return_of_an_earlier_attempt_is_listed_and_not_shown(stack: Stack) -> None:
    claims = Claims("jobs", lease_seconds=600)
    job_id = running(stack, claims)
    claims.release(job_id, 1)
    assert claims.claim(job_id, "v") == Claim(2)
    first, second = second_generation(job_id, end="JobReturned"), second_generation(job_id, attempt=2, begin=T0 + 10)
    stack.say(second[0])
    stack.say(first[-1])
    assert [event.eventID for event in shown(stack)] == ["start-2"]
    assert actions(stack, job_id).count("JobReturned") == 1


def test_a_move_and_its_event_are_stored_together_or_not_at_all(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = running(stack, Claims("jobs", lease_seconds=600))
    start, *_, end = second_generation(job_id)
    stack.say(start)
    shown(stack)
    with monkeypatch.context() as patch:
        patch.setattr(Table, "transact", refuse)
        assert stack.say(end) == ["m0"]
    assert (status(stack, job_id)["state"], shown(stack)) == ("running", [])
    assert stack.say(end) == []
    assert [event.eventID for event in shown(stack)] == ["end-1"]


def refuse(*_: object) -> None:
    """AWS takes nothing."""
    raise Unavailable("AWS could not take it.")


def test_an_item_that_is_put_again_brings_no_second_event(stack: Stack) -> None:
    job_id = running(stack, Claims("jobs", lease_seconds=600))
    start, *_, end = second_generation(job_id)
    stack.say(end)
    assert [event.eventID for event in shown(stack)] == ["start-1", "end-1"]
    stack.say(start)
    stack.say(end)
    assert shown(stack) == []
