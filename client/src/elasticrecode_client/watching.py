"""Where a watcher is in the feed, and what of a frame is new to it: `Watching` knows no socket."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from elasticrecode_client.types import Event

_REMEMBERED = 10_000
"""Ids of so many of the latest events are kept to leave out those that come twice."""
GAP = "Gap"
"""The action of a frame that says: events behind the cursor are no longer retained."""


class Watching:
    """The query of the next connection to `/ws`, and the events that its frames hold.

    `cursor` is that of the latest event; a connection resumes behind it. `jobs` narrows the watch to several jobs,
    which the API can't. `since` is in Unix seconds; 0 begins with the latest 100 events.
    """

    def __init__(
        self,
        *,
        filters: Mapping[str, str],
        jobs: Iterable[str] = (),
        cursor: str | None = None,
        since: float | None = None,
    ) -> None:
        self.cursor = cursor
        self._filters = {name: value for name, value in filters.items() if value}
        self._jobs = frozenset(jobs)
        self._since = since
        self._seen: set[str] = set()
        self._order: deque[str] = deque()

    def query(self) -> str:
        """The query of the next connection, without a ticket."""
        start = {}
        if self.cursor is not None:
            start = {"after": self.cursor}
        elif self._since is not None:
            start = {"lastMod": f"{self._since:.3f}" if self._since else "0"}
        return urlencode({**self._filters, **start, "pack": "1"}, quote_via=quote)

    def begin(self, now: float) -> None:
        """A connection has opened at `now`, in Unix seconds: without a start or an event, the next resumes here."""
        if self._since is None:
            self._since = now

    def take(self, frame: str | bytes) -> list[Event]:
        """The new events of a frame, in order; none for a frame that is no JSON, such as `pong`."""
        try:
            content: Any = json.loads(frame)
        except (ValueError, RecursionError):
            return []
        events = [one for one in (content if isinstance(content, list) else [content]) if isinstance(one, dict)]
        return [cast(Event, event) for event in events if self._is_new(event)]

    def _is_new(self, event: dict[str, Any]) -> bool:
        cursor = event.get("cursor")
        if isinstance(cursor, str):
            self.cursor = cursor
        if event.get("action") == GAP:
            return True
        event_id = event.get("eventID")
        if isinstance(event_id, str):
            if event_id in self._seen:
                return False
            self._seen.add(event_id)
            self._order.append(event_id)
            if len(self._order) > _REMEMBERED:
                self._seen.discard(self._order.popleft())
        return not self._jobs or event.get("jobID") in self._jobs
