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
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import msgspec

from elasticrecode.aws.clients import client, refusals
from elasticrecode.contract.settings import Queues
from elasticrecode.contract.tables import REGISTRY_KEYS, TTL
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.placement import Choice, Want
from elasticrecode.workers import fleet
from elasticrecode.workers.fleet import ClusterView, Known, Load, Queue, Registered
from elasticrecode.workers.routing import Router

T = TypeVar("T")

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""How old what a function knows may be: so soon a pause is heeded, and a new queue used."""
_KEPT_SECONDS = 14 * 86_400
"""How long something is remembered that nobody writes any more: longer than a message lives."""

_PART = "registry"
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
