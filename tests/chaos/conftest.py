"""A clock for the worlds that are made here."""

import logging
import time
from collections.abc import Iterator

import pytest

_BEGIN = 1_900_000_000.0
_READING_SECONDS = 0.0001


class Clock:
    """The product's clock: it stands still but for `ahead`, and goes on a little with every reading."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def seconds(self) -> float:
        """Now, in Unix seconds."""
        self.ahead += _READING_SECONDS
        return _BEGIN + self.ahead

    def ns(self) -> int:
        """Now, in nanoseconds."""
        return int(self.seconds() * 10**9)

    def ms(self) -> int:
        """Now, as the product sees it."""
        return self.ns() // 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A clock that tests can set forward; pauses take no time.

    Nothing is logged: a line would read the clock, and of millions of lines pytest keeps each.
    """
    logging.disable()
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.seconds)
    monkeypatch.setattr(time, "time_ns", clock.ns)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    yield clock
    logging.disable(logging.NOTSET)
