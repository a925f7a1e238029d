"""Queries of the embedded DynamoDB that read their page, not their partition.

DynamoDB keeps the items of a partition in the order of the sort key and reads a page alone, however many there are:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.html. ministack's `dynamodb._query` sorts the
whole partition and tests the key condition on each item, which takes a second with 10,000 jobs. Here each partition
that was queried keeps its order, and `_query` is given the items of the page. Its answer is the same.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FunctionType, SimpleNamespace
from typing import Any

from ministack.services import dynamodb  # type: ignore[import-not-found]

Json = dict[str, Any]
Names = list[tuple[str, str]]
"""Attributes in whose order the items of a partition are, each with its type: first the sort key, if there is one."""
Entry = tuple[tuple[Any, ...], Any, Any]
"""The place of an item in its partition: the values of the order, and the keys by which ministack holds the item."""

_MEMBERS = dynamodb._INDEX_MEMBERS  # noqa: SLF001
_ORDERS = "\0orders"
"""Where the orders are, beside the members of the indexes, with which ministack drops them when a table's items go."""
_EXPRESSIONS = 1024
"""So many texts are kept parsed."""
_HIGHEST = "\U0010ffff"
_query, _index_item = dynamodb._query, dynamodb._index_item  # noqa: SLF001


def query(data: Json) -> Any:
    """Answer a Query request."""
    tables = SimpleNamespace(get=lambda name: _page(dynamodb._tables.get(name), data))  # noqa: SLF001
    return FunctionType(_query.__code__, {**vars(dynamodb), "_tables": tables})(data)


def index_item(table: Json, base_pk: Any, base_sk: Any, item: Json, add: bool) -> None:
    """Note that an item is added to a table or removed from it."""
    _index_item(table, base_pk, base_sk, item, add)
    orders = table.get(_MEMBERS, {}).get(_ORDERS, {})
    for index, partition, names in _partitions(table, base_pk, item) if orders else ():
        entries = orders.get((index, partition))
        if entries is None:
            continue
        entry = (_place(item, names), base_pk, base_sk)
        at = bisect_left(entries, entry)
        if add:
            entries.insert(at, entry)
        elif entries[at : at + 1] == [entry]:
            del entries[at]


def _partitions(table: Json, base_pk: Any, item: Json) -> Iterator[tuple[str | None, Any, Names]]:
    """The partitions that an item is in: that of the table, and those of the indexes."""
    yield None, base_pk, dynamodb._index_order_keys(table, table["sk_name"])  # noqa: SLF001
    for index, hashes, ranges in dynamodb._index_key_schemas(table):  # noqa: SLF001
        partition = dynamodb._index_partition(item, hashes, ranges)  # noqa: SLF001
        if partition is not None:
            yield index, partition, dynamodb._index_order_keys(table, ranges)  # noqa: SLF001


def _place(item: Json, names: Names) -> tuple[Any, ...]:
    return tuple(dynamodb._index_order_value(item, name, kind) for name, kind in names)  # noqa: SLF001


def _page(table: Json | None, data: Json) -> Json | None:
    """A table as a query sees it: with the items of its page. The whole table where the page cannot be determined."""
    condition, index = data.get("KeyConditionExpression"), data.get("IndexName")
    if not table or not isinstance(condition, str):
        return table
    schema = dynamodb._index_def(table, index) if index else None  # noqa: SLF001
    hashes, ranges = dynamodb._index_key_lists(schema) if schema else ([table["pk_name"]], [table["sk_name"]])  # noqa: SLF001
    names = data.get("ExpressionAttributeNames") or {}
    values = data.get("ExpressionAttributeValues") or {}
    wanted = [dynamodb._extract_pk_from_condition(condition, values, names, name) for name in hashes]  # noqa: SLF001
    if None in wanted or len(ranges) > 1 or (index and not schema) or not (index or ranges[0]):
        return table
    partition = wanted[0] if len(wanted) == 1 else tuple(wanted)
    order = dynamodb._index_order_keys(table, ranges)  # noqa: SLF001
    entries = _entries(table, index, partition, order)
    within = _range(entries, condition, values, names, order[0]) if ranges and ranges[0] else (0, len(entries))
    if within is None:
        return table
    page = entries[slice(*_bounds(entries, within, data, order))]
    if index:
        return {**table, _MEMBERS: {index: {partition: [keys for _, *keys in page]}}}
    items = table["items"].get(partition, {})
    return {**table, "items": {partition: {key: items[key] for _, _, key in page}}}


