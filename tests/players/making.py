"""What is made beside a player, in a thread of its own: a failure or a hang of it is seen while the player waits."""

import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.05


class Making(Generic[T]):
    """One call in a thread. The thread ends with the process at the latest, so a hang of it hides no failure."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        self._thread = Thread(target=self._run, args=(make,), name="making", daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[], T]) -> None:
        try:
            self._future.set_result(make())
        except BaseException as error:  # noqa: BLE001
            self._future.set_exception(error)

    def check(self) -> None:
        """Raise what the call has raised, if it did by now."""
        if self._future.done():
            self._future.result()

    def until(self, condition: Callable[[], bool], awaited: str, seconds: float) -> None:
        """Wait for what the call brings about. Raises what it raises meanwhile."""
        end = time.monotonic() + seconds
        while not condition():
            self.check()
            assert time.monotonic() < end, f"{awaited} did not come within {seconds:g} s; {self}"
            time.sleep(_LOOK_SECONDS)

    def result(self, seconds: float) -> T:
        """What the call returned, or raise what it did. Fails, with the place of the call, where it takes longer."""
        try:
            return self._future.result(seconds)
        except TimeoutError:
            if self._future.done():
                raise
        raise AssertionError(f"after {seconds:g} s {self}")

    def __str__(self) -> str:
        """Where the call is."""
        if self._future.done():
            return "what is made is done"
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "what is made is at\n" + "".join(traceback.format_stack(frame)[-6:] if frame else ["its begin"])
