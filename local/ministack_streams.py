"""Streams of the embedded DynamoDB that outlast a restart.

A stream keeps its records for a day: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html.
ministack's `dynamodb.get_state` leaves the streams out, so that a change which no function has read when the embedded
AWS stops is lost to all of them. Here the state has each stream from the first record that a function has not read.
"""

import sys
from typing import Any

from ministack.services import dynamodb, lambda_svc  # type: ignore[import-not-found]

_STREAMS = "streams"
_state, _restore = dynamodb.get_state, dynamodb.load_persisted_state


def state_with_streams() -> dict[str, Any]:
    """The state to keep over a restart.

    What functions have read counts as of the beginning: the effects of what they read later may not be in the state.
    """
    unread = _unread()
    state: dict[str, Any] = _state()
    streams = type(dynamodb._stream_records)()  # noqa: SLF001
    for (account, region, table), position in unread.items():
        records = dynamodb.stream_records_since(table, position, sys.maxsize, account_id=account, region=region)
        streams.set_scoped(account, region, table, records)
    return {**state, _STREAMS: streams}


def restore_with_streams(state: dict[str, Any]) -> None:
    """Restore the state that `state_with_streams` returned. Each stream in it begins at position 0."""
    _restore(state)
    dynamodb._stream_records.update(state.get(_STREAMS, {}))  # noqa: SLF001


def _unread() -> dict[tuple[str, str, str], int]:
    """For each account, region and table, the position of the first record that one of its functions has not read."""
    unread: dict[tuple[str, str, str], int] = {}
    for (account, region, _), mapping in lambda_svc._esms.all_items():  # noqa: SLF001
        _, is_table, resource = mapping.get("EventSourceArn", "").partition(":table/")
        if not is_table:
            continue
        table, *_ = resource.split("/")
        begin = dynamodb.stream_start_position(table, account_id=account, region=region)
        position = lambda_svc._dynamodb_stream_positions.get_scoped(account, region, mapping["UUID"], begin)  # noqa: SLF001
        unread[account, region, table] = min(position, unread.get((account, region, table), position))
    return unread


dynamodb.get_state, dynamodb.load_persisted_state = state_with_streams, restore_with_streams
