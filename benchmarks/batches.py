"""Batches: AWS calls, CPU and dollars a job as batches grow, what binds a million, and whether anyone waits behind it.

The product's own functions take batches from manifests to their end: `batch` and `survey`, `expand` page by page,
`dispatch` with 500 records of the stream at a time, and `tally` with what that sends in a second. Workers follow:
each job is queued, running, finished, and they tell it in some disorder. AWS answers at once
(`tests/fakes/instant.py`), and its own CPU is subtracted; reading an event's JSON, which Lambda does, is not. Sockets
and TLS are left out. A core of this machine is taken for a vCPU, of which a function has its memory by 1,769 MiB, and
to wait for AWS costs nothing. What functions look at by the clock, as queues every few seconds, is left to the section
`calls`.

Dollars: list prices of us-east-1. A write takes a unit a KiB begun, in the table and in each index it shows in, and
twice that in a transaction. What workers cost, and their events, is left out.

Counting is what a batch adds: all of `tally`, and what `dispatch` has to do for jobs of batches beyond what it does for
others. Beside it stands one write of a unit for each change of a job, which is the least a counter would take.

Rates: AWS's documented limits beside what is asked, a million jobs accepted in ten minutes, the look at them included.
A value is the share of the limit that this takes.
"""

import json
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from unittest import mock

from benchmarks.events import PRICES, begun, entry, written
from elasticrecode.aws.clients import batched
from elasticrecode.batches.counting import STRIP_SIZE, Change, Strip
from elasticrecode.contract import tables
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.lifecycle import State, Step, write
from elasticrecode.jobs.store import SHARDS
from elasticrecode.jobs.uris import split
from elasticrecode.workers import loads, registry
from infra.batches import EXPAND_MIB, EXPANDING, SURVEY_MIB, TALLYING
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
    handlers,
    take_in,
    updated,
)
from tests.fakes.weighing import Weight, weigh

_SIZES = (1_000, 10_000, 100_000)
_COUNTED = 10_000
_STRIP_KEYS_BYTES = 120
"""Of its item, beside what it has packed."""
_MILLION = 1_000_000
_ASKED_SECONDS = 600
_ANSWER_SECONDS = 0.004
_VCPU_MIB = 1769
_SHARE = dict.fromkeys(("batch", "dispatch", "tally"), MEMORY_MIB / _VCPU_MIB)
_SHARE |= {"survey": SURVEY_MIB / _VCPU_MIB, "expand": EXPAND_MIB / _VCPU_MIB}
_MEMORY_LIMIT_MIB = 400
"""Of `survey`, which Lambda's own runtime shares the memory with."""

_STREAM_BATCH, _SHARDS = 500, 4
"""Records that `dispatch` takes at the most; and shards of a new table's stream, which is an assumption: one for each
of the partitions that let it take 4,000 writes a second. A shard is one invocation's at a time."""
_IN_SECOND = 4
"""Invocations of `dispatch` in the second for which `tally` gathers."""
_LAG, _DISORDER = 10_000, 2_000
"""Jobs that wait for a worker, and that workers have in hand, any of which may be next."""
_NEW_TABLE, _QUOTA, _PARTITION = 4_000, 40_000, 1_000
"""Write units a second: of a new table on demand, and of each of its indexes; of a table with all its indexes, where no
more was asked for; of a partition."""
_INDEXES = {tables.USER_INDEX: (tables.USER_KEYS, tables.USER_PROJECTION), tables.DUE_INDEX: (tables.DUE_KEYS, ())}
_TABLE = "table"
_KEY_BYTES, _LONGEST = 1024, "longest keys"
_POD = "ffmpeg-worker-95d8865bb-gtpnv"
_OUTPUTS = '[{"uri":"s3://media/out/example.mp4","bytes":1034512,"seconds":8.0,"width":1920,"height":1080}]'

T = TypeVar("T")
Rows = Iterator[tuple[str, str, str, float, float]]


def rows() -> Rows:
    """The dearest batch's figures by the cheapest's, shares of limits, and MiB by what they may be."""
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        functions = handlers()
        still = SimpleNamespace(time=lambda: 1_800_000_000.0)
        with mock.patch.object(registry, "time", still), mock.patch.object(loads, "time", still):
            _Course(functions, _SIZES[0]).run()  # warms up
            runs = _interleaved(functions)
            yield from _growing(runs)
            yield from _counting(functions)
        million = weigh(_MILLION)
        yield from _binding(runs[-1], million.survey_cpu / _SHARE["survey"])
        yield from _keeping_up(runs[-1])
        yield from _weighing(million)
    finally:
        logging.disable(disabled)


