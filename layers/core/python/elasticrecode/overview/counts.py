"""Counts of jobs by state, of failures by code, and of the last hour by minute. Pure."""

import time
import zlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct, field

from elasticrecode.jobs.lifecycle import STATES
from elasticrecode.overview.advice import advice
from elasticrecode.overview.moves import CountedMove, Place

MINUTES = 60
_CODES = 100
_OTHER = "other"
_RATES = ("submitted", "finished", "failed", "cancelled")


class StateCounts(Struct):
    """How many jobs are in each state."""

    accepted: int = 0
    queued: int = 0
    running: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0


class FailureCount(Struct):
    """How many jobs have failed with a code, and what to do about it."""

    code: str
    jobs: int
    advice: str


class MinuteCount(Struct):
    """How many jobs were submitted, and have ended, in the minute that begins `at`, in Unix seconds."""

    at: int
    submitted: int
    finished: int
    failed: int
    cancelled: int


class Overview(Struct):
    """The counts of jobs: `failures` has the most frequent codes first, `minutes` those of the last hour with a job."""

    states: StateCounts
    failures: list[FailureCount]
    minutes: list[MinuteCount]


class Counts(Struct):
    """The counts as they are stored. A count may be below 0 while a move has come before the one that it follows."""

    states: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    minutes: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def unpack(cls, packed: bytes) -> "Counts":
        """What `pack` returned."""
        return msgspec.json.decode(zlib.decompress(packed), type=cls)

    def pack(self) -> bytes:
        """The counts in few bytes."""
        return zlib.compress(msgspec.json.encode(self))

    def take(self, moves: Iterable[CountedMove], now: float) -> None:
        """Count moves. `now` is in Unix seconds: minutes that lie an hour back are forgotten."""
        this_minute = int(now) // 60
        for move in moves:
            if move.left:
                self._add(move.left, -1)
            if move.entered:
                self._add(move.entered, 1)
                self._rate(move, this_minute)
        self.minutes = {minute: rates for minute, rates in self.minutes.items() if minute > this_minute - MINUTES}

    def shown(self, now: float | None = None) -> Overview:
        """The counts as clients see them."""
        this_minute = int(time.time() if now is None else now) // 60
        frequent = sorted(self.failures.items(), key=lambda entry: (-entry[1], entry[0]))
        return Overview(
            StateCounts(**{state: max(0, self.states.get(state, 0)) for state in STATES}),
            [FailureCount(code, jobs, advice(code)) for code, jobs in frequent if jobs > 0],
            [
                MinuteCount(60 * minute, *rates)
                for minute, rates in sorted(self.minutes.items())
                if this_minute - MINUTES < minute <= this_minute
            ],
        )

    def _add(self, place: Place, number: int) -> None:
        _bump(self.states, place.state, number)
        if place.code:
            is_full = len(self.failures) >= _CODES or (number < 0 and _OTHER in self.failures)
            is_other = is_full and place.code not in self.failures
            _bump(self.failures, _OTHER if is_other else place.code, number)

    def _rate(self, move: CountedMove, this_minute: int) -> None:
        """Count a new job, or one that has ended, in its minute; by a clock that is ahead, in this one."""
        rate = "submitted" if move.left is None else move.entered.state if move.entered else ""
        minute = min(move.at // 60, this_minute)
        if rate in _RATES and minute > this_minute - MINUTES:
            self.minutes.setdefault(minute, [0] * len(_RATES))[_RATES.index(rate)] += 1


def _bump(counts: dict[str, int], name: str, number: int) -> None:
    counts[name] = counts.get(name, 0) + number
    if not counts[name]:
        del counts[name]
