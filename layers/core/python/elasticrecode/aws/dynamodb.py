"""DynamoDB tables: items in their wire form, keys, batch reads and writes, paged queries, conditional writes.

Batch calls may succeed in part. What AWS leaves over is sent again after a growing, jittered pause, a bounded number of
times. Every method of `Table` raises Unavailable when AWS refuses after the client's own retries.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from elasticrecode.aws.clients import batched, client, pauses, refusals, side_by_side
from elasticrecode.contract.tables import TTL
from elasticrecode.errors import Unavailable

Item = dict[str, dict[str, Any]]
"""A DynamoDB item, or the key of one, in its wire form: attribute name → {type: value}."""

_WRITE_LIMIT = 25
READ_LIMIT = 100
"""Items of one BatchGetItem call."""
_ROUNDS = 6
_PASSING = {"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"}
"""Why AWS cancels a transaction that may succeed a moment later."""
TRY_AGAIN = "Try again in a moment."


class ConditionFailed(Exception):
    """The condition of a write does not hold. `item` is what is stored, where the write asks for it; else it is empty.

    Writes ask for it with `ReturnValuesOnConditionCheckFailure="ALL_OLD"`.
    """

    def __init__(self, item: Item) -> None:
        super().__init__("the condition of the write does not hold")
        self.item = item


class Conflict(Unavailable):
    """Another write touches an item of the transaction at the same time."""


def text(value: str) -> dict[str, Any]:
    """A string attribute."""
    return {"S": value}


def number(value: int) -> dict[str, Any]:
    """A number attribute."""
    return {"N": str(value)}


def document(content: object) -> dict[str, Any]:
    """A string attribute that holds JSON."""
    return {"S": msgspec.json.encode(content).decode()}


def key_of(names: tuple[str, str], partition: str, sort: str | int) -> Item:
    """The key of an item: `names` are the table's partition and sort key."""
    return {names[0]: text(partition), names[1]: text(sort) if isinstance(sort, str) else number(sort)}


def is_current(item: Mapping[str, Any], now: float | None = None) -> bool:
    """Whether an item's TTL lies ahead. DynamoDB deletes an expired item hours later, and readers skip it until then.

    `now` is in Unix seconds, by default the present.
    """
    return float(item[TTL]["N"]) > (time.time() if now is None else now)


class Table:
    """One table. `doing` completes the sentence "AWS could not take it while …" of Unavailable."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def _dynamodb(self) -> Any:
        """Created at the first call: some functions rarely read their table."""
        return client("dynamodb")

    # Reading

    def get(self, key: Item, doing: str) -> Item | None:
        """The item with this key, read consistently; None when there is none."""
        with refusals(doing):
            item: Item | None = self._dynamodb.get_item(TableName=self.name, Key=key, ConsistentRead=True).get("Item")
        return item

    def get_all(
        self, keys: Sequence[Item], doing: str, projection: str = "", names: Mapping[str, str] | None = None
    ) -> list[Item]:
        """The items that exist of these keys, in any order, 100 a call.

        `projection` names the attributes to return, with placeholders from `names`.
        """
        shape: dict[str, Any] = {"ProjectionExpression": projection} if projection else {}
        shape |= {"ExpressionAttributeNames": names} if names else {}
        items: list[Item] = []
        for some in batched(keys, READ_LIMIT):
            left: Any = {self.name: {"Keys": list(some), "ConsistentRead": True, **shape}}
            for pause in pauses(_ROUNDS):
                with refusals(doing):
                    answer = self._dynamodb.batch_get_item(RequestItems=left)
                items += answer["Responses"].get(self.name, [])
                left = answer["UnprocessedKeys"]
                if not left:
                    break
                time.sleep(pause)
            else:
                raise refused(doing)
        return items

    def query(self, doing: str, **arguments: Any) -> dict[str, Any]:
        """One page of a query, as DynamoDB answers it: `Items` and, unless it is the last, `LastEvaluatedKey`."""
        with refusals(doing):
            answer: dict[str, Any] = self._dynamodb.query(TableName=self.name, **arguments)
        return answer

    def query_pages(self, doing: str, **arguments: Any) -> Iterator[list[Item]]:
        """The items of all pages of a query, page by page."""
        while True:
            answer = self.query(doing, **arguments)
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def query_all(self, doing: str, **arguments: Any) -> list[Item]:
        """The items of all pages of a query."""
        return [item for page in self.query_pages(doing, **arguments) for item in page]

    # Writing

    def put(self, item: Item, doing: str, **arguments: Any) -> dict[str, Any]:
        """Store an item; DynamoDB's answer. ConditionFailed when `arguments` has a condition that does not hold."""
        return self._conditional(self._dynamodb.put_item, doing, Item=item, **arguments)

    def update(self, key: Item, doing: str, **arguments: Any) -> dict[str, Any]:
        """Change an item; DynamoDB's answer. ConditionFailed when `arguments` has a condition that does not hold."""
        return self._conditional(self._dynamodb.update_item, doing, Key=key, **arguments)

    def delete(self, key: Item, doing: str, **arguments: Any) -> dict[str, Any]:
        """Delete an item; DynamoDB's answer."""
        return self._conditional(self._dynamodb.delete_item, doing, Key=key, **arguments)

    def _conditional(self, write: Any, doing: str, **arguments: Any) -> dict[str, Any]:
        try:
            with refusals(doing):
                answer: dict[str, Any] = write(TableName=self.name, **arguments)
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            raise ConditionFailed(error.response.get("Item", {})) from None
        return answer

    def transact(self, writes: Sequence[Mapping[str, Any]], doing: str) -> None:
        """Make all writes or none, at most 100. ConditionFailed when a condition does not hold.

        Raises Conflict, which is an Unavailable, when another write touches one of the items at the same time.
        """
        try:
            with refusals(doing):
                self._dynamodb.transact_write_items(TransactItems=writes)
        except self._dynamodb.exceptions.TransactionCanceledException as error:
            reasons = error.response["CancellationReasons"]
            codes = {reason["Code"] for reason in reasons} - {"None"}
            if "ConditionalCheckFailed" in codes:
                raise ConditionFailed(next((reason["Item"] for reason in reasons if "Item" in reason), {})) from None
            if not codes <= _PASSING:
                raise
            raise Conflict(f"AWS is changing the same item for another request while {doing}. {TRY_AGAIN}") from error

    def write(self, items: Sequence[Item], doing: str, rounds: int = _ROUNDS) -> list[Item]:
        """Put items, 25 a call, several calls at once; those that AWS did not store after `rounds` tries.

        Nothing raises: an item may be stored although the answer that says so got lost, and is returned then.
        """
        batches = list(batched(items, _WRITE_LIMIT))
        refused = side_by_side(lambda some: self._write_batch(some, doing, rounds), batches)
        return [item for some in refused for item in some]

    def _write_batch(self, items: Sequence[Item], doing: str, rounds: int) -> list[Item]:
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in items]
        for pause in pauses(rounds):
            try:
                with refusals(doing):
                    answer = self._dynamodb.batch_write_item(RequestItems={self.name: requests})
            except Unavailable:
                break
            requests = answer["UnprocessedItems"].get(self.name, [])
            if not requests:
                break
            time.sleep(pause)
        return [request["PutRequest"]["Item"] for request in requests]


def refused(doing: str) -> Unavailable:
    """The error for items that AWS did not process in all tries."""
    return Unavailable(f"AWS could not take it while {doing}. {TRY_AGAIN}")
