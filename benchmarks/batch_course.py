"""Takes batches from their manifests to their ends with the product's own functions, and measures what they use.

`batch` and `survey` take a batch in, `expand` works page by page, `dispatch` reads 500 records of the stream at a time,
and `tally` what that sends within a second. Workers follow: each job is queued, running and finished, and their events
come in some disorder. AWS answers at once (`tests/fakes/instant.py`), and its own CPU is subtracted; decoding an
event's JSON, which Lambda does, is not. Sockets and TLS are left out. A core of this machine stands for a vCPU, of
which a function has its memory divided by 1,769 MiB, and waiting for AWS is free. What functions do by the clock, such
as measuring queues every few seconds, is in the section `calls`.
"""

import json
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from benchmarks.prices import INDEXES, PRICES, begun, entry, written
from elasticrecode.aws.clients import batched
from elasticrecode.contract import tables
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.lifecycle import Step, write
from elasticrecode.jobs.uris import split
from infra.batches import EXPAND_MIB, SURVEY_MIB
from infra.functions import MEMORY_MIB
from tests.fakes.instant import (
    PAGES,
    SURVEYS,
    TALLIES,
    WORK,
    Handler,
    Instant,
    Item,
    delivered,
    take_in,
)
from tests.fakes.memory import updated

_ANSWER_SECONDS = 0.004
_VCPU_MIB = 1769
SHARE = dict.fromkeys(("batch", "dispatch", "tally"), MEMORY_MIB / _VCPU_MIB)
SHARE |= {"survey": SURVEY_MIB / _VCPU_MIB, "expand": EXPAND_MIB / _VCPU_MIB}
"""Function → its share of a vCPU."""
STREAM_BATCH = 500
"""Records that `dispatch` reads at most at a time."""
_PER_SECOND = 4
"""Invocations of `dispatch` in the second whose messages `tally` reads together."""
_LAG = 10_000
"""Jobs that wait for a worker."""
DISORDER = 2_000
"""Jobs that workers have in hand, any of which may move next."""
TABLE = "table"
_KEY_BYTES = 1024
_CREATED = 1_799_000_000
"""Stands in records for the second in which they are written."""
LONGEST = "longest keys"
_POD = "ffmpeg-worker-95d8865bb-gtpnv"
_OUTPUTS = '[{"uri":"s3://media/out/example.mp4","bytes":1034512,"seconds":8.0,"width":1920,"height":1080}]'

T = TypeVar("T")


class Cost(NamedTuple):
    """CPU seconds, AWS calls, and the amounts of everything that has a price."""

    cpu: float
    calls: int
    amounts: Mapping[str, float]

    def and_(self, other: "Cost", sign: int = 1) -> "Cost":
        """The sum of both, or the difference where `sign` is -1."""
        kinds = self.amounts.keys() | other.amounts.keys()
        amounts = {kind: self.amounts.get(kind, 0) + sign * other.amounts.get(kind, 0) for kind in kinds}
        return Cost(self.cpu + sign * other.cpu, self.calls + sign * other.calls, amounts)

    def dollars(self) -> dict[str, float]:
        """Dollars for a million times this, by price."""
        amounts = {**self.amounts, "gb-second": self.cpu * _VCPU_MIB / 1024}
        return {name: amount * PRICES[name] for name, amount in amounts.items()}


_NOTHING = Cost(0.0, 0, {})


class Run(NamedTuple):
    """A batch that has ended, and its cost by function.

    `plainly` is the cost of `dispatch` for the same jobs outside a batch, where it was measured. `units` are the write
    units of a job's record, by table and index, and `partition` those of the batch's own partition, by function.
    """

    jobs: int
    spent: dict[str, Cost]
    plainly: Cost
    units: dict[str, int]
    partition: Counter[str]

    def rate(self, function: str) -> float:
        """Jobs per second that one invocation handles, by its CPU."""
        return self.jobs * SHARE[function.partition(" ")[0]] / self.spent[function].cpu

    @property
    def whole(self) -> Cost:
        """The cost of everything after the request."""
        return _sum(spent for function, spent in self.spent.items() if function != "batch")

    @property
    def counting(self) -> Cost:
        """The cost after the expansion that jobs outside a batch do not have."""
        after = _sum(spent for function, spent in self.spent.items() if function.startswith(("dispatch", "tally")))
        return after.and_(self.plainly, -1)


