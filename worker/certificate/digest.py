"""The SHA-256 of a file, computed beside other work on it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

_PIECE_BYTES = 1 << 20


class Digest:
    """Computes the SHA-256 of a file in a thread of its own while it is entered; `hex` waits for the end."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._result = self._pool.submit(self._run)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error:
            self._left.set()
        self._pool.shutdown()

    @property
    def hex(self) -> str:
        """The digest in hex. Raises OSError of the file."""
        return self._result.result()

    def _run(self) -> str:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while not self._left.is_set() and (piece := file.read(_PIECE_BYTES)):
                digest.update(piece)
        return digest.hexdigest()
