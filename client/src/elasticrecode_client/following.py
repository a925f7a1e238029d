"""Follows the feed over WebSockets that break, as flows: `watch` holds the socket, and takes these steps."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from elasticrecode_client.calls import Call, Flow, Pause
from elasticrecode_client.exchange import Exchange, delay
from elasticrecode_client.problems import ConnectionFailed
from elasticrecode_client.types import Event
from elasticrecode_client.watching import Watching

_QUIET_SECONDS = 60.0
"""After so long without a frame a text is sent; a connection that stays silent as long again is taken for broken."""


class Connect(NamedTuple):
    """Open the WebSocket at this URL: None, or `Lost`. The URL holds a ticket, so its representation leaves it out."""

    url: str

    def __repr__(self) -> str:
        return "Connect()"


class Receive(NamedTuple):
    """Wait for a frame: its text, None when none comes within these seconds, or `Lost`."""

    seconds: float


class Say(NamedTuple):
    """Send a text: None, or `Lost`."""

    text: str


class Drop(NamedTuple):
    """Close the WebSocket: None."""


class Lost(NamedTuple):
    """The WebSocket has not opened, or is broken."""

    reason: str


class Following:
    """A place in the feed with the connection that moves it on, and the events that nobody has taken yet.

    `cursor` is that of the last event that was taken; `connections` counts how often a WebSocket has opened. Flows
    raise ConnectionFailed when none opens for longer than `patience`, and a Problem where the API refuses a ticket.
    """

    def __init__(self, exchange: Exchange, socket_url: str, watching: Watching) -> None:
        self.cursor = watching.cursor
        self.connections = 0
        self.closed = False
        self._exchange = exchange
        self._url = socket_url
        self._watching = watching
        self._ready: deque[Event] = deque()
        self._is_open = False
        self._failing_since: float | None = None
        self._tries = 0
        self._heard = 0.0
        self._is_asked = False

    def open(self) -> Flow[None]:
        """Open the connection where there is none; nothing that happens from here on is missed."""
        while not self._is_open and not self.closed:
            query = self._watching.query()
            if self._exchange.auth:
                ticket = yield from self._exchange.call(Call[dict[str, str]]("POST /v1/socket-tickets"))
                query += f"&ticket={ticket['ticket']}"
            began = self._exchange.now()
            lost = yield Connect(f"{self._url}?{query}")
            if isinstance(lost, Lost):
                yield from self._pause(lost)
            else:
                self._is_open = True
                self.connections += 1
                self._heard, self._is_asked = time.monotonic(), False
                self._watching.begin(began)

    def next_event(self, timeout: float | None = None) -> Flow[Event | None]:
        """The next event; None when none comes within `timeout` seconds, or the watch is closed."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._ready and not self.closed:
            yield from self.open()
            quiet = self._heard + _QUIET_SECONDS
            frame = yield Receive(max(0.0, (quiet if until is None else min(quiet, until)) - time.monotonic()))
            if isinstance(frame, Lost):
                yield from self._break(frame)
            elif frame is not None:
                self._ready.extend(self._watching.take(frame))
                self._heard, self._is_asked = time.monotonic(), False
                self._failing_since, self._tries = None, 0
            elif time.monotonic() >= quiet:
                yield from self._nudge()
            elif until is not None and time.monotonic() >= until:
                break
        if not self._ready:
            return None
        event = self._ready.popleft()
        self.cursor = event.get("cursor", self.cursor)
        return event

    def _nudge(self) -> Flow[None]:
        """Send a text, whose answer keeps the connection; drop a connection that has not answered."""
        lost = Lost("no frame came") if self._is_asked else (yield Say("ping"))
        if isinstance(lost, Lost):
            yield from self._break(lost)
        else:
            self._heard, self._is_asked = time.monotonic(), True

    def _break(self, lost: Lost) -> Flow[None]:
        self._is_open = False
        yield Drop()
        yield from self._pause(lost)

    def _pause(self, lost: Lost) -> Flow[None]:
        """Wait before the next try. Raises ConnectionFailed once patience has ended."""
        if self.closed:
            return
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since > self._exchange.patience:
            raise ConnectionFailed(f"No WebSocket at {self._url}: {lost.reason}")
        yield Pause(delay(self._tries))
        self._tries += 1