class Course:
    """A batch in progress. `dispatch` reads `records` moves at a time, of any of `disorder` jobs."""

    def __init__(
        self,
        functions: Mapping[str, Handler],
        size: int,
        records: int = STREAM_BATCH,
        disorder: int = DISORDER,
        *,
        beside: bool = False,
    ) -> None:
        self._size, self._records, self._disorder, self._beside = size, records, disorder, beside
        self._function = functions
        self._random = random.Random(size)
        self._aws = Instant(self._wrote, _ANSWER_SECONDS)
        self._spent: dict[str, Cost] = {}
        self._plainly = _NOTHING
        self._units: dict[str, int] = {}
        self._amounts: dict[str, float] = {}
        self._partition: Counter[str] = Counter()
        self._doing = ""
        self._behind: deque[str] = deque()
        self._ended = 0
        self._second = 0

    def run(self) -> Run:
        """Take the batch from its manifest to its end."""
        deque(self.steps(), maxlen=0)
        return self.result()

    def steps(self) -> Iterator[None]:
        """The same, a page of jobs at a time, so that several batches can take turns."""
        for task in self._do(self._begin):
            self._do(lambda task=task: self._expand(task))  # type: ignore[misc]
            if len(self._behind) >= _LAG + self._disorder:
                self._do(self._work)
            yield
        while self._behind:
            self._do(self._work)
            yield

    def result(self) -> Run:
        """The cost of the batch, which must have ended."""
        if self._ended != 1:
            raise RuntimeError(f"the batch has ended {self._ended} times")
        return Run(self._size, self._spent, self._plainly, self._units, self._partition)

    def _do(self, do: Callable[[], T]) -> T:
        with self._aws.serving():
            return do()

    def _begin(self) -> list[Item]:
        """Submit and survey the batch. Answers the messages for its pages."""
        self._spend("batch", lambda: take_in(self._function["batch"], self._size))
        self._invoke("survey", delivered(self._aws.taken(SURVEYS)))
        return self._aws.taken(PAGES)

    def _expand(self, task: Item) -> None:
        """Create the jobs of a page and dispatch them."""
        self._invoke("expand", delivered([task]))
        queued = self._aws.new_jobs()
        self._stream("dispatch new", [_record("INSERT", item) for item in queued], STREAM_BATCH)
        self._behind += map(json.dumps, queued)

    def _work(self) -> None:
        """Let workers run some of the waiting jobs, with events in some disorder."""
        jobs = [self._behind.popleft() for _ in range(min(len(self._behind), self._disorder))]
        changes = []
        for text in jobs:
            queued = json.loads(text)
            running = _moved(queued, Step.CLAIM, None, {"lease": 1_800_000_000_000, "worker": _POD})
            finished = _moved(running, Action.JOB_FINISHED, 1, {"outputs": _OUTPUTS})
            changes.append((_record("MODIFY", running, queued), _record("MODIFY", finished, running)))
        for end in (False, True):
            self._random.shuffle(changes)
            self._stream("dispatch moved", [change[end] for change in changes], self._records)

    def _stream(self, function: str, records: Sequence[str], size: int) -> None:
        """Deliver records to `dispatch`, `size` at a time, and its messages to `tally` once a second."""
        for second in batched(records, _PER_SECOND * size):
            self._second += 1
            written_at = str(_CREATED + self._second)
            for some in batched([record.replace(str(_CREATED), written_at) for record in second], size):
                plain = _plain(some) if self._beside else []
                if plain:
                    self._plainly = self._plainly.and_(self._measure("dispatch", self._call("dispatch", plain)))
                self._spend(function, self._call("dispatch", some))
            self._invoke("tally", delivered(self._aws.taken(TALLIES)))
        self._aws.taken(WORK)

    def _invoke(self, function: str, event: Item) -> None:
        messages = event["Records"]
        self._spend(function, self._call(function, [json.dumps(message) for message in messages]))
        polls = math.ceil(len(messages) / 10) if function == "tally" else len(messages)
        received = Cost(0.0, 0, {"sqs": 2 * polls})  # a receive and a delete
        self._spent[function] = self._spent[function].and_(received)

    def _call(self, function: str, records: Sequence[str]) -> Callable[[], Any]:
        """A call of a function with records as JSON text, which the garbage collector does not traverse."""
        event = f'{{"Records": [{", ".join(records)}]}}'
        return lambda: self._function[function](json.loads(event), None)

    def _spend(self, function: str, do: Callable[[], Any]) -> None:
        spent = self._measure(function, do)
        self._spent[function] = self._spent.get(function, _NOTHING).and_(spent)

    def _measure(self, function: str, do: Callable[[], Any]) -> Cost:
        """The cost of a call. Write units of the batch's own partition are counted for the function."""
        aws = self._aws
        self._doing = function
        self._amounts = {"invocation": 1, "write": 0}
        calls_before, cpu_of_aws, sent = aws.calls.copy(), aws.cpu, len(aws.sent)
        started = time.process_time()
        do()
        cpu = time.process_time() - started - (aws.cpu - cpu_of_aws)
        calls = aws.calls - calls_before
        amounts = self._amounts
        amounts["read"] = aws.read_units
        aws.read_units = 0
        amounts["sqs"] = sum(
            calls[name] for name in ("SendMessageBatch", "ChangeMessageVisibility", "GetQueueAttributes")
        )
        amounts["fair"] = sum("MessageGroupId" in entries[0] for _, entries in aws.sent[sent:])
        amounts["get"] = calls["GetObject"]
        return Cost(cpu, calls.total(), amounts)

    def _wrote(self, table: str, old: Item, new: Item, times: int) -> None:
        units = (written(old, new) if table == "jobs" else max(begun(old), begun(new))) * times
        self._amounts["write"] += units
        if table == "batches":
            self._partition[self._doing] += units
        if "job" in new and not self._units:
            self._units = _units(new)
            longer = {"S": new["job"]["S"] + "x" * (_KEY_BYTES - len(split(json.loads(new["job"]["S"])["input"])[1]))}
            self._units |= {f"{name}, {LONGEST}": units for name, units in _units(new | {"job": longer}).items()}
        if "event" in new:
            self._ended += json.loads(new["event"]["S"])["action"] == Action.BATCH_FINISHED


