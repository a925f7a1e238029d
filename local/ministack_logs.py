"""Logs of the embedded Lambda, without a wait for lines that never come.

ministack's `lambda_runtime.Worker._drain_stderr_bounded` waits 50 ms after each invocation that logs nothing, as a line
may still be on its way through the thread that reads the function's stderr. A function writes its log before its
answer, so that with the answer the whole log is in the pipe. Here it is taken from there: complete, and at once.
"""

import os
import select
import threading
from io import TextIOWrapper
from queue import Queue
from typing import Any
from weakref import WeakKeyDictionary

from ministack.core import lambda_runtime  # type: ignore[import-not-found]

_BYTES = 65_536
_ENDING_SECONDS = 10
"""So long the end of a pipe is awaited whose process has ended: another process may hold it."""
_bounded = lambda_runtime.Worker._drain_stderr_bounded  # noqa: SLF001
_taking = threading.Lock()
_begun: WeakKeyDictionary[TextIOWrapper, bytes] = WeakKeyDictionary()
"""Of each pipe, the line that has no end yet."""


def read_stderr(worker: Any) -> None:
    """Take lines as they come, until the function's process closes the pipe: a full pipe would stop it."""
    pipe, lines = worker._proc.stderr, worker._stderr_queue  # noqa: SLF001
    while _take(pipe, lines):
        _is_readable(pipe, None)


def drain(worker: Any, **waits: float) -> str:
    """The lines of an invocation that has been answered."""
    if isinstance(worker, lambda_runtime.ProvidedWorker):  # whose log comes otherwise
        return str(_bounded(worker, **waits))
    if worker._proc is None:  # noqa: SLF001 - it has ended, and its pipe with it
        worker._stderr_thread.join(_ENDING_SECONDS)  # noqa: SLF001
    else:
        _take(worker._proc.stderr, worker._stderr_queue)  # noqa: SLF001
    return str(worker._drain_stderr())  # noqa: SLF001


def _take(pipe: TextIOWrapper, lines: "Queue[str]") -> bool:
    """Queue the lines that are in a pipe. False once it is closed."""
    with _taking:
        while _is_readable(pipe, 0):
            read = os.read(pipe.fileno(), _BYTES)
            *whole, begun = (_begun.pop(pipe, b"") + read).split(b"\n")
            if not read and begun:
                whole.append(begun)
            for line in whole:
                lines.put(line.decode(errors="replace"))
            if not read:
                return False
            _begun[pipe] = begun
    return True


def _is_readable(pipe: TextIOWrapper, milliseconds: int | None) -> bool:
    """Whether a pipe has bytes, or its end, within so many milliseconds; None waits for either."""
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    return bool(ready.poll(milliseconds))


lambda_runtime.Worker._read_stderr, lambda_runtime.Worker._drain_stderr_bounded = read_stderr, drain  # noqa: SLF001
