"""A watcher's filters, where it begins, and its frames.

A cursor is the place of an event in the feed; a watcher that names its last cursor resumes behind it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import msgspec
from msgspec import UNSET, Struct, structs

from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.errors import BadParameter
from elasticrecode.ids import batch_of
from elasticrecode.jobs.events import Action, Event, Failure

FRAME_BYTES = 120 * 1024
"""Bytes of a frame at most; API Gateway allows 128 KB."""
LATEST = 100
"""Events with which `lastMod=0` begins."""
EVERYTHING = "everything"

State = Literal["catching-up", "joining", "live"]
CATCHING_UP: State = "catching-up"
JOINING: State = "joining"
LIVE: State = "live"

CURSOR = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)
SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
IDENTIFIER = re.compile(r"\S{1,128}")
ACTION = re.compile(r"[A-Za-z]{1,64}")
ACTIONS_LIMIT = 32
PARAMETERS = ("lastMod", "after", "userID", "jobID", "batchID", "actions", "pack", "ticket")
"""Parameters of a connection's query, and the forms of their values."""

_WHOLE = 1 << 30
_LOG_LINES = 5


class Cursor(NamedTuple):
    """A place in the feed, written `SEQ.NTH` or `SEQ`: behind event `nth` of a chunk, from 0, or behind all of it."""

    seq: int
    nth: int = _WHOLE

    def __str__(self) -> str:
        return f"{self.seq}" if self.is_whole else f"{self.seq}.{self.nth}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The cursor that a text is. Raises ValueError when it is none."""
        match = CURSOR.fullmatch(text)
        if not match:
            raise ValueError(text)
        return cls(int(match[1]), _WHOLE if match[2] is None else int(match[2]))

    @property
    def is_whole(self) -> bool:
        """Whether it lies behind a whole chunk."""
        return self.nth == _WHOLE

    @property
    def before(self) -> "Cursor":
        """The place in front of the event at this cursor."""
        return Cursor(self.seq, self.nth - 1) if self.nth else Cursor(self.seq - 1)


class Start(NamedTuple):
    """Where a watcher begins: `now`, with the `latest` events, `after` a cursor, or `since` a Unix time in ms."""

    kind: Literal["now", "latest", "after", "since"]
    value: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class Watch(Struct, frozen=True, omit_defaults=True):
    """Filters, all of which an event must match, and whether a frame may hold several events."""

    userID: str | None = None
    jobID: str | None = None
    batchID: str | None = None
    actions: tuple[str, ...] = ()
    pack: bool = False

    @property
    def topic(self) -> str:
        """The narrowest topic of the filters, under which the connections table has the watcher."""
        for name in ("jobID", "batchID", "userID"):
            value = getattr(self, name)
            if value is not None:
                return f"{name}#{value}"
        return EVERYTHING

    def wants(self, event: Event) -> bool:
        """Whether an event matches all filters."""
        return (
            self.userID in (None, event.userID)
            and self.jobID in (None, event.jobID)
            and self.batchID in (None, batch_of(event.jobID), event.batchID)
            and (not self.actions or event.action in self.actions)
        )


def topics(events: Iterable[Event]) -> set[str]:
    """The topics that events belong to."""
    names = {EVERYTHING}
    for event in events:
        batch_id = event.batchID or batch_of(event.jobID)
        names |= {f"userID#{event.userID}", f"jobID#{event.jobID}", *([f"batchID#{batch_id}"] if batch_id else ())}
    return names


def read(query: Mapping[str, str], caller: Caller = ANYBODY) -> tuple[Watch, Start]:
    """The filters and the start in a connection's query. Raises BadParameter for a wrong one.

    A caller who is no operator watches their own events; raises Forbidden when they ask for another user's.
    """
    unknown = sorted(set(query) - set(PARAMETERS))
    if unknown:
        raise BadParameter(f"{unknown[0][:40]!r} is not a parameter; use {', '.join(PARAMETERS)}.")
    names = {name: query[name] for name in ("userID", "jobID", "batchID") if query.get(name)}
    for name, value in names.items():
        if not IDENTIFIER.fullmatch(value):
            raise BadParameter(f"{name} must have 1 to 128 characters and no white space.")
    if not caller.operator:
        caller.act_for(names.setdefault("userID", caller.userID))
    actions = tuple(sorted({action for action in query.get("actions", "").split(",") if action}))
    if len(actions) > ACTIONS_LIMIT or not all(map(ACTION.fullmatch, actions)):
        raise BadParameter(f"actions must be at most {ACTIONS_LIMIT} comma-separated words.")
    if query.get("pack", "0") not in ("", "0", "1"):
        raise BadParameter("pack must be 0 or 1.")
    return Watch(**names, actions=actions, pack=query.get("pack") == "1"), _start(query)


