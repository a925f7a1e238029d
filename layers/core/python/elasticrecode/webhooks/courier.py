"""One POST to a user's address, signed by the Standard Webhooks scheme.

The courier resolves the name once, checks its addresses, and connects to one of them, so the owner of the name cannot
point it elsewhere in between. It uses no proxy and follows no redirect. Every failure has a reason for the webhook's
owner.
"""

import base64
import hashlib
import hmac
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from io import BufferedReader
from typing import NamedTuple
from urllib.parse import quote

from elasticrecode.errors import ElasticRecodeError
from elasticrecode.webhooks.addresses import Network, Target, is_public, is_within, parse

SECRET_PREFIX = "whsec_"  # noqa: S105
DAY_SECONDS = 86_400
"""Seconds in which a delivery is tried again."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 5, 3 * 3600
_LONGEST_RETRY_AFTER = 3600
_ADDRESSES = 3
_BODY_BYTES = 64 * 1024
_CHUNK = 8192
_GONE, _TOO_MANY, _UNAVAILABLE = 410, 429, 503
_USER_AGENT = "ElasticRecode-Webhooks/1"

Resolve = Callable[[str, int], Sequence[str]]


class Limits(NamedTuple):
    """Timeouts in seconds: for a connection to one address, and for the whole request."""

    connect: float = 3.0
    total: float = 10.0


class Undeliverable(ElasticRecodeError):
    """The receiver did not take a delivery; the text says why.

    `status` is that of its answer, where there is one. `gone` means that it accepts no deliveries any more; `after` is
    its Retry-After in seconds.
    """

    def __init__(self, reason: str, *, status: int | None = None, after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.gone = status == _GONE
        self.after = after


def resolve(host: str, port: int) -> Sequence[str]:
    """The IP addresses of a host, by the system's resolver. Raises OSError when it has none."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in infos))


