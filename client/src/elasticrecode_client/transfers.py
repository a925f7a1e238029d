"""Sends pieces of a file at the same time: in threads for `Client`, in tasks for `AsyncClient`."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from elasticrecode_client.calls import Answer, NotSent, Request
from elasticrecode_client.transport import send, send_async
from elasticrecode_client.uploading import PARALLEL, Begin, Done, Moved, Piece

_BLOCK = 256 * 1024


class Transfers:
    """Pieces on their way, each in a thread. Leaving it stops those that are under way."""

    def __init__(self, http: httpx.Client, path: Path) -> None:
        self._http = http
        self._path = path
        self._threads = ThreadPoolExecutor(PARALLEL, "elasticrecode-upload")
        self._reports: queue.SimpleQueue[Moved | Done] = queue.SimpleQueue()
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def begin(self, begin: Begin) -> None:
        """Begin to send a piece."""
        self._threads.submit(self._send, begin)

    def report(self) -> Moved | Done:
        """The next report of any piece."""
        return self._reports.get()

    def _send(self, begin: Begin) -> None:
        self._reports.put(Done(begin.piece.number, self._outcome(begin)))

    def _outcome(self, begin: Begin) -> Answer | NotSent:
        try:
            return send(self._http, _put(begin), self._blocks(begin.piece))
        except Exception as error:  # noqa: BLE001 - whoever waits for a report must get one
            return NotSent(str(error) or type(error).__name__, True)

    def _blocks(self, piece: Piece) -> Iterator[bytes]:
        for block in _read(self._path, piece):
            if self._stopped:
                raise _Stopped("the upload was broken off")
            yield block
            self._reports.put(Moved(piece.number, len(block)))


class AsyncTransfers:
    """Pieces on their way, each in a task. Leaving it stops those that are under way."""

    def __init__(self, http: httpx.AsyncClient, path: Path) -> None:
        self._http = http
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports: asyncio.Queue[Moved | Done] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, begin: Begin) -> None:
        """Begin to send a piece."""
        task = asyncio.create_task(self._send(begin))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def report(self) -> Moved | Done:
        """The next report of any piece."""
        return await self._reports.get()

    async def _send(self, begin: Begin) -> None:
        try:
            outcome = await send_async(self._http, _put(begin), self._blocks(begin.piece))
        except Exception as error:  # noqa: BLE001
            outcome = NotSent(str(error) or type(error).__name__, True)
        self._reports.put_nowait(Done(begin.piece.number, outcome))

    async def _blocks(self, piece: Piece) -> AsyncIterator[bytes]:
        blocks = _read(self._path, piece)
        following: Callable[[], bytes] = lambda: next(blocks, b"")  # noqa: E731
        while block := await asyncio.to_thread(following):
            yield block
            self._reports.put_nowait(Moved(piece.number, len(block)))


class _Stopped(Exception):
    """The upload was broken off while a piece was read."""


def _put(begin: Begin) -> Request:
    return Request("PUT", begin.url, {"Content-Length": str(begin.piece.size)})


def _read(path: Path, piece: Piece) -> Iterator[bytes]:
    """The blocks of a piece. Raises OSError where the file has become shorter."""
    with path.open("rb") as file:
        file.seek(piece.start)
        left = piece.size
        while left:
            block = file.read(min(_BLOCK, left))
            if not block:
                raise OSError(f"{path} has become shorter")
            left -= len(block)
            yield block
