"""Reads of the jobs table and its indexes, one partition or several, in the order of the sort key.

A read ends early where an answer with all items would exceed what a function may return.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.dynamodb import Item, Table, is_current
from elasticrecode.contract.tables import DUE_INDEX, USER_KEYS
from elasticrecode.jobs.items import RECORD

PAGE_BYTES = 3_500_000
"""Bytes of a page. A function may return 6 MB, in which the quotes of our JSON are escaped."""
_JOB_BYTES = 2048
"""About what the job takes that each event gets."""


class Query(NamedTuple):
    """Items of one partition of the table, or of an index, in the order of the sort key, behind `after`.

    `keys` names the attributes of the partition key, which have these `values`, and the sort key. In lists of records,
    sort keys are from `since` on and less than `until`, where these are given.
    """

    of: str | None
    keys: tuple[str, ...]
    values: tuple[str, ...]
    after: str
    newest_first: bool = False
    records_only: bool = False
    since: str = ""
    until: str = ""

    @property
    def bounds(self) -> tuple[str, str]:
        """The sort key from which on items are wanted, and the one up to which; each empty where any will do."""
        if not self.after or not (self.newest_first or self.of == DUE_INDEX):
            return max(self.since, self.after), self.until
        return self.since, min(self.until or self.after, self.after)

    @property
    def has_last(self) -> bool:
        """Whether the item at which the page before ended is read again, as DynamoDB knows no open interval."""
        return bool(self.after and (self.since or self.until))

    @property
    def is_empty(self) -> bool:
        """Whether no sort key is between the bounds."""
        low, high = self.bounds
        return bool(high) and low > high

    def takes(self, item: Item, now: float) -> bool:
        """Whether an item between the bounds is wanted: the one at which the page before ended is not."""
        return is_current(item, now) and item[self.keys[-1]]["S"] != self.after

    def arguments(self) -> dict[str, Any]:
        """The arguments of DynamoDB's Query."""
        names: dict[str, str] = {}
        values: dict[str, Mapping[str, str]] = {}
        conditions = []
        for n, (key, value) in enumerate(zip(self.keys, self.values, strict=False)):
            names[f"#key{n}"], values[f":key{n}"] = key, {"S": value}
            conditions.append(f"#key{n} = :key{n}")
        arguments: dict[str, Any] = {}
        low, high = self.bounds
        if low or high:
            names["#sort"] = self.keys[-1]
            kind = "N" if self.of == DUE_INDEX else "S"
            values |= {name: {kind: value} for name, value in ((":low", low), (":high", high)) if value}
            if low and high:
                conditions.append("#sort BETWEEN :low AND :high")
            else:
                conditions.append("#sort < :high" if high else f"#sort {'>' if low == self.after else '>='} :low")
        arguments["KeyConditionExpression"] = " AND ".join(conditions)
        arguments |= {"IndexName": self.of} if self.of else {"ConsistentRead": True}
        if self.newest_first:
            arguments["ScanIndexForward"] = False
        if self.records_only:
            names["#item"], values[":record"] = "item", {"S": RECORD}
            arguments["FilterExpression"] = "#item = :record"
        return arguments | {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}


class Reads:
    """Reads of one table. Raises Unavailable when AWS refuses."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read_all(self, queries: Sequence[Query], limit: int, each: int = 0) -> tuple[list[Item], str]:
        """A page of several partitions, in one order: up to the place to which all of them have been read.

        `each` is how many items to read of each partition where they are spread evenly; by default `limit`.
        """
        parts = side_by_side(lambda query: self.read(query, min(limit, each or limit)), queries)
        rows, after = merged(parts, queries[0].newest_first)
        chosen = rows[: min(limit, _fitting(rows) or 1)]
        return chosen, place(chosen[-1]) if len(rows) > len(chosen) else after

    def read(self, query: Query, limit: int) -> tuple[list[Item], str]:
        """Up to `limit` items that have not expired, and the sort key behind which the next ones are.

        Fewer where an answer with all of them would exceed what a function may return.
        """
        rows: list[Item] = []
        if query.is_empty:
            return rows, ""
        arguments, size = query.arguments(), limit if query.records_only else 0
        now = time.time()
        while len(rows) <= limit and _fitting(rows) == len(rows):
            more_wanted = limit + 1 + query.has_last - len(rows)
            size = min(1000, max(4 * size, more_wanted))  # most of what was read may be events, or expired
            answer = self._table.query("reading", **arguments, Limit=size)
            rows += (item for item in answer["Items"] if query.of == DUE_INDEX or query.takes(item, now))
            if "LastEvaluatedKey" not in answer:
                break
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        limit = min(limit, _fitting(rows) or 1)
        more = next(iter(rows[limit - 1][query.keys[-1]].values())) if len(rows) > limit else ""
        return rows[:limit], more

    def read_once(self, query: Query) -> tuple[list[Item], str]:
        """The items of one read of 1 MB, without expired ones, and the sort key that it came to, unless to the end."""
        if query.is_empty:
            return [], ""
        answer = self._table.query("reading", **query.arguments())
        now, last = time.time(), answer.get("LastEvaluatedKey")
        return [item for item in answer["Items"] if query.takes(item, now)], place(last) if last else ""


def merged(parts: Sequence[tuple[list[Item], str]], newest_first: bool) -> tuple[list[Item], str]:
    """The items of several partitions in one order, up to the place to which all have been read, and that place."""
    rows = sorted((row for rows, _ in parts for row in rows), key=place, reverse=newest_first)
    ends = [after for _, after in parts if after]
    if not ends:
        return rows, ""
    end = max(ends) if newest_first else min(ends)
    return [row for row in rows if place(row) == end or (place(row) > end) == newest_first], end


def place(row: Item) -> str:
    """The sort key of an item in the indexes `user` and `state`."""
    return str(row[USER_KEYS[1]]["S"])


def _fitting(rows: Sequence[Item]) -> int:
    """How many of the items fit into one answer as events, each with its job."""
    size = 0
    for n, row in enumerate(rows):
        size += len(row["event"]["S"] if "event" in row else "") + _JOB_BYTES
        if size > PAGE_BYTES:
            return n
    return len(rows)
