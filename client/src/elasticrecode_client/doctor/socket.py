"""A connection to `/ws` that keeps the events of jobs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from elasticrecode_client.doctor.api import Api, Refused
from elasticrecode_client.states import ENDINGS

_SECONDS = 20


class Frame(NamedTuple):
    """An event, and when it arrived in Unix seconds."""

    event: dict[str, Any]
    at: float


@dataclass
class Listener:
    """The events that have arrived, oldest first; `error` says why there is no connection, `closed` why it ended."""

    frames: list[Frame] = field(default_factory=list)
    error: str = ""
    closed: str = ""

    def of(self, job_id: str) -> list[Frame]:
        """The frames of a job."""
        return [each for each in self.frames if each.event.get("jobID") == job_id]

    def ended(self) -> set[str]:
        """The jobs whose end has arrived."""
        return {str(each.event.get("jobID")) for each in self.frames if each.event.get("action") in ENDINGS}


@contextmanager
def watching(api: Api, user: str, listener: Listener) -> Iterator[None]:
    """A connection, opened by a ticket, while in the context. `listener` gets the events, or why there are none."""
    with ExitStack() as stack:
        connection = None
        try:
            ticket = api.must("POST", "/v1/socket-tickets")["ticket"]
            query = urlencode({"userID": user, "ticket": ticket})
            connecting = connect(f"{api.socket_url}?{query}", open_timeout=_SECONDS, max_size=None)
            connection = stack.enter_context(connecting)
        except Refused as error:
            listener.error = str(error)
        except (OSError, TimeoutError, WebSocketException) as error:
            # The message may hold the address with the ticket, which opens one connection.
            listener.error = f"{type(error).__name__}: {str(error).split('?')[0]}"[:200]
        if connection:
            reader = threading.Thread(target=_read, args=(connection, listener), daemon=True)
            reader.start()
            stack.callback(reader.join, 5)
            stack.callback(connection.close)
        yield


def _read(connection: ClientConnection, listener: Listener) -> None:
    try:
        for text in connection:
            content = json.loads(text)
            events = content if isinstance(content, list) else [content]
            listener.frames.extend(Frame(event, time.time()) for event in events)
    except (ConnectionClosed, ValueError) as error:
        listener.closed = str(error)
