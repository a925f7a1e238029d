"""Worker events, of both generations."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.errors import UnreadableEvent
from elasticrecode.jobs import events, lifecycle
from elasticrecode.jobs.events import STORED, Action
from elasticrecode.jobs.lifecycle import MOVES, Step
from elasticrecode.webhooks import request as webhooks
from tests.conftest import ROOT, contract


def read(**changes: Any) -> events.Event:
    return events.read(json.dumps(contract("worker_event") | changes).encode())


def test_the_same_message_is_the_same_event() -> None:
    assert read() == read()
    assert read().eventID != read(action="JobFinished").eventID


def test_events_of_one_second_are_ordered_by_rank() -> None:
    said = [read(action=action) for action in ("JobFinished", "JobProgress", "JobStart")]
    positions = [event.action for event in sorted(said, key=lambda event: event.position)]
    assert positions == ["JobStart", "JobProgress", "JobFinished"]


def test_a_new_worker_says_its_own_id_time_and_attempt() -> None:
    event = read(eventID="e-1", tsMs=1588730504123, attempt=2)
    assert (event.eventID, event.tsMs, event.attempt) == ("e-1", 1588730504123, 2)


@pytest.mark.parametrize("millisecond", [0, 1, 500, 999])
def test_job_summit_comes_before_anything_a_worker_says_in_its_second(millisecond: int) -> None:
    second = contract("worker_event")["ts"]
    summit = events.submitted(b"{}", "user", "job", 1000 * second + millisecond)
    said = [read(action="JobFinished"), summit, read(action="JobStart")]
    told = [event.action for event in sorted(said, key=lambda event: event.position)]
    assert told == ["JobSummit", "JobStart", "JobFinished"]


def test_a_fraction_of_a_second_is_kept() -> None:
    assert read(ts=1588730504.25).tsMs == 1588730504250
    assert read(ts=1588730504.25).ts == 1588730504


def test_an_event_too_large_to_be_stored_or_pushed_is_refused_with_its_size() -> None:
    empty = len(json.dumps(contract("worker_event") | {"msg": ""}))
    assert read(msg="x" * (events.MESSAGE_LIMIT - empty)).action == "JobStart"
    with pytest.raises(UnreadableEvent, match=str(events.MESSAGE_LIMIT + 1)):
        read(msg="x" * (events.MESSAGE_LIMIT - empty + 1))


def test_what_workers_say_beyond_the_contract_does_not_harm() -> None:
    assert read(surprise={"a": 1}).action == "JobStart"
    assert read(action="JobPaused").action == "JobPaused"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b'{"action": "JobStart", "ts": "now", "job": {"userid": "u", "jobid": "j"}}',
        b'{"action": "JobStart", "ts": 1, "job": {"userid": "u"}}',
        b'{"action": "JobStart", "ts": 1, "job": {"userid": "u", "jobid": "a b#c"}}',
        b'{"action": "JobStart", "ts": -1, "job": {"userid": "u", "jobid": "j"}}',
    ],
)
def test_what_is_no_event_is_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(UnreadableEvent, match=r"\w"):
        events.read(raw)


@given(st.binary(max_size=200))
def test_no_bytes_end_in_another_error(raw: bytes) -> None:
    try:
        events.read(raw)
    except UnreadableEvent:
        return
    assert msgspec.json.decode(raw)


def documented(page: str) -> set[str]:
    """Actions that a page of the docs lists: words in code marks that start as actions do."""
    text = (ROOT / "docs" / page).read_text()
    return {word for word in re.findall(r"`([A-Za-z]+)`", text) if re.match(r"Job[A-Z]|BatchF|Gap|WebhookT", word)}


def test_every_move_is_made_by_an_action_or_by_a_step_and_none_is_both() -> None:
    assert {type(move.action) for move in MOVES} == {Action, Step}
    assert {move.action for move in MOVES if isinstance(move.action, Step)} == set(Step)
    assert not set(map(str, Action)) & set(map(str, Step))
    assert not any(lifecycle.find(action, None) for action in (Action.JOB_SUMMIT, Action.JOB_PROGRESS, Action.GAP))


def test_webhooks_can_ask_for_every_stored_action_but_progress() -> None:
    schema = msgspec.json.schema(webhooks.WebhookRequest)["$defs"]["WebhookRequest"]["properties"]["actions"]
    assert set(schema["items"]["enum"]) == set(STORED) - {Action.JOB_PROGRESS}


def test_the_docs_list_the_actions_that_the_code_has() -> None:
    for page, actions in (("reference/events.md", set(Action)), ("how-to/webhooks.md", set(STORED))):
        missing = sorted(actions - documented(page))
        assert not missing, f"docs/{page} lacks {', '.join(missing)}"
