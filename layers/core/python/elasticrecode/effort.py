"""A run over many steps or jobs, where a failure of one does not stop the others."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class Effort:
    """One run. `failures` has the exception of each thing that failed; the log has each with its traceback."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def each(self, do: Callable[[T], int], things: Iterable[T]) -> int:
        """Call `do` with each thing; the sum of the results."""
        return sum(self.tried(do, thing) or 0 for thing in things)

    def tried(self, do: Callable[[T], R], thing: T) -> R | None:
        """The result of `do(thing)`; None when it raises."""
        try:
            return do(thing)
        except Exception as error:  # noqa: BLE001
            self.failures.append(error)
            _log.exception("a step or a job failed")
            return None
