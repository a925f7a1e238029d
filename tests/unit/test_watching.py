"""What watchers may ask for, and the frames they get."""

import json
from typing import Any

import pytest
from msgspec import UNSET, Raw, structs

from elasticrecode import ids
from elasticrecode.errors import BadParameter
from elasticrecode.jobs.events import Event, Failure, Output, Result
from elasticrecode.watch import subscription as watching
from elasticrecode.watch.subscription import Cursor, FeedEvent, Start, Watch, encoded, frames, gap, read, topics

LIMIT = 128 * 1024
"""What API Gateway takes."""
BATCH = "3b241101-e2bb-4255-8caf-4136c566a962"


def event(user: str = "ann", job_id: str = "j1", action: str = "JobStart", **more: Any) -> Event:
    job = Raw(json.dumps({"userid": user, "jobid": job_id}).encode())
    fields: dict[str, Any] = {"ts": 1, "tsMs": 1000, "eventID": "e", "job": job} | more
    return Event(userID=user, jobID=job_id, action=action, **fields)


def tell(*events: Event, seq: int = 7) -> list[FeedEvent]:
    return [encoded(Cursor(seq, n), event) for n, event in enumerate(events)]


def test_a_query_gives_filters_and_a_start() -> None:
    assert read({}) == (Watch(), Start("now"))
    asked = {"userID": "ann", "jobID": "j1", "batchID": "b", "actions": "JobStart,JobFailed,,JobStart", "pack": "1"}
    watch, start = read(asked | {"after": "12.3", "ticket": "t"})
    assert watch == Watch("ann", "j1", "b", ("JobFailed", "JobStart"), pack=True)
    assert start == Start("after", "12.3")


def test_empty_parameters_count_as_missing() -> None:
    names = ("userID", "jobID", "batchID", "actions", "pack", "lastMod", "after", "ticket")
    assert read(dict.fromkeys(names, "")) == (Watch(), Start("now"))


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("0", Start("latest")),
        ("0.0", Start("latest")),
        ("1700000000", Start("since", "1700000000000")),
        ("1700000000.25", Start("since", "1700000000250")),
        ("1700000000.123456789", Start("since", "1700000000123")),
        ("99999999999", Start("since", "99999999999000")),
    ],
)
def test_last_mod_is_a_time_in_seconds(text: str, start: Start) -> None:
    assert read({"lastMod": text})[1] == start


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"lastmod": "1"}, "'lastmod'"),
        ({"x" * 100: "1"}, "xxx"),
        ({"userID": "a b"}, "userID"),
        ({"jobID": "j" * 129}, "jobID"),
        ({"batchID": "\n"}, "batchID"),
        ({"actions": "JobStart;JobFailed"}, "actions"),
        ({"actions": ",".join(f"A{'x' * n}" for n in range(33))}, "actions"),
        ({"pack": "yes"}, "pack"),
        ({"lastMod": "-1"}, "lastMod"),
        ({"lastMod": "1e3"}, "lastMod"),
        ({"lastMod": "nan"}, "lastMod"),
        ({"lastMod": "1" * 12}, "lastMod"),
        ({"lastMod": "١"}, "lastMod"),
        ({"after": "x"}, "after"),
        ({"after": "1.2.3"}, "after"),
        ({"after": "-1"}, "after"),
        ({"after": "1", "lastMod": "1"}, "not both"),
    ],
)
def test_a_wrong_parameter_is_named(query: dict[str, str], said: str) -> None:
    with pytest.raises(BadParameter) as found:
        read(query)
    assert said in found.value.detail
    assert len(found.value.detail) < 200


@pytest.mark.parametrize("cursor", [Cursor(1), Cursor(1, 0), Cursor(1_700_000_000_000, 999_999)])
def test_a_cursor_survives_writing_and_reading(cursor: Cursor) -> None:
    assert Cursor.read(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "a", "1.", ".1", "1.1234567", "1" * 16, "1 ", "1\n"])
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        Cursor.read(text)


def test_cursors_sort_in_the_order_of_the_feed() -> None:
    order = [Cursor(1), Cursor(2, 0), Cursor(2, 1), Cursor(2, 10), Cursor(2), Cursor(10, 0)]
    assert sorted(order, key=lambda cursor: cursor) == order
    assert [str(cursor) for cursor in order] == ["1", "2.0", "2.1", "2.10", "2", "10.0"]
    assert (Cursor(2, 1).before, Cursor(2, 0).before) == (Cursor(2, 0), Cursor(1))


