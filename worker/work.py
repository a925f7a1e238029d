"""The process that is at work on a job, and how it is stopped from another thread or a signal."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from elasticrecode.events import Progress
from worker.failures import Interrupted
from worker.ffmpeg import ProgressReader

_TICK_SECONDS = 1.0
_SETPRIV = shutil.which("setpriv")


def environment() -> dict[str, str]:
    """What programs that read users' files run with: nothing of AWS, and no character sets.

    A static build would load those from the system's C library, which is another, and crash on a transport stream.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "GCONV_PATH": os.devnull
    }


def mortal(arguments: Sequence[str]) -> list[str]:
    """The command that runs a program which dies with this process, even by SIGKILL, where the system can do that."""
    return [_SETPRIV, "--pdeathsig", "KILL", "--", *arguments] if _SETPRIV else list(arguments)


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

    def run(self, arguments: Sequence[str], log: Path, on_line: Callable[[str, float], None], folder: Path) -> int:
        """Run a program in a folder, to its end; its exit status.

        `on_line` gets its output line by line, with the seconds since its start.
        """
        self.check()
        with log.open("wb") as errors:
            started = time.monotonic()
            process = subprocess.Popen(
                mortal(arguments),
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
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


class Ticker:
    """Reports a program's progress, the first at once and then at most one a second; see `ProgressReader`."""

    def __init__(
        self,
        frames: int | None,
        duration: float | None,
        report: Callable[[Progress], None],
        *,
        before: int = 0,
        after: int = 0,
    ) -> None:
        self._reader = ProgressReader(frames, duration, before=before, after=after)
        self._report = report
        self._next = 0.0

    def __call__(self, line: str, elapsed: float) -> None:
        """Take a line of the program's output."""
        progress = self._reader.feed(line, elapsed)
        if progress and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK_SECONDS
            self._report(progress)