def _start(query: Mapping[str, str]) -> Start:
    after, since = query.get("after", ""), query.get("lastMod", "")
    if after and since:
        raise BadParameter("Give after or lastMod, not both.")
    if after:
        if not CURSOR.fullmatch(after):
            raise BadParameter("after must be the cursor of an event.")
        return Start("after", after)
    if not since:
        return Start("now")
    if not SECONDS.fullmatch(since):
        raise BadParameter("lastMod must be a time in Unix seconds, fractions allowed.")
    return Start("since", str(round(float(since) * 1000))) if float(since) else Start("latest")


class FeedEvent(NamedTuple):
    """An event at its place in the feed; `body` is its JSON, as watchers and webhooks get it."""

    cursor: Cursor
    event: Event
    body: bytes


class Frame(NamedTuple):
    """A WebSocket frame, the cursor of its last event, and the place in front of its first."""

    body: bytes
    cursor: Cursor
    before: Cursor


def frames(watch: Watch, events: Iterable[FeedEvent]) -> list[Frame]:
    """The frames of the events that match a watcher's filters: one for each, or with `pack` JSON arrays of them."""
    wanted = [Frame(event.body, event.cursor, event.cursor.before) for event in events if watch.wants(event.event)]
    if not watch.pack:
        return wanted
    packs: list[Frame] = []
    open_: list[Frame] = []
    size = 0
    for frame in wanted:
        if open_ and size + len(frame.body) > FRAME_BYTES:
            packs.append(_pack(open_))
            open_, size = [], 0
        open_.append(frame)
        size += len(frame.body) + 1
    return [*packs, _pack(open_)] if open_ else packs


def encoded(cursor: Cursor, event: Event) -> FeedEvent:
    """An event with its body. One over FRAME_BYTES goes without its job and most of its log, and is `truncated`."""
    return FeedEvent(cursor, event, _body(cursor, event))


def _body(cursor: Cursor, event: Event) -> bytes:
    event = structs.replace(event, cursor=str(cursor))
    body = msgspec.json.encode(event)
    if len(body) <= FRAME_BYTES:
        return body
    error = event.error
    if error is not UNSET:
        error = Failure(error.code, error.message[:2000], [line[:500] for line in error.log[-_LOG_LINES:]])
    short: dict[str, Any] = msgspec.to_builtins(structs.replace(event, job=UNSET, error=error, result=UNSET))
    short["msg"] = str(short.get("msg", ""))[:2000]
    return msgspec.json.encode(short | {"truncated": True, "full": f"/api/v1/jobs/{event.jobID}"})


def gap(start: Start, at: Cursor, now_ms: int) -> bytes:
    """The gap frame for a watcher whose start lies before retained events, or is no place of this feed.

    Its cursor is the place behind which the feed has events again.
    """
    words = {"after": f"the cursor {start.value}", "since": f"the time {_seconds(start.value)}"}
    place = words.get(start.kind, "the start")
    text = f"Events after {place} are no longer retained; retained events follow."
    return msgspec.json.encode(
        {"action": Action.GAP, "ts": now_ms // 1000, "tsMs": now_ms, "cursor": str(at), "msg": text}
    )


def _seconds(milliseconds: str) -> str:
    return f"{int(milliseconds) / 1000:.3f}" if milliseconds.isdigit() else milliseconds


def _pack(some: Sequence[Frame]) -> Frame:
    return Frame(b"[" + b",".join(frame.body for frame in some) + b"]", some[-1].cursor, some[0].before)
