"""A reverse proxy between workers and AWS that breaks what passes, chosen by a seed, or holds a request until let go.

Each worker has a port of its own. What happens to a worker's nth call of an operation depends on the seed, the worker,
the operation and n alone, and every fault is logged, so that a run can be repeated.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from socket import SHUT_RDWR, SO_RCVBUF, SOL_SOCKET
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

Fault = Literal["throttle", "error", "reset", "lost", "cut", "late", "twice"]
"""Refused; failed; cut before AWS has it; done, and the answer lost; answered in part; answered late; done twice."""
When = Literal["before", "within", "after"]
Verdict = Callable[["Call"], Fault | None]

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")
_S3 = (
    ("PUT", "partNumber", "UploadPart"),
    ("POST", "uploads", "CreateMultipartUpload"),
    ("POST", "uploadId", "CompleteMultipartUpload"),
    ("DELETE", "uploadId", "AbortMultipartUpload"),
    ("GET", "uploadId", "ListParts"),
    ("GET", "uploads", "ListMultipartUploads"),
    ("GET", "list-type", "ListObjectsV2"),
    ("GET", "", "GetObject"),
    ("HEAD", "", "HeadObject"),
    ("PUT", "", "PutObject"),
    ("DELETE", "", "DeleteObject"),
)
"""Method and parameter of a request of S3, and its operation."""
_NOT_PASSED_ON = ("transfer-encoding", "connection", "content-length", "keep-alive")
_SECONDS = 60
_OUTAGE = 6
_RECEIVED_BYTES = 65_536


class Call(NamedTuple):
    """A request of a worker: the nth of its operation."""

    worker: str
    service: str
    operation: str
    n: int
    target: str
    body: bytes


class _Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Hold:
    """Stops the nth call that fits: before AWS has it, while its body is sent, or when AWS has done it."""

    def __init__(self, operation: str, when: When, fits: Callable[[Call], bool], nth: int) -> None:
        self._operation, self._when, self._fits, self._left = operation, when, fits, nth
        self._lock = threading.Lock()
        self.reached, self._released = threading.Event(), threading.Event()

    def release(self) -> None:
        """Let the call go on."""
        self._released.set()

    def wait(self, call: Call, when: When) -> None:
        """Called by the proxy at each place of each call."""
        if (call.operation, when) != (self._operation, self._when) or not self._fits(call):
            return
        with self._lock:
            self._left -= 1
            held = self._left == 0
        if held:
            self.reached.set()
            self._released.wait()


class Proxy:
    """Stands before the AWS at `upstream`. `verdict` says what becomes of a call, and `counts` counts that."""

    def __init__(self, upstream: str, verdict: Verdict = lambda _: None, late_seconds: float = 8.0) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.verdict, self.late_seconds = verdict, late_seconds
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.holds: list[Hold] = []
        self.on_call: Callable[[Call], None] = lambda _: None
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._servers: dict[str, _Server] = {}
        self._delivered: dict[bytes, _Answer] = {}
        self._began = time.monotonic()

    def url(self, worker: str) -> str:
        """The URL of AWS for a worker."""
        if worker not in self._servers:
            server = self._servers[worker] = _Server(self, worker)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://localhost:{self._servers[worker].server_port}"

    @contextmanager
    def serving(self) -> Iterator["Proxy"]:
        """Close all ports at the end, and let all held calls go."""
        try:
            yield self
        finally:
            for hold in self.holds:
                hold.release()
            for server in self._servers.values():
                server.shutdown()
                server.server_close()

    def hold(self, operation: str, when: When, fits: Callable[[Call], bool] = lambda _: True, nth: int = 1) -> Hold:
        """Hold the nth call of an operation, of those that fit, from now on."""
        hold = Hold(operation, when, fits, nth)
        self.holds.append(hold)
        return hold

    def count(self, worker: str, operation: str) -> int:
        """How often a worker has called an operation."""
        return self._numbers[worker, operation]

    def name(self, worker: str, method: str, target: str, headers: Any, body: bytes) -> Call:
        """A request by the name of its operation, without a number."""
        return Call(worker, *_named(method, target, headers, body), 0, target, body)

    def receive(self, worker: str, method: str, target: str, headers: Any, body: bytes) -> Call:
        """Name and number a request."""
        call = self.name(worker, method, target, headers, body)
        with self._lock:
            self._numbers[worker, call.operation] += 1
            return call._replace(n=self._numbers[worker, call.operation])

    def decide(self, call: Call) -> Fault | None:
        """What becomes of a call."""
        fault = self.verdict(call)
        with self._lock:
            self.counts["calls"] += 1
            if fault:
                self.counts[fault] += 1
                self.counts[f"{call.operation} {fault}"] += 1
                at = time.monotonic() - self._began
                self.log.append(f"{at:8.3f} {call.worker} {call.operation} {call.n}: {fault}")
        return fault

    def pass_on(self, method: str, call: Call, headers: Any) -> _Answer:
        """AWS's answer. Raises OSError or HTTPException when it gives none."""
        connection = HTTPConnection(self.upstream, timeout=_SECONDS)
        try:
            connection.putrequest(method, call.target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(call.body or None)
            answer: HTTPResponse = connection.getresponse()
            kept = [pair for pair in answer.getheaders() if pair[0].lower() not in _NOT_PASSED_ON]
            length = answer.headers.get("Content-Length", "0")
            return _Answer(
                answer.status, [*kept, ("Content-Length", length)] if method == "HEAD" else kept, answer.read()
            )
        finally:
            connection.close()

    def delivered_again(self, call: Call) -> _Answer | None:
        """What another worker was delivered of this queue and is delivered again."""
        with self._lock:
            return self._delivered.pop(_queue(call.body), None)

    def deliver_again(self, call: Call, answer: _Answer) -> None:
        """Keep an answer with messages for whoever asks next."""
        if b"ReceiptHandle" in answer.body:
            with self._lock:
                self._delivered[_queue(call.body)] = answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: Proxy, worker: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        # A worker whose request is held cannot send the rest of it.
        self.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, _RECEIVED_BYTES)
        self.proxy, self.worker = proxy, worker

    def handle_error(self, *_: Any) -> None:
        """Workers go away, and die."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        proxy = self.server.proxy
        assert "Transfer-Encoding" not in self.headers
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length // 2)
        self._hold(proxy.name(self.server.worker, self.command, self.path, self.headers, body), "within")
        body += self.rfile.read(length - length // 2)
        call = proxy.receive(self.server.worker, self.command, self.path, self.headers, body)
        proxy.on_call(call)
        self._hold(call, "before")
        fault = proxy.decide(call)
        if fault == "reset":
            self._cut()
            return
        if fault in ("throttle", "error"):
            self._answer(_refusal(call, throttled=fault == "throttle"))
            return
        try:
            answer = self._passed_on(call, fault)
        except (OSError, HTTPException):
            self._cut()  # AWS itself is down
            return
        self._hold(call, "after")
        if fault == "lost":
            self._cut()
        elif fault == "cut":
            self._answer(answer, len(answer.body) // 2)
        else:
            if fault == "late":
                time.sleep(proxy.late_seconds)
            self._answer(answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _passed_on(self, call: Call, fault: Fault | None) -> _Answer:
        proxy = self.server.proxy
        if call.operation == "ReceiveMessage" and (again := proxy.delivered_again(call)):
            return again
        answer = proxy.pass_on(self.command, call, self.headers)
        if fault == "twice" and call.operation == "ReceiveMessage":
            proxy.deliver_again(call, answer)
        elif fault == "twice":
            answer = proxy.pass_on(self.command, call, self.headers)
        return answer

    def _hold(self, call: Call, when: When) -> None:
        for hold in tuple(self.server.proxy.holds):
            hold.wait(call, when)

    def _answer(self, answer: _Answer, length: int | None = None) -> None:
        """Send an answer, or the first bytes of its body and then nothing more."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:length])
        if length is not None:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _named(method: str, target: str, headers: Any, body: bytes) -> tuple[str, str]:
    """Service and operation of a request."""
    scope = _SERVICE.search(headers.get("Authorization", ""))
    service = scope[1] if scope else ""
    if "X-Amz-Target" in headers:
        return service, headers["X-Amz-Target"].rpartition(".")[2]
    if service != "s3":
        return service, parse_qs(body.decode(errors="replace")).get("Action", [method])[0]
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    fitting = (operation for verb, name, operation in _S3 if verb == method and (not name or name in query))
    return service, next(fitting, method)


