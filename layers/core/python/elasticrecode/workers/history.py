"""The history of the worker queues: a sample a minute, of the last hour.

    part     name                 at           rows
    ───────  ───────────────────  ───────────  ─────────────────────────────────────────────
    history  minutes since 1970   Unix second  compressed JSON: the figures of each queue

The items lie in the registry table, in a partition of their own, which routing does not read. A second sample of a
minute replaces the first.
"""

import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from heapq import nlargest
from typing import Any

import msgspec
from msgspec.structs import astuple

from elasticrecode.aws.dynamodb import Table, key_of, number, text
from elasticrecode.contract.tables import REGISTRY_KEYS, TTL
from elasticrecode.workers.answers import FleetSample, QueueSample
from elasticrecode.workers.fleet import SAMPLED_LIMIT, Queue
from elasticrecode.workers.routing import Router

_log = logging.getLogger(__name__)

SAMPLES = 60
"""Samples that are shown: one a minute."""
_PART = "history"
_MINUTE = 60
_KEPT_SECONDS = (SAMPLES + 1) * _MINUTE
_Row = tuple[str, int, int, int | None, float | None]


def sample(queues: Sequence[Queue], now: float) -> FleetSample:
    """The figures of queues at a Unix second, by name; of more than SAMPLED_LIMIT those with most jobs.

    Of a queue that several groups use, those of a group that can use it.
    """
    router = Router(queues)
    by_name = {queue.name: queue for queue in sorted(queues, key=lambda queue: not queue.fault) if queue.is_shown}
    busiest = nlargest(SAMPLED_LIMIT, by_name.values(), key=lambda queue: queue.load.visible + queue.load.in_flight)
    return FleetSample(
        at=int(now),
        queues=[
            QueueSample(
                queue=queue.name,
                visible=queue.load.visible,
                inFlight=queue.load.in_flight,
                readyReplicas=queue.ready,
                expectedSeconds=router.wait(queue, now),
            )
            for queue in sorted(busiest, key=lambda queue: queue.name)
        ],
    )


class History:
    """Reads and writes the samples. Raises Unavailable when AWS refuses."""

    def __init__(self, registry_table: str) -> None:
        self._table = Table(registry_table)

    def keep(self, queues: Sequence[Queue]) -> None:
        """Store a sample of this minute, by one write."""
        now = time.time()
        rows = [astuple(row) for row in sample(queues, now).queues]
        item = {
            **key_of(REGISTRY_KEYS, _PART, _name(now)),
            "at": number(int(now)),
            "rows": {"B": zlib.compress(msgspec.json.encode(rows))},
            TTL: number(int(now) + _KEPT_SECONDS),
        }
        self._table.put(item, "keeping a sample of the queues")

    def read(self) -> list[FleetSample]:
        """The samples of the last hour, oldest first. A sample that can't be read is left out."""
        now = time.time()
        items = self._table.query_all(
            "reading the history of the queues",
            KeyConditionExpression="#part = :part AND #name BETWEEN :first AND :last",
            ExpressionAttributeNames=dict(zip(("#part", "#name"), REGISTRY_KEYS, strict=True)),
            ExpressionAttributeValues={
                ":part": text(_PART),
                ":first": text(_name(now - (SAMPLES - 1) * _MINUTE)),
                ":last": text(_name(now)),
            },
        )
        return [each for each in map(_sample, items) if each]


def _name(now: float) -> str:
    """The sort key of a minute. Eight digits until the year 2160, so that the keys sort as the minutes do."""
    return str(int(now) // _MINUTE)


def _sample(item: Mapping[str, Any]) -> FleetSample | None:
    """The sample of an item; None for one that another version wrote in another shape."""
    try:
        rows = msgspec.json.decode(zlib.decompress(item["rows"]["B"]), type=list[_Row])
    except (zlib.error, msgspec.MsgspecError):
        _log.exception("a sample of the queues can't be read and is left out")
        return None
    return FleetSample(at=int(item["at"]["N"]), queues=[QueueSample(*row) for row in rows])
