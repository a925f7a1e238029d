"""Watches that hold a WebSocket and open it again after any break: `Watch`, and `AsyncWatch` for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from elasticrecode_client.exchange import delay
from elasticrecode_client.problems import ConnectionFailed
from elasticrecode_client.types import Event
from elasticrecode_client.watching import Watching

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncConnection
    from websockets.sync.client import ClientConnection

_QUIET_SECONDS = 60.0
"""After so long without a frame the watch sends a text, and takes a connection that stays silent as long for broken."""
_OPEN_SECONDS = 15.0
_FRAME_LIMIT = 16 * 1024 * 1024


class Access(NamedTuple):
    """How a watch gets in: the URL with a ticket for a query, the server's clock, and how long it tries again."""

    address: Callable[[str], str]
    now: Callable[[], float]
    patience: float


class AsyncAccess(NamedTuple):
    """The same for asyncio."""

    address: Callable[[str], Awaitable[str]]
    now: Callable[[], float]
    patience: float


class _Breaks:
    """How long a broken watch has been trying, and when it gives up."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since = 0.0
        self._tries = 0

    def mended(self) -> None:
        """The connection is good: it has opened and lasted, or a frame came."""
        self._tries = 0

    def pause(self, error: BaseException, url: str) -> float:
        """Seconds until the next try. Raises ConnectionFailed once patience has ended."""
        now = time.monotonic()
        self._since = self._since if self._tries else now
        self._tries += 1
        if now - self._since > self._patience:
            raise ConnectionFailed(f"No WebSocket at {url}: {_reason(error)}") from None
        return delay(self._tries)


class _Following:
    """What both watches share."""

    cursor: str | None
    """The cursor of the last event that was handed out: `watch(cursor=…)` goes on behind it."""

    def __init__(self, watching: Watching, url: str, patience: float) -> None:
        self._watching = watching
        self._url = url
        self._breaks = _Breaks(patience)
        self._ready: deque[Event] = deque()
        self.cursor = watching.cursor

    def _hand_out(self) -> Event:
        event = self._ready.popleft()
        self.cursor = event.get("cursor", self.cursor)
        return event

    def _take(self, frame: str | bytes) -> None:
        self._ready.extend(self._watching.take(frame))
        self._breaks.mended()


class Watch(_Following):
    """Events as they happen, without end: iterate over it, and `close` it, or use it in a `with` statement.

    It opens its connection again after any break and goes on behind the last event, each event once. An event with
    action `Gap` says that some events in between are no longer retained. Raises ConnectionFailed when no connection
    opens for longer than the client's `patience`, and a Problem where the API refuses a ticket.
    """

    def __init__(self, watching: Watching, url: str, access: Access) -> None:
        super().__init__(watching, url, access.patience)
        self._access = access
        self._socket: ClientConnection | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while (event := self.next_event()) is None:
            if self._closed:
                raise StopIteration
        return event

    def open(self) -> None:
        """Open the connection now, not at the first event; nothing that happens from here on is missed."""
        while self._socket is None and not self._closed:
            try:
                self._socket = self._connected()
            except _errors() as error:
                time.sleep(self._breaks.pause(error, self._url))

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None when none comes within `timeout` seconds, or the watch is closed."""
        until = None if timeout is None else time.monotonic() + timeout
        quiet = False
        while not self._ready and not self._closed:
            left = _QUIET_SECONDS if until is None else min(_QUIET_SECONDS, until - time.monotonic())
            if left <= 0:
                return None
            self.open()
            socket = self._socket
            if socket is None:
                return None
            try:
                self._take(socket.recv(timeout=left))
                quiet = False
            except TimeoutError:
                if left < _QUIET_SECONDS:
                    return None
                quiet = self._nudge(socket, quiet)
            except _errors() as error:
                self._broken(error)
        return self._hand_out() if self._ready else None

    def close(self) -> None:
        """End the watch; also from another thread."""
        self._closed = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> ClientConnection:
        from websockets.sync.client import connect

        began = self._access.now()
        url = self._access.address(self._watching.query())
        socket = connect(url, max_size=_FRAME_LIMIT, open_timeout=_OPEN_SECONDS, ping_interval=None, close_timeout=1.0)
        self._watching.begin(began)
        return socket

    def _nudge(self, socket: ClientConnection, quiet: bool) -> bool:
        """Send a text after a quiet time, and drop the connection after a second one. Returns True."""
        if quiet:
            self._broken(TimeoutError("no frame came"))
            return False
        try:
            socket.send("ping")
        except _errors() as error:
            self._broken(error)
        return True

    def _broken(self, error: BaseException) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
        if not self._closed:
            time.sleep(self._breaks.pause(error, self._url))


class AsyncWatch(_Following):
    """The same for asyncio: iterate with `async for`, in an `async with` statement."""

    def __init__(self, watching: Watching, url: str, access: AsyncAccess) -> None:
        super().__init__(watching, url, access.patience)
        self._access = access
        self._socket: AsyncConnection | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while (event := await self.next_event()) is None:
            if self._closed:
                raise StopAsyncIteration
        return event

    async def open(self) -> None:
        """Open the connection now, not at the first event; nothing that happens from here on is missed."""
        while self._socket is None and not self._closed:
            try:
                self._socket = await self._connected()
            except _errors() as error:
                await asyncio.sleep(self._breaks.pause(error, self._url))

    async def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None when none comes within `timeout` seconds, or the watch is closed."""
        until = None if timeout is None else time.monotonic() + timeout
        quiet = False
        while not self._ready and not self._closed:
            left = _QUIET_SECONDS if until is None else min(_QUIET_SECONDS, until - time.monotonic())
            if left <= 0:
                return None
            await self.open()
            socket = self._socket
            if socket is None:
                return None
            try:
                self._take(await asyncio.wait_for(socket.recv(), left))
                quiet = False
            except TimeoutError:
                if left < _QUIET_SECONDS:
                    return None
                quiet = await self._nudge(socket, quiet)
            except _errors() as error:
                await self._broken(error)
        return self._hand_out() if self._ready else None

    async def close(self) -> None:
        """End the watch."""
        self._closed = True
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def _connected(self) -> AsyncConnection:
        from websockets.asyncio.client import connect

        began = self._access.now()
        url = await self._access.address(self._watching.query())
        socket = await connect(
            url, max_size=_FRAME_LIMIT, open_timeout=_OPEN_SECONDS, ping_interval=None, close_timeout=1.0
        )
        self._watching.begin(began)
        return socket

    async def _nudge(self, socket: AsyncConnection, quiet: bool) -> bool:
        """Send a text after a quiet time, and drop the connection after a second one. Returns True."""
        if quiet:
            await self._broken(TimeoutError("no frame came"))
            return False
        try:
            await socket.send("ping")
        except _errors() as error:
            await self._broken(error)
        return True

    async def _broken(self, error: BaseException) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        if not self._closed:
            await asyncio.sleep(self._breaks.pause(error, self._url))


def _errors() -> tuple[type[BaseException], ...]:
    """What a broken connection raises."""
    from websockets.exceptions import WebSocketException

    return (OSError, EOFError, WebSocketException)


def _reason(error: BaseException) -> str:
    """The reason without the URL's ticket."""
    return (str(error) or type(error).__name__).split("ticket=", 1)[0]
