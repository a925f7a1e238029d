"""Posting to the connections of a WebSocket API: many at once from one thread, over connections that are kept.

boto3 makes one post at a time, and spends most of it on the CPU. Here libcurl speaks HTTP, and a signer that knows only
requests of this kind signs them.
"""

import hashlib
import hmac
import logging
import math
import re
import select
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from random import SystemRandom
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

import botocore.session
import pycurl
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path
from botocore.utils import normalize_url_path

_log = logging.getLogger(__name__)

_SERVICE = "execute-api"
_ANSWER_SECONDS = 3.0
"""A request without an answer for so long is made again: its connection may have died while Lambda was frozen."""
_DELETE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_PASSING = {"LimitExceededException", "ThrottlingException", "TooManyRequestsException"}
_DISTRUSTED = {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE}
_EPOLL = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_ERROR_TYPE = re.compile(rb"x-amzn-errortype:\s*(\w+)", re.IGNORECASE)
_RNG = SystemRandom()  # containers that were started from one snapshot must not draw alike

Ended = Literal["", "gone", "late"]


class Outcome(NamedTuple):
    """What came of a connection's frames: how many were delivered, in order, and why no more.

    `ended` is "" when all were; "gone" when the connection is no more; "late" when AWS throttled, refused, failed or
    was too slow within the time there was.
    """

    delivered: int
    ended: Ended


class Signer:
    """AWS's signature, version 4, of requests that have no query and sign host, time and session token.

    The key is derived, and all that is the same for every request put together, once a second.
    """

    def __init__(self, credentials: ReadOnlyCredentials, region: str, host: str) -> None:
        self._credentials = credentials
        self._region = region
        self._host = host
        self._second = 0

    def headers(self, method: str, path: str, payload_hash: str) -> list[str]:
        """The header lines of a request that is made now. `path` is canonical, the hash SHA-256 in hexadecimal."""
        if (second := int(time.time())) != self._second:
            self._prepare(second)
        request = hashlib.sha256(f"{method}\n{path}{self._canonical}{payload_hash}".encode()).hexdigest()
        signature = hmac.digest(self._key, f"{self._to_sign}{request}".encode(), "sha256").hex()
        return [*self._same, f"{self._authorization}{signature}"]

    def _prepare(self, second: int) -> None:
        access_key, secret_key, token = self._credentials[:3]
        self._second = second
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = (stamp[:8], self._region, _SERVICE, "aws4_request")
        self._key = f"AWS4{secret_key}".encode()
        for part in scope:
            self._key = hmac.digest(self._key, part.encode(), "sha256")
        signed = {"host": self._host, "x-amz-date": stamp} | ({"x-amz-security-token": token} if token else {})
        names = ";".join(signed)
        self._same = [f"{name}: {value}" for name, value in signed.items()]
        self._canonical = "\n\n" + "".join(f"{name}:{value}\n" for name, value in signed.items()) + f"\n{names}\n"
        self._to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{'/'.join(scope)}\n"
        self._authorization = (
            f"Authorization: AWS4-HMAC-SHA256 Credential={access_key}/{'/'.join(scope)}, "
            f"SignedHeaders={names}, Signature="
        )


class _Target:
    """A connection, and how far its frames have come."""

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
        """What came of it."""
        return Outcome(self.delivered, self.ended)


class _Batch:
    """What one call is about. Connections are ready for their next request, under way in one, or pause before it."""

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
        """Whether there are connections that are not under way and have not ended."""
        return bool(self._ready or self._pausing)

    def left(self) -> float:
        """The seconds that are left."""
        return self._over - time.monotonic()

    def idle(self) -> float:
        """For how many seconds nothing becomes ready by itself."""
        return self._pausing[0][0] - time.monotonic() if self._pausing else math.inf

    def turn(self) -> _Target | None:
        """Whose turn it is: each connection waits for its next behind all others. None while nobody is ready."""
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

    def answered(self, target: _Target, answer: "_Answer") -> None:
        """What follows from an answer."""
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
            self._late(target, answer.said)

    def payload_hash(self, frame: bytes) -> str:
        """SHA-256 of a frame. Most frames go to every connection."""
        if (found := self._hashes.get(frame)) is None:
            found = self._hashes[frame] = hashlib.sha256(frame).hexdigest()
        return found

    def _late(self, target: _Target, reason: str) -> None:
        target.ended = "late"
        self.reasons[reason] += 1


