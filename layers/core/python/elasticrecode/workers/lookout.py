"""Measures queues: what each holds, how fast jobs arrive, and how long they take."""

import logging
import time
from collections import Counter
from collections.abc import Sequence

from elasticrecode.aws.clients import side_by_side
from elasticrecode.aws.sqs import Receiver
from elasticrecode.workers.fleet import Load, Queue, least_looked
from elasticrecode.workers.registry import Registry

_log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How old what is known of a queue's backlog may be while jobs are sent."""


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
