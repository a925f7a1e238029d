"""Counting a batch's jobs: a strip says of 10,000 of them how often each has moved and where that has led it.

A job's moves are counted in its record, by the same write that makes the move. A strip takes over what it is told of a
job where that is a later move than the one it knows. So it may be told twice and in any order, and still it comes to
what the records say; how many jobs are in each state is counted from it and never added up.
"""

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from elasticrecode.jobs.lifecycle import STATES, State

SIZE = 10_000
"""Jobs in a strip; packed, they always fit an item of a table."""

_CODES = 256 - len(STATES) - 1
_OTHER = "other"
_MOST_MOVES = 0xFFFE


class Change(NamedTuple):
    """A job that has moved: its position in the batch, the moves it has made, and where they led.

    `code` is why it failed, or empty.
    """

    position: int
    moves: int
    state: State
    code: str = ""


class Strip:
    """Jobs at `number * SIZE` and behind."""

    def __init__(self, number: int, packed: bytes = b"", codes: Iterable[str] = ()) -> None:
        self.number = number
        self.codes = list(codes)
        raw = zlib.decompress(packed) if packed else bytes(3 * SIZE)
        self._states = bytearray(raw[:SIZE])
        self._moves = array("H", raw[SIZE:])

    def pack(self) -> bytes:
        """All but the codes, compressed."""
        return zlib.compress(bytes(self._states) + self._moves.tobytes())

    def merge(self, changes: Iterable[Change]) -> bool:
        """Take over what is news; whether anything was."""
        news = False
        for change in changes:
            place = change.position - self.number * SIZE
            moves = min(change.moves, _MOST_MOVES) + 1
            if moves > self._moves[place]:
                self._moves[place] = moves
                self._states[place] = self._mark(change)
                news = True
        return news

    def counts(self) -> Counter[State]:
        """How many jobs are in each state."""
        found = Counter({state: self._states.count(1 + n) for n, state in enumerate(STATES)})
        found["failed"] += sum(self.failures().values())
        return +found

    def failures(self) -> Counter[str]:
        """How many jobs have failed with each code."""
        return +Counter({code: self._states.count(self._first_code + n) for n, code in enumerate(self.codes)})

    @property
    def moves(self) -> int:
        """How many moves all jobs have made together, being stored included."""
        return sum(self._moves)

    def positions(self, state: State) -> Iterator[int]:
        """The jobs in a state, in order."""
        failed = range(self._first_code, 256) if state == "failed" else ()
        wanted = {1 + STATES.index(state), *failed}
        return (self.number * SIZE + n for n, mark in enumerate(self._states) if mark in wanted)

    @property
    def _first_code(self) -> int:
        return 1 + len(STATES)

    def _mark(self, change: Change) -> int:
        """A byte for a state, or for a failure's code; 0 is for jobs that there are not, or not yet."""
        if change.state != "failed" or not change.code:
            return 1 + STATES.index(change.state)
        code = change.code if change.code in self.codes or len(self.codes) < _CODES - 1 else _OTHER
        if code not in self.codes:
            self.codes.append(code)
        return self._first_code + self.codes.index(code)