def checked(target: Target, allowed: Sequence[Network], resolve: Resolve = resolve) -> list[str]:
    """The addresses of a target. Raises Undeliverable when it has none, or one that must not be connected to.

    Each must be public or in `allowed`; without TLS, in `allowed`.
    """
    try:
        addresses = list(resolve(target.host, target.port))
    except (OSError, UnicodeError) as error:
        raise Undeliverable(f"{target.host} can't be resolved ({error})") from None
    if not addresses:
        raise Undeliverable(f"{target.host} has no address")
    for address in addresses:
        if is_within(address, allowed):
            continue
        if not is_public(address):
            raise Undeliverable(f"{target.host} is {address}, which is not a public address")
        if not target.secure:
            raise Undeliverable("the URL has no TLS; use https")
    return addresses


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature` for a message."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def pause(waited_seconds: float) -> float:
    """Seconds until the next try of a delivery that has waited so long: about as long again, 5 s to 3 hours."""
    return min(max(waited_seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311


class Courier:
    """Posts to users' addresses, which must be public or in `allowed`."""

    def __init__(self, allowed: Sequence[Network], limits: Limits | None = None, resolve: Resolve = resolve) -> None:
        self._allowed = allowed
        self._limits = limits or Limits()
        self._resolve = resolve

    def post(self, url: str, secret: str, event_id: str, body: bytes) -> int:
        """POST a JSON body; the status of the answer. Raises Undeliverable unless a complete 2xx comes in time."""
        try:
            target = parse(url)
        except ValueError as error:
            raise Undeliverable(f"the URL {error}") from None
        addresses = checked(target, self._allowed, self._resolve)
        message_id, now = quote(event_id, safe=":@=+"), int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(secret, message_id, now, body),
            "connection": "close",
        }
        with _Connection(target, addresses, self._limits) as connection:
            try:
                connection.request("POST", target.path, body, headers)
                with connection.getresponse() as answer:
                    self._check(answer)
                if connection.is_late:
                    raise TimeoutError
                return answer.status
            except ssl.SSLCertVerificationError as error:
                raise Undeliverable(f"its certificate can't be verified ({error.verify_message})") from None
            except (OSError, HTTPException, ValueError) as error:
                raise Undeliverable(connection.explain(error)) from None

    def _check(self, answer: HTTPResponse) -> None:
        status = answer.status
        if status == _GONE:
            raise Undeliverable("it answered 410 Gone", status=status)
        if 300 <= status < 400:
            raise Undeliverable(f"it answered {status}; redirects are not followed", status=status)
        if not 200 <= status < 300:
            retry_after = (
                _retry_after(answer.headers.get("Retry-After", "")) if status in (_TOO_MANY, _UNAVAILABLE) else None
            )
            raise Undeliverable(f"it answered {status}", status=status, after=retry_after)
        read = 0
        while read < _BODY_BYTES:
            chunk = answer.read(_CHUNK)
            if not chunk:
                break
            read += len(chunk)
        else:
            return
        if answer.length:
            raise HTTPException("cut off")


class _Lines(BufferedReader):
    """Lines that must be complete: http.client takes the end of a connection for the end of the headers."""

    def readline(self, size: int | None = -1) -> bytes:
        """A line. Raises HTTPException when the connection ends before its end."""
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise HTTPException("cut off")
        return line


class _Answer(HTTPResponse):
    def begin(self) -> None:
        """Read the status and headers."""
        self.fp = _Lines(self.fp.detach())
        super().begin()


class _Connection(HTTPConnection):
    """A connection to one of the checked addresses, cut when its time is over."""

    response_class = _Answer

    def __init__(self, target: Target, addresses: Sequence[str], limits: Limits) -> None:
        super().__init__(target.host, target.port, timeout=limits.total)
        self._target = target
        self._addresses = addresses[:_ADDRESSES]
        self._limits = limits
        self._deadline = time.monotonic() + limits.total
        self._wire: socket.socket | None = None  # `sock` becomes None once the headers are read
        self._timer = threading.Timer(limits.total, self._cut)
        self._timer.daemon = True
        # HTTPConnection names the port in `Host` unless it is this one.
        self.default_port = 443 if target.secure else 80

    def __enter__(self) -> "_Connection":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.close()

    @property
    def is_late(self) -> bool:
        """Whether its time is over, so that the answer may be cut off."""
        return time.monotonic() >= self._deadline

    def connect(self) -> None:
        """Connect to the first address that accepts, and verify the certificate against the name."""
        self.sock = self._wire = self._reach()
        self.sock.settimeout(max(0.1, self._deadline - time.monotonic()))
        if self._target.secure:
            wrapped = _trust().wrap_socket(self.sock, server_hostname=self._target.host, do_handshake_on_connect=False)
            self.sock = self._wire = wrapped
            wrapped.do_handshake()

    def explain(self, error: Exception) -> str:
        """The reason of a failure, for the webhook's owner."""
        if self._wire is None:
            late = isinstance(error, TimeoutError)
            return f"it could not be connected to ({'no answer' if late else getattr(error, 'strerror', '') or error})"
        if isinstance(error, TimeoutError) or self.is_late:
            return f"it did not answer within {self._limits.total:g} s"
        if isinstance(error, ssl.SSLError):
            return f"TLS failed ({error.reason or error})"
        return "the connection was closed before its answer was complete"

    def _reach(self) -> socket.socket:
        reason: OSError | None = None
        for address in self._addresses:
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            try:
                return socket.create_connection((address, self.port), timeout=min(left, self._limits.connect))
            except OSError as error:
                reason = error
        raise reason or TimeoutError

    def _cut(self) -> None:
        """End the connection, by the socket's own shutdown: that of TLS would wait for the other side."""
        if self._wire is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._wire, socket.SHUT_RDWR)


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, 5 to 3,600; None for one that is missing or invalid."""
    try:
        seconds = float(int(text)) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, _SHORTEST_PAUSE), _LONGEST_RETRY_AFTER)