class _Answer(NamedTuple):
    """The status, 0 without one, what it was in words, and whether to ask again."""

    status: int
    said: str = ""
    passing: bool = False


class _Request:
    """libcurl's handle of one request at a time. What does not change is set once."""

    def __init__(self, authorities: str | None) -> None:
        self.easy = easy = pycurl.Curl()
        self._lines: list[bytes] = []
        easy.setopt(pycurl.NOSIGNAL, 1)
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.PATH_AS_IS, 1)  # as it was signed
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, len)  # takes the body and forgets it
        if authorities:
            easy.setopt(pycurl.CAINFO, authorities)

    def prepare(self, method: str, url: str, headers: list[str], body: bytes, seconds: float) -> None:
        """Set what is to be asked."""
        self._lines.clear()
        easy = self.easy
        easy.setopt(pycurl.CUSTOMREQUEST, method)
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.HTTPHEADER, [*headers, "Accept:", "Content-Type:", "Expect:"])
        easy.setopt(pycurl.POSTFIELDS, body)
        easy.setopt(pycurl.TIMEOUT_MS, max(1, int(seconds * 1000)))

    def answer(self, code: int, message: str) -> _Answer:
        """What was answered, by libcurl's result. With a status it is an answer, whatever is missing behind it."""
        status: int = self.easy.getinfo(pycurl.RESPONSE_CODE)
        if 200 <= status < 300:
            return _Answer(status)
        if status < 200:
            # The message has milliseconds in it: all that failed alike shall be one line in the log.
            return _Answer(0, f"no answer (curl {code}: {re.sub('[0-9]+ m', 'm', message)})", code not in _DISTRUSTED)
        kind = next((found[1].decode() for line in self._lines if (found := _ERROR_TYPE.match(line))), "")
        return _Answer(status, f"status {status} {kind}".rstrip(), status == 429 or status >= 500 or kind in _PASSING)


