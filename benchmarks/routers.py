"""Routers that the benchmark compares with the product's: random, round robin, shortest queue and least wait."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from elasticrecode.jobs.placement import Choice, Want
from elasticrecode.workers.fleet import Queue
from elasticrecode.workers.routing import DESERTED_SECONDS, Router


class Chooser(Protocol):
    """The interface of a router."""

    def update(self, queues: Sequence[Queue]) -> None:
        """Use newer measurements."""

    def choose(self, want: Want, now: float, leaving: str = "") -> Choice:
        """The queue of a job."""

    def surplus(self, now: float) -> Mapping[str, int]:
        """How many of the waiting jobs of each queue should move elsewhere."""


Routers = Callable[[random.Random], Chooser]


class _Plain(ABC):
    """A router that heeds price models and avoids queues without ready workers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.turn = rng.randrange(1000)

    def update(self, queues: Sequence[Queue]) -> None:
        self.queues = queues
        self.known: dict[tuple[Want, str], list[Queue]] = {}

    def choose(self, want: Want, now: float, leaving: str = "") -> Choice:
        fitting = self.known.get((want, leaving)) or self._fitting(want, leaving)
        return Choice(self.pick(fitting).name, "") if fitting else Choice("", "")

    def surplus(self, now: float) -> Mapping[str, int]:
        if not any(queue.ready for queue in self.queues):
            return {}
        return {queue.name: queue.load.visible for queue in self.queues if queue.is_deserted(now, DESERTED_SECONDS)}

    def _fitting(self, want: Want, leaving: str) -> list[Queue]:
        left = [queue for queue in self.queues if queue.name != leaving and (queue.ready or not leaving)]
        priced = [queue for queue in left if queue.price == want.price] or left
        self.known[want, leaving] = [queue for queue in priced if queue.ready] or priced
        return self.known[want, leaving]

    @abstractmethod
    def pick(self, queues: Sequence[Queue]) -> Queue: ...


class _Random(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        return queues[int(self.rng.random() * len(queues))]


class _RoundRobin(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        self.turn += 1
        return queues[self.turn % len(queues)]


class _Shortest(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        return min(queues, key=lambda queue: queue.load.visible + queue.load.in_flight)


class _LeastWait(_Plain):
    def pick(self, queues: Sequence[Queue]) -> Queue:
        return min(queues, key=_expected)


def _expected(queue: Queue) -> float:
    """Seconds until a queue has finished one more job, by its last measurement."""
    seconds = queue.load.seconds or 30.0
    return max(seconds, (queue.load.visible + queue.load.in_flight / 2) * seconds / max(1, queue.ready or 0))


def _ours(rng: random.Random) -> Chooser:
    return Router((), rng)


OURS, RANDOM, PLANNER = "elasticrecode", "random", "planner"
CHOOSERS: dict[str, Routers] = {
    RANDOM: _Random,
    "round robin": _RoundRobin,
    "shortest queue": _Shortest,
    "least wait": _LeastWait,
    OURS: _ours,
}
