"""A list of jobs is narrowed by time, text and code, in either order, and every page ends."""

import itertools
import json
import uuid
from collections import Counter
from typing import Any

import pytest
from msgspec import structs

from elasticrecode import ids
from elasticrecode.aws.dynamodb import Table
from elasticrecode.contract import routes
from elasticrecode.contract.tables import STATE_KEYS
from elasticrecode.jobs.items import Accepted, record_item
from elasticrecode.jobs.lifecycle import STATES, State, state_shards
from elasticrecode.jobs.placement import Choice
from elasticrecode.lists import pages as lists
from tests.aws.test_batches import finish
from tests.aws.test_lists import DAY, USER, calls, expanded, job_of, pages, small_pages
from tests.fakes.stack import Stack
from tests.support import call

__all__ = ("calls", "small_pages")
BEGAN = 4_000_000_000_000
"""Milliseconds: the first job's time. It lies ahead, so that no job has expired."""
MINUTE = 60_000


def keep(
    count: int, state: State = "finished", user: str = USER, began: int = BEGAN, name: str = "film", code: str = ""
) -> list[str]:
    """Jobs of a user, one a minute, with inputs named after their number; their ids, oldest first."""
    names = [str(uuid.uuid4()) for _ in range(count)]
    items = []
    for n, job_id in enumerate(names):
        job = structs.replace(job_of("ffmpeg", job_id), userid=user, input=f"s3://media/in/{name}-{n}.mp4")
        item = record_item(Accepted(job, Choice("ffmpeg_job", ""), began + n * MINUTE), DAY)
        item |= {"state": {"S": state}, STATE_KEYS[2]: {"S": state_shards(state)[0]}}
        items.append(item | ({"failure": {"S": json.dumps({"code": code, "message": ""})}} if code else {}))
    assert Table("jobs").write(items, "storing jobs") == []
    return names


def listed(stack: Stack, **query: str) -> list[str]:
    """The job ids of all pages of a list."""
    return [job_id for page in pages(stack, **query) for job_id in page]


def seconds(n: float) -> str:
    """The time of the job with a number, in the words of a query."""
    return f"{BEGAN / 1000 + 60 * n:.3f}"


FILTERS: tuple[dict[str, str], ...] = ({}, {"state": "finished"}, {"kind": "ffmpeg"}, {"text": "FILM"})


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("limit", ["2", "1000"])
def test_a_list_holds_what_was_created_from_since_on_and_before_until(
    stack: Stack, filters: dict[str, str], limit: str
) -> None:
    jobs = keep(7)
    for order, expected in (("newest", jobs[::-1]), ("oldest", jobs)):
        among = {"limit": limit, "order": order, **filters}
        chosen = [job for job in expected if job in jobs[2:5]]
        assert listed(stack, **among) == expected
        assert listed(stack, since=seconds(2), until=seconds(5), **among) == chosen
        assert listed(stack, since=seconds(2), **among) == [job for job in expected if job in jobs[2:]]
        assert listed(stack, until=seconds(5), **among) == [job for job in expected if job in jobs[:5]]
        assert listed(stack, since=seconds(2.0001), until=seconds(4.0001), **among) == [
            job for job in expected if job in jobs[3:5]
        ]
        assert listed(stack, since=seconds(50), **among) == listed(stack, until=seconds(-1), **among) == []


@pytest.mark.parametrize("filters", FILTERS)
def test_adjacent_times_share_no_job_and_lose_none(stack: Stack, filters: dict[str, str]) -> None:
    jobs = keep(9)
    parts = [listed(stack, since=seconds(n), until=seconds(n + 3), order="oldest", **filters) for n in (0, 3, 6)]
    assert parts == [jobs[:3], jobs[3:6], jobs[6:]]


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_listed_oldest_first(stack: Stack, state: State) -> None:
    jobs = keep(5, state)
    keep(5, "cancelled" if state != "cancelled" else "failed")
    assert listed(stack, state=state, order="oldest", limit="2") == jobs


@pytest.mark.parametrize(
    "text", ["film-3.mp4", "FILM-3.MP4", "media/in/film-3", "-3.", "s3://media/in/film-3.mp4", "ILM-3"]
)
def test_text_is_anywhere_in_the_uri_of_an_input(stack: Stack, text: str) -> None:
    jobs = keep(9)
    for filters in ({}, {"state": "finished"}, {"limit": "1"}):
        assert listed(stack, text=text, **filters) == [jobs[3]]


def test_text_is_in_the_output_and_at_the_beginning_of_an_id(stack: Stack) -> None:
    jobs = keep(3)
    output = job_of("ffmpeg", "").output
    assert listed(stack, text=output[5:].upper()) == jobs[::-1]
    for job_id in jobs:
        assert listed(stack, text=job_id[:13]) == [job_id]
        assert listed(stack, text=job_id[1:13]) == []


def test_the_whole_id_of_a_job_is_found_at_once_by_its_user_alone(stack: Stack, calls: Counter[str]) -> None:
    job_id, *_ = keep(40)
    (other,) = keep(1, user="another")
    calls.clear()
    assert list(pages(stack, text=job_id.upper())) == [[job_id]]
    assert calls == {"BatchGetItem": 1}
    assert listed(stack, text=other) == []
    assert listed(stack, text=job_id, state="failed") == []


