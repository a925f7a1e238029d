"""Counts a batch's jobs in strips: for each of 10,000 jobs, how often it has moved and where that has led.

A job's record counts its moves, in the same write that makes each move. A strip takes over a change where it is a later
move than the one it holds. So changes may be counted twice and in any order, and the strip still comes to what the
records hold; the number of jobs in each state is computed from it, never added up.
"""

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from elasticrecode import ids
from elasticrecode.jobs.events import Failure
from elasticrecode.jobs.lifecycle import STATES, State

STRIP_SIZE = 10_000
"""Jobs in a strip. Packed, a strip always fits an item of a table."""

_CODES = 256 - len(STATES) - 1
_OTHER = "other"
_MAX_MOVES = 0xFFFE
_CODE_LENGTH = 64


class Change(NamedTuple):
    """A job's move: its position in the batch, its moves so far, and the state they led to.

    `code` is the failure's code of a failed job, and empty for others.
    """

    position: int
    moves: int
    state: State
    code: str = ""


def change_of(record: Mapping[str, Any]) -> Change:
    """The latest move of a batch's job, from its stored record. A new job has made 0 moves."""
    moves = int(record["moves"]["N"]) if "moves" in record else 0
    code = msgspec.json.decode(record["failure"]["S"], type=Failure).code if "failure" in record else ""
    return Change(ids.position(record["jobID"]["S"]), moves, record["state"]["S"], code[:_CODE_LENGTH])


def by_strip(changes: Iterable[Change]) -> Iterator[tuple[int, list[Change]]]:
    """Changes grouped by the number of their strip."""
    ordered = sorted(changes, key=lambda change: change.position)
    for number, some in groupby(ordered, key=lambda change: change.position // STRIP_SIZE):
        yield number, list(some)


class Strip:
    """The jobs at positions `number * STRIP_SIZE` to `(number + 1) * STRIP_SIZE - 1`.

    `packed` is what `pack` returned, and `codes` the failure codes that it refers to.
    """

    def __init__(self, number: int, packed: bytes = b"", codes: Iterable[str] = ()) -> None:
        self.number = number
        self.codes = list(codes)
        raw = zlib.decompress(packed) if packed else bytes(3 * STRIP_SIZE)
        self._states = bytearray(raw[:STRIP_SIZE])
        self._moves = array("H", raw[STRIP_SIZE:])

    def pack(self) -> bytes:
        """The strip without its codes, compressed."""
        return zlib.compress(bytes(self._states) + self._moves.tobytes())

    def merge(self, changes: Iterable[Change]) -> bool:
        """Take over the changes that are later than what the strip holds. Answers whether there was one."""
        changed = False
        for change in changes:
            index = change.position - self.number * STRIP_SIZE
            moves = min(change.moves, _MAX_MOVES) + 1
            if moves > self._moves[index]:
                self._moves[index] = moves
                self._states[index] = self._mark(change)
                changed = True
        return changed

    def counts(self) -> Counter[State]:
        """State → how many jobs are in it, states without jobs left out."""
        counts = Counter({state: self._states.count(1 + n) for n, state in enumerate(STATES)})
        counts["failed"] += sum(self.failures().values())
        return +counts

    def failures(self) -> Counter[str]:
        """Failure code → how many jobs failed with it."""
        return +Counter({code: self._states.count(self._first_code + n) for n, code in enumerate(self.codes)})

    @property
    def moves(self) -> int:
        """How many moves all jobs have made together, the first write of each record included."""
        return sum(self._moves)

    def positions(self, state: State) -> Iterator[int]:
        """The positions of the jobs in a state, in ascending order."""
        failed = range(self._first_code, 256) if state == "failed" else ()
        marks = {1 + STATES.index(state), *failed}
        return (self.number * STRIP_SIZE + n for n, mark in enumerate(self._states) if mark in marks)

    @property
    def _first_code(self) -> int:
        return 1 + len(STATES)

    def _mark(self, change: Change) -> int:
        """The byte for a state or a failure code. 0 stands for a job that does not exist, or not yet."""
        if change.state != "failed" or not change.code:
            return 1 + STATES.index(change.state)
        code = change.code if change.code in self.codes or len(self.codes) < _CODES - 1 else _OTHER
        if code not in self.codes:
            self.codes.append(code)
        return self._first_code + self.codes.index(code)
