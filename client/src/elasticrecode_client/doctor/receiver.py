"""A web server on this machine that takes webhooks, for a stack on this machine."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Delivery(NamedTuple):
    """A delivery: the event, when it arrived in Unix seconds, and whether its signature is right."""

    event: dict[str, Any]
    at: float
    is_signed: bool


class Receiver:
    """The deliveries so far, oldest first; `url` is its address, `secret` that of the webhook."""

    def __init__(self, url: str) -> None:
        self.url, self.secret = url, ""
        self.deliveries: list[Delivery] = []

    def take(self, headers: Any, body: bytes) -> None:
        """Keep a delivery."""
        try:
            event = json.loads(body)
        except ValueError:
            return
        self.deliveries.append(Delivery(event, time.time(), signed(self.secret, headers, body)))


def signed(secret: str, headers: Any, body: bytes) -> bool:
    """Whether a body has the signature of Standard Webhooks by a secret `whsec_…`."""
    content = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_") or "")
    right = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(right, each) for each in str(headers.get("webhook-signature")).split())


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port of loopback, while in the context."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            receiver.take(self.headers, body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
