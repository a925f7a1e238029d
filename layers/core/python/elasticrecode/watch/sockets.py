"""Posts frames to the connections of a WebSocket API: many at once from one thread, over connections that are kept.

boto3 makes one post at a time and spends most of it on the CPU, so libcurl speaks HTTP here, and a signer for requests
of this kind alone signs them.
"""

import hashlib
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from random import SystemRandom
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

import botocore.session
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path

from elasticrecode.watch.signing import Signer, canonical, host_header
from elasticrecode.watch.transfers import ANSWER_SECONDS, Answer, Requests

_log = logging.getLogger(__name__)

_DELETE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_RNG = SystemRandom()  # containers that were started from one snapshot must not draw alike

Ended = Literal["", "gone", "late"]


class Outcome(NamedTuple):
    """The outcome of a connection's frames: how many were delivered, in order, and why no more.

    `ended` is "" when all were; "gone" when the connection is closed; "late" when AWS throttled, refused, failed or was
    too slow within the time given.
    """

    delivered: int
    ended: Ended


class _Target:
    """A connection, its frames, and how many of them were delivered."""

    __slots__ = ("canonical", "delivered", "ended", "expires", "failures", "frames", "path")

    def __init__(self, prefix: str, connection_id: str, frames: Sequence[bytes], expires: float) -> None:
        self.path = f"{prefix}/@connections/{quote(connection_id, safe='-._~')}"
        self.canonical = canonical(self.path)
        self.frames = frames
        self.expires = expires
        self.delivered = 0
        self.failures = 0  # of the frame that is next
        self.ended: Ended = ""

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        return Outcome(self.delivered, self.ended)


class _Targets:
    """The targets of one call. Each is ready for its next request, has one in flight, or pauses before it."""

    def __init__(self, method: str, signer: Signer, targets: Iterable[_Target], seconds: float) -> None:
        self.method = method
        self.signer = signer
        self.reasons: Counter[str] = Counter()
        self._over = time.monotonic() + seconds
        self._ready = deque(targets)
        self._pausing: list[tuple[float, int, _Target]] = []
        self._pauses = count()
        self._hashes: dict[bytes, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether a target is ready or pauses."""
        return bool(self._ready or self._pausing)

    def left(self) -> float:
        """Seconds until the call ends."""
        return self._over - time.monotonic()

    def idle(self) -> float:
        """Seconds until the next pause ends; infinite when none pauses."""
        return self._pausing[0][0] - time.monotonic() if self._pausing else math.inf

    def turn(self) -> _Target | None:
        """The target whose turn it is, each behind all others after a request; None when none is ready."""
        while self._pausing and self.idle() <= 0:
            self._ready.append(heappop(self._pausing)[2])
        if self.left() <= 0:
            for target in self._ready:
                self._late(target, "the time was over")
            self._ready.clear()
        while self._ready and (target := self._ready.popleft()):
            if time.time() < target.expires:
                return target
            self._late(target, "they had expired")
        return None

    def answered(self, target: _Target, answer: Answer) -> None:
        """Move a target on by the answer to its request."""
        if 200 <= answer.status < 300:
            target.delivered += 1
            target.failures = 0
            if target.delivered < len(target.frames):
                self._ready.append(target)
        elif answer.status == 410:
            target.ended = "gone"
        elif answer.passing and (pause := _pause(target.failures)) < self.left():
            target.failures += 1
            heappush(self._pausing, (time.monotonic() + pause, next(self._pauses), target))
        else:
            self._late(target, answer.reason)

    def payload_hash(self, frame: bytes) -> str:
        """SHA-256 of a frame, remembered, as most frames go to every connection."""
        if (digest := self._hashes.get(frame)) is None:
            digest = self._hashes[frame] = hashlib.sha256(frame).hexdigest()
        return digest

    def _late(self, target: _Target, reason: str) -> None:
        target.ended = "late"
        self.reasons[reason] += 1


class Poster:
    """Posts frames through the management endpoint of a WebSocket API. For one thread at a time.

    It keeps HTTP connections from call to call, `in_flight` at most. botocore finds the region, the credentials and the
    certificates to trust; `authorities` is a file with others. Raises NoRegionError without a region.
    """

    def __init__(self, management_url: str, *, in_flight: int = 128, authorities: str | None = None) -> None:
        url = urlsplit(management_url)
        self._origin = f"{url.scheme}://{url.netloc}"
        self._prefix = url.path.rstrip("/")
        self._host = host_header(management_url)
        self._session = botocore.session.get_session()
        self._region = self._session.get_config_variable("region")
        if not self._region:
            raise NoRegionError
        if url.scheme == "https":
            authorities = authorities or get_cert_path(self._session.get_config_variable("ca_bundle") or True)
        self._requests = Requests[_Target](in_flight, authorities)

    def post(
        self, frames: Mapping[str, Sequence[bytes]], seconds: float, expires: Mapping[str, float] | None = None
    ) -> dict[str, Outcome]:
        """Post each connection its frames, one after another, and connections side by side.

        `expires` has the Unix second from which a connection gets no more. Returns the outcome for each connection,
        after `seconds` at the latest. A frame whose answer was lost is posted again, so it may arrive twice. Raises
        NoCredentialsError without credentials, RuntimeError when the poster is closed.
        """
        return self._all("POST", frames, seconds, expires or {})

    def delete(self, *connection_ids: str) -> set[str]:
        """End connections. Returns those that API Gateway did not end, and logs why; one that is gone is ended."""
        outcomes = self._all("DELETE", dict.fromkeys(connection_ids, (b"",)), _DELETE_SECONDS, {})
        return {connection_id for connection_id, outcome in outcomes.items() if outcome.ended == "late"}

    def close(self) -> None:
        """Close the HTTP connections."""
        if not self._requests.closed:
            self._requests.close()

    def _all(
        self, method: str, frames: Mapping[str, Sequence[bytes]], seconds: float, expires: Mapping[str, float]
    ) -> dict[str, Outcome]:
        if self._requests.closed:
            raise RuntimeError("the poster is closed")
        targets = {
            key: _Target(self._prefix, key, sequence, expires.get(key, math.inf)) for key, sequence in frames.items()
        }
        call = _Targets(method, self._signer(), (target for target in targets.values() if target.frames), seconds)
        try:
            self._start(call)
            while call.waiting or self._requests:
                for target, answer in self._requests.wait(call.idle()):
                    call.answered(target, answer)
                self._start(call)
        finally:
            self._requests.cut_off()
        for reason, number in call.reasons.items():
            _log.warning("%s failed for %d connections: %s", method, number, reason)
        return {key: target.outcome for key, target in targets.items()}

    def _start(self, call: _Targets) -> None:
        """Start requests while there is room and a target is ready."""
        while self._requests.has_room and (target := call.turn()):
            frame = target.frames[target.delivered]
            self._requests.start(
                target,
                call.method,
                self._origin + target.path,
                call.signer.headers(call.method, target.canonical, call.payload_hash(frame)),
                frame,
                min(call.left(), ANSWER_SECONDS),
            )

    def _signer(self) -> Signer:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return Signer(credentials.get_frozen_credentials(), self._region, self._host)


def _pause(failures: int) -> float:
    """Seconds before a frame is posted again, after some failures in a row."""
    longest: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
    return longest * _RNG.uniform(0.5, 1.0)
