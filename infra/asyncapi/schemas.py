"""JSON Schemas of the types that messages consist of, in the dialect of AsyncAPI: draft 7 of JSON Schema."""

from inspect import cleandoc
from typing import Any, get_args

import msgspec

from elasticrecode.batches.progress import BatchState
from elasticrecode.jobs.events import Event, WorkerEvent
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import STATES
from elasticrecode.parts.part import PartJob
from infra.openapi.operation import Json
from infra.openapi.schemas import TRUNCATED

_REF = "#/components/schemas/{name}"
_KINDS = (Event, WorkerEvent, Job, PartJob)
_COUNT: Json = {"type": "integer", "minimum": 0}
_BATCH: Json = {
    "type": "object",
    "description": "The batch at its end: its state, its total, the count of each job state, and failures by code.",
    "properties": {
        "state": {"enum": list(get_args(BatchState))},
        "total": {"type": ["integer", "null"]},
        **dict.fromkeys(STATES, _COUNT),
        "failures": {"type": "object", "additionalProperties": _COUNT},
    },
    "required": ["state", "total", *STATES],
}


def schema(kind: type) -> Json:
    """The schema of a type, as a reference."""
    return {"$ref": _REF.format(name=kind.__name__)}


def schemas() -> dict[str, Json]:
    """The schemas of all types of messages, by name."""
    _, components = msgspec.json.schema_components(_KINDS, ref_template=_REF)
    # Their `job` passes unread.
    components[Event.__name__]["properties"] |= {"job": schema(Job), "batch": _BATCH, **TRUNCATED}
    components[WorkerEvent.__name__]["properties"]["job"] = {"anyOf": [schema(Job), schema(PartJob)]}
    for component in components.values():
        component["description"] = cleandoc(component["description"])
    return {name: _draft_7(component) for name, component in sorted(components.items())}


def _draft_7(node: Any) -> Any:
    """A schema with the tuples of draft 2020-12 in the words of draft 7."""
    if isinstance(node, list):
        return [_draft_7(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _draft_7(below) for name, below in node.items()}
    if "prefixItems" in plain:
        plain["additionalItems"] = plain.pop("items", True)
        plain["items"] = plain.pop("prefixItems")
    return plain
