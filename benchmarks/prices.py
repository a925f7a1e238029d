"""AWS prices, and how many write units DynamoDB counts for a change of an item of the jobs table."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from elasticrecode.aws.dynamodb import Item
from elasticrecode.contract import tables

PRICES = {
    "write": 0.625,
    "read": 0.125,
    "sqs": 0.40,
    "invocation": 0.20,
    "gb-second": 13.33,
    "message": 1.0,
    "bus": 1.0,
    "fair": 0.10,
    "get": 0.40,
}
"""US dollars a million, us-east-1, on demand, arm64."""
INDEXES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    tables.USER_INDEX: (tables.USER_KEYS, tables.USER_PROJECTION),
    tables.STATE_INDEX: (tables.STATE_KEYS, tables.STATE_PROJECTION),
    tables.DUE_INDEX: (tables.DUE_KEYS, ()),
}
"""Index of the jobs table → its keys, and the other attributes that it shows."""


def written(old: Item, new: Item, indexes: Iterable[str] = INDEXES) -> int:
    """Units of a write that makes one item of another: in the table, and in each of the indexes where that shows.

    An entry whose keys change is deleted and put.
    """
    units = max(begun(old), begun(new))
    for keys, projected in map(INDEXES.__getitem__, indexes):
        before, after = (entry(item, keys, projected) for item in (old, new))
        if before != after:
            moved = any(before.get(key) != after.get(key) for key in keys)
            units += (sum if moved else max)((begun(before), begun(after)))
    return units


def charged(old: Item, new: Item, *, transacted: bool) -> int:
    """Units of a write; one in a transaction costs twice in the table, and in the indexes the same."""
    return written(old, new) + (max(begun(old), begun(new)) if transacted else 0)


def entry(item: Item, keys: Sequence[str], projected: Sequence[str]) -> Item:
    """What of an item shows in an index."""
    if not all(key in item for key in keys):
        return {}
    return {name: item[name] for name in (*tables.JOBS_KEYS, *keys, *projected) if name in item}


def begun(item: Item) -> int:
    """The KiB an item begins: names and texts in UTF-8, a number in a byte for two digits and one more."""
    size = 0
    for name, value in item.items():
        number = value.get("N")
        text = len(value["S"].encode()) if "S" in value else len(value.get("B", "")) * 3 // 4
        size += len(name.encode()) + (text if number is None else (len(number) + 1) // 2 + 1)
    return math.ceil(size / 1024)


def puts(operation: str, body: Any) -> list[Item]:
    """The items that a request puts."""
    match operation:
        case "BatchWriteItem":
            return [write["PutRequest"]["Item"] for write in body["RequestItems"]["jobs"]]
        case "PutItem":
            return [body["Item"]]
        case "TransactWriteItems":
            return [write["Put"]["Item"] for write in body["TransactItems"] if "Put" in write]
        case "UpdateItem" | "Query" | "BatchGetItem" | "PostToConnection":
            return []
    raise ValueError(f"nobody counts what {operation} writes")
