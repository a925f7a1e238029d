"""The time, as leases, records and events have it: by AWS's clock, so that workers with wrong clocks agree on it.

Every answer of AWS has a `Date`. It was written between the moments at which the request was sent and the answer was
received, so each answer bounds how far the local clock is off. A local clock within the bounds is trusted, as `Date`
has whole seconds only; any other is corrected.
"""

import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any

_TOLERANCE_SECONDS = 1.0
"""How far the local clock may lie outside of the bounds: hosts of AWS differ a little themselves."""


class _Correction:
    """Seconds to add to the local clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds = 0.0

    def learn(self, date: float, sent: float, received: float) -> None:
        """Bound the correction by one answer: its `Date`, and when the request was sent and the answer received.

        All in Unix seconds, the last two by the local clock. A slow answer has wide bounds and teaches little.
        """
        least, most = date - received - _TOLERANCE_SECONDS, date + 1 - sent + _TOLERANCE_SECONDS
        with self._lock:
            for known in (self.seconds, 0.0):
                if least <= known <= most:
                    self.seconds = known
                    return
            self.seconds = (least + most) / 2


_correction = _Correction()


def learn(date: str, sent: float) -> None:
    """Learn from the `Date` of an answer that has just been received to a request sent at the local time `sent`."""
    try:
        _correction.learn(parsedate_to_datetime(date).timestamp(), sent, time.time())
    except ValueError:
        return  # a proxy's, or none: the clock stays as it is


def correction() -> float:
    """Seconds by which AWS's clock is ahead of the local one; 0 while they agree to about a second."""
    return _correction.seconds


def now_ms() -> int:
    """The present in Unix milliseconds."""
    return time.time_ns() // 1_000_000 + round(_correction.seconds * 1000)


def watch(client: Any) -> None:
    """Learn from every answer that a botocore client gets."""
    sending = threading.local()

    def note_sending(**_: Any) -> None:
        sending.at = time.time()

    def read_date(response_dict: Any = None, **_: Any) -> None:
        date = response_dict["headers"].get("date") if response_dict else None
        if date:
            learn(date, sending.at)

    client.meta.events.register("before-send", note_sending)
    client.meta.events.register("response-received", read_date)
