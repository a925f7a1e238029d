"""The clock of the simulated worlds."""

import logging
import time
from collections.abc import Iterator

import pytest

from tests.fakes.clock import Clock


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
