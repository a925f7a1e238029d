"""Counts of jobs by state, by code and by minute."""

import base64

from elasticrecode.overview.counts import Counts
from elasticrecode.overview.moves import CountedMove, Place, counted_moves

NOW = 1_800_000_030
MINUTE = NOW // 60


def move(left: Place | None, entered: Place | None, at: int = NOW) -> CountedMove:
    return CountedMove(base64.b64encode(bytes(8)).decode(), at, left, entered)


def failed(code: str, at: int = NOW) -> CountedMove:
    return move(Place("running"), Place("failed", code), at)


def counted(*moves: CountedMove, now: float = NOW) -> Counts:
    counts = Counts()
    counts.take(moves, now)
    return counts


def test_a_move_that_comes_before_the_one_it_follows_is_not_shown_below_zero() -> None:
    counts = counted(move(Place("queued"), Place("running")))
    assert (counts.shown(NOW).states.queued, counts.shown(NOW).states.running) == (0, 1)
    counts.take([move(None, Place("queued"))], NOW)
    assert (counts.states, counts.shown(NOW).states.queued) == ({"running": 1}, 0)


def test_the_same_moves_in_any_order_come_to_the_same() -> None:
    moves = [
        move(None, Place("queued")),
        move(Place("queued"), Place("running")),
        failed("a"),
        move(Place("failed", "a"), Place("queued")),
        move(Place("queued"), Place("cancelled")),
        move(Place("cancelled"), None),
    ]
    forwards, backwards = counted(*moves), counted(*reversed(moves))
    assert (forwards.states, forwards.failures) == (backwards.states, backwards.failures) == ({}, {})


def test_counts_are_the_same_when_unpacked() -> None:
    counts = counted(move(None, Place("queued")), failed("input-corrupt"), failed("x"))
    assert Counts.unpack(counts.pack()) == counts


def test_failures_beyond_a_hundred_codes_are_counted_as_other_and_none_is_lost() -> None:
    counts = counted(*(failed(f"code-{n}") for n in range(130)))
    assert sum(entry.jobs for entry in counts.shown(NOW).failures) == 130
    assert counts.shown(NOW).failures[0].code == "other"
    counts.take([move(Place("failed", f"code-{n}"), None) for n in range(130)], NOW)
    assert counts.shown(NOW).failures == []


def test_minutes_hold_an_hour_oldest_first_and_only_what_happened() -> None:
    hours = [NOW - 60 * n for n in range(130)]
    counts = counted(*(move(None, Place("queued"), at) for at in hours))
    minutes = counts.shown(NOW).minutes
    assert [minute.at for minute in minutes] == [60 * (MINUTE - n) for n in range(59, -1, -1)]
    assert {minute.submitted for minute in minutes} == {1}
    assert len(counts.shown(NOW + 1800).minutes) == 30
    assert counts.shown(NOW + 7200).minutes == []
    assert len(counts.pack()) < 400


def test_a_clock_that_is_ahead_counts_in_this_minute() -> None:
    counts = counted(move(Place("running"), Place("finished"), NOW + 600))
    (minute,) = counts.shown(NOW).minutes
    assert (minute.at, minute.finished) == (60 * MINUTE, 1)


def test_a_full_item_stays_within_one_write_unit() -> None:
    moves = [move(None, Place("queued"), NOW - n) for n in range(3600)]
    moves += [failed(f"input-some-code-{n % 12}", NOW - n) for n in range(3600)]
    assert len(counted(*moves).pack()) < 900


def test_a_change_without_a_move_or_a_mark_is_no_move() -> None:
    def image(state: str, moves: int, **more: str) -> dict[str, dict[str, str]]:
        texts = {name: {"S": text} for name, text in more.items()}
        return {"jobID": {"S": "j"}, "userID": {"S": "u"}, "state": {"S": state}, "moves": {"N": str(moves)}, **texts}

    mark = {"counted": {"N": "1"}}
    when = {"ApproximateCreationDateTime": NOW}
    old, new = image("queued", 1) | mark, image("running", 2) | mark
    (only,) = counted_moves([{"OldImage": old, "NewImage": new, **when}])["u"]
    assert only[1:] == (NOW, Place("queued"), Place("running"))
    for changes in (
        {"OldImage": new, "NewImage": image("running", 3) | mark, **when},  # a first-generation worker took it again
        {"OldImage": new, "NewImage": new | {"lease": {"N": "1"}}, **when},
        {"OldImage": image("queued", 1), "NewImage": image("running", 2), **when},
        {},
    ):
        assert counted_moves([changes]) == {}
    (gone,) = counted_moves([{"OldImage": new, **when}])["u"]
    assert (gone.left, gone.entered) == (Place("running"), None)
    assert gone.mark != only.mark
    assert counted_moves([{"OldImage": image("failed", 3) | mark, **when}])["u"][0].left == Place("failed", "unknown")
