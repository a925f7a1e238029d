"""The registry table: which workers there are, which queues they take from, and what those hold.

    part      name             what                                         written by
    ────────  ───────────────  ───────────────────────────────────────────  ──────────────────────────────
    registry  cluster#<name>   the workers of a cluster at its last look    discovery
    registry  queues           where the queues of those workers are        discovery
    registry  loads            what each queue held when it was looked at   dispatch, reconcile, workers
    registry  pause#<queue>    its operator wants it to get no new work     workers
    preset    <name>           the profile that a preset stands for         presets

What is known of workers is one partition, read by one query; presets are another, read where one is named that is
neither built in nor the deployment's. Documents are compressed JSON, profiles JSON as it was given.
"""

import logging
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Literal, TypeVar

import msgspec

from elasticrecode import fleet
from elasticrecode.aws import client, refusals, side_by_side
from elasticrecode.errors import Refused, Unavailable
from elasticrecode.fleet import ClusterView, Known, Load, Queue, Registered, least_looked
from elasticrecode.presets import BUILT_IN
from elasticrecode.queues import Receiver
from elasticrecode.routing import Choice, Router, Want
from elasticrecode.settings import REGISTRY_KEYS, TTL, Queues

T = TypeVar("T")

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""How old what a function knows may be: so soon a pause is heeded, and a new queue used."""
LOOK_SECONDS = 5.0
"""How old what is known of a queue's backlog may be while jobs are sent."""
_KEPT_SECONDS = 14 * 86_400
"""How long something is remembered that nobody writes any more: longer than a message lives."""

PRESETS_STORED = 200
"""Stored presets at the most: so few are one small read."""

_PART, _PRESETS = "registry", "preset"
_PART_MARK = "~"
"""What is too large for an item lies in several, the others behind this mark; clusters' names have none."""
_ITEM_BYTES = 380_000
_CLUSTER, _PAUSE, _QUEUES, _LOADS = "cluster#", "pause#", "queues", "loads"


class Registry:
    """The registry, with the queues that the deployment names. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, named: Queues) -> None:
        self._table = table
        self._named = named
        self._dynamodb = client("dynamodb")
        self._queues: list[Queue] = []
        self._read_at = 0.0
        self._router: Router | None = None
        self._routed: list[Queue] = []

    # Reading

    def read(self) -> Known:
        """Everything that is known, now."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=f"{REGISTRY_KEYS[0]} = :part",
            ExpressionAttributeValues={":part": {"S": _PART}},
        )
        with refusals("reading the registry"):
            rows = {row[REGISTRY_KEYS[1]]["S"]: row for row in chain.from_iterable(page["Items"] for page in pages)}
        views = (
            _document(rows, name, ClusterView) for name in rows if name.startswith(_CLUSTER) and _PART_MARK not in name
        )
        return Known(
            clusters=[view for view in views if view],
            registered=_document(rows, _QUEUES, dict[str, Registered]) or {},
            loads=_document(rows, _LOADS, dict[str, Load]) or {},
            paused=frozenset(name.removeprefix(_PAUSE) for name in rows if name.startswith(_PAUSE)),
        )

    def queues(self, *, anew: bool = False) -> list[Queue]:
        """All queues as they were known at most REFRESH_SECONDS ago, or longer where AWS refuses."""
        now = time.time()
        if anew or self._read_at < now - REFRESH_SECONDS:
            try:
                self._queues = fleet.queues(self._named, self.read(), now)
            except Unavailable:
                if not self._read_at:
                    raise
                _log.exception("the registry could not be read; what was known of it is used")
            self._read_at = now
        return self._queues

    def urls(self, names: Iterable[str]) -> dict[str, str]:
        """Where queues are, by name, as far as they can be sent to. A name that is not known is looked up at once."""
        urls = {queue.name: queue.url for queue in self.queues() if queue.url}
        if set(names) <= urls.keys():
            return urls
        return {queue.name: queue.url for queue in self.queues(anew=True) if queue.url}

    def choose(self, wants: Sequence[Want]) -> list[Choice]:
        """The queue of each job. Refused where none serves it, whatever its load."""
        queues, now = self.queues(), time.time()
        if self._router is None:
            self._router = Router(queues)
        elif queues is not self._routed:
            self._router.update(queues)
        self._routed = queues
        return [self._router.choose(want, now) for want in wants]

    # Writing

    def save_cluster(self, cluster: ClusterView) -> None:
        """Store what was seen of a cluster in place of what was seen before."""
        self._save(_CLUSTER + cluster.name, cluster)

    def forget_cluster(self, name: str) -> None:
        """Forget a cluster that is not looked at any more."""
        self._delete(_CLUSTER + name)

    def save_registered(self, registered: Mapping[str, Registered]) -> None:
        """Store where the queues of workers are."""
        self._save(_QUEUES, registered)

    def save_loads(self, loads: Mapping[str, Load]) -> None:
        """Store what queues hold. The last word counts: a look that is lost is made again soon."""
        self._save(_LOADS, loads)

    def pause(self, queue: str) -> None:
        """Let a queue get no new work."""
        with refusals("pausing the queue"):
            self._dynamodb.put_item(TableName=self._table, Item=_key(_PAUSE + queue))

    def resume(self, queue: str) -> None:
        """Let it get work again."""
        self._delete(_PAUSE + queue)

    def _save(self, name: str, document: object) -> None:
        packed = zlib.compress(msgspec.json.encode(document))
        parts = [packed[start : start + _ITEM_BYTES] for start in range(0, len(packed), _ITEM_BYTES)]
        expires = {"N": str(int(time.time()) + _KEPT_SECONDS)}
        for n, part in enumerate(parts):
            item = {**_key(_part(name, n)), "document": {"B": part}, "parts": {"N": str(len(parts))}, TTL: expires}
            with refusals("writing the registry"):
                self._dynamodb.put_item(TableName=self._table, Item=item)

    def _delete(self, name: str) -> None:
        with refusals("writing the registry"):
            self._dynamodb.delete_item(TableName=self._table, Key=_key(name))


