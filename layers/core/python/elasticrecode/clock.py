"""The time, as records and events have it."""

import time


def now_ms() -> int:
    """The present in Unix milliseconds."""
    return time.time_ns() // 1_000_000