class _Requests:
    """Requests under way, by libcurl's multi interface on epoll, and the HTTP connections they leave behind."""

    def __init__(self, most: int, authorities: str | None) -> None:
        self._most = most
        self._authorities = authorities
        self._epoll = select.epoll()
        self._masks: dict[int, int] = {}
        self._due = math.inf
        self._free: list[_Request] = []
        self._under_way: dict[pycurl.Curl, tuple[_Request, _Target]] = {}
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, most)  # it would keep only as many as there were requests lately
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    def __bool__(self) -> bool:
        """Whether any is under way."""
        return bool(self._under_way)

    @property
    def closed(self) -> bool:
        """Whether there will be no more."""
        return self._epoll.closed

    @property
    def has_room(self) -> bool:
        """Whether one more may be started."""
        return len(self._under_way) < self._most

    def start(self, target: _Target, method: str, url: str, headers: list[str], body: bytes, seconds: float) -> None:
        """Ask for a connection. There will be an answer within the seconds."""
        request = self._free.pop() if self._free else _Request(self._authorities)
        request.prepare(method, url, headers, body, seconds)
        self._under_way[request.easy] = request, target
        self._multi.add_handle(request.easy)

    def wait(self, seconds: float) -> list[tuple[_Target, _Answer]]:
        """What was answered. Waits for anything to happen, so long at most."""
        waiting = max(0.0, min(seconds, self._due - time.monotonic(), _ANSWER_SECONDS))
        for descriptor, mask in self._epoll.poll(waiting):
            happened = pycurl.CSELECT_IN if mask & ~select.EPOLLOUT else 0
            self._multi.socket_action(descriptor, happened | (pycurl.CSELECT_OUT if mask & ~select.EPOLLIN else 0))
        if self._due <= time.monotonic():
            self._due = math.inf
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        answers = []
        more = 1
        while more:
            more, fine, failed = self._multi.info_read()
            for easy, code, message in [*((easy, 0, "") for easy in fine), *failed]:
                request, target = self._end(easy)
                answers.append((target, request.answer(code, message)))
        return answers

    def cut_off(self) -> None:
        """End those that are under way."""
        for easy in list(self._under_way):
            self._end(easy)

    def close(self) -> None:
        """End everything."""
        self.cut_off()
        self._multi.close()
        for request in self._free:
            request.easy.close()
        self._free.clear()
        self._epoll.close()

    def _end(self, easy: pycurl.Curl) -> tuple[_Request, _Target]:
        self._multi.remove_handle(easy)
        request, target = self._under_way.pop(easy)
        self._free.append(request)
        return request, target

    def _on_socket(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        known = self._masks.pop(descriptor, None)
        if what == pycurl.POLL_REMOVE:
            if known is not None:
                with suppress(OSError):  # closed, and forgotten by epoll
                    self._epoll.unregister(descriptor)
            return
        mask = self._masks[descriptor] = _EPOLL[what]
        if known is None:
            self._epoll.register(descriptor, mask)
        elif mask != known:
            self._epoll.modify(descriptor, mask)

    def _on_timer(self, milliseconds: int) -> None:
        self._due = math.inf if milliseconds < 0 else time.monotonic() + milliseconds / 1000


class Poster:
    """Posts frames through the management endpoint of a WebSocket API. For one thread at a time.

    HTTP connections are kept from call to call, `in_flight` at most. Region, credentials and the authorities to trust
    are what botocore finds; `authorities` is a file of certificates to trust instead. NoRegionError without a region.
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
        self._requests = _Requests(in_flight, authorities)

    def post(
        self, frames: Mapping[str, Sequence[bytes]], seconds: float, expires: Mapping[str, float] | None = None
    ) -> dict[str, Outcome]:
        """Post to each connection its frames, one after another, connections side by side.

        None is posted to from the Unix second on in which it expires. Returns when all have ended, after `seconds` at
        the latest. A frame whose answer was lost is posted again, so it may arrive twice. NoCredentialsError without
        credentials, RuntimeError when the poster is closed.
        """
        return self._all("POST", frames, seconds, expires or {})

    def delete(self, *connection_ids: str) -> set[str]:
        """End connections that are still there; those that could not be. What fails is logged."""
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
        batch = _Batch(method, self._signer(), (target for target in targets.values() if target.frames), seconds)
        try:
            self._start(batch)
            while batch.waiting or self._requests:
                for target, answer in self._requests.wait(batch.idle()):
                    batch.answered(target, answer)
                self._start(batch)
        finally:
            self._requests.cut_off()
        for reason, number in batch.reasons.items():
            _log.warning("%s failed for %d connections: %s", method, number, reason)
        return {key: target.outcome for key, target in targets.items()}

    def _start(self, batch: _Batch) -> None:
        """Start as many requests as may be."""
        while self._requests.has_room and (target := batch.turn()):
            frame = target.frames[target.delivered]
            self._requests.start(
                target,
                batch.method,
                self._origin + target.path,
                batch.signer.headers(batch.method, target.canonical, batch.payload_hash(frame)),
                frame,
                min(batch.left(), _ANSWER_SECONDS),
            )

    def _signer(self) -> Signer:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return Signer(credentials.get_frozen_credentials(), self._region, self._host)


def canonical(path: str) -> str:
    """A path as it is signed: normalised, and what is encoded already encoded once more."""
    return quote(normalize_url_path(path), safe="/~")


def host_header(url: str) -> str:
    """The Host header of requests to a URL: without the port that its scheme implies."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    implied = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, implied) else f"{host}:{parts.port}"


def _pause(failures: int) -> float:
    """Seconds before a frame is posted again."""
    longest: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
    return longest * _RNG.uniform(0.5, 1.0)