class Presets(Mapping[str, Any]):
    """Name of a preset → its profile as it was given: the deployment's, built in, or stored, the first that there is.

    Stored ones are as they were at most REFRESH_SECONDS ago, or longer where AWS refuses. Raises Unavailable when it
    does and nothing is known.
    """

    def __init__(self, table: str, deployment: Mapping[str, Any]) -> None:
        self._table = table
        self._deployment = deployment
        self._fixed = {**BUILT_IN, **deployment}
        self._stored: dict[str, Any] = {}
        self._read_at = 0.0

    @cached_property
    def _dynamodb(self) -> Any:
        """Made when a stored preset is first asked for, as most requests name none."""
        return client("dynamodb")

    def source(self, name: str) -> Literal["deployment", "built-in", "stored"]:
        """Where a preset is from."""
        if name in self._fixed:
            return "deployment" if name in self._deployment else "built-in"
        return "stored"

    def __getitem__(self, name: str) -> Any:
        if name in self._fixed:
            return self._fixed[name]
        self._refresh(anew=name not in self._stored)
        return self._stored[name]

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return iter({**self._stored, **self._fixed})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def read(self) -> dict[str, Any]:
        """All presets, with those that are stored now."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=f"{REGISTRY_KEYS[0]} = :part",
            ExpressionAttributeValues={":part": {"S": _PRESETS}},
            ConsistentRead=True,
        )
        with refusals("reading the presets"):
            rows = [row for page in pages for row in page["Items"]]
        self._stored = {row[REGISTRY_KEYS[1]]["S"]: msgspec.json.decode(row["profile"]["S"]) for row in rows}
        self._read_at = time.time()
        return {**self._stored, **self._fixed}

    def put(self, name: str, profile: Mapping[str, Any]) -> bool:
        """Store a preset; whether there was none of that name. Refused where it can't be."""
        self._check_own(name)
        self.read()
        if name not in self._stored and len(self._stored) >= PRESETS_STORED:
            raise Refused(f"At most {PRESETS_STORED} presets are stored; remove one first.")
        item = {**_key(name, _PRESETS), "profile": {"S": msgspec.json.encode(profile).decode()}}
        with refusals("storing the preset"):
            before = self._dynamodb.put_item(TableName=self._table, Item=item, ReturnValues="ALL_OLD")
        self._stored[name] = profile
        return "Attributes" not in before

    def remove(self, name: str) -> bool:
        """Remove a stored preset; False when there is none. Refused where it is not a stored one."""
        self._check_own(name)
        with refusals("removing the preset"):
            before = self._dynamodb.delete_item(TableName=self._table, Key=_key(name, _PRESETS), ReturnValues="ALL_OLD")
        self._stored.pop(name, None)
        return "Attributes" in before

    def _check_own(self, name: str) -> None:
        """Refused where a name is not for presets that are stored."""
        if name in self._deployment:
            raise Refused(f"{name} is a preset of the deployment, which its option presets changes.")
        if name in self._fixed:
            raise Refused(f"{name} is built in; choose another name. The deployment's option presets can replace it.")

    def _refresh(self, *, anew: bool = False) -> None:
        if not anew and self._read_at >= time.time() - REFRESH_SECONDS:
            return
        try:
            self.read()
        except Unavailable:
            if anew or not self._read_at:
                raise
            _log.exception("presets could not be read; what was known of them is used")
            self._read_at = time.time()


