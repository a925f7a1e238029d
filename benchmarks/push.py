"""Posts to WebSocket connections from one core, to a server in another process that answers each after 5 ms.

boto3 and aiohttp post the same to the same server. The server keeps a sample of the posts, whose signatures botocore
makes again afterwards.
"""

import asyncio
import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import aiohttp
import boto3
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from yarl import URL

from elasticrecode.watch.signing import Signer, canonical
from elasticrecode.watch.sockets import Outcome, Poster
from tests.fakes.gateway import REGION, SECRETS, TOKEN, Seen, is_signed

_ANSWER_SECONDS = 0.005
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 0\r\n"
    b"x-amzn-RequestId: 5a5f0a5e-2f0c-4b1c-9d9a-0b0c2d1e3f4a\r\nx-amz-apigw-id: AbCdEfGhIjKlMnO=\r\n\r\n"
)
_SAMPLE = 97
_RUNS = 5
_WATCHERS = [f"L0SM9cOF{n:04d}CIhw=" for n in range(1000)]
_FRAMES = 12
_ASKED = 6000
_KEY = "AKIDONE"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": _KEY,
    "AWS_SECRET_ACCESS_KEY": SECRETS[_KEY],
    "AWS_SESSION_TOKEN": TOKEN,
    "AWS_DEFAULT_REGION": REGION,
}


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Posts a second and their CPU, beside others' posts a second; and how long 1,000 watchers wait for one event."""
    with mock.patch.dict(os.environ, _ENVIRONMENT), _server() as (port, check):
        url = f"http://127.0.0.1:{port}/ws"
        ours, cpu = _best(lambda: _ours(url))
        yield "posts a second, one core", f"{ours:,.0f}/s", f"{_ASKED:,}/s asked", _ASKED / ours, 1.0
        yield "CPU of a post", f"{cpu:.0f} µs", f"{1_000_000 / _ASKED:.0f} µs asked", cpu * _ASKED / 1_000_000, 1.0
        for name, times, theirs in (
            ("aiohttp, same signer", 3, _aiohttp),
            ("boto3, 32 threads", 2, _threads),
            ("boto3, a loop", 1, _loop),
        ):
            rate, _ = _best(lambda theirs=theirs: theirs(url), times)  # type: ignore[misc]
            yield "posts a second, times as many", f"{ours:,.0f}/s", f"{name} {rate:,.0f}/s", ours / rate, math.inf
        first, kept = _one_event(url)
        yield "1,000 watchers of one event", f"{kept:.0f} ms", "200 ms asked", kept / 200, 1.0
        yield "1,000 watchers of one event, none connected", f"{first:.0f} ms", "200 ms asked", first / 200, 1.0
        sampled, wrong = check()
        yield "posts signed wrong", f"{wrong} of {sampled}", "signed again by botocore", wrong if sampled else 1, 0


def _best(run: Callable[[], int], times: int = _RUNS) -> tuple[float, float]:
    """Posts a second and CPU microseconds a post, in the fastest of some runs."""
    best = (0.0, 0.0)
    for _ in range(times):
        started, burnt = time.perf_counter(), time.process_time()
        posts = run()
        seconds, cpu = time.perf_counter() - started, time.process_time() - burnt
        best = max(best, (posts / seconds, 1_000_000 * cpu / posts))
    return best


def _frame(number: int) -> bytes:
    return f'{{"number":{number},"event":"{"x" * 900}"}}'.encode()


def _ours(url: str) -> int:
    frames = [_frame(number) for number in range(_FRAMES)]
    poster = Poster(url)
    outcomes = poster.post(dict.fromkeys(_WATCHERS, frames), 60)
    poster.close()
    if set(outcomes.values()) != {Outcome(_FRAMES, "")}:
        raise RuntimeError("not all was delivered")
    return len(_WATCHERS) * _FRAMES


def _one_event(url: str) -> tuple[float, float]:
    """Milliseconds until all have one event, over new connections and over kept ones."""
    first, kept = math.inf, math.inf
    for number in range(_RUNS):
        poster = Poster(url)
        taken = []
        for again in range(2):
            started = time.perf_counter()
            outcomes = poster.post(dict.fromkeys(_WATCHERS, (_frame(2 * number + again),)), 60)
            taken.append(1000 * (time.perf_counter() - started))
            if set(outcomes.values()) != {Outcome(1, "")}:
                raise RuntimeError("not all was delivered")
        poster.close()
        first, kept = min(first, taken[0]), min(kept, taken[1])
    return first, kept


