"""How much chaos, and which: CHAOS=full for all of it (`make chaos`), CHAOS_SEED to see the same again."""

import os
import random
import time

import pytest

FULL = os.environ.get("CHAOS") == "full"
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))


class Clock:
    """The product's clock, `ahead` seconds before the machine's."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def ms(self) -> int:
        """Now, as the product sees it."""
        return time.time_ns() // 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that tests can set forward; pauses take no time."""
    clock, real, real_ns = Clock(), time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + clock.ahead)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(clock.ahead * 10**9))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return clock


def told(what: str, **counts: int) -> None:
    """Print the seed and what was counted."""
    print(f"\nchaos, {what}, seed {SEED}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
