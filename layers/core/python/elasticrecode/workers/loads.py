"""Measures the loads of queues: what each holds, how fast jobs arrive, and how long they take."""

import logging
import time
from collections import Counter
from collections.abc import Sequence

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Receiver
from elasticrecode.workers.fleet import Load, Queue, least_recently_measured
from elasticrecode.workers.registry import Registry

_log = logging.getLogger(__name__)

MEASURE_SECONDS = 5.0
"""Seconds between two measurements of a queue."""


class LoadMeter:
    """Measures queues at most every MEASURE_SECONDS, and stores their loads in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._receiver = Receiver()
        self._measured_at = time.time() - MEASURE_SECONDS
        self._sent: Counter[str] = Counter()
        self._finished: dict[str, list[float]] = {}

    def record_sent(self, queue: str) -> None:
        """Count a job that was sent to a queue."""
        self._sent[queue] += 1

    def record_finished(self, queue: str, seconds: float) -> None:
        """Count a job of a queue that a worker finished in so many seconds."""
        self._finished.setdefault(queue, []).append(seconds)

    def measure(self, *, traffic: bool) -> None:
        """Measure the queues whose last measurement is MEASURE_SECONDS old, and store all loads.

        With `traffic` the arrivals and durations recorded since the last call enter the loads. Only the function that
        sends the jobs records any; in others, arrivals would wrongly drop to 0. A queue that can't be measured is
        logged and keeps its load. Raises Unavailable when AWS refuses to read or write the registry.
        """
        now = time.time()
        queues = [queue for queue in self._registry.queues() if queue.url]
        due = [queue for queue in queues if queue.load.at <= now - MEASURE_SECONDS]
        if not due or self._measured_at > now - MEASURE_SECONDS:
            return
        elapsed, self._measured_at = now - self._measured_at, now
        loads = {queue.name: queue.load for queue in queues} | self._counted(due, now)
        if traffic:
            sent, self._sent = self._sent, Counter()
            finished, self._finished = self._finished, {}
            loads = {
                name: load.with_traffic(sent[name], finished.get(name, []), elapsed) for name, load in loads.items()
            }
        self._registry.save_loads(loads)

    def _counted(self, queues: Sequence[Queue], now: float) -> dict[str, Load]:
        """The loads of the queues whose turn it is, with new counts; without those that could not be counted."""
        chosen = least_recently_measured(queues)
        loads = side_by_side(lambda queue: self._count(queue, now), chosen) if chosen else []
        return {queue.name: load for queue, load in zip(chosen, loads, strict=True) if load}

    def _count(self, queue: Queue, now: float) -> Load | None:
        try:
            return queue.load.with_counts(self._receiver.counts(queue.url), now)
        except Exception:  # noqa: BLE001
            _log.exception("queue %s could not be measured", queue.name)
            return None
