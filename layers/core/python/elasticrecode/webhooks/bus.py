"""The EventBridge bus: a copy of the events, for users' own rules."""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from elasticrecode.aws.clients import client, refusals
from elasticrecode.contract.settings import EVENT_SOURCE
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Action

_ENTRIES = 10
_BYTES = 240 * 1024
"""Of one call, and so of one event; EventBridge allows 256 KiB with its envelope."""
_ENVELOPE_BYTES = 512
_ROUNDS = 4
_BACKOFF_SECONDS = 0.1
_FINAL = {
    "InvalidArgument",
    "MalformedDetail",
    "NotAuthorizedForSourceException",
    "NotAuthorizedForDetailTypeException",
}
"""Error codes of entries that no retry helps."""


class _Head(Struct):
    """The fields of an event that an entry needs."""

    eventID: str
    action: str


class Bus:
    """The bus. It gets no progress."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._events = client("events")

    def put(self, events: Sequence[bytes]) -> dict[str, str]:
        """Put events, each a JSON object, in the order given, ten a call. Skips JobProgress.

        Returns eventID → reason of the events that the bus refused after retries. An event over the limit goes without
        its `job`, then without its error's log, which its `shortened` lists.
        """
        heads = [(msgspec.json.decode(event, type=_Head), event) for event in events]
        refused: dict[str, str] = {}
        entries: list[tuple[str, dict[str, Any]]] = []
        for head, event in heads:
            if head.action == Action.JOB_PROGRESS:
                continue
            detail = shortened(event)
            if len(detail) > _BYTES - _ENVELOPE_BYTES:
                refused[head.eventID] = f"it has {len(detail)} bytes even without its job and log"
                continue
            entry = {
                "EventBusName": self._name,
                "Source": EVENT_SOURCE,
                "DetailType": head.action,
                "Detail": detail.decode(),
            }
            entries.append((head.eventID, entry))
        for call in _calls(entries):
            refused |= self._put(call)
        return refused

    def _put(self, call: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, str]:
        waiting = list(call)
        reasons: dict[str, str] = {}
        for round_ in range(_ROUNDS):
            try:
                with refusals("writing to the event bus"):
                    answer = self._events.put_events(Entries=[entry for _, entry in waiting])
            except (Unavailable, self._events.exceptions.ClientError) as error:
                return {event_id: str(error) for event_id, _ in waiting} | reasons
            failed = [
                (sent, result) for sent, result in zip(waiting, answer["Entries"], strict=True) if "ErrorCode" in result
            ]
            reasons |= {sent[0]: _reason(result) for sent, result in failed if result["ErrorCode"] in _FINAL}
            again = [(sent, result) for sent, result in failed if result["ErrorCode"] not in _FINAL]
            if not again:
                return reasons
            waiting = [sent for sent, _ in again]
            time.sleep(random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**round_)  # noqa: S311
        return {sent[0]: _reason(result) for sent, result in again} | reasons


def shortened(event: bytes, limit: int = _BYTES - _ENVELOPE_BYTES) -> bytes:
    """An event without its `job`, and then without its error's log, as far as the limit of bytes demands."""
    if len(event) <= limit:
        return event
    content: dict[str, Any] = msgspec.json.decode(event)
    left_out: list[str] = []
    for path in (("job",), ("error", "log")):
        holder = content if len(path) == 1 else content.get(path[0])
        if isinstance(holder, dict) and holder.pop(path[-1], None) is not None:
            left_out.append(".".join(path))
            event = msgspec.json.encode(content | {"shortened": left_out})
            if len(event) <= limit:
                break
    return event


def _calls(entries: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Runs of entries, each small enough for one call."""
    call: list[tuple[str, dict[str, Any]]] = []
    held = 0
    for entry in entries:
        size = len(entry[1]["Detail"].encode()) + _ENVELOPE_BYTES
        if call and (len(call) == _ENTRIES or held + size > _BYTES):
            yield call
            call, held = [], 0
        call.append(entry)
        held += size
    if call:
        yield call


def _reason(result: dict[str, Any]) -> str:
    return f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}"
