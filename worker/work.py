"""The process that is at work on a job, and how it is stopped from another thread or a signal."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from worker.failures import Interrupted


class Work:
    """One job's work. After `stop` no process of it runs, and `check` raises what it was stopped with."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._reason: Interrupted | None = None

    def stop(self, reason: Interrupted) -> None:
        """Kill the process and let no other start. May be called from a thread or a signal handler, more than once."""
        self._reason = self._reason or reason
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def check(self) -> None:
        """Raise the reason when the work was stopped."""
        if self._reason:
            raise self._reason

    def run(self, arguments: Sequence[str], log: Path, on_line: Callable[[str, float], None]) -> int:
        """Run a program to its end, its output line by line with the seconds since its start; its exit status."""
        self.check()
        with log.open("wb") as errors:
            started = time.monotonic()
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
            )
            self._process = process
            try:
                if self._reason:
                    process.kill()
                for line in process.stdout or ():
                    on_line(line, time.monotonic() - started)
                status = process.wait()
            finally:
                process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()
                self._process = None
        self.check()
        return status