def _aiohttp(url: str) -> int:
    origin, prefix = url.removesuffix("/ws"), "/ws"
    signer = Signer(ReadOnlyCredentials(_KEY, SECRETS[_KEY], TOKEN), REGION, URL(url).authority)
    paths = [f"{prefix}/@connections/{watcher.replace('=', '%3D')}" for watcher in _WATCHERS]
    todo = iter([(path, number) for number in range(8) for path in paths])
    frames = [_frame(number) for number in range(8)]
    hashes = [sha256(frame).hexdigest() for frame in frames]

    async def post(session: aiohttp.ClientSession) -> int:
        count = 0
        for path, number in todo:
            lines = signer.headers("POST", canonical(path), hashes[number])
            headers = dict(line.split(": ", 1) for line in lines)
            async with session.post(URL(origin + path, encoded=True), data=frames[number], headers=headers) as answer:
                answer.raise_for_status()
            count += 1
        return count

    async def run() -> int:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128)) as session:
            return sum(await asyncio.gather(*(post(session) for _ in range(128))))

    return asyncio.run(run())


def _boto3(url: str) -> Any:
    return boto3.Session().client("apigatewaymanagementapi", endpoint_url=url, config=Config(max_pool_connections=32))


def _loop(url: str) -> int:
    client, frame = _boto3(url), _frame(0)
    for watcher in _WATCHERS[:300]:
        client.post_to_connection(ConnectionId=watcher, Data=frame)
    client.close()
    return 300


def _threads(url: str) -> int:
    client, frame = _boto3(url), _frame(0)
    with ThreadPoolExecutor(32) as pool:
        for _ in pool.map(lambda watcher: client.post_to_connection(ConnectionId=watcher, Data=frame), _WATCHERS):
            pass
    client.close()
    return len(_WATCHERS)


@contextmanager
def _server() -> Iterator[tuple[int, Callable[[], tuple[int, int]]]]:
    """A server on another core than this process, which keeps to one: its port, and how to check what it was sent."""
    allowed = os.sched_getaffinity(0)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, max(allowed)), daemon=True)
    process.start()
    os.sched_setaffinity(0, {min(allowed)})

    def check() -> tuple[int, int]:
        here.send("check")
        sampled, wrong = here.recv()
        return sampled, wrong

    try:
        yield here.recv(), check
    finally:
        os.sched_setaffinity(0, allowed)
        here.send("stop")
        process.join(10)
        here.close()


def _serve(pipe: Connection, cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    asyncio.run(_answer(pipe))


async def _answer(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    samples: list[bytes] = []

    def command() -> None:
        if pipe.recv() == "stop":
            stop.set()
        else:
            pipe.send((len(samples), sum(not _signed(sample) for sample in samples)))

    due = _Due(loop)
    server = await loop.create_server(lambda: _Answering(due, samples), "127.0.0.1", 0, backlog=1024)
    loop.add_reader(pipe.fileno(), command)
    pipe.send(server.sockets[0].getsockname()[1])
    await stop.wait()


class _Due:
    """Answers that are due, one behind the other: a timer for each would cost more than the rest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[float, Any]] = deque()

    def add(self, transport: Any) -> None:
        """Answer there in 5 ms."""
        if not self._waiting:
            self._loop.call_later(_ANSWER_SECONDS, self._send)
        self._waiting.append((self._loop.time() + _ANSWER_SECONDS, transport))

    def _send(self) -> None:
        now, waiting = self._loop.time(), self._waiting
        while waiting and waiting[0][0] <= now:
            waiting.popleft()[1].write(_ANSWER)
        if waiting:
            self._loop.call_at(waiting[0][0], self._send)


class _Answering(asyncio.Protocol):
    """One connection. Of a request only its length is looked at."""

    count = 0

    def __init__(self, due: _Due, samples: list[bytes]) -> None:
        self._due = due
        self._samples = samples
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers go there."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._data += data
        while (head := self._data.find(b"\r\n\r\n")) >= 0:
            length = self._data[:head].lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            end = head + 4 + int(length or b"0")
            if len(self._data) < end:
                return
            _Answering.count += 1
            if not _Answering.count % _SAMPLE:
                self._samples.append(self._data[:end])
            self._data = self._data[end:]
            self._due.add(self._transport)


def _signed(sample: bytes) -> bool:
    head, _, body = sample.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return headers.get("x-amz-security-token") == TOKEN and is_signed(Seen(method, path, headers, body), SECRETS[_KEY])
