"""S3 over HTTP with one object, which answers with the errors that a test sets, as S3 spells them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import boto3
from botocore.config import Config


class Refusal(NamedTuple):
    """An error answer. A HEAD gets its status alone."""

    status: int
    code: str
    message: str = "no"


class S3:
    """`body`, `etag` and `headers` are the object's; `refusal` answers every request while it is set.

    `before` is called with each request's method before its answer. An answer to GET ends after `cut` bytes, and takes
    `seconds`. Without `is_conditional` it ignores If-Match, as some stores do. `requests` are the methods received.
    """

    def __init__(self, body: bytes = b"film") -> None:
        self.is_conditional = True
        self.body, self.etag, self.headers = body, '"one"', dict[str, str]()
        self.refusal: Refusal | None = None
        self.before: Callable[[str], None] = lambda _: None
        self.cut: int | None = None
        self.seconds = 0.0
        self.requests: list[str] = []
        s3 = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                s3._begin("HEAD")
                if s3.refusal:
                    self._send(s3.refusal.status, b"", {})
                else:
                    self._send(200, s3.body, {"ETag": s3.etag, **s3.headers}, with_body=False)

            def do_GET(self) -> None:
                s3._begin("GET")
                refusal = s3.refusal
                if s3.is_conditional and self.headers.get("If-Match", s3.etag) != s3.etag:
                    refusal = Refusal(412, "PreconditionFailed")
                if refusal:
                    self._refuse(refusal)
                    return
                asked = self.headers.get("Range", "").removeprefix("bytes=")
                first, _, last = asked.partition("-")
                start, end = int(first or 0), int(last or len(s3.body) - 1)
                part = s3.body[start : end + 1]
                of = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(s3.body)}"} if asked else {}
                time.sleep(s3.seconds)
                self._send(206 if asked else 200, part, {"ETag": s3.etag, **of})

            def _write(self) -> None:
                s3._begin(self.command)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if s3.refusal:
                    self._refuse(s3.refusal)
                else:
                    self._send(200, b"", {"ETag": s3.etag})

            do_PUT = do_POST = do_DELETE = _write

            def _refuse(self, refusal: Refusal) -> None:
                text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
                self._send(refusal.status, text.encode(), {"Content-Type": "application/xml"})

            def _send(self, status: int, body: bytes, headers: dict[str, str], *, with_body: bool = True) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body[: s3.cut])
                if s3.cut is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _begin(self, method: str) -> None:
        self.requests.append(method)
        self.before(method)

    def client(self) -> Any:
        """A client of boto3, which tries each call once."""
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=60)
        return boto3.client("s3", endpoint_url=self.url, config=config)

    @contextmanager
    def serving(self) -> Iterator["S3"]:
        """Answers while in the context."""
        serve = partial(self._server.serve_forever, poll_interval=0.01)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
