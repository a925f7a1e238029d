"""The messages: events, as watchers get them and as workers report them, jobs, and the texts that keep a connection."""

from collections.abc import Mapping
from typing import Any

from elasticrecode.jobs.events import STORED, Action, Event, WorkerEvent
from elasticrecode.jobs.job import Job
from elasticrecode.parts.part import PartJob
from infra.asyncapi.schemas import schema
from infra.openapi import examples
from infra.openapi.operation import Json

SENT: Mapping[Action, str] = {
    Action.JOB_SUMMIT: "The control plane accepts the job (the wire contract spells it so).",
    Action.JOB_START: "A worker begins an attempt.",
    Action.JOB_PROGRESS: "The encoder reports progress; the control plane keeps only the latest.",
    Action.JOB_FINISHED: "The worker has published the outputs.",
    Action.JOB_FAILED: "The job has failed for good.",
    Action.JOB_RETURNED: "A worker returns the job unfinished; another attempt follows.",
    Action.JOB_LOST: "Another worker or `reconcile` found that the lease ran out; another attempt follows.",
    Action.JOB_RETRIED: "The user or an operator retries a failed or cancelled job.",
    Action.JOB_CANCELLED: "The user or an operator cancels the job.",
    Action.BATCH_FINISHED: "The last job of a batch has ended.",
    Action.GAP: "Events behind the watcher's cursor are no longer retained; WebSockets only.",
}
"""When an event is sent, as docs/reference/events.md says it."""
REPORTED = (
    Action.JOB_START,
    Action.JOB_PROGRESS,
    Action.JOB_FINISHED,
    Action.JOB_FAILED,
    Action.JOB_RETURNED,
    Action.JOB_LOST,
)
"""Actions of the events that workers report."""

_NEEDS: Mapping[Action, str] = {Action.BATCH_FINISHED: "batch", Action.JOB_SUMMIT: "job"}
"""Fields that events of an action always have, where they are not too long for a frame."""
_OTHER = "Other"
_ANY_TEXT: Json = {"type": "string"}


def frames() -> dict[str, Json]:
    """The messages that a watcher gets, by name."""
    known = {action.value: _event(action, schema(Event), SENT[action]) for action in STORED}
    return known | {
        _OTHER: _other(schema(Event), "A worker reports an action of its own, which changes no state."),
        Action.GAP.value: _message("Gap", SENT[Action.GAP], _gap()),
        "Pack": _message(
            "Pack",
            "With `pack=1`, a frame holds an array of events, oldest first.",
            {"type": "array", "minItems": 1, "items": schema(Event)},
        ),
        "Pong": _message("Pong", "The answer to any text.", {"const": "pong"}, content="text/plain"),
    }


def texts() -> dict[str, Json]:
    """The messages that a watcher sends, by name."""
    text = "Any text, which keeps the connection open. API Gateway ends one after ten minutes without a message."
    return {"Ping": _message("Ping", text, _ANY_TEXT, content="text/plain")}


def jobs() -> dict[str, Json]:
    """The messages that a worker takes, by name."""
    return {
        "Job": _message(
            "Job",
            "A job with a resolved profile. Workers of the first generation get the fields that they know.",
            schema(Job),
            {"transcode": examples.MESSAGE},
        ),
        "PartJob": _message(
            "Part of a job", "A part of a divided job, which only workers that claim get.", schema(PartJob)
        ),
    }


def reports() -> dict[str, Json]:
    """The messages that a worker sends to the control queue, by name."""
    shown = {Action.JOB_START: {"firstGeneration": examples.REPORT}}
    known = {
        f"Worker{action}": _event(action, schema(WorkerEvent), SENT[action], shown.get(action)) for action in REPORTED
    }
    other = _other(schema(WorkerEvent), "Any other action: it is stored and passed on, and changes no state.")
    return known | {f"Worker{_OTHER}": other}


def _event(action: Action, kind: Json, summary: str, shown: Mapping[str, Any] | None = None) -> Json:
    fields: Json = {"properties": {"action": {"const": action.value}}}
    if kind == schema(Event) and action in _NEEDS:
        fields["anyOf"] = [{"required": [_NEEDS[action]]}, {"required": ["truncated"]}]
    return _message(action.value, summary, {"allOf": [kind, fields]}, shown)


def _other(kind: Json, summary: str) -> Json:
    fields = {"properties": {"action": {"not": {"enum": [action.value for action in Action]}}}}
    return _message("Another action", summary, {"allOf": [kind, fields]})


def _gap() -> Json:
    """A gap has no identity and no job: it is about one watcher's place."""
    return {
        "type": "object",
        "description": "The `cursor` is the place behind which the feed has events again.",
        "properties": {
            "action": {"const": Action.GAP.value},
            "ts": {"type": "integer"},
            "tsMs": {"type": "integer"},
            "cursor": _ANY_TEXT,
            "msg": _ANY_TEXT,
        },
        "required": ["action", "ts", "tsMs", "cursor", "msg"],
        "additionalProperties": False,
    }


def _message(
    title: str, summary: str, payload: Json, shown: Mapping[str, Any] | None = None, content: str = "application/json"
) -> Json:
    listed = [{"name": name, "payload": value} for name, value in (shown or {}).items()]
    return {
        "title": title,
        "contentType": content,
        "summary": summary,
        "payload": payload,
        **({"examples": listed} if listed else {}),
    }