def _units(record: Item) -> dict[str, int]:
    """Write units of a new job's record, by table and index."""
    return {TABLE: begun(record)} | {index: begun(entry(record, *shown)) for index, shown in INDEXES.items()}


def _moved(item: Item, action: str, attempt: int | None, details: dict[str, str | int]) -> Item:
    return updated(item, write(action, attempt, 1_799_999_970_000, details))


def _record(name: str, new: Item, old: Item | None = None) -> str:
    """A record of the stream, as JSON text."""
    images = {"NewImage": new} | ({"OldImage": old} if old else {})
    keys = {key: new[key] for key in tables.JOBS_KEYS}
    change = {"Keys": keys, **images, "StreamViewType": "NEW_AND_OLD_IMAGES", "SequenceNumber": "1", "SizeBytes": 1}
    change["ApproximateCreationDateTime"] = _CREATED
    return json.dumps({"eventID": "1", "eventName": name, "eventSource": "aws:dynamodb", "dynamodb": change})


def _plain(records: Sequence[str]) -> list[str]:
    """The records that `dispatch` would read if the jobs were outside a batch."""
    plain = []
    for record in map(json.loads, records):
        images = [record["dynamodb"][image] for image in ("NewImage", "OldImage") if image in record["dynamodb"]]
        for image in images:
            del image["batchID"]
        plain.append(json.dumps(record))
    return plain


def _sum(spent: Iterable[Cost]) -> Cost:
    total = _NOTHING
    for some in spent:
        total = total.and_(some)
    return total
