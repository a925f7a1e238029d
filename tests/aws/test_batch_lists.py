"""The batches of a user, newest first, each as its own route shows it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from elasticrecode import ids
from elasticrecode.batches.store import BatchesTable
from elasticrecode.contract import routes
from tests.aws.test_batches import ORDER, USER, finish, shown, small_pages, taken, uris, work
from tests.aws.test_lists import calls
from tests.fakes.stack import Stack
from tests.support import call, function

__all__ = ("calls", "small_pages")
HANDLER = function("batch")


@pytest.fixture(autouse=True)
def clock(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are taken in a millisecond apart."""
    stack.batch = HANDLER.build(stack.wiring.settings_of("batch"))
    real, late = HANDLER.now_ms, Counter[str]()

    def now_ms() -> int:
        late["ms"] += 1
        return int(real()) + late["ms"]

    monkeypatch.setattr(HANDLER, "now_ms", now_ms)


def pages(stack: Stack, user: str = USER, **query: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a user's batches."""
    left: dict[str, str] = {"userID": user} | query
    while left:
        answer = call(stack.batch, routes.BATCHES, query=left)
        assert answer.status == 200
        yield answer.body
        url = urlsplit(answer.headers.get("Link", "<>").split(">")[0].lstrip("<"))
        left = {name: value for name, (value,) in parse_qs(url.query).items()}


def listed(stack: Stack, user: str = USER, **query: str) -> list[str]:
    return [batch["batchID"] for page in pages(stack, user, **query) for batch in page]


def test_batches_are_listed_newest_first_in_pages(stack: Stack) -> None:
    batches = [taken(stack, inputs=uris(1)) for _ in range(7)]
    for limit in ("1", "3", "7", "1000"):
        found = list(pages(stack, limit=limit))
        assert [batch["batchID"] for page in found for batch in page] == batches[::-1]
        assert all(len(page) <= int(limit) for page in found)
    assert len(list(pages(stack, limit="7"))) == 1


def test_a_batch_in_the_list_is_the_batch_that_its_route_shows(stack: Stack) -> None:
    batch_id, other = taken(stack, inputs=uris(3)), taken(stack, inputs=uris(2))

    def assert_same() -> None:
        by_id = {batch["batchID"]: batch for page in pages(stack) for batch in page}
        assert by_id == {name: shown(stack, name) for name in (batch_id, other)}

    assert_same()
    work(stack)
    assert_same()
    names = [ids.job_id(batch_id, n) for n in range(3)]
    finish(stack, *names[:2])
    finish(stack, names[2], action="JobFailed")
    work(stack)
    assert shown(stack, batch_id)["state"] == "finished"
    assert_same()
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": names[2]}).status == 202
    assert shown(stack, batch_id)["state"] == "running"
    assert_same()
    finish(stack, names[2])
    work(stack)
    assert shown(stack, batch_id)["finished"] == 3
    assert_same()
    assert call(stack.batch, routes.CANCEL_BATCH, parameters={"batchID": other}).status == 202
    work(stack)
    assert_same()


def other(stack: Stack) -> str:
    order = {**ORDER, "userid": "another", "inputs": uris(1)}
    return str(call(stack.batch, routes.SUBMIT_BATCH, order).body["batchID"])


def test_the_batches_of_two_users_do_not_mix(stack: Stack) -> None:
    mine, theirs = taken(stack, inputs=uris(1)), other(stack)
    assert listed(stack) == [mine]
    assert listed(stack, "another") == [theirs]
    assert listed(stack, "nobody") == []


def test_batches_that_have_ended_are_listed_in_two_calls(stack: Stack, calls: Counter[str]) -> None:
    batches = [taken(stack, inputs=uris(1)) for _ in range(4)]
    work(stack)
    finish(stack, *(ids.job_id(batch_id, 0) for batch_id in batches[:3]))
    work(stack)
    calls.clear()
    assert listed(stack) == batches[::-1]
    assert calls == {"Query": 2, "BatchGetItem": 1}  # one Query for the strips of the batch that goes on


def test_expired_batches_are_not_listed(stack: Stack) -> None:
    batch_id, expired = taken(stack, inputs=uris(1)), taken(stack, inputs=uris(1))
    stack.dynamodb.update_item(
        TableName="batches",
        Key={"batchID": {"S": expired}, "item": {"S": "batch"}},
        UpdateExpression="SET expires = :past",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )
    assert list(map(len, pages(stack, limit="1"))) == [1]
    assert listed(stack) == [batch_id]


def test_a_batch_of_before_the_list_is_shown_by_its_route_alone(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(1))
    stack.dynamodb.update_item(
        TableName="batches",
        Key={"batchID": {"S": batch_id}, "item": {"S": "batch"}},
        UpdateExpression="REMOVE userID, #at, counts",
        ExpressionAttributeNames={"#at": "at"},
    )
    assert listed(stack) == []
    assert shown(stack, batch_id)["userID"] == USER


def test_a_page_ends_before_it_is_too_large_to_be_answered(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [taken(stack, inputs=uris(1)) for _ in range(5)]
    monkeypatch.setattr(HANDLER, "PAGE_BYTES", 1500)
    found = list(pages(stack))
    assert [batch["batchID"] for page in found for batch in page] == batches[::-1]
    assert len(found) > 1
    monkeypatch.setattr(HANDLER, "PAGE_BYTES", 1)
    assert list(map(len, pages(stack))) == [1] * 5


def test_the_user_is_required_and_a_cursor_checked(stack: Stack) -> None:
    answer = call(stack.batch, routes.BATCHES)
    assert (answer.status, "userID is required" in answer.body["detail"]) == (400, True)
    for after in ("job", "x", "1#2", "00000000000001#" + "x" * 65):
        assert call(stack.batch, routes.BATCHES, query={"userID": USER, "after": after}).status == 400


def test_a_batch_taken_twice_is_listed_once(stack: Stack) -> None:
    batch_id = taken(stack, inputs=uris(1))
    stored = BatchesTable("batches").get(batch_id)
    assert stored
    BatchesTable("batches", 86_400).create(stored.batch)
    assert listed(stack) == [batch_id]
