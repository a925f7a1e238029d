"""The table of moves between states, and the conditional writes made from it."""

from itertools import product

import pytest

from elasticrecode.jobs import lifecycle
from elasticrecode.jobs.lifecycle import ENDED, MOVES, STATES, State, find
from tests.conftest import ROOT


def after(
    action: str, named: int | None, state: State, attempt: int, *, claimed: bool, committed: bool = False
) -> State | None:
    """The state an action leads to from a record's state, attempt, claim and commit; None when it changes nothing."""
    for move in find(action, named):
        holds = {
            "either": True,
            "claimed": claimed and named == attempt,
            "unclaimed": not claimed,
            "committed": committed and named == attempt,
        }
        if state in move.sources and holds[move.claim]:
            return move.target
    return None


def test_nothing_leaves_finished() -> None:
    assert all("finished" not in move.sources for move in MOVES)


def test_only_a_user_brings_an_ended_job_back() -> None:
    assert {move.action for move in MOVES if set(move.sources) & set(ENDED)} == {"JobRetried"}


def test_every_state_can_be_left_towards_an_end() -> None:
    reached = set(ENDED)
    while True:
        more = {source for move in MOVES if move.target in reached for source in move.sources} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(STATES)


@pytest.mark.parametrize(("state", "claimed"), list(product(STATES, (True, False))))
def test_a_worker_that_lost_its_claim_changes_nothing(state: lifecycle.State, claimed: bool) -> None:
    for action in ("JobStart", "JobFinished", "JobFailed", "JobReturned", "JobLost"):
        assert after(action, 1, state, attempt=2, claimed=claimed) is None


def test_an_attempt_that_has_published_ends_its_job_although_it_was_lost_meanwhile() -> None:
    assert after("JobFinished", 1, "queued", attempt=1, claimed=False, committed=True) == "finished"
    assert after("JobFailed", 1, "queued", attempt=1, claimed=False, committed=True) == "failed"
    assert after("JobFinished", 1, "queued", attempt=1, claimed=False) is None


def test_a_first_generation_worker_drives_a_job_from_start_to_end() -> None:
    assert after("JobStart", None, "queued", 0, claimed=False) == "running"
    assert after("JobFinished", None, "running", 1, claimed=False) == "finished"
    assert after("JobFinished", None, "queued", 0, claimed=False) == "finished"


def test_a_first_generation_event_does_not_touch_a_claimed_attempt() -> None:
    assert after("JobFinished", None, "running", 1, claimed=True) is None


def test_late_and_doubled_events_change_nothing() -> None:
    for state in ENDED:
        for action in ("JobStart", "JobFinished", "JobFailed", "JobLost"):
            assert after(action, None, state, 1, claimed=False) is None


def test_what_only_informs_moves_nothing() -> None:
    assert lifecycle.find("JobProgress", 1) == ()
    with pytest.raises(ValueError, match="JobProgress"):
        lifecycle.write("JobProgress", 1, 0, {})


def test_a_job_needs_a_message_when_it_becomes_queued_from_anywhere_but_running() -> None:
    assert lifecycle.NEEDS_MESSAGE == ("accepted", "cancelled", "failed")


def test_a_running_job_without_lease_time_is_seen_to_wait() -> None:
    assert lifecycle.as_seen("running", 999, 1000) == "queued"
    assert lifecycle.as_seen("running", 1001, 1000) == "running"
    assert lifecycle.as_seen("running", None, 1000) == "running"


def test_the_docs_show_the_moves_as_the_code_has_them() -> None:
    assert (ROOT / "docs" / "reference" / "lifecycle.md").read_text() == lifecycle.page()
