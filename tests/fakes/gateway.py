"""The management endpoint of a WebSocket API: a plain one, and one that misbehaves by script and checks signatures."""

import asyncio
import json
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import described
from tests.conftest import contract

SECRETS = {"AKIDONE": "secret/one+0123456789", "AKIDTWO": "secret/two+0123456789"}
TOKEN = "session+token/=" * 40
REGION = "eu-central-1"

_TURNS = 5
"""Turns of the loop within which a connection that was accepted just before the end is known, so as to be closed."""


class Seen(NamedTuple):
    """A request as it came: header names in lower case. `port` is the client's, of one HTTP connection."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int = 0


class Answer(NamedTuple):
    """Bytes to send, whether the connection is closed behind them, and seconds to wait before; hangs without bytes."""

    data: bytes | None
    close: bool = False
    after: float = 0.0


def status(code: int, kind: str = "", **more: bool | float) -> Answer:
    """An answer with a status and no body."""
    told = f"x-amzn-ErrorType: {kind}\r\n" if kind else ""
    return Answer(f"HTTP/1.1 {code} Told\r\n{told}Content-Length: 0\r\n\r\n".encode(), **more)  # type: ignore[arg-type]


FINE = status(200)
HANG = Answer(None)
DROP = Answer(b"", close=True)


def is_signed(seen: Seen, secret: str, scheme: str = "http") -> bool:
    """Whether botocore comes to the same signature with this secret key."""
    authorization = seen.headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ")
    told = dict(part.split("=", 1) for part in authorization.split(", "))
    key, day, region, service, _ = told["Credential"].split("/")
    signed = {name: seen.headers[name] for name in told["SignedHeaders"].split(";")}
    if not {"host", "x-amz-date"} <= signed.keys() or not signed["x-amz-date"].startswith(day):
        return False
    if "x-amz-security-token" in seen.headers and "x-amz-security-token" not in signed:
        return False
    request = AWSRequest(seen.method, f"{scheme}://{signed['host']}{seen.path}", signed, seen.body)
    request.context["timestamp"] = signed["x-amz-date"]
    auth = SigV4Auth(Credentials(key, secret), service, region)
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    return service == "execute-api" and auth.signature(to_sign, request) == told["Signature"]


class ScriptedGateway:
    """Answers each connection's requests by its script, then with `otherwise`. Runs in a thread of its own.

    `faults` are requests whose signature was not right; `most` is how many requests it held at once.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0, prefix: str = "/ws") -> None:
        self.script: dict[str, deque[Answer]] = defaultdict(deque)
        self.otherwise = FINE
        self.seen: list[Seen] = []
        self.faults: list[Seen] = []
        self.most = 0
        self.tokens: set[str | None] = set()
        self._prefix = prefix
        self._tls = tls
        self._held = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(port), self._loop).result(60)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}{self._prefix}"

    def told(self, connection_id: str, *answers: Answer) -> None:
        """The next answers of a connection."""
        self.script[connection_id].extend(answers)

    def frames(self, connection_id: str) -> list[bytes]:
        """What came for a connection, in order."""
        return [seen.body for seen in self.seen if self._id(seen) == connection_id]

    def close_idle(self) -> None:
        """Close all that are connected."""
        asyncio.run_coroutine_threadsafe(self._close_all(), self._loop).result(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close everything."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _id(self, seen: Seen) -> str:
        return unquote(seen.path.removeprefix(f"{self._prefix}/@connections/"))

    async def _start(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "localhost", port, ssl=self._tls, backlog=1024)

    async def _stop(self) -> None:
        self._server.close()
        for _ in range(_TURNS):
            await self._close_all()

    async def _close_all(self) -> None:
        writers, tasks = list(self._writers), list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            # Early versions of Python 3.11 can't abort a TLS transport that was closed twice.
            with suppress(AttributeError):
                writer.transport.abort()
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the server shall
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, path, _ = first.split(" ")
            seen = Seen(method, path, headers, body, port)
            self._note(seen)
            script = self.script.get(self._id(seen))
            if not await self._answer(writer, script.popleft() if script else self.otherwise):
                return

    def _note(self, seen: Seen) -> None:
        self.seen.append(seen)
        self.tokens.add(seen.headers.get("x-amz-security-token"))
        key = seen.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        if key not in SECRETS or not is_signed(seen, SECRETS[key], "https" if self._tls else "http"):
            self.faults.append(seen)

    async def _answer(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        """Whether the connection stays open."""
        self._held += 1
        self.most = max(self.most, self._held)
        try:
            if answer.data is None:
                await asyncio.sleep(3600)
                return False
            if answer.after:
                await asyncio.sleep(answer.after)
            writer.write(answer.data)
            await writer.drain()
        finally:
            self._held -= 1
        return not answer.close


class Steady:
    """The module `time` on a machine that never stands still: no second look finds more than half a second gone."""

    def __init__(self) -> None:
        self._now = self._seen = time.monotonic()

    def monotonic(self) -> float:
        seen, self._seen = self._seen, time.monotonic()
        self._now += min(self._seen - seen, 0.5)
        return self._now

    def time(self) -> float:
        return time.time()


def shuffled(ids: Iterable[str], frames: int) -> dict[str, list[bytes]]:
    """Frames for connections, each frame another."""
    return {key: [f"{key} {n}".encode() for n in range(frames)] for key in ids}


class Gateway(ThreadingHTTPServer):
    """The management endpoint of a WebSocket API: answers each connection as told, remembers what it was sent."""

    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, int] = {}
        self.frames: dict[str, list[bytes]] = {}
        self.ended: list[str] = []
        self.on_post: Callable[[], object] = bool

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ws"

    def told(self, connection: str) -> list[dict[str, Any]]:
        """The frames that a connection was sent since it was asked last. The AsyncAPI document describes all."""
        frames = self.frames.pop(connection, [])
        described.frames(frames, contract("queue_message"))
        return [json.loads(frame) for frame in frames]


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        connection = self.path.rsplit("/", 1)[-1]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.on_post()
        status = self.server.answers.get(connection, 200)
        if status == 200:
            self.server.frames.setdefault(connection, []).append(body)
        self.answer(status)

    def do_DELETE(self) -> None:
        self.server.ended.append(self.path.rsplit("/", 1)[-1])
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
