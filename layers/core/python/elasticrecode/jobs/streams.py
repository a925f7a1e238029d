"""The filters of the jobs table's stream readers, as patterns of an event source mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from elasticrecode.jobs.lifecycle import NEEDS_MESSAGE, STATES

Filters = Sequence[Mapping[str, Any]]
"""Patterns, of which a record must match one: every key must match, and a list holds the allowed values."""

_RECORD = {"Keys": {"item": {"S": ["job"]}}}
_AT_REST = {"state": {"S": [state for state in STATES if state != "running"]}}
_IN_A_STATE = {"state": {"S": [{"exists": True}]}}

DISPATCH: Filters = (
    {"eventName": ["INSERT"], "dynamodb": _RECORD | {"NewImage": _IN_A_STATE}},
    {"eventName": ["REMOVE"], "dynamodb": _RECORD | {"OldImage": _IN_A_STATE}},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | {"NewImage": _AT_REST}},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | {"OldImage": _AT_REST}},
)
"""Moves of jobs, among them those that need a message: new ones, and those that became queued other than by their
worker. Records that expire match as well. A job that runs before and after does not, so the renewal of its lease does
not either."""


FEED: Filters = (
    {"eventName": ["INSERT"], "dynamodb": {"Keys": {"item": {"S": ["job", {"prefix": "log#"}]}}}},
    {"eventName": ["MODIFY"], "dynamodb": _RECORD | {"NewImage": {"latest": {"S": [{"exists": True}]}}}},
)
"""Events: each is an item, but for a JobStart and the ticks of an attempt, which are on the record. A lease that is
extended while a job runs passes too, and `items.new_events` finds no event in it."""


def needs_message(record: Mapping[str, Any]) -> bool:
    """Whether a stream record that matches DISPATCH is a job that needs a message."""
    if record["eventName"] == "REMOVE" or record["dynamodb"]["NewImage"]["state"]["S"] != "queued":
        return False
    return record["eventName"] == "INSERT" or record["dynamodb"]["OldImage"]["state"]["S"] in NEEDS_MESSAGE
