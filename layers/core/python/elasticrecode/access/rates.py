"""How often each user may ask for something to be done: a count in a table for each user and minute.

user    minute               count         expires
──────  ───────────────────  ────────────  ───────
ann     since 1970, in text  requests yet  by TTL
"""

import time
from functools import cached_property
from typing import Any

from elasticrecode.access.callers import Caller
from elasticrecode.aws.clients import client, refusals
from elasticrecode.contract.settings import Rate
from elasticrecode.contract.tables import RATES_KEYS, TTL
from elasticrecode.errors import TooManyRequests

_MINUTE = 60
_KEPT_SECONDS = 600


class Rates:
    """Counts what users ask for. Operators, who ask for everybody, are not counted."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._minute = 0
        self._full: set[str] = set()

    @cached_property
    def _dynamodb(self) -> Any:
        """Made when somebody is counted first."""
        return client("dynamodb")

    def count(self, caller: Caller) -> None:
        """Count one request. TooManyRequests when it is one too many for this minute, Unavailable when AWS refuses.

        What can't be counted is not let through: a counter that is overloaded means a flood.
        """
        if caller.operator or not self._rate.perMinute:
            return
        minute, second = divmod(int(time.time()), _MINUTE)
        if minute != self._minute:
            self._minute, self._full = minute, set()
        if caller.userID not in self._full and self._add(caller.userID, minute) > self._rate.perMinute:
            self._full.add(caller.userID)
        if caller.userID in self._full:
            raise TooManyRequests(
                f"{caller.userID} may ask for something to be done {self._rate.perMinute} times a minute, and has.",
                _MINUTE - second,
            )

    def _add(self, user_id: str, minute: int) -> int:
        """Count one more; how many there are now."""
        with refusals("counting the request"):
            answer = self._dynamodb.update_item(
                TableName=self._rate.table,
                Key={RATES_KEYS[0]: {"S": user_id}, RATES_KEYS[1]: {"S": str(minute)}},
                UpdateExpression="ADD #count :one SET #expires = :expires",
                ExpressionAttributeNames={"#count": "count", "#expires": TTL},
                ExpressionAttributeValues={
                    ":one": {"N": "1"},
                    ":expires": {"N": str(minute * _MINUTE + _KEPT_SECONDS)},
                },
                ReturnValues="UPDATED_NEW",
            )
        return int(answer["Attributes"]["count"]["N"])
