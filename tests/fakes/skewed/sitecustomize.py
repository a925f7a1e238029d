"""A wrong clock for a process with this folder on its PYTHONPATH: CLOCK_SKEW_SECONDS ahead, or behind if negative.

It shifts what Python code reads of the date. Intervals, which `time.monotonic` measures, stay right.
"""

import datetime as dt
import os
import time

_SECONDS = float(os.environ.get("CLOCK_SKEW_SECONDS", "0"))
_SKEW = dt.timedelta(seconds=_SECONDS)
_time, _time_ns = time.time, time.time_ns


class _Skewed(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Skewed":
        return super().now(tz) + _SKEW

    @classmethod
    def utcnow(cls) -> "_Skewed":
        return super().utcnow() + _SKEW


if _SECONDS:
    time.time = lambda: _time() + _SECONDS
    time.time_ns = lambda: _time_ns() + int(_SECONDS * 10**9)
    dt.datetime = _Skewed  # type: ignore[misc]
