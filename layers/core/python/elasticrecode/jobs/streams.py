"""Which changes of the jobs table each reader of its stream wants, as patterns of an event source mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from elasticrecode.jobs.lifecycle import NEEDS_MESSAGE, STATES

Filters = Sequence[Mapping[str, Any]]
"""Patterns, one of which a record must fit: a list holds the values allowed, all keys named must fit."""

_RECORD = {"Keys": {"item": {"S": ["job"]}}}
_BECAME_QUEUED = {
    "NewImage": {"state": {"S": ["queued"]}},
    "OldImage": {"state": {"S": list(NEEDS_MESSAGE)}},
}

_FINISHED = {"NewImage": {"state": {"S": ["finished"]}}}
_AT_REST = {"state": {"S": [state for state in STATES if state != "running"]}}
_COUNTED = {"batchID": {"S": [{"exists": True}]}}

DISPATCH: Filters = (
    {"eventName": ["INSERT"], "dynamodb": _RECORD | {"NewImage": {"state": {"S": ["queued"]}}}},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | _BECAME_QUEUED},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | _FINISHED},
    {"eventName": ["INSERT", "MODIFY"], "dynamodb": _RECORD | {"NewImage": _COUNTED | _AT_REST}},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | {"NewImage": _COUNTED, "OldImage": _AT_REST}},
)
"""Jobs that need a message: new ones, and those that became queued in another way than from a worker's hands. Jobs that
are finished, which tell how long those of their queue take. And jobs of batches whose state changes, to be counted; a
lease that is extended while a job runs is not for it."""


FEED: Filters = (
    {"eventName": ["INSERT"]},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | {"NewImage": {"latest": {"S": [{"exists": True}]}}}},
)
"""Events: each is an item, but for a JobStart and the ticks of an attempt, which are on the record. A lease that is
extended while a job runs passes too, and `items.new_events` finds no event in it."""


def needs_message(record: Mapping[str, Any]) -> bool:
    """Whether a record that DISPATCH lets through is a job that needs a message, whatever else it came for."""
    if record["dynamodb"]["NewImage"]["state"]["S"] != "queued":
        return False
    return record["eventName"] == "INSERT" or record["dynamodb"]["OldImage"]["state"]["S"] in NEEDS_MESSAGE
