"""The moves of jobs that the overview counts, from the records of the jobs table's stream."""

import base64
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from elasticrecode.jobs.events import Failure
from elasticrecode.jobs.lifecycle import COUNTED

UNKNOWN_CODE = "unknown"
"""The code under which jobs are counted that failed without one."""
_CODE_LENGTH = 64
MARK_BYTES = 8


class Place(NamedTuple):
    """Where a job is counted: under its state, and if it has failed under its code."""

    state: str
    code: str = ""


class CountedMove(NamedTuple):
    """A job that left a place for another: None for one that is new, or gone. `at` is in Unix seconds, by AWS's clock.

    `mark` is the same whenever the same move is reported, and another for every other move.
    """

    mark: str
    at: int
    left: Place | None
    entered: Place | None

    @property
    def key(self) -> bytes:
        """The mark in few bytes."""
        return base64.b64decode(self.mark)


class MovesMessage(Struct):
    """Tells `tally` to count moves of jobs, by their user."""

    users: dict[str, list[CountedMove]]


def counted_moves(changes: Iterable[Mapping[str, Any]]) -> dict[str, list[CountedMove]]:
    """The moves in changes of records, each with `NewImage` and `OldImage` where it has them, by user."""
    moves: dict[str, list[CountedMove]] = {}
    for change in changes:
        if move := _move(change.get("OldImage"), change.get("NewImage"), change):
            user: str = (change.get("NewImage") or change["OldImage"])["userID"]["S"]
            moves.setdefault(user, []).append(move)
    return moves


def _move(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, change: Mapping[str, Any]
) -> CountedMove | None:
    """The move that made one record of another. Records of before the overview, parts and plans are not counted."""
    record = after or before
    if not record or COUNTED not in record or (before and after and _moves(before) == _moves(after)):
        return None
    left, entered = _place(before), _place(after)
    if left == entered:
        return None
    name = f"{record['jobID']['S']} {_moves(after) if after else 'gone'}"
    mark = base64.b64encode(blake2b(name.encode(), digest_size=MARK_BYTES).digest()).decode()
    return CountedMove(mark, int(change["ApproximateCreationDateTime"]), left, entered)


def _moves(record: Mapping[str, Any]) -> int:
    return int(record["moves"]["N"]) if "moves" in record else 0


def _place(record: Mapping[str, Any] | None) -> Place | None:
    if not record:
        return None
    state = record["state"]["S"]
    if state != "failed":
        return Place(state)
    code = msgspec.json.decode(record["failure"]["S"], type=Failure).code if "failure" in record else ""
    return Place(state, code[:_CODE_LENGTH] or UNKNOWN_CODE)