def _interleaved(functions: Mapping[str, Handler]) -> list["_Run"]:
    """A batch of each size, ten of the smallest together, in turn: what else the machine does strikes all alike."""
    small, middle, large = _SIZES
    courses = _Course(functions, middle), _Course(functions, large)
    middle_steps = courses[0].steps()
    smalls: list[_Run] = []
    for step, _ in enumerate(courses[1].steps()):
        if step % (large // middle) == 0:
            next(middle_steps, None)
            if len(smalls) * small < middle:
                smalls.append(_Course(functions, small).run())
    deque(middle_steps, maxlen=0)
    total = smalls[0]
    for run in smalls[1:]:
        spent = {function: total.spent[function].and_(run.spent[function]) for function in run.spent}
        total = total._replace(jobs=total.jobs + run.jobs, spent=spent)
    return [total, *(course.result() for course in courses)]


# A batch from its manifest to its end


class _Spent(NamedTuple):
    """CPU seconds, AWS calls, and amounts of what is paid for."""

    cpu: float
    calls: int
    amounts: Mapping[str, float]

    def and_(self, other: "_Spent", sign: int = 1) -> "_Spent":
        """Both together, or this without the other."""
        kinds = self.amounts.keys() | other.amounts.keys()
        amounts = {kind: self.amounts.get(kind, 0) + sign * other.amounts.get(kind, 0) for kind in kinds}
        return _Spent(self.cpu + sign * other.cpu, self.calls + sign * other.calls, amounts)

    def dollars(self) -> dict[str, float]:
        """Dollars for a million times this, by what is paid for."""
        amounts = {**self.amounts, "gb-second": self.cpu * _VCPU_MIB / 1024}
        return {name: amount * PRICES[name] for name, amount in amounts.items()}


_NOTHING = _Spent(0.0, 0, {})


class _Run(NamedTuple):
    """A batch that has come to its end: what was spent, by function.

    `plainly` is what `dispatch` would have to do with jobs of no batch, where that was asked for. `units` are those of
    a job's record, by table and index, and `partition` those that functions wrote to the batch's own partition.
    """

    jobs: int
    spent: dict[str, _Spent]
    plainly: _Spent
    units: dict[str, int]
    partition: Counter[str]

    def rate(self, function: str) -> float:
        """Jobs a second that one invocation can take, by its CPU."""
        return self.jobs * _SHARE[function.partition(" ")[0]] / self.spent[function].cpu

    @property
    def whole(self) -> _Spent:
        """Everything behind the request for it."""
        return _sum(spent for function, spent in self.spent.items() if function != "batch")

    @property
    def counting(self) -> _Spent:
        """What would not be without the batch, of what follows its expansion."""
        told = _sum(spent for function, spent in self.spent.items() if function.startswith(("dispatch", "tally")))
        return told.and_(self.plainly, -1)


class _Course:
    """A batch on its way. `dispatch` hears from workers of `told` jobs at a time, any of `disorder`."""

    def __init__(
        self,
        functions: Mapping[str, Handler],
        size: int,
        told: int = _STREAM_BATCH,
        disorder: int = _DISORDER,
        *,
        beside: bool = False,
    ) -> None:
        self._size, self._told, self._disorder, self._beside = size, told, disorder, beside
        self._function = functions
        self._random = random.Random(size)
        self._aws = Instant(self._wrote, _ANSWER_SECONDS)
        self._spent: dict[str, _Spent] = {}
        self._plainly = _NOTHING
        self._units: dict[str, int] = {}
        self._amounts: dict[str, float] = {}
        self._partition: Counter[str] = Counter()
        self._doing = ""
        self._behind: deque[str] = deque()
        self._ended = 0

    def run(self) -> _Run:
        """Take it from its manifest to its end."""
        deque(self.steps(), maxlen=0)
        return self.result()

    def steps(self) -> Iterator[None]:
        """The same step by step, a page of jobs at a time, between which other courses may be taken."""
        for task in self._do(self._begin):
            self._do(lambda task=task: self._expand(task))  # type: ignore[misc]
            if len(self._behind) >= _LAG + self._disorder:
                self._do(self._work)
            yield
        while self._behind:
            self._do(self._work)
            yield

    def result(self) -> _Run:
        """What it took, now that it has come to its end."""
        if self._ended != 1:
            raise RuntimeError(f"the batch has ended {self._ended} times")
        return _Run(self._size, self._spent, self._plainly, self._units, self._partition)

    def _do(self, do: Callable[[], T]) -> T:
        with self._aws.serving():
            return do()

    def _begin(self) -> list[Item]:
        """The tasks for the pages that the manifest has become."""
        self._spend("batch", lambda: take_in(self._function["batch"], self._size))
        self._invoke("survey", delivered(self._aws.taken(SURVEYS)))
        return self._aws.taken(PAGES)

    def _expand(self, task: Item) -> None:
        """Let a page become jobs, and be sent."""
        self._invoke("expand", delivered([task]))
        queued = self._aws.new_jobs()
        self._stream("dispatch new", [_record("INSERT", item) for item in queued], _STREAM_BATCH)
        self._behind += map(json.dumps, queued)

    def _work(self) -> None:
        """Let workers have some of the jobs that wait, and tell of it in some disorder."""
        jobs = [self._behind.popleft() for _ in range(min(len(self._behind), self._disorder))]
        changes = []
        for text in jobs:
            queued = json.loads(text)
            running = _moved(queued, Step.CLAIM, None, {"lease": 1_800_000_000_000, "worker": _POD})
            finished = _moved(running, Action.JOB_FINISHED, 1, {"outputs": _OUTPUTS})
            changes.append((_record("MODIFY", running, queued), _record("MODIFY", finished, running)))
        for end in (False, True):
            self._random.shuffle(changes)
            self._stream("dispatch moved", [change[end] for change in changes], self._told)

    def _stream(self, function: str, records: Sequence[str], told: int) -> None:
        """Hand records to `dispatch`, and what it tells to `tally` when a second is over."""
        for second in batched(records, _IN_SECOND * told):
            for some in batched(second, told):
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
        received = _Spent(0.0, 0, {"sqs": 2 * polls})  # and deleted
        self._spent[function] = self._spent[function].and_(received)

    def _call(self, function: str, records: Sequence[str]) -> Callable[[], Any]:
        """A call of a function with records in JSON, which no collector of garbage looks through."""
        event = f'{{"Records": [{", ".join(records)}]}}'
        return lambda: self._function[function](json.loads(event), None)

    def _spend(self, function: str, do: Callable[[], Any]) -> None:
        spent = self._measure(function, do)
        self._spent[function] = self._spent.get(function, _NOTHING).and_(spent)

    def _measure(self, function: str, do: Callable[[], Any]) -> _Spent:
        """What it takes. The units that it writes to the batch's own partition are noted under the function."""
        aws = self._aws
        self._doing = function
        self._amounts = {"invocation": 1, "write": 0}
        known, theirs, sent = aws.calls.copy(), aws.cpu, len(aws.sent)
        started = time.process_time()
        do()
        cpu = time.process_time() - started - (aws.cpu - theirs)
        calls = aws.calls - known
        amounts = self._amounts
        amounts["read"] = aws.read_units
        aws.read_units = 0
        amounts["sqs"] = sum(
            calls[name] for name in ("SendMessageBatch", "ChangeMessageVisibility", "GetQueueAttributes")
        )
        amounts["fair"] = sum("MessageGroupId" in entries[0] for _, entries in aws.sent[sent:])
        amounts["get"] = calls["GetObject"]
        return _Spent(cpu, calls.total(), amounts)

    def _wrote(self, table: str, old: Item, new: Item, times: int) -> None:
        units = (written(old, new) if table == "jobs" else max(begun(old), begun(new))) * times
        self._amounts["write"] += units
        if table == "batches":
            self._partition[self._doing] += units
        if "job" in new and not self._units:
            self._units = _units(new)
            longer = {"S": new["job"]["S"] + "x" * (_KEY_BYTES - len(split(json.loads(new["job"]["S"])["input"])[1]))}
            self._units |= {f"{name}, {_LONGEST}": units for name, units in _units(new | {"job": longer}).items()}
        if "event" in new:
            self._ended += json.loads(new["event"]["S"])["action"] == Action.BATCH_FINISHED


def _units(record: Item) -> dict[str, int]:
    """Units of a job's record when it is new, by table and index."""
    return {_TABLE: begun(record)} | {index: begun(entry(record, *shown)) for index, shown in _INDEXES.items()}


def _moved(item: Item, action: str, attempt: int | None, details: dict[str, str | int]) -> Item:
    return updated(item, write(action, attempt, 1_799_999_970_000, details))


def _record(name: str, new: Item, old: Item | None = None) -> str:
    """A record of the stream, in JSON."""
    images = {"NewImage": new} | ({"OldImage": old} if old else {})
    keys = {key: new[key] for key in tables.JOBS_KEYS}
    change = {"Keys": keys, **images, "StreamViewType": "NEW_AND_OLD_IMAGES", "SequenceNumber": "1", "SizeBytes": 1}
    return json.dumps({"eventID": "1", "eventName": name, "eventSource": "aws:dynamodb", "dynamodb": change})


def _plain(records: Sequence[str]) -> list[str]:
    """What `dispatch` would hear if the jobs were of no batch: of those that are new or finished."""
    found = []
    for record in map(json.loads, records):
        images = [record["dynamodb"][image] for image in ("NewImage", "OldImage") if image in record["dynamodb"]]
        for image in images:
            del image["batchID"]
        if images[0]["state"]["S"] != "running":
            found.append(json.dumps(record))
    return found


def _sum(spent: Iterable[_Spent]) -> _Spent:
    total = _NOTHING
    for some in spent:
        total = total.and_(some)
    return total


# What is told of it


def _growing(runs: Sequence[_Run]) -> Rows:
    sizes = ", ".join(f"{size:,}" for size in _SIZES)
    calls = [run.whole.calls / run.jobs for run in runs]
    cpu = [run.whole.cpu / run.jobs * 1000 for run in runs]
    dollars = [sum(run.whole.dollars().values()) / run.jobs for run in runs]
    for figure, each, form, unit, limit in (
        ("AWS calls a job", calls, "{:.3f}", "", 1.1),
        ("CPU a job", cpu, "{:.3f}", " ms", 1.25),
        ("$ a million jobs", dollars, "{:.2f}", "", 1.1),
    ):
        told = ", ".join(map(form.format, each))
        yield f"{figure}: {sizes}", form.format(each[-1]) + unit, told, max(each) / min(each), limit
    largest = runs[-1]
    for function, spent in list(largest.spent.items())[1:]:
        called, us = spent.calls / largest.jobs, spent.cpu / largest.jobs * 1e6
        paid = sum(spent.dollars().values()) / largest.jobs
        yield f"… of it {function}", f"{us:.1f} us", f"{called:.4f} calls, ${paid:.3f}/M", us, math.inf
    parts = {kind: paid / largest.jobs for kind, paid in largest.whole.dollars().items()}
    most = sorted(parts, key=parts.__getitem__)[:-4:-1]
    told = ", ".join(f"{kind} {parts[kind]:.3f}" for kind in most)
    yield "… of it what is paid for", f"${sum(parts.values()):.2f}/M", told, sum(parts.values()), math.inf


def _counting(functions: Mapping[str, Handler]) -> Rows:
    """Dollars a million jobs of counting three changes of each, by what one write for each would cost."""
    plain = 3 * PRICES["write"]
    for told, disorder, name in (
        (_STREAM_BATCH, _DISORDER, "2,000 changes a second"),
        (25, _DISORDER, "100 changes a second"),
        (25, _COUNTED, "100, strips in disorder"),
    ):
        counting = _Course(functions, _COUNTED, told, disorder, beside=True).run().counting
        dollars = sum(counting.dollars().values()) / _COUNTED
        yield f"$ of counting, {name}", f"${dollars:.3f}/M", f"3 writes ${plain:.3f}/M", dollars / plain, 0.2
    yield _scattered(plain)


def _scattered(plain: float) -> tuple[str, str, str, float, float]:
    """The same where each change is of any job of a million, as when all that failed are tried again: its strips."""
    rng = random.Random(_MILLION)
    strip, changes, count = Strip(0), 100, _MILLION // STRIP_SIZE
    moves: tuple[tuple[int, State], ...] = ((0, "queued"), (1, "running"), (2, "finished"))
    strip.merge(Change(position, *rng.choice(moves)) for position in range(STRIP_SIZE))
    units = math.ceil((len(strip.pack()) + _STRIP_KEYS_BYTES) / 1024)
    touched = count * (1 - (1 - 1 / count) ** changes)
    dollars = 3 * touched / changes * (units * PRICES["write"] + math.ceil(units / 4) * PRICES["read"])
    return (
        "$ of counting, 100, of any of a million",
        f"${dollars:.3f}/M",
        f"3 writes ${plain:.3f}/M",
        (dollars / plain),
        math.inf,
    )


def _binding(run: _Run, look_seconds: float) -> Rows:
    """Shares of limits."""
    rate = _MILLION / (_ASKED_SECONDS - look_seconds)
    user, due = tables.USER_INDEX, tables.DUE_INDEX
    units = run.units
    yield (
        "a million looked through",
        f"{look_seconds:.0f} s",
        f"{_ASKED_SECONDS} s, then {rate:,.0f} jobs/s",
        (look_seconds / _ASKED_SECONDS),
        1.0,
    )
    saved = run.partition["survey"] / run.jobs
    yield (
        "… and stored in its partition",
        f"{saved * _MILLION / _PARTITION:.0f} s",
        f"{saved:.3f} units a job, {_PARTITION}/s",
        (saved * _MILLION / _PARTITION / _ASKED_SECONDS),
        1.0,
    )
    made = run.partition["expand"] / run.jobs
    shards, shared = f"{SHARDS} shards, a new index", f"half of {SHARDS} shards in one partition"
    for figure, needed, limit, unit in (
        ("expand, by CPU", 1, EXPANDING * run.rate("expand"), f"{EXPANDING} at once"),
        ("writes, table", units[_TABLE], _NEW_TABLE, "a new table"),
        (f"writes, table, {_LONGEST}", units[f"{_TABLE}, {_LONGEST}"], _NEW_TABLE, "a new table"),
        ("writes, with indexes", units[_TABLE] + units[user] + units[due], _QUOTA, "default quota"),
        ("index user, one user", units[user], min(SHARDS * _PARTITION, _NEW_TABLE), shards),
        (f"index user, {_LONGEST}", units[f"{user}, {_LONGEST}"], min(SHARDS * _PARTITION, _NEW_TABLE), shards),
        ("index user, shards ill placed", units[user], 2 * _PARTITION, shared),
        ("index due, one queue", units[due], min(SHARDS * _PARTITION, _NEW_TABLE), shards),
        ("batch's partition, pages", made, _PARTITION, "one partition"),
        ("dispatch, by CPU", 1, _SHARDS * run.rate("dispatch new"), f"{_SHARDS} shards"),
        ("tally, by CPU", 1, TALLYING * run.rate("tally"), f"{TALLYING} at once"),
    ):
        yield (
            f"1M in 10 min: {figure}",
            f"{rate * needed:,.0f}/s",
            f"{limit:,.0f}/s, {unit}",
            rate * needed / limit,
            1.0,
        )
    calls = run.spent["dispatch new"].calls / run.jobs * rate
    yield "1M in 10 min: calls to SQS", f"{calls:,.0f}/s", "nearly unlimited", 0.0, math.inf


def _keeping_up(run: _Run) -> Rows:
    """Jobs that `expand` stores a second, beside what a new table takes and what `dispatch` sends.

    Above 1 others' writes would be refused, or others' jobs wait in the stream. No shard brings more than a partition
    takes.
    """
    stored, sent = EXPANDING * run.rate("expand"), run.rate("dispatch new")
    taken = _NEW_TABLE / run.units[_TABLE]
    yield "expand by what a new table takes", f"{stored:,.0f}/s", f"{taken:,.0f}/s", stored / taken, 1.0
    for shards in (1, _SHARDS):
        figure = f"expand by dispatch, {shards} of {_SHARDS} shards"
        brought = stored * shards / _SHARDS
        yield figure, f"{brought:,.0f}/s", f"{shards * sent:,.0f}/s", brought / shards / sent, math.inf
    yield "a partition by dispatch of its shard", f"{_PARTITION:,}/s", f"{sent:,.0f}/s", _PARTITION / sent, 0.5


def _weighing(million: Weight) -> Rows:
    for lines in (10_000, 100_000, _MILLION):
        weight = million if lines == _MILLION else weigh(lines)
        told = f"{weight.before:.0f} before, {_MEMORY_LIMIT_MIB} MiB"
        yield (
            f"memory of survey, {lines:,} lines",
            f"{weight.surveyed:.0f} MiB",
            told,
            (weight.surveyed / _MEMORY_LIMIT_MIB),
            1.0,
        )
    for pages in (1, 50):
        weight = weigh(50_000, pages)
        told = f"{weight.surveyed:.0f} before, {EXPAND_MIB} MiB"
        yield f"memory of expand, {pages} pages", f"{weight.expanded:.0f} MiB", told, weight.expanded / EXPAND_MIB, 0.8