class Lookout:
    """Looks at what queues hold, and keeps the measure of what is sent to them and how long their jobs take."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._receiver = Receiver()
        self._looked_at = time.time() - LOOK_SECONDS
        self._sent: Counter[str] = Counter()
        self._finished: dict[str, list[float]] = {}

    def sent(self, queue: str) -> None:
        """A job was sent to a queue."""
        self._sent[queue] += 1

    def finished(self, queue: str, seconds: float) -> None:
        """A worker of a queue finished a job after so many seconds."""
        self._finished.setdefault(queue, []).append(seconds)

    def look(self, *, measuring: bool) -> None:
        """Look at the queues whose look is LOOK_SECONDS ago, and store what they hold.

        Only who sends jobs, and says so, measures: to others it would seem that none are sent.
        """
        now = time.time()
        queues = [queue for queue in self._registry.queues() if queue.url]
        due = [queue for queue in queues if queue.load.at <= now - LOOK_SECONDS]
        if not due or self._looked_at > now - LOOK_SECONDS:
            return
        elapsed, self._looked_at = now - self._looked_at, now
        loads = {queue.name: queue.load for queue in queues} | self._loads(due, now)
        if measuring:
            sent, self._sent = self._sent, Counter()
            finished, self._finished = self._finished, {}
            loads = {name: load.moved(sent[name], finished.get(name, []), elapsed) for name, load in loads.items()}
        self._registry.save_loads(loads)

    def _loads(self, queues: Sequence[Queue], now: float) -> dict[str, Load]:
        """What queues hold. What can't be seen, or has to wait for the next look, is left out."""
        chosen = least_looked(queues)
        seen = side_by_side(lambda queue: self._load(queue, now), chosen) if chosen else []
        return {queue.name: load for queue, load in zip(chosen, seen, strict=True) if load}

    def _load(self, queue: Queue, now: float) -> Load | None:
        try:
            return queue.load.looked(self._receiver.counts(queue.url), now)
        except Exception:  # noqa: BLE001
            _log.exception("queue %s could not be looked at", queue.name)
            return None


def _key(name: str, part: str = _PART) -> dict[str, Any]:
    return {REGISTRY_KEYS[0]: {"S": part}, REGISTRY_KEYS[1]: {"S": name}}


def _part(name: str, n: int) -> str:
    return f"{name}{_PART_MARK}{n}" if n else name


def _document(rows: Mapping[str, Mapping[str, Any]], name: str, kind: type[T]) -> T | None:
    """A document, from its parts. None where there is none, or one that can't be read: its writer makes it anew."""
    if name not in rows:
        return None
    try:
        parts = [rows[_part(name, n)]["document"]["B"] for n in range(int(rows[name]["parts"]["N"]))]
        return msgspec.json.decode(zlib.decompress(b"".join(parts)), type=kind)
    except (zlib.error, msgspec.DecodeError, KeyError, TypeError, ValueError):
        _log.exception("what the registry has under %s can't be read and is taken for nothing", name)
        return None
