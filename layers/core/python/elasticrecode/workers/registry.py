"""Reads and writes the registry table, and chooses queues by its content.

    part      name             content                                      written by
    ────────  ───────────────  ───────────────────────────────────────────  ──────────────────────────────
    registry  cluster#<name>   the workers of a cluster, a ClusterView      discover
    registry  queues           the queues of those workers, by name         discover
    registry  loads            the load of each queue, by name              dispatch, reconcile, workers
    registry  pause#<queue>    marks a queue that an operator paused        workers
    history   <minute>         a sample of the queues (workers.history)     reconcile
    preset    <name>           the profile of a preset                      presets

One query reads the partition `registry`. Its documents are compressed JSON, split over several items where they are
large. The module `jobs.preset_store` reads and writes the partition `preset`.
"""

import logging
import time
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from elasticrecode.aws.dynamodb import Item, Table, key_of, number, text
from elasticrecode.contract.settings import Queues
from elasticrecode.contract.tables import REGISTRY_KEYS, TTL
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.placement import Choice, Want
from elasticrecode.workers import fleet
from elasticrecode.workers.fleet import ClusterView, Load, Queue, RegisteredQueue, Snapshot
from elasticrecode.workers.routing import Router

T = TypeVar("T")

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""Seconds for which a function uses a snapshot, and after which a pause or a new queue takes effect at the latest."""
_KEPT_SECONDS = 14 * 86_400
"""Seconds for which an item that is not written again is kept: as long as SQS keeps a message."""

_PART = "registry"
_PART_MARK = "~"
"""A document too large for an item continues in items named with this mark and a number; no cluster's name has it."""
_ITEM_BYTES = 380_000
_CLUSTER, _PAUSE, _QUEUES, _LOADS = "cluster#", "pause#", "queues", "loads"


class Registry:
    """The registry, together with the queues that the deployment configures. Raises Unavailable when AWS refuses."""

    def __init__(self, table: str, configured: Queues, first_generation: Collection[str] = ()) -> None:
        """`first_generation` names the configured queues with workers of the first generation."""
        self._table = Table(table)
        self._configured, self._first_generation = configured, first_generation
        self._queues: list[Queue] = []
        self._read_at = 0.0
        self._router: Router | None = None
        self._routed: list[Queue] = []

    # Reading

    def read(self) -> Snapshot:
        """The content of the registry now. A document that can't be read counts as absent: its writer replaces it."""
        items = self._table.query_all(
            "reading the registry",
            KeyConditionExpression=f"{REGISTRY_KEYS[0]} = :part",
            ExpressionAttributeValues={":part": text(_PART)},
        )
        rows = {item[REGISTRY_KEYS[1]]["S"]: item for item in items}
        views = (
            _document(rows, name, ClusterView) for name in rows if name.startswith(_CLUSTER) and _PART_MARK not in name
        )
        return Snapshot(
            clusters=[view for view in views if view],
            registered=_document(rows, _QUEUES, dict[str, RegisteredQueue]) or {},
            loads=_document(rows, _LOADS, dict[str, Load]) or {},
            paused=frozenset(name.removeprefix(_PAUSE) for name in rows if name.startswith(_PAUSE)),
        )

    def queues(self, *, fresh: bool = False) -> list[Queue]:
        """All queues, read at most REFRESH_SECONDS ago, or now with `fresh`; earlier where AWS refuses since."""
        now = time.time()
        if fresh or self._read_at < now - REFRESH_SECONDS:
            try:
                self._queues = fleet.merge_queues(self._configured, self.read(), now, self._first_generation)
            except Unavailable:
                if not self._read_at:
                    raise
                _log.exception("the registry could not be read; its content of the last read is used")
            self._read_at = now
        return self._queues

    def by_name(self, names: Iterable[str]) -> dict[str, Queue]:
        """The queues that have a URL, by name. The registry is read anew where one of `names` is not among them."""
        queues = _by_name(self.queues())
        return queues if set(names) <= queues.keys() else _by_name(self.queues(fresh=True))

    def choose(self, wants: Sequence[Want]) -> list[Choice]:
        """The queue for each want, in order. Raises Refused when no queue serves the group of one of them."""
        queues, now = self.queues(), time.time()
        if self._router is None:
            self._router = Router(queues)
        elif queues is not self._routed:
            self._router.update(queues)
        self._routed = queues
        return [self._router.choose(want, now) for want in wants]

    # Writing

    def save_cluster(self, cluster: ClusterView) -> None:
        """Store the workers of a cluster in place of those stored before."""
        self._save(_CLUSTER + cluster.name, cluster)

    def remove_cluster(self, name: str) -> None:
        """Remove a cluster that the deployment does not name any more."""
        self._delete(_CLUSTER + name)

    def save_queues(self, registered: Mapping[str, RegisteredQueue]) -> None:
        """Store the queues of workers, by name, in place of all stored before."""
        self._save(_QUEUES, registered)

    def save_loads(self, loads: Mapping[str, Load]) -> None:
        """Store the loads of queues, by name. Of concurrent writers the last wins; the next measurement comes soon."""
        self._save(_LOADS, loads)

    def pause(self, queue: str) -> None:
        """Send no new jobs to a queue."""
        self._table.put(_key(_PAUSE + queue), "pausing the queue")

    def resume(self, queue: str) -> None:
        """Send jobs to a queue again."""
        self._delete(_PAUSE + queue)

    def _save(self, name: str, document: object) -> None:
        packed = zlib.compress(msgspec.json.encode(document))
        parts = [packed[start : start + _ITEM_BYTES] for start in range(0, len(packed), _ITEM_BYTES)]
        expires = number(int(time.time()) + _KEPT_SECONDS)
        for n, part in enumerate(parts):
            item = {**_key(_part(name, n)), "document": {"B": part}, "parts": number(len(parts)), TTL: expires}
            self._table.put(item, "writing the registry")

    def _delete(self, name: str) -> None:
        self._table.delete(_key(name), "writing the registry")


def _by_name(queues: Iterable[Queue]) -> dict[str, Queue]:
    """Queues with a URL; of one that several groups use, the one of the lowest generation."""
    ordered = sorted(queues, key=lambda queue: -queue.generation)
    return {queue.name: queue for queue in ordered if queue.url}


def _key(name: str) -> Item:
    return key_of(REGISTRY_KEYS, _PART, name)


def _part(name: str, n: int) -> str:
    return f"{name}{_PART_MARK}{n}" if n else name


def _document(rows: Mapping[str, Mapping[str, Any]], name: str, kind: type[T]) -> T | None:
    """A document, from its parts. None where it is absent or can't be read."""
    if name not in rows:
        return None
    try:
        parts = [rows[_part(name, n)]["document"]["B"] for n in range(int(rows[name]["parts"]["N"]))]
        return msgspec.json.decode(zlib.decompress(b"".join(parts)), type=kind)
    except (zlib.error, msgspec.DecodeError, KeyError, TypeError, ValueError):
        _log.exception("document %s of the registry can't be read and counts as absent until it is written again", name)
        return None
