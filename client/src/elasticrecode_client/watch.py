"""`Watch`, and `AsyncWatch` for asyncio: they hold the WebSocket of `following`, and take its steps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from elasticrecode_client.calls import Flow, T, run, run_async
from elasticrecode_client.following import Connect, Drop, Following, Lost, Receive, Say
from elasticrecode_client.types import Event

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncConnection
    from websockets.sync.client import ClientConnection

_OPEN_SECONDS = 15.0
_CLOSE_SECONDS = 1.0
_FRAME_LIMIT = 16 * 1024 * 1024
_SILENT = logging.getLogger("elasticrecode_client.websocket")
_SILENT.setLevel(logging.CRITICAL + 1)  # the library logs URLs, which hold tickets


class _Options(NamedTuple):
    """How WebSockets are opened: without the library's own pings, which API Gateway does not count as messages."""

    max_size: int = _FRAME_LIMIT
    open_timeout: float = _OPEN_SECONDS
    close_timeout: float = _CLOSE_SECONDS
    ping_interval: None = None
    logger: logging.Logger = _SILENT


_OPTIONS: dict[str, Any] = _Options()._asdict()


class Watch:
    """Events as they happen, without end: iterate over it, and `close` it, or use it in a `with` statement.

    It opens its connection again after any break and goes on behind the last event, each event once. An event with
    action `Gap` says that some events in between are no longer retained. Raises ConnectionFailed when no connection
    opens for longer than the client's `patience`, and a Problem where the API refuses a ticket.
    """

    def __init__(self, following: Following, take: Callable[[Any], Any]) -> None:
        """`take` takes the steps of HTTP."""
        self.following = following
        self._take_http = take
        self._socket: ClientConnection | None = None

    @property
    def cursor(self) -> str | None:
        """The cursor of the last event: `watch(cursor=…)` goes on behind it."""
        return self.following.cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next_event()
        if event is None:
            raise StopIteration
        return event

    def open(self) -> None:
        """Open the connection now, not at the first event; nothing that happens from here on is missed."""
        self.run(self.following.open())

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None when none comes within `timeout` seconds, or the watch is closed."""
        return self.run(self.following.next_event(timeout))

    def close(self) -> None:
        """End the watch; also from another thread."""
        self.following.closed = True
        self._drop()

    def run(self, flow: Flow[T]) -> T:
        """The end of a flow that follows the feed."""
        return run(flow, self._take)

    def _take(self, step: Any) -> Any:
        try:
            match step:
                case Connect(url):
                    from websockets.sync.client import connect

                    self._socket = connect(url, **_OPTIONS).__enter__()
                    if self.following.closed:
                        self._drop()
                case Receive(seconds):
                    socket = self._socket  # another thread may close it meanwhile
                    return socket.recv(timeout=seconds) if socket else Lost("closed")
                case Say(text):
                    if socket := self._socket:
                        socket.send(text)
                case Drop():
                    self._drop()
                case _:
                    return self._take_http(step)
        except TimeoutError as error:
            return None if isinstance(step, Receive) else _lost(error)
        except _errors() as error:
            return _lost(error)
        return None

    def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()


class AsyncWatch:
    """The same for asyncio: iterate with `async for`, in an `async with` statement."""

    def __init__(self, following: Following, take: Callable[[Any], Awaitable[Any]]) -> None:
        """`take` takes the steps of HTTP."""
        self.following = following
        self._take_http = take
        self._socket: AsyncConnection | None = None

    @property
    def cursor(self) -> str | None:
        """The cursor of the last event: `watch(cursor=…)` goes on behind it."""
        return self.following.cursor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    async def open(self) -> None:
        """Open the connection now, not at the first event; nothing that happens from here on is missed."""
        await self.run(self.following.open())

    async def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None when none comes within `timeout` seconds, or the watch is closed."""
        return await self.run(self.following.next_event(timeout))

    async def close(self) -> None:
        """End the watch."""
        self.following.closed = True
        await self._drop()

    async def run(self, flow: Flow[T]) -> T:
        """The end of a flow that follows the feed."""
        return await run_async(flow, self._take)

    async def _take(self, step: Any) -> Any:
        try:
            match step:
                case Connect(url):
                    from websockets.asyncio.client import connect

                    self._socket = await connect(url, **_OPTIONS)
                    if self.following.closed:
                        await self._drop()
                case Receive(seconds):
                    return await asyncio.wait_for(self._socket.recv(), seconds) if self._socket else Lost("closed")
                case Say(text):
                    if socket := self._socket:
                        await socket.send(text)
                case Drop():
                    await self._drop()
                case _:
                    return await self._take_http(step)
        except TimeoutError as error:
            return None if isinstance(step, Receive) else _lost(error)
        except _errors() as error:
            return _lost(error)
        return None

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()


def _errors() -> tuple[type[BaseException], ...]:
    """What a connection raises that breaks, or does not open."""
    from websockets.exceptions import WebSocketException

    return (OSError, EOFError, WebSocketException)


def _lost(error: BaseException) -> Lost:
    """The reason without the URL's ticket."""
    return Lost((str(error) or type(error).__name__).split("ticket=", 1)[0])
