"""DynamoDB, SQS and S3 in memory, as far as the product uses them: a hundred times faster than moto, for 100,000 jobs.

The model-based test and `tests/aws` use moto, so nothing rests on this alone. It is less kind than moto where AWS is:
messages come in any order and sometimes twice, and the number of messages in a queue is now and then wrong.
"""

import heapq
import io
import random
import re
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

Item = dict[str, dict[str, Any]]
Keys = tuple[str, str]

_MAX_RECEIVES = 20
_DEAD_LETTERS = {"ffmpeg_job": "dead", "vmaf_job": "dead", "control_plane": "events-dead"}
_TWICE = 0.01
_WRONG_COUNT = 0.05
_LISTED = 10
_KEYS = re.compile(
    r"(\S+ = :\w+(?: AND \S+ = :\w+)*)"
    r"(?: AND \S+ (<|<=|>|>=|BETWEEN) (:\w+)(?: AND (:\w+))?| AND begins_with\(\S+, (:\w+)\))?"
)
_EQUAL = re.compile(r"(\S+) = (:\w+)")
_LAST = chr(0x10FFFF)
_OPERAND = re.compile(r'(?<!["\w#:])(?!(?:and|or|in|not|exists)\b)[#:]?[a-zA-Z]\w*')


class _Missing:
    """An attribute that is not there: every comparison with it is false."""

    def __eq__(self, other: object) -> bool:
        return False

    __lt__ = __gt__ = __le__ = __ge__ = __eq__
    __hash__ = None  # type: ignore[assignment]


_MISSING = _Missing()
_compiled: dict[str, Any] = {}


def _value(typed: dict[str, Any]) -> Any:
    ((kind, text),) = typed.items()
    return float(text) if kind == "N" else text


def holds(condition: str, item: Item, names: dict[str, str], values: dict[str, Any]) -> bool:
    """Whether a condition expression is true of an item."""
    if condition not in _compiled:
        text = re.sub(r"attribute_not_exists\((\S+?)\)", r'(not exists("\1"))', condition)
        text = re.sub(r"attribute_exists\((\S+?)\)", r'exists("\1")', text)
        text = re.sub(r"IN \(([^)]*)\)", r"in (\1,)", text).replace(" AND ", " and ").replace(" OR ", " or ")
        text = _OPERAND.sub(lambda found: f'of("{found[0]}")', text)
        text = re.sub(r"(?<![<>])=", "==", text)
        _compiled[condition] = compile(text, condition, "eval")

    def of(word: str) -> Any:
        if word[0] == ":":
            return _value(values[word])
        name = names[word] if word[0] == "#" else word
        return _value(item[name]) if name in item else _MISSING

    def exists(word: str) -> bool:
        return (names[word] if word[0] == "#" else word) in item

    return bool(eval(_compiled[condition], {"of": of, "exists": exists}))


def updated(item: Item, request: dict[str, Any]) -> Item:
    """A copy of an item after an UpdateItem request: SET of values, REMOVE, and ADD of numbers."""
    item = dict(item)
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
    parts = re.split(r"\b(SET|REMOVE|ADD)\b", request["UpdateExpression"])[1:]
    for verb, clauses in zip(parts[::2], parts[1::2], strict=True):
        for clause in clauses.split(","):
            word, _, operand = clause.strip().replace(" = ", " ").partition(" ")
            name = names.get(word, word)
            if verb == "REMOVE":
                item.pop(name, None)
            elif verb == "SET":
                item[name] = values[operand]
            else:
                item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(values[operand]["N"]))}
    return item