def _entries(table: Json, index: str | None, partition: Any, order: Names) -> list[Entry]:
    """The places of the items of a partition, in order. The first query of a partition sorts them."""
    members = dynamodb._index_members(table)  # noqa: SLF001
    orders = members.setdefault(_ORDERS, {})
    if (index, partition) not in orders:
        keys = (
            members[index].get(partition, ())
            if index
            else [(partition, key) for key in table["items"].get(partition, ())]
        )
        orders[index, partition] = sorted((_place(table["items"][pk][sk], order), pk, sk) for pk, sk in keys)
    entries: list[Entry] = orders[index, partition]
    return entries


def _range(
    entries: list[Entry], condition: str, values: Json, names: Mapping[str, str], key: tuple[str, str]
) -> tuple[int, int] | None:
    """Where the entries are whose sort key meets a condition; None if it cannot be determined."""
    name, kind = key
    references = [name, *(alias for alias, real in names.items() if real == name)]
    either = "|".join(rf"(?<![\w#:]){re.escape(reference)}(?!\w)" for reference in references)
    if not re.search(either, condition):
        return 0, len(entries)
    compared = re.search(rf"(?:{either})\s*(<=|>=|=|<|>)\s*(:\w+)", condition)
    between = re.search(rf"(?:{either})\s+BETWEEN\s+(:\w+)\s+AND\s+(:\w+)", condition, re.IGNORECASE)
    begins = re.search(rf"begins_with\s*\(\s*(?:{either})\s*,\s*(:\w+)\s*\)", condition)
    given = (compared.group(2),) if compared else between.groups() if between else begins.groups() if begins else ()
    if not given or any(name not in values for name in given) or (begins and kind != "S"):
        return None
    bounds = [dynamodb._sort_key_value(values[name], kind) for name in given]  # noqa: SLF001
    first = bisect_left(entries, bounds[0], key=lambda entry: entry[0][0])
    last = bisect_right(entries, bounds[-1] + _HIGHEST if begins else bounds[-1], key=lambda entry: entry[0][0])
    if not compared:
        return first, last
    starts, ends = {"<": (0, first), "<=": (0, last), ">": (last, None), ">=": (first, None), "=": (first, last)}[
        compared.group(1)
    ]
    return starts, len(entries) if ends is None else ends


def _bounds(entries: list[Entry], within: tuple[int, int], data: Json, order: Names) -> tuple[int, int]:
    """Where the entries of a page are: those of a range after the start key, up to the limit."""
    first, last = within
    forward = data.get("ScanIndexForward", True)
    start = data.get("ExclusiveStartKey")
    if isinstance(start, dict) and all(name in start for name, _ in order):
        place = _place(start, order)
        if forward:
            first = max(first, bisect_right(entries, place, key=lambda entry: entry[0]))
        else:
            last = min(last, bisect_left(entries, place, key=lambda entry: entry[0]))
    most = data.get("Limit")
    if isinstance(most, int) and most > 0:
        first, last = (first, min(last, first + most)) if forward else (max(first, last - most), last)
    return first, max(first, last)


dynamodb._query, dynamodb._index_item = query, index_item  # noqa: SLF001
# ministack parses an expression again for each item that it tests.
for _parse in (dynamodb._tokenize, dynamodb._condition_syntax_error):  # noqa: SLF001
    setattr(dynamodb, _parse.__name__, lru_cache(_EXPRESSIONS)(_parse))
