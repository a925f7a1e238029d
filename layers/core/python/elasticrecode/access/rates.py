"""Allowances: how many changing requests a user may make in a minute, counted in a table by user and minute.

user  minute              count     expires
────  ──────────────────  ────────  ───────────
ann   minutes since 1970  requests  Unix second
"""

import time

from elasticrecode.access.callers import Caller
from elasticrecode.aws.dynamodb import Table, key_of, number
from elasticrecode.contract.settings import Rate
from elasticrecode.contract.tables import RATES_KEYS, TTL
from elasticrecode.errors import TooManyRequests

_MINUTE = 60
_KEPT_SECONDS = 600


class Rates:
    """Counts the changing requests of users. Operators, who act for every user, are not counted."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._table = Table(rate.table)
        self._minute = 0
        self._used_up: set[str] = set()

    def count(self, caller: Caller) -> None:
        """Count one request of a caller.

        Raises TooManyRequests when the allowance of this minute is used up, and Unavailable when AWS refuses: an
        overloaded counter means a flood, so an uncounted request does not pass.
        """
        if caller.operator or not self._rate.perMinute:
            return
        minute, second = divmod(int(time.time()), _MINUTE)
        if minute != self._minute:
            self._minute, self._used_up = minute, set()
        if caller.userID not in self._used_up and self._add(caller.userID, minute) > self._rate.perMinute:
            self._used_up.add(caller.userID)
        if caller.userID in self._used_up:
            raise TooManyRequests(
                f"{caller.userID} has used up this minute's allowance of {self._rate.perMinute} changing requests.",
                _MINUTE - second,
            )

    def _add(self, user_id: str, minute: int) -> int:
        """Count one more request; the number in this minute."""
        answer = self._table.update(
            key_of(RATES_KEYS, user_id, str(minute)),
            "counting the request",
            UpdateExpression="ADD #count :one SET #expires = :expires",
            ExpressionAttributeNames={"#count": "count", "#expires": TTL},
            ExpressionAttributeValues={":one": number(1), ":expires": number(minute * _MINUTE + _KEPT_SECONDS)},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["count"]["N"])