class Table:
    """Items by their keys, indexes over them, and the stream of what changed."""

    def __init__(self, keys: Keys, indexes: dict[str, tuple[str, ...]]) -> None:
        self.keys, self.indexes = keys, indexes
        self.items: dict[Keys, Item] = {}
        self.partitions: dict[tuple[str | None, ...], list[tuple[Any, Keys]]] = {}
        """Of the table and its indexes: the items in the order of their sort keys."""
        self.stream: list[dict[str, Any]] = []

    def key(self, item: Item) -> Keys:
        """The values of an item's keys."""
        hash_, range_ = (next(iter(item[name].values())) for name in self.keys)
        return hash_, range_

    def put(self, item: Item | None, key: Keys) -> None:
        """Store an item, or delete what is there."""
        old = self.items.pop(key, None)
        for name, (*hashes, range_) in ((None, self.keys), *self.indexes.items()):
            if old and all(key in old for key in (*hashes, range_)):
                inside = self.partitions[name, *(old[hash_]["S"] for hash_ in hashes)]
                del inside[bisect_left(inside, (_value(old[range_]), key))]
            if item and all(key in item for key in (*hashes, range_)):
                partition = (name, *(item[hash_]["S"] for hash_ in hashes))
                insort(self.partitions.setdefault(partition, []), (_value(item[range_]), key))
        if item:
            self.items[key] = item
        if old != item and item:
            images = {"NewImage": item} | ({"OldImage": old} if old else {})
            keys = {name: item[name] for name in self.keys}
            number: dict[str, Any] = {"Keys": keys, "SequenceNumber": str(len(self.stream)), **images}
            number["ApproximateCreationDateTime"] = datetime.now(UTC)
            self.stream.append({"eventName": "MODIFY" if old else "INSERT", "dynamodb": number})

    def updated(self, asked: dict[str, Any]) -> Item:
        """The item as an update leaves it."""
        return updated(self.items.get(self.key(asked["Key"]), asked["Key"]), asked)

    def allows(self, asked: dict[str, Any], key: Keys) -> bool:
        """Whether the condition of a write holds."""
        condition = asked.get("ConditionExpression")
        names, values = asked.get("ExpressionAttributeNames", {}), asked.get("ExpressionAttributeValues", {})
        return not condition or holds(condition, self.items.get(key, {}), names, values)

    def query(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A page of a partition."""
        index = asked.get("IndexName")
        *hashes, range_ = self.indexes[index] if index else self.keys
        names, values = asked.get("ExpressionAttributeNames", {}), asked["ExpressionAttributeValues"]
        found = _KEYS.fullmatch(asked["KeyConditionExpression"])
        assert found
        equal = {names.get(word, word): values[value]["S"] for word, value in _EQUAL.findall(found[1])}
        inside = self.partitions.get((index, *(equal[hash_] for hash_ in hashes)), [])
        low, high = 0, len(inside)
        if comparison := found[2]:
            operand = _value(values[found[3]])
            below, upto = (bisect(inside, operand, key=lambda row: row[0]) for bisect in (bisect_left, bisect_right))
            low = {">": upto, ">=": below, "BETWEEN": below}.get(comparison, low)
            high = {"<": below, "<=": upto}.get(comparison, high)
        if found[4]:
            high = bisect_right(inside, _value(values[found[4]]), key=lambda row: row[0])
        if found[5]:
            begin = values[found[5]]["S"]
            low, high = (bisect_left(inside, end, key=lambda row: row[0]) for end in (begin, begin + _LAST))
        forward = asked.get("ScanIndexForward", True)
        if start := asked.get("ExclusiveStartKey"):
            place = (_value(start[range_]), self.key(start))
            low, high = (bisect_right(inside, place), high) if forward else (low, bisect_left(inside, place))
        rows = [self.items[key] for _, key in inside[low:high]][:: 1 if forward else -1]
        limit = asked.get("Limit", len(rows))
        page, condition = rows[:limit], asked.get("FilterExpression")
        answer: dict[str, Any] = {
            "Items": [item for item in page if not condition or holds(condition, item, names, values)]
        }
        if len(rows) > limit:
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in {*self.keys, *hashes, range_}}
        return answer


class Queue:
    """Messages, visible or in somebody's hands."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.ready: deque[str] = deque()
        self.hidden: list[tuple[float, str]] = []

    def show(self) -> None:
        """Let messages come back whose visibility timeout has ended."""
        while self.hidden and self.hidden[0][0] <= time.time():
            until, id_ = heapq.heappop(self.hidden)
            if id_ in self.messages and self.messages[id_]["until"] == until:
                self.messages[id_]["until"] = 0.0
                self.ready.append(id_)

    def hide(self, id_: str, seconds: float) -> None:
        """Keep a message from being received for a while."""
        if id_ in self.messages:
            self.messages[id_]["until"] = time.time() + seconds
            heapq.heappush(self.hidden, (self.messages[id_]["until"], id_))


class Aws:
    """Answers the calls of botocore's clients."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._tables: dict[str, Table] = {}
        self._queues: dict[str, Queue] = {}
        self._objects: dict[str, dict[str, bytes]] = {}
        self._numbers: Iterator[int] = iter(range(10**12))

    def __call__(self, client: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Make a call."""
        method: Callable[..., dict[str, Any]] = getattr(self, f"_{re.sub('(?<!^)(?=[A-Z])', '_', operation).lower()}")
        with self._lock:
            return method(client, arguments)

    # DynamoDB

    def _create_table(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        def keys(schema: Iterable[dict[str, str]]) -> Any:
            return tuple(key["AttributeName"] for key in schema)

        indexes = {i["IndexName"]: keys(i["KeySchema"]) for i in asked.get("GlobalSecondaryIndexes", ())}
        self._tables[asked["TableName"]] = Table(keys(asked["KeySchema"]), indexes)
        return {"TableDescription": {"LatestStreamArn": asked["TableName"]}}

    def _describe_stream(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        return {"StreamDescription": {"Shards": [{"ShardId": asked["StreamArn"]}]}}

    def _get_shard_iterator(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        return {"ShardIterator": f"{asked['ShardId']} {int(asked.get('SequenceNumber', -1)) + 1}"}

    def _get_records(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        table, place = asked["ShardIterator"].split()
        records = self._tables[table].stream[int(place) :]
        return {"Records": records, "NextShardIterator": f"{table} {int(place) + len(records)}"}

    def _scan(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Items": list(self._tables[asked["TableName"]].items.values())}

    def _query(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        return self._tables[asked["TableName"]].query(asked)

    def _get_item(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        table = self._tables[asked["TableName"]]
        item = table.items.get(table.key(asked["Key"]))
        return {"Item": item} if item else {}

    def _delete_item(self, client: Any, asked: dict[str, Any]) -> dict[str, Any]:
        table = self._tables[asked["TableName"]]
        key = table.key(asked["Key"])
        self._check(client, table, asked, key)
        table.put(None, key)
        return {}

    def _put_item(self, client: Any, asked: dict[str, Any]) -> dict[str, Any]:
        table = self._tables[asked["TableName"]]
        key = table.key(asked["Item"])
        self._check(client, table, asked, key)
        table.put(asked["Item"], key)
        return {}

    def _update_item(self, client: Any, asked: dict[str, Any]) -> dict[str, Any]:
        table = self._tables[asked["TableName"]]
        key = table.key(asked["Key"])
        self._check(client, table, asked, key)
        before, item = table.items.get(key, {}), table.updated(asked)
        table.put(item, key)
        return {"Attributes": before if asked.get("ReturnValues") == "ALL_OLD" else item}

    def _check(self, client: Any, table: Table, asked: dict[str, Any], key: Keys) -> None:
        if not table.allows(asked, key):
            said: dict[str, Any] = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}}
            if asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and key in table.items:
                said["Item"] = table.items[key]
            raise client.exceptions.ConditionalCheckFailedException(said, "Write")

    def _transact_write_items(self, client: Any, asked: dict[str, Any]) -> dict[str, Any]:
        writes = [(kind, write) for entry in asked["TransactItems"] for kind, write in entry.items()]
        reasons = []
        for kind, write in writes:
            table = self._tables[write["TableName"]]
            key = table.key(write["Item" if kind == "Put" else "Key"])
            reason: dict[str, Any] = {"Code": "None" if table.allows(write, key) else "ConditionalCheckFailed"}
            asks = write.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            reasons.append(reason | ({"Item": table.items[key]} if asks and key in table.items else {}))
        if any(reason["Code"] != "None" for reason in reasons):
            said = {"Error": {"Code": "TransactionCanceledException", "Message": "no"}, "CancellationReasons": reasons}
            raise client.exceptions.TransactionCanceledException(said, "TransactWriteItems")
        for kind, write in writes:
            table = self._tables[write["TableName"]]
            item = write["Item"] if kind == "Put" else table.updated(write)
            table.put(item, table.key(item))
        return {}

    def _batch_write_item(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        for name, requests in asked["RequestItems"].items():
            table = self._tables[name]
            for request in requests:
                item = request["PutRequest"]["Item"]
                table.put(item, table.key(item))
        return {"UnprocessedItems": {}}

    def _batch_get_item(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, list[Item]] = {}
        for name, wanted in asked["RequestItems"].items():
            table = self._tables[name]
            keys = [table.key(key) for key in wanted["Keys"]]
            found[name] = [table.items[key] for key in keys if key in table.items]
        return {"Responses": found, "UnprocessedKeys": {}}

    # SQS

    def _create_queue(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        self._queues[asked["QueueName"]] = Queue()
        return {"QueueUrl": asked["QueueName"]}

    def _get_queue_url(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        return {"QueueUrl": asked["QueueName"]}

    def _get_queue_attributes(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        queue = self._queues[asked["QueueUrl"]]
        queue.show()
        waiting = 0 if self._rng.random() < _WRONG_COUNT else len(queue.messages)
        return {"Attributes": {name: str(waiting) for name in asked["AttributeNames"]}}

    def _send_message(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        self._send(asked["QueueUrl"], asked)
        return {}

    def _send_message_batch(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        for entry in asked["Entries"]:
            self._send(asked["QueueUrl"], entry)
        return {}

    def _send(self, url: str, entry: dict[str, Any], receives: int = 0) -> None:
        id_ = f"m{next(self._numbers)}"
        self._queues[url].messages[id_] = {
            "MessageId": id_,
            "Body": entry["MessageBody"],
            "MessageAttributes": entry.get("MessageAttributes", {}),
            "receives": receives,
            "until": 0.0,
        }
        self._queues[url].ready.append(id_)

    def _receive_message(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        queue = self._queues[asked["QueueUrl"]]
        taken: list[dict[str, Any]] = []
        queue.show()
        queue.ready.rotate(self._rng.randrange(3))
        while queue.ready and len(taken) < asked.get("MaxNumberOfMessages", 1):
            id_ = queue.ready.popleft()
            message = queue.messages.get(id_)
            if not message or message["until"]:
                continue
            message["receives"] += 1
            letters = _DEAD_LETTERS.get(asked["QueueUrl"])
            if letters and message["receives"] > _MAX_RECEIVES:
                del queue.messages[id_]
                self._send(letters, {"MessageBody": message["Body"]}, message["receives"] - 1)
                continue
            if self._rng.random() < _TWICE:
                self._send(asked["QueueUrl"], {"MessageBody": message["Body"]}, message["receives"])
            queue.hide(id_, asked.get("VisibilityTimeout", 30))
            count = {"ApproximateReceiveCount": str(message["receives"])}
            taken.append(message | {"ReceiptHandle": id_, "Attributes": count})
        return {"Messages": taken} if taken else {}

    def _delete_message(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        self._queues[asked["QueueUrl"]].messages.pop(asked["ReceiptHandle"], None)
        return {}

    def _delete_message_batch(self, client: Any, asked: dict[str, Any]) -> dict[str, Any]:
        for entry in asked["Entries"]:
            self._delete_message(client, asked | entry)
        return {}

    def _change_message_visibility(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        queue = self._queues[asked["QueueUrl"]]
        if not queue.messages.get(asked["ReceiptHandle"], {}).get("until"):
            said = {"Error": {"Code": "MessageNotInflight", "Message": "not in flight"}}
            raise ClientError(said, "ChangeMessageVisibility")  # type: ignore[arg-type]
        if asked["VisibilityTimeout"]:
            queue.hide(asked["ReceiptHandle"], asked["VisibilityTimeout"])
        else:
            queue.messages[asked["ReceiptHandle"]]["until"] = 0.0
            queue.ready.append(asked["ReceiptHandle"])
        return {}

    # S3

    def _create_bucket(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        self._objects[asked["Bucket"]] = {}
        return {}

    def _put_object(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        self._objects[asked["Bucket"]][asked["Key"]] = asked["Body"]
        return {}

    def _get_object(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        body = self._objects[asked["Bucket"]][asked["Key"]]
        return {"ContentLength": len(body), "Body": StreamingBody(io.BytesIO(body), len(body))}

    def _list_objects_v2(self, _: Any, asked: dict[str, Any]) -> dict[str, Any]:
        keys = sorted(key for key in self._objects[asked["Bucket"]] if key.startswith(asked["Prefix"]))
        behind = [key for key in keys if key > asked.get("ContinuationToken", "")]
        page = behind[:_LISTED]
        more = {"IsTruncated": True, "NextContinuationToken": page[-1]} if len(behind) > _LISTED else {}
        return {"Contents": [{"Key": key} for key in page], **more}