def _queue(body: bytes) -> bytes:
    found = re.search(rb'"QueueUrl": ?"[^"]*/([^"/]+)"', body)
    return found[1] if found else b""


def _refusal(call: Call, *, throttled: bool) -> _Answer:
    """A refusal in the words of the service."""
    if call.service == "s3":
        code, status = ("SlowDown", 503) if throttled else ("InternalError", 500)
        return _xml(status, f"<Error><Code>{code}</Code><Message>Reduce your request rate.</Message></Error>")
    if call.service == "sts":
        code, status = ("Throttling", 400) if throttled else ("InternalFailure", 500)
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>Rate exceeded</Message></Error>"
        return _xml(status, f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>")
    code, status = ("ThrottlingException", 400) if throttled else ("InternalServerError", 500)
    if call.service == "sqs" and throttled:
        code = "RequestThrottled"
    content = f'{{"__type": "com.amazonaws#{code}", "message": "Rate exceeded"}}'.encode()
    return _Answer(status, [("Content-Type", "application/x-amz-json-1.0")], content)


def _xml(status: int, text: str) -> _Answer:
    return _Answer(status, [("Content-Type", "application/xml")], f'<?xml version="1.0"?>{text}'.encode())


def at_random(seed: object, rates: dict[str, float]) -> Verdict:
    """Break a share of the calls of each service: `rates` by service, the other services not at all.

    Now and then all calls of an operation are refused for a while, so that a client's own tries do not help.
    """

    def verdict(call: Call) -> Fault | None:
        rate = rates.get(call.service, 0.0)
        if Random(f"{seed} {call.worker} {call.operation} outage {call.n // _OUTAGE}").random() < rate / 10:
            return "throttle"
        rng = Random(f"{seed} {call.worker} {call.operation} {call.n}")
        return rng.choice(_possible(call)) if rng.random() < rate else None

    return verdict


def _possible(call: Call) -> tuple[Fault, ...]:
    """What may happen to a call. Messages alone come twice; an answer of HEAD has no body; a long poll is late."""
    most: tuple[Fault, ...] = ("throttle", "error", "reset", "lost")
    match call.operation:
        case "ReceiveMessage":
            return (*most, "twice", "twice")
        case "SendMessage":
            return (*most, "cut", "late", "twice", "twice")
        case "HeadObject":
            return (*most, "late")
    return (*most, "cut", "late")
