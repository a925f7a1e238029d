"""A part of a source in a local file, for containers whose cuts are made of it."""

import shutil
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path

from worker.cuts.objects import Bytes, Span
from worker.cuts.recipes import Film

_STEP, _COPIED = 1 << 18, 1 << 20
_EVEN_STEPS = 4


class Raw:
    """Bytes of the source in a local file, to which more can be added from where they end."""

    def __init__(self, source: Bytes, span: Span, path: Path) -> None:
        self._source, self._span, self._path = source, span, path
        self._adds = 0
        path.write_bytes(b"")
        if span.size:
            source.fetch([span], path, [0], 0)

    def add(self) -> bool:
        """Add some of the bytes that follow, in the end ever more. False at the end of the source."""
        step = _STEP << max(0, self._adds - _EVEN_STEPS)
        span = Span(self._span.end, min(step, self._source.size - self._span.end))
        if span.size <= 0:
            return False
        self._source.fetch([span], self._path, [self._span.size], 0)
        self._span = Span(self._span.offset, self._span.size + span.size)
        self._adds += 1
        return True

    def mapped(self) -> mmap:
        """The bytes, of which there is at least one."""
        with self._path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ)


def join_pieces(film: Film, pieces: Sequence[Path], target: Path) -> None:
    """Write the head of the rest and its pieces."""
    with target.open("wb") as file:
        file.write(film.rest_head)
        for piece in pieces:
            with piece.open("rb") as part:
                shutil.copyfileobj(part, file, _COPIED)
