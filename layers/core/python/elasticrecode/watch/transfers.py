"""HTTP requests by libcurl, many at once from one thread, over connections that are kept."""

import math
import re
import select
import time
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

import pycurl

ANSWER_SECONDS = 3.0
"""Seconds without an answer after which a request is sent again: Lambda may have frozen while its connection died."""
_PASSING = {"LimitExceededException", "ThrottlingException", "TooManyRequestsException"}
_DISTRUSTED = {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE}
_EPOLL = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_ERROR_TYPE = re.compile(rb"x-amzn-errortype:\s*(\w+)", re.IGNORECASE)

T = TypeVar("T")


class Answer(NamedTuple):
    """An answer: its status, 0 when none came, its reason in words, and whether a later try may succeed."""

    status: int
    reason: str = ""
    passing: bool = False


class _Request:
    """libcurl's handle, for one request at a time. Options that never change are set once."""

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
        """Set up the next request. It ends after `seconds` at the latest."""
        self._lines.clear()
        easy = self.easy
        easy.setopt(pycurl.CUSTOMREQUEST, method)
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.HTTPHEADER, [*headers, "Accept:", "Content-Type:", "Expect:"])
        easy.setopt(pycurl.POSTFIELDS, body)
        easy.setopt(pycurl.TIMEOUT_MS, max(1, int(seconds * 1000)))

    def answer(self, code: int, message: str) -> Answer:
        """The answer, from libcurl's result. One with a status counts, whatever is missing behind it."""
        status: int = self.easy.getinfo(pycurl.RESPONSE_CODE)
        if 200 <= status < 300:
            return Answer(status)
        if status < 200:
            # Without the milliseconds in it, so that failures of one kind are one line in the log.
            return Answer(0, f"no answer (curl {code}: {re.sub('[0-9]+ m', 'm', message)})", code not in _DISTRUSTED)
        kind = next((header[1].decode() for line in self._lines if (header := _ERROR_TYPE.match(line))), "")
        return Answer(status, f"status {status} {kind}".rstrip(), status == 429 or status >= 500 or kind in _PASSING)


class Requests(Generic[T]):
    """Requests in flight, each for a target, by libcurl's multi interface on epoll. HTTP connections are kept.

    `most` bounds the requests in flight; `authorities` is a file of certificates to trust.
    """

    def __init__(self, most: int, authorities: str | None) -> None:
        self._most = most
        self._authorities = authorities
        self._epoll = select.epoll()
        self._masks: dict[int, int] = {}
        self._due = math.inf
        self._free: list[_Request] = []
        self._in_flight: dict[pycurl.Curl, tuple[_Request, T]] = {}
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, most)  # it would keep only as many as there were requests lately
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    def __bool__(self) -> bool:
        """Whether any request is in flight."""
        return bool(self._in_flight)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._epoll.closed

    @property
    def has_room(self) -> bool:
        """Whether one more request may start."""
        return len(self._in_flight) < self._most

    def start(self, target: T, method: str, url: str, headers: list[str], body: bytes, seconds: float) -> None:
        """Start a request for a target. `wait` returns its answer, after `seconds` at the latest."""
        request = self._free.pop() if self._free else _Request(self._authorities)
        request.prepare(method, url, headers, body, seconds)
        self._in_flight[request.easy] = request, target
        self._multi.add_handle(request.easy)

    def wait(self, seconds: float) -> list[tuple[T, Answer]]:
        """The targets that got an answer. Waits up to `seconds` for the first."""
        waiting = max(0.0, min(seconds, self._due - time.monotonic(), ANSWER_SECONDS))
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
        """Abort the requests in flight."""
        for easy in list(self._in_flight):
            self._end(easy)

    def close(self) -> None:
        """Abort the requests in flight and close the HTTP connections."""
        self.cut_off()
        self._multi.close()
        for request in self._free:
            request.easy.close()
        self._free.clear()
        self._epoll.close()

    def _end(self, easy: pycurl.Curl) -> tuple[_Request, T]:
        self._multi.remove_handle(easy)
        request, target = self._in_flight.pop(easy)
        self._free.append(request)
        return request, target

    def _on_socket(self, action: int, descriptor: int, _multi: object, _data: object) -> None:
        known = self._masks.pop(descriptor, None)
        if action == pycurl.POLL_REMOVE:
            if known is not None:
                with suppress(OSError):  # closed, and forgotten by epoll
                    self._epoll.unregister(descriptor)
            return
        mask = self._masks[descriptor] = _EPOLL[action]
        if known is None:
            self._epoll.register(descriptor, mask)
        elif mask != known:
            self._epoll.modify(descriptor, mask)

    def _on_timer(self, milliseconds: int) -> None:
        self._due = math.inf if milliseconds < 0 else time.monotonic() + milliseconds / 1000
