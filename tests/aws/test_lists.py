"""Lists read as much as they return, and a batch's list and state follow its jobs at once."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.client import BaseClient
from msgspec import structs

from elasticrecode import ids
from elasticrecode.aws.dynamodb import Table
from elasticrecode.batches import survey
from elasticrecode.clock import now_ms
from elasticrecode.contract import routes
from elasticrecode.contract.tables import STATE_KEYS
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.events import Action, control_event
from elasticrecode.jobs.items import Accepted, Entry, record_item
from elasticrecode.jobs.job import Job, Kind
from elasticrecode.jobs.lifecycle import STATES, State, state_shards
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.requests import read_jobs, read_vmaf
from elasticrecode.jobs.store import JobsTable
from elasticrecode.lists.filters import Filter
from tests.aws.test_batches import ended, finish, give, killed_at, shown, take, taken, uris, work
from tests.aws.test_faults import every_call
from tests.aws.test_path import event
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call

USER: str = contract("job")["userid"]
DAY = 86_400


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 100 inputs, because moto's tables are slow."""
    monkeypatch.setattr(survey, "PAGE_JOBS", 100)


@pytest.fixture
def calls(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """AWS calls by operation."""
    counted: Counter[str] = Counter()
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def count(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        counted[operation] += 1
        return real(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", count)
    return counted


def job_of(kind: Kind, job_id: str) -> Job:
    text = json.dumps(contract("vmaf" if kind == "vmaf" else "job")).encode()
    return structs.replace((read_vmaf if kind == "vmaf" else read_jobs)(text)[0], jobid=job_id)


def store(kind: Kind, state: State, count: int, age_seconds: int = 0, retention: int = DAY) -> list[str]:
    """Jobs of a kind in a state, one a millisecond, as their moves leave them; their ids, newest first."""
    began = now_ms() - 1000 * age_seconds - count
    names = [f"{kind}-{state}-{began + n}" for n in range(count)]
    shards = state_shards(state)
    items = []
    for n, name in enumerate(names):
        item = record_item(Accepted(job_of(kind, name), Choice("ffmpeg_job", ""), began + n), retention)
        items.append(item | {"state": {"S": state}, STATE_KEYS[2]: {"S": shards[n % len(shards)]}})
    assert Table("jobs").write(items, "storing jobs") == []
    return names[::-1]


def pages(stack: Stack, **query: str) -> Iterator[list[str]]:
    """The job ids on each page of a list."""
    left: dict[str, str] | None = {"userID": USER} | query
    while left:
        answer = call(stack.jobs, routes.JOBS, query=left)
        assert answer.status == 200
        yield [record["jobID"] for record in answer.body]
        url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
        left = {name: value for name, (value,) in parse_qs(url.query).items()}


def test_one_old_failed_job_among_3000_is_found_at_once(stack: Stack, calls: Counter[str]) -> None:
    (failed,) = store("ffmpeg", "failed", 1, age_seconds=3600)
    store("ffmpeg", "finished", 3000)
    seconds = []
    for _ in range(5):
        calls.clear()
        started = time.process_time()  # nothing waits here, and the machine may be busy
        assert list(pages(stack, state="failed", limit="1")) == [[failed]]
        seconds.append(time.process_time() - started)
        assert calls == {"Query": 2, "BatchGetItem": 1}
    assert min(seconds) < 0.2


@pytest.mark.parametrize("state", STATES)
def test_a_rare_state_or_kind_is_read_without_the_jobs_around_it(
    stack: Stack, calls: Counter[str], state: State
) -> None:
    seen = Filter(USER, state).stored_states
    rare = store("vmaf", state, 3, age_seconds=3600)
    for other in STATES:
        if other not in seen:
            store("ffmpeg", other, 40)
    for query, shards in (({"state": state}, 2), ({"kind": "vmaf"}, 1), ({"state": state, "kind": "vmaf"}, 1)):
        calls.clear()
        assert list(pages(stack, limit="2", **query)) == [rare[:2], rare[2:]]
        queries = shards * sum(len(state_shards(each)) for each in (seen if "state" in query else STATES))
        assert calls["Query"] == 2 * queries
        assert calls["BatchGetItem"] <= 4


def test_no_page_is_empty_before_the_last_match(stack: Stack) -> None:
    wanted = store("ffmpeg", "cancelled", 2, age_seconds=9) + store("vmaf", "cancelled", 1, age_seconds=99)
    for state in STATES:
        if state != "cancelled":
            store("ffmpeg", state, 25, age_seconds=5)
    for limit in ("1", "2", "3", "1000"):
        found = list(pages(stack, state="cancelled", limit=limit))
        assert all(found)
        assert [job_id for page in found for job_id in page] == wanted


def test_a_running_job_whose_lease_has_expired_is_listed_as_queued(stack: Stack) -> None:
    lost, living = (str(uuid.uuid4()) for _ in range(2))
    for job_id, lease in ((lost, -1), (living, 60)):
        JobsTable("jobs").accept([Accepted(job_of("ffmpeg", job_id), Choice("ffmpeg_job", ""), now_ms())], DAY)
        assert Claims("jobs", lease).claim(job_id, "w")
    assert list(pages(stack, state="queued")) == [[lost]]
    assert list(pages(stack, state="running")) == [[living]]


def test_expired_jobs_are_not_listed_and_cost_no_record(stack: Stack, calls: Counter[str]) -> None:
    store("ffmpeg", "failed", 50, retention=-DAY)
    (failed,) = store("ffmpeg", "failed", 1)
    calls.clear()
    assert list(pages(stack, state="failed")) == [[failed]]
    assert calls["BatchGetItem"] == 1
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": USER}).body == {"retried": 1}


def test_a_job_among_many_events_is_listed_in_few_calls(stack: Stack, calls: Counter[str]) -> None:
    (job_id,) = store("ffmpeg", "finished", 1, age_seconds=3600)
    told = [control_event(Action.JOB_RETRIED, USER, job_id, now_ms()) for _ in range(500)]
    assert not JobsTable("jobs").log(map(Entry, told), DAY)
    calls.clear()
    assert list(pages(stack, limit="1")) == [[job_id]]
    assert calls["Query"] <= 16


def test_the_index_has_each_state_as_the_record_has_it(stack: Stack) -> None:
    job_id = str(uuid.uuid4())
    table, claims = JobsTable("jobs"), Claims("jobs", 60)
    table.accept([Accepted(job_of("ffmpeg", job_id), Choice("ffmpeg_job", ""), now_ms())], DAY)

    def listed() -> list[str]:
        return [state for state in STATES if list(pages(stack, state=state)) == [[job_id]]]

    assert listed() == ["queued"]
    assert table.postpone([job_id], now_ms()) == 1
    assert listed() == ["accepted"]
    assert table.resume(job_id, Choice("ffmpeg_job", ""), now_ms())
    assert claims.claim(job_id, "w")
    assert listed() == ["running"]
    for action, state in (("JobFailed", "failed"), ("JobFinished", "finished")):
        stack.say(event(job_id, action, attempt=1))
        if state == "failed":
            assert listed() == ["failed"]
            assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202
            assert listed() == ["queued"]
            assert call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id}).status == 202
            assert listed() == ["cancelled"]


def test_retrying_all_failed_jobs_reads_the_failed_ones_alone(stack: Stack, calls: Counter[str]) -> None:
    failed = store("ffmpeg", "failed", 3, age_seconds=3600)
    store("ffmpeg", "finished", 500)
    calls.clear()
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": USER}).body == {"retried": len(failed)}
    assert calls["BatchGetItem"] == 2  # records and jobs


# Batches


def expanded(stack: Stack, count: int) -> str:
    """A batch whose jobs are stored, and not counted yet."""
    batch_id = taken(stack, inputs=uris(count))
    for queue, handler in (("surveys", stack.survey), ("pages", stack.expand)):
        for message in take(stack, queue):
            give(handler, message)
    return batch_id


def test_the_jobs_of_a_batch_are_listed_before_they_are_counted(stack: Stack) -> None:
    batch_id = expanded(stack, 250)
    ids_ = [ids.job_id(batch_id, n) for n in range(249, -1, -1)]
    for query in ({}, {"state": "queued"}, {"kind": "ffmpeg"}):
        found = list(pages(stack, batchID=batch_id, limit="100", **query))
        assert found == [ids_[:100], ids_[100:200], ids_[200:]]
    assert list(pages(stack, batchID=batch_id, kind="vmaf")) == [[]]
    finish(stack, ids_[7], action="JobFailed")
    assert list(pages(stack, batchID=batch_id, state="failed")) == [[ids_[7]]]
    assert call(stack.jobs, routes.RETRY_FAILED, {"userID": USER, "batchID": batch_id}).body == {"retried": 1}


def test_a_batch_that_is_being_expanded_lists_the_jobs_that_exist(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(150))
    for message in take(stack, "surveys"):
        give(stack.survey, message)
    give(stack.expand, take(stack, "pages")[0])
    assert shown(stack, batch_id)["state"] == "expanding"
    (found,) = pages(stack, batchID=batch_id)
    assert len(found) in (50, 100)


def test_a_batch_has_not_finished_from_the_answer_to_a_retry_on(stack: Stack) -> None:
    batch_id, other = taken(stack, inputs=uris(12)), taken(stack, inputs=uris(3))
    work(stack)
    names = [ids.job_id(batch_id, n) for n in range(12)]
    for name in (*names, *(ids.job_id(other, n) for n in range(3))):
        finish(stack, name, action="JobFailed")
    work(stack)
    retries: list[tuple[str, dict[str, Any]]] = [
        (routes.RETRY, {"parameters": {"jobID": names[0]}}),
        (routes.RETRY_FAILED, {"body": {"userID": USER, "batchID": batch_id}}),
        (routes.RETRY_FAILED, {"body": {"userID": USER}}),
    ]
    for round_, (route, request) in enumerate(retries, 1):
        assert shown(stack, batch_id)["state"] == "finished"
        assert len(ended(stack, batch_id)) == round_
        assert call(stack.jobs, route, **request).status == 202
        record = shown(stack, batch_id)
        assert (record["state"], record["endedAt"]) == ("running", None)
        assert record["queued"] == (1 if round_ == 1 else 12)
        work(stack)
        assert shown(stack, batch_id)["state"] == "running"
        for name in names[: record["queued"]]:
            finish(stack, name, action="JobFailed")
        work(stack)
    assert shown(stack, batch_id)["state"] == "finished"
    assert sorted(end["eventID"] for end in ended(stack, batch_id)) == [f"{batch_id}-{n}" for n in range(4)]
    assert shown(stack, other)["state"] == "running"


def test_an_end_that_was_computed_before_a_retry_is_refused(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = taken(stack, inputs=uris(2))
    work(stack)
    finish(stack, ids.job_id(batch_id, 0), action="JobFailed")
    finish(stack, ids.job_id(batch_id, 1))
    stack.flow()
    tallies = take(stack, "tallies")
    retried: list[str] = []

    def retry_first(operation: str, _: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems" and not retried:
            retried.append(operation)
            assert call(stack.jobs, routes.RETRY, parameters={"jobID": ids.job_id(batch_id, 0)}).status == 202

    with every_call(retry_first, monkeypatch):
        give(stack.tally, *tallies)
    assert retried
    assert shown(stack, batch_id)["state"] == "running"
    assert ended(stack, batch_id) == []
    finish(stack, ids.job_id(batch_id, 0))
    work(stack)
    assert shown(stack, batch_id)["state"] == "finished"
    assert [end["eventID"] for end in ended(stack, batch_id)] == [f"{batch_id}-0"]


def test_a_retry_cut_off_before_its_count_is_counted_by_tally(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id = taken(stack, inputs=uris(2))
    work(stack)
    finish(stack, *(ids.job_id(batch_id, n) for n in range(2)), action="JobFailed")
    work(stack)
    with killed_at("PutItem", monkeypatch):
        call(stack.jobs, routes.RETRY, parameters={"jobID": ids.job_id(batch_id, 0)})
    work(stack)
    record = shown(stack, batch_id)
    assert (record["state"], record["queued"], record["failed"]) == ("running", 1, 1)