@pytest.mark.parametrize(
    ("watch", "topic", "wanted"),
    [
        (Watch(), "everything", ["ann j1 A", "ann j2 B", "bob j3 A"]),
        (Watch(userID="ann"), "userID#ann", ["ann j1 A", "ann j2 B"]),
        (Watch(jobID="j3"), "jobID#j3", ["bob j3 A"]),
        (Watch(userID="ann", jobID="j3"), "jobID#j3", []),
        (Watch(userID="ann", actions=("B", "C")), "userID#ann", ["ann j2 B"]),
        (Watch(actions=("A",)), "everything", ["ann j1 A", "bob j3 A"]),
        (Watch(userID="ann", batchID="b"), "batchID#b", []),
        (Watch(batchID=BATCH), f"batchID#{BATCH}", [f"bob {ids.job_id(BATCH, 7)} A", f"bob {BATCH} BatchFinished"]),
        (
            Watch(jobID=ids.job_id(BATCH, 7), batchID=BATCH),
            f"jobID#{ids.job_id(BATCH, 7)}",
            [f"bob {ids.job_id(BATCH, 7)} A"],
        ),
    ],
)
def test_an_event_must_match_all_filters_and_the_topic_is_the_narrowest(
    watch: Watch, topic: str, wanted: list[str]
) -> None:
    events = [event("ann", "j1", "A"), event("ann", "j2", "B"), event("bob", "j3", "A")]
    if watch.batchID:
        end = structs.replace(event("bob", BATCH, "BatchFinished"), batchID=BATCH)
        events += [event("bob", ids.job_id(BATCH, 7), "A"), end]
    assert watch.topic == topic
    chosen = [said for said in events if watch.wants(said)]
    assert [f"{said.userID} {said.jobID} {said.action}" for said in chosen] == wanted
    assert all(watch.topic in topics([said]) for said in chosen)


def test_each_event_is_a_frame_with_its_cursor() -> None:
    found = frames(Watch(), tell(event(eventID="a"), event(eventID="b")))
    assert [(frame.before, frame.cursor) for frame in found] == [
        (Cursor(6), Cursor(7, 0)),
        (Cursor(7, 0), Cursor(7, 1)),
    ]
    assert [(said["eventID"], said["cursor"]) for said in map(json.loads, (frame.body for frame in found))] == [
        ("a", "7.0"),
        ("b", "7.1"),
    ]


def test_packed_frames_hold_as_many_events_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    events = tell(*(event(eventID=f"e{n:03}", action="B" if n % 10 == 0 else "A") for n in range(100)))
    monkeypatch.setattr(watching, "FRAME_BYTES", 2000)
    found = frames(Watch(actions=("A",), pack=True), events)
    bodies = [json.loads(frame.body) for frame in found]
    assert [said["eventID"] for body in bodies for said in body] == [f"e{n:03}" for n in range(100) if n % 10]
    assert all(1700 < len(frame.body) <= 2002 for frame in found[:-1])
    assert [str(frame.cursor) for frame in found] == [body[-1]["cursor"] for body in bodies]
    assert [frame.before for frame in found] == [Cursor.read(body[0]["cursor"]).before for body in bodies]


def test_without_a_matching_event_there_is_no_frame() -> None:
    for pack in (False, True):
        assert frames(Watch(userID="bob", pack=pack), tell(event())) == []


@pytest.mark.parametrize(
    "large",
    [
        {"job": Raw(json.dumps({"userid": "ann", "jobid": "j1", "x": "y" * LIMIT}).encode())},
        {"msg": "m" * LIMIT},
        {"error": Failure("c", "e" * LIMIT, ["l" * LIMIT] * 9)},
        {"result": Result(outputs=[Output(uri="s3://b/" + "u" * LIMIT, bytes=1)])},
        {"msg": "\x00" * LIMIT, "error": Failure("c", "\x00" * LIMIT, ["\x00" * LIMIT] * 9)},
    ],
)
def test_a_too_large_event_is_truncated_and_links_to_the_whole(large: dict[str, Any]) -> None:
    (frame,) = frames(Watch(), tell(event(**large)))
    assert len(frame.body) < LIMIT
    said = json.loads(frame.body)
    assert (said["eventID"], said["cursor"], said["action"]) == ("e", "7.0", "JobStart")
    assert (said["truncated"], said["full"]) == (True, "/api/v1/jobs/j1")
    assert "job" not in said
    if "error" in large:
        assert said["error"]["code"] == "c"


def test_an_event_within_the_limit_is_not_truncated() -> None:
    said = json.loads(tell(event(msg="m" * 100_000))[0].body)
    assert len(said["msg"]) == 100_000
    assert said["job"] == {"userid": "ann", "jobid": "j1"}
    assert "truncated" not in said
    assert event().cursor is UNSET


@pytest.mark.parametrize(
    ("start", "place"),
    [(Start("after", "12.3"), "the cursor 12.3"), (Start("since", "1700000000250"), "the time 1700000000.250")],
)
def test_a_gap_frame_names_the_place(start: Start, place: str) -> None:
    said = json.loads(gap(start, Cursor(12), 1_700_000_001_234))
    assert said.keys() == {"action", "ts", "tsMs", "cursor", "msg"}
    assert said["cursor"] == "12"
    assert (said["action"], said["ts"], said["tsMs"]) == ("Gap", 1_700_000_001, 1_700_000_001_234)
    assert place in said["msg"]
