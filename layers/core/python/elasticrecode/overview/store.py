"""The counts of jobs in the batches table: of each user's jobs, and of all, with the marks of the moves counted.

    batchID          item               content
    ───────────────  ─────────────────  ─────────────────────────────────────────────────────────────
    jobs#<userID>    counts             the counts of a user's jobs
    jobs#            counts             the counts of all jobs
    jobs#            second#<seconds>   the marks of the moves made in a second that have been counted

A move is counted in one transaction: in the counts of its user, in those of all, and among the marks of its second.
So a move that is reported twice, late or in another order counts once. Each item has a version, on condition of which
it is replaced. Marks outlive every report of their moves: a stream keeps those for a day, a queue for 14.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from elasticrecode.aws.clients import pauses
from elasticrecode.aws.dynamodb import ConditionFailed, Conflict, Item, Table, key_of, number, refused
from elasticrecode.contract.tables import BATCHES_KEYS, TTL
from elasticrecode.overview.counts import Counts
from elasticrecode.overview.moves import MARK_BYTES, CountedMove

ALL = ""
"""Stands for all users, where a user's id stands else."""
_DOING = "counting jobs"
_ITEMS = 99
"""Items of a transaction, beside the counts of all jobs."""
_MARKED_SECONDS = 16 * 86_400
_UNTOUCHED_SECONDS = 30 * 86_400
"""How long counts are kept after the retention of the jobs that were counted last: DynamoDB may delete these later."""


class _Report(NamedTuple):
    """A move of a user's job."""

    user: str
    move: CountedMove


class OverviewTable:
    """Reads and writes the counts. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str, retention_seconds: int = 0) -> None:
        self._table = Table(name)
        self._retention_seconds = retention_seconds

    def counts(self, user_id: str) -> Counts:
        """The counts of a user's jobs, or of ALL."""
        return _counts(self._table.get(_counts_key(user_id), "reading the counts of jobs"))

    def count(self, users: Mapping[str, Iterable[CountedMove]]) -> None:
        """Count moves of users' jobs that have not been counted, as many in a transaction as it takes."""
        reports = [_Report(user, move) for user, moves in users.items() for move in moves]
        for some in _portions(sorted(reports, key=lambda report: report.move.at)):
            self._count(some)

    def _count(self, reports: Sequence[_Report]) -> None:
        seconds = {report.move.at: _second_key(report.move.at) for report in reports}
        owners = {owner: _counts_key(owner) for owner in (ALL, *(report.user for report in reports))}
        keys = [*seconds.values(), *owners.values()]
        for pause in pauses():
            stored = {_name(item): item for item in self._table.get_all(keys, _DOING)}
            marks = {second: _marks(stored.get(_name(key))) for second, key in seconds.items()}
            fresh = [report for report in reports if _marks_anew(report.move, marks[report.move.at])]
            if not fresh:
                return
            writes = [*self._marked(marks, fresh, seconds), *self._counted(fresh, owners, stored)]
            with suppress(ConditionFailed, Conflict):
                self._table.transact([self._put(item, stored.get(_name(item))) for item in writes], _DOING)
                return
            time.sleep(pause)
        raise refused(_DOING)

    def _marked(
        self, marks: Mapping[int, set[bytes]], fresh: Iterable[_Report], keys: Mapping[int, Item]
    ) -> Iterator[Item]:
        """The seconds of moves, with their marks."""
        expires = number(int(time.time()) + _MARKED_SECONDS)
        for second in sorted({report.move.at for report in fresh}):
            yield {**keys[second], "marks": {"B": b"".join(sorted(marks[second]))}, TTL: expires}

    def _counted(
        self, fresh: Sequence[_Report], keys: Mapping[str, Item], stored: Mapping[str, Item]
    ) -> Iterator[Item]:
        """The counts of all jobs, and of each user with a move, with these moves."""
        now = time.time()
        moves: dict[str, list[CountedMove]] = {ALL: [report.move for report in fresh]}
        for report in fresh:
            moves.setdefault(report.user, []).append(report.move)
        for owner, some in moves.items():
            before = stored.get(_name(keys[owner]))
            counts = _counts(before)
            counts.take(some, now)
            expires = int(now) + self._retention_seconds + _UNTOUCHED_SECONDS
            kept_until = max(expires, int(before[TTL]["N"]) if before else 0)
            yield {**keys[owner], "counts": {"B": counts.pack()}, TTL: number(kept_until)}

    def _put(self, item: Item, before: Item | None) -> dict[str, Any]:
        """The write that replaces an item, unless another has replaced it since it was read."""
        version = int(before["version"]["N"]) if before else 0
        put: dict[str, Any] = {
            "TableName": self._table.name,
            "Item": {**item, "version": number(version + 1)},
            "ConditionExpression": "version = :version" if before else "attribute_not_exists(version)",
        }
        return {"Put": put | ({"ExpressionAttributeValues": {":version": number(version)}} if before else {})}


def _portions(reports: Iterable[_Report]) -> Iterator[list[_Report]]:
    """Reports in the order given, as many at a time as one transaction counts."""
    some: list[_Report] = []
    items: Counter[str | int] = Counter()
    for report in reports:
        more = {report.user, report.move.at} - items.keys()
        if len(items) + len(more) > _ITEMS:
            yield some
            some, items = [], Counter()
        items.update((report.user, report.move.at))
        some.append(report)
    if some:
        yield some


def _counts(item: Item | None) -> Counts:
    return Counts.unpack(item["counts"]["B"]) if item else Counts()


def _marks(item: Item | None) -> set[bytes]:
    packed: bytes = item["marks"]["B"] if item else b""
    return {packed[n : n + MARK_BYTES] for n in range(0, len(packed), MARK_BYTES)}


def _marks_anew(move: CountedMove, marks: set[bytes]) -> bool:
    """Add the mark of a move. Whether it was not there."""
    known = len(marks)
    marks.add(move.key)
    return len(marks) > known


def _counts_key(owner: str) -> Item:
    return key_of(BATCHES_KEYS, f"jobs#{owner}", "counts")


def _second_key(second: int) -> Item:
    return key_of(BATCHES_KEYS, "jobs#", f"second#{second:011d}")


def _name(item: Item) -> str:
    """The key of an item as one text."""
    return "\n".join(item[name]["S"] for name in BATCHES_KEYS)
