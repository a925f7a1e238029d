"""AWS that answers at once, as far as batches ask it: what moto's own CPU and memory would drown.

It keeps the batches table and what is sent, gives new jobs to whoever asks, and streams manifests. Conditions always
hold and no request fails: for that there is moto.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from io import BytesIO
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse

from elasticrecode.contract import routes
from elasticrecode.contract import settings as names
from elasticrecode.contract.tables import BATCHES_KEYS, JOBS_KEYS
from tests.conftest import contract
from tests.fakes.memory import updated
from tests.fakes.wiring import wired
from tests.support import call, function

Handler = Callable[[dict[str, Any], Any], Any]
Item = dict[str, Any]
Wrote = Callable[[str, Item, Item, int], None]
"""Hears of a write: the table, the item before and after, and how many times its units it takes."""

LINE_BYTES = 100
_QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/"
PAGES, SURVEYS, TALLIES, WORK = (_QUEUE + name for name in ("pages", "surveys", "tallies", "ffmpeg_job"))
ORDER = {name: contract("job_batch")[name] for name in ("userid", "profile", "priority")} | {
    "output": "s3://media/out/"
}
_KEYS = {"batches": BATCHES_KEYS, "jobs": JOBS_KEYS}


def uri(number: int) -> str:
    """An input of a manifest: a name that nobody can guess, which compresses badly. A line of it has LINE_BYTES."""
    name = blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest()
    return f"s3://media/incoming/2026/11/{name}/{number:07d}-the-film-in-its-master-cut.mp4"


class Instant:
    """AWS. `cpu` are the seconds that it has taken itself; `delay` is how long it lets who asks wait, in seconds.

    Pages behind the first `kept_pages` of a batch are forgotten.
    """

    def __init__(self, wrote: Wrote = lambda *_: None, delay: float = 0.0, kept_pages: int = 10**9) -> None:
        self.calls: Counter[str] = Counter()
        self.cpu = 0.0
        self.sent: list[tuple[str, list[Item]]] = []
        self.read_units = 0.0
        self.jobs: list[Item] = []
        self._wrote = wrote
        self._delay = delay
        self._kept_pages = kept_pages
        self._items: dict[tuple[str, ...], Item] = {}
        self._lock = threading.Lock()

    @contextmanager
    def serving(self) -> Iterator["Instant"]:
        """Stand in for the network."""
        with mock.patch.object(URLLib3Session, "send", self._send):
            yield self

    def taken(self, queue: str) -> list[Item]:
        """What was sent to a queue since the last time, and is forgotten now."""
        found = [entry for url, entries in self.sent if url == queue for entry in entries]
        self.sent = [(url, entries) for url, entries in self.sent if url != queue]
        return found

    def new_jobs(self) -> list[Item]:
        """The jobs that were stored since the last time."""
        found, self.jobs = self.jobs, []
        return found

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        if self._delay:
            time.sleep(self._delay)
        with self._lock:
            started = time.thread_time()
            target: Any = request.headers.get("X-Amz-Target", b"GetObject")
            operation = target.decode().rpartition(".")[2]
            self.calls[operation] += 1
            body: Any
            content: Any = request.body
            if operation == "GetObject":
                count = int(urlsplit(request.url).path.rpartition("/")[2])
                body, size = _Manifest(self, count), count * LINE_BYTES
            else:
                text = json.dumps(getattr(self, f"_{_snake(operation)}")(json.loads(content))).encode()
                body, size = BytesIO(text), len(text)
            headers = HTTPHeaders()
            headers["content-length"] = str(size)
            raw = HTTPResponse(body, headers={"content-length": str(size)}, preload_content=False)
            answer = AWSResponse(request.url, 200, headers, raw)
            self.cpu += time.thread_time() - started
        return answer

    # DynamoDB

    def _put(self, table: str, item: Item, times: int = 1) -> None:
        if table == "batches":
            key = self._key(table, item)
            self._wrote(table, self._items.get(key, {}), item, times)
            name = key[-1]
            if not name.startswith("page#") or int(name.rpartition("#")[2]) < self._kept_pages:
                self._items[key] = item
        else:
            self._wrote(table, {}, item, times)
            if table == "jobs" and item["item"]["S"] == "job":
                self.jobs.append(item)

    def _put_item(self, body: Any) -> Any:
        self._put(body["TableName"], body["Item"])
        return {}

    def _batch_write_item(self, body: Any) -> Any:
        for table, writes in body["RequestItems"].items():
            for write in writes:
                self._put(table, write["PutRequest"]["Item"])
        return {"UnprocessedItems": {}}

    def _update_item(self, body: Any, times: int = 1) -> Any:
        key = self._key(body["TableName"], body["Key"])
        before = self._items[key]
        self._items[key] = updated(before, body)
        self._wrote(body["TableName"], before, self._items[key], times)
        return {"Attributes": self._items[key]} if "ReturnValues" in body else {}

    def _transact_write_items(self, body: Any) -> Any:
        for write in body["TransactItems"]:
            if "Update" in write:
                self._update_item(write["Update"], times=2)
            else:
                self._put(write["Put"]["TableName"], write["Put"]["Item"], 2)
        return {}

    def _get_item(self, body: Any) -> Any:
        item = self._items.get(self._key(body["TableName"], body["Key"]))
        self.read_units += _units(len(json.dumps(item or {})))
        return {"Item": item} if item else {}

    def _batch_get_item(self, body: Any) -> Any:
        (table,) = body["RequestItems"]
        keys = [self._key(table, key) for key in body["RequestItems"][table]["Keys"]]
        items = [self._items[key] for key in keys if key in self._items]
        self.read_units += sum(_units(len(json.dumps(item))) for item in items)
        return {"Responses": {table: items}, "UnprocessedKeys": {}}

    def _query(self, body: Any) -> Any:
        if body["TableName"] != "batches":
            self.read_units += 0.5
            return {"Items": [], "Count": 0}
        values = body["ExpressionAttributeValues"]
        found = [
            item
            for (table, batch, name), item in sorted(self._items.items())
            if table == "batches" and batch == values[":batch"]["S"] and name.startswith(values[":strip"]["S"])
        ]
        self.read_units += _units(len(json.dumps(found)))
        return {"Items": found, "Count": len(found)}

    def _key(self, table: str, item: Item) -> tuple[str, ...]:
        return (table, *(item[name]["S"] for name in _KEYS[table]))

    # SQS

    def _send_message_batch(self, body: Any) -> Any:
        self.sent.append((body["QueueUrl"], body["Entries"]))
        return {"Successful": [], "Failed": []}

    def _change_message_visibility(self, body: Any) -> Any:
        return {}

    def _get_queue_attributes(self, body: Any) -> Any:
        return {"Attributes": dict.fromkeys(body["AttributeNames"], "0")}


class _Manifest:
    """The body of a text of so many lines, each of LINE_BYTES, as it is read."""

    closed = False

    def __init__(self, aws: Instant, count: int) -> None:
        self._aws = aws
        self._lines = (uri(number).encode() + b"\n" for number in range(count))
        self._rest = b""

    def read(self, size: int | None = None) -> bytes:
        """So many bytes, fewer at the end."""
        started = time.thread_time()
        parts, length = [self._rest], len(self._rest)
        while size is None or length < size:
            line = next(self._lines, b"")
            if not line:
                break
            parts.append(line)
            length += len(line)
        found = b"".join(parts)
        self._rest = b"" if size is None else found[size:]
        self._aws.cpu += time.thread_time() - started
        return found if size is None else found[:size]

    def close(self) -> None:
        """Nothing is open."""
        self.closed = True


def handlers() -> dict[str, Handler]:
    """The functions that batches pass, by name."""
    queues: names.Queues = {"cpu": {"ffmpeg_job": WORK}, "gpu": {}, "vmaf": {}}
    wiring = wired(queues=queues, surveys_queue=SURVEYS, pages_queue=PAGES, tally_queue=TALLIES)
    passed = ("batch", "survey", "expand", "dispatch", "tally")
    return {name: function(name).build(wiring.settings_of(name)) for name in passed}


def take_in(handler: Handler, lines: int) -> str:
    """Let a batch be taken in that has a manifest of so many lines; its id."""
    answer = call(handler, routes.SUBMIT_BATCH, ORDER | {"manifest": f"s3://media/{lines}"})
    if answer.status != 202:
        raise RuntimeError(f"not taken: {answer}")
    batch_id: str = answer.body["batchID"]
    return batch_id


def delivered(entries: list[Item]) -> dict[str, Any]:
    """Messages as Lambda hands them over."""
    records = [
        {
            "messageId": f"{n}",
            "receiptHandle": f"{n}",
            "body": entry["MessageBody"],
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        for n, entry in enumerate(entries)
    ]
    return {"Records": records}


def _units(size: int) -> int:
    """Read units of so many bytes."""
    return -(-size // 4096) or 1


def _snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