def test_code_finds_the_failed_jobs_that_have_it(stack: Stack) -> None:
    corrupt, lost = keep(3, "failed", code="input-corrupt"), keep(2, "failed", code="input-not-found")
    keep(2, "queued", code="input-corrupt")  # a worker returned these
    keep(3)
    for filters in ({}, {"state": "failed"}):
        assert listed(stack, code="input-corrupt", **filters) == corrupt[::-1]
        assert sorted(listed(stack, code="input-not-found", limit="1", **filters)) == sorted(lost)
    assert listed(stack, code="never-seen") == []
    assert listed(stack, code="input-corrupt", text="film-1", order="oldest") == [corrupt[1]]


def test_filters_of_one_user_never_show_anothers_jobs(stack: Stack) -> None:
    mine, theirs = keep(3), keep(3, user="another")
    query: dict[str, str]
    for query in ({}, {"text": "film"}, {"since": seconds(0)}, {"order": "oldest"}, {"state": "finished"}):
        assert sorted(listed(stack, **query)) == sorted(mine)
        assert sorted(listed(stack, userID="another", **query)) == sorted(theirs)


@pytest.mark.parametrize("filters", [{}, {"state": "finished"}])
def test_a_page_with_text_ends_and_the_next_goes_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, filters: dict[str, str]
) -> None:
    monkeypatch.setattr(lists, "_SIFTED_JOBS", 100)
    rare = keep(1, name="rare")
    keep(350, began=BEGAN + MINUTE)
    monkeypatch.setattr(Table, "query", _small(Table.query, 20))
    found = list(pages(stack, text="rare", **filters))
    assert [job_id for page in found for job_id in page] == rare
    assert 2 <= len(found) <= 5
    assert found[0] == []


def test_a_page_with_text_ends_when_it_takes_long(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(100)
    monkeypatch.setattr(Table, "query", _small(Table.query, 2))
    ticks = itertools.count(step=3)
    monkeypatch.setattr("elasticrecode.lists.pages.time.monotonic", lambda: float(next(ticks)))
    assert len(list(pages(stack, text="nowhere"))) >= 4


def test_many_matches_fill_pages_without_gap_or_repetition(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = keep(60)
    monkeypatch.setattr(Table, "query", _small(Table.query, 3))
    for order, expected in (("newest", jobs[::-1]), ("oldest", jobs)):
        for limit in (1, 7, 100):
            found = list(pages(stack, text="film", order=order, limit=str(limit)))
            assert [job_id for page in found for job_id in page] == expected
            assert max(map(len, found)) <= limit


def test_a_page_reads_about_as_many_jobs_as_it_holds(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(400)
    read = Counter[str]()
    real = Table.query

    def counting(table: Table, doing: str, **arguments: Any) -> dict[str, Any]:
        answer = real(table, doing, **arguments)
        read["jobs"] += answer["ScannedCount"]
        return answer

    monkeypatch.setattr(Table, "query", counting)
    assert len(next(iter(pages(stack, limit="100")))) == 100
    assert read["jobs"] < 1000  # of each of the eight partitions an eighth, and a few more


def test_the_jobs_of_a_batch_are_filtered_and_ordered(stack: Stack) -> None:
    batch_id = expanded(stack, 120)
    names = [ids.job_id(batch_id, n) for n in range(120)]
    assert listed(stack, batchID=batch_id, order="oldest", limit="50") == names
    assert listed(stack, batchID=batch_id, text=names[7]) == [names[7]]
    assert listed(stack, batchID=batch_id, text=batch_id[:20], order="oldest") == names
    assert listed(stack, text=batch_id, order="oldest", limit="100") != []
    assert sorted(listed(stack, text=batch_id)) == names
    for name in (names[7], names[90]):
        finish(stack, name, action="JobFailed")
    assert listed(stack, batchID=batch_id, state="failed", order="oldest", limit="1") == [names[7], names[90]]
    assert listed(stack, batchID=batch_id, until="1") == listed(stack, batchID=batch_id, since=seconds(0)) == []
    assert len(listed(stack, batchID=batch_id, since="1", until=seconds(0))) == 120


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ({"since": "yesterday"}, "since must be Unix seconds"),
        ({"until": "1.2345"}, "until must be Unix seconds"),
        ({"since": "-1"}, "since must be Unix seconds"),
        ({"since": ""}, "since must be Unix seconds"),
        ({"since": "9" * 11}, "since must be Unix seconds"),
        ({"since": "5", "until": "5"}, "since must be before until"),
        ({"text": ""}, "text must be a part of a URI"),
        ({"code": ""}, "code must be the code of a failure"),
        ({"code": "input-corrupt", "state": "finished"}, "code finds failed jobs, and state says finished"),
        ({"order": "size"}, "order must be one of newest, oldest"),
    ],
)
def test_a_filter_that_is_none_is_explained(stack: Stack, query: dict[str, str], advice: str) -> None:
    answer = call(stack.jobs, routes.JOBS, query={"userID": USER, **query})
    assert answer.status == 400
    assert advice in answer.body["detail"]


def test_a_cursor_outside_the_time_of_a_list_ends_it(stack: Stack) -> None:
    keep(3)
    after = f"{BEGAN - MINUTE}".rjust(14, "0") + "#0#x"
    for query in ({"order": "newest", "since": seconds(0)}, {"order": "oldest", "until": seconds(-2)}):
        assert call(stack.jobs, routes.JOBS, query={"userID": USER, "after": after, **query}).body == []


def _small(real: Any, size: int) -> Any:
    """Queries that read so many items at most, as DynamoDB ends a page at 1 MB."""

    def query(table: Table, doing: str, **arguments: Any) -> Any:
        return real(table, doing, **{**arguments, "Limit": min(size, arguments.get("Limit", size))})

    return query
