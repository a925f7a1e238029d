"""The programs that are at work on a job, and how they are stopped: from another thread, a signal, or at a limit."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from worker.errors import LOG_BYTES, Hopeless, Interrupted, JobError, last_lines
from worker.sandbox import isolation
from worker.sandbox.isolation import Bounds
from worker.sandbox.limits import Limits

_WATCH_SECONDS = 0.5
_LINE_LETTERS = 4096
_CLOCKS_APART = 1.0
"""The kernel limits CPU seconds by a finer clock than it tells them by."""
_NO_MEMORY = re.compile(
    r"cannot allocate memory|out of memory|malloc of size|bad_alloc|failed to allocate", re.IGNORECASE
)


class Work:
    """One job's work, from now on. After `stop` no program of it runs, and `check` raises what it was stopped with."""

    def __init__(self, limits: Limits = Limits(), wanted: str = "auto") -> None:  # noqa: B008
        self.limits = limits
        self._sandbox = wanted
        self._until = time.monotonic() + limits.job_seconds
        self._running: set[subprocess.Popen[str]] = set()
        self._reason: Interrupted | None = None

    def stop(self, reason: Interrupted) -> None:
        """Kill its programs and let no other start. May be called from a thread or a signal handler, more than once."""
        self._reason = self._reason or reason
        for process in tuple(self._running):
            process.kill()

    def check(self) -> None:
        """Raise the reason when the work was stopped, Hopeless when it takes too long."""
        if self._reason:
            raise self._reason
        if time.monotonic() > self._until:
            raise _late(self.limits.job_seconds)

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        log: Path,
        *,
        seconds: float,
        file_bytes: int | None = None,
        output: Path | None = None,
        on_line: Callable[[str, float], None] = lambda *_: None,
    ) -> int:
        """Run a program in the job's folder, to its end; its exit status. Hopeless when it meets a limit.

        It may be at work so many seconds, and write files of so many bytes. Its output goes to a file, or else to
        `on_line`, line by line, with the seconds since its start. Of what else it says, the end is kept in the log.
        """
        self.check()
        bounds = self.limits.bounds(folder, seconds, file_bytes)
        ended, met, end = threading.Event(), list[JobError](), bytearray()
        with ExitStack() as stack:
            started = time.monotonic()
            process = subprocess.Popen(
                isolation.command(arguments, folder, bounds, self._sandbox),
                cwd=folder,
                env=isolation.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context(output.open("wb")) if output else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            watch = threading.Thread(target=self._watch, args=(process, folder, bounds, ended, met), daemon=True)
            listen = threading.Thread(target=_listen, args=(process.stderr, end), daemon=True)
            self._running.add(process)
            try:
                if self._reason:
                    process.kill()
                watch.start()
                listen.start()
                while process.stdout and (line := process.stdout.readline(_LINE_LETTERS)):
                    on_line(line, time.monotonic() - started)
                cpu_seconds = _cpu_seconds(process)
                status = process.wait()
            finally:
                ended.set()
                process.kill()
                process.wait()
                for thread in (watch, listen):
                    thread.join()
                for stream in (process.stdout, process.stderr):
                    if stream:
                        stream.close()
                self._running.discard(process)
        self.check()
        if met:
            raise met[0]
        try:
            log.write_bytes(end)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise self.limits.no_room(folder) from error
        self._raise_limit(status, bounds, cpu_seconds, folder, log, output)
        _refuse_traps(folder)
        return status

    def _watch(
        self,
        process: "subprocess.Popen[str]",
        folder: Path,
        bounds: Bounds,
        ended: threading.Event,
        met: list[JobError],
    ) -> None:
        """End a program that takes too long, or whose files take too much together."""
        until = min(time.monotonic() + bounds.seconds, self._until)
        while not ended.wait(_WATCH_SECONDS):
            if time.monotonic() > until:
                met.append(_late(bounds.seconds))
            elif self.limits.room(folder) < 0:
                met.append(self.limits.no_room(folder))
            if met:
                process.kill()
                return

    def _raise_limit(
        self, status: int, bounds: Bounds, cpu_seconds: float, folder: Path, log: Path, output: Path | None
    ) -> None:
        """What the kernel has ended the program for, if it was that."""
        if status == -signal.SIGXFSZ:
            lines = last_lines(log, folder)
            if self.limits.room(folder) <= 0:
                raise self.limits.no_room(folder)
            said = output and output.stat().st_size >= bounds.file_bytes
            what = "What there is to say of it takes" if said else "The work on it writes a file of"
            raise Hopeless("disk-limit", f"{what} more than {bounds.file_bytes} bytes, which is the limit.", lines)
        if status == -signal.SIGKILL and cpu_seconds > bounds.cpu_seconds - _CLOCKS_APART:
            told = f"The work on it takes more than {bounds.cpu_seconds} s of CPU time, which is the limit."
            raise Hopeless("time-limit", told, last_lines(log, folder))
        if status and any(_NO_MEMORY.search(line) for line in last_lines(log, folder)):
            told = f"The work on it takes more than {bounds.memory_bytes} bytes of memory, which is the limit."
            raise Hopeless("memory-limit", told, last_lines(log, folder))


def _listen(stream: IO[str], end: bytearray) -> None:
    """Keep the end of what a program says. What it is given can make that very long."""
    while said := os.read(stream.fileno(), LOG_BYTES):
        end += said
        del end[:-LOG_BYTES]


def _refuse_traps(folder: Path) -> None:
    """Hopeless where a program left what is no file, such as a link to one that it may not read but the worker may."""
    for path in folder.iterdir():
        if not stat.S_ISREG(mode := path.lstat().st_mode) and not stat.S_ISDIR(mode):
            raise Hopeless("encoder-failed", f"The encoder left something that is no file, {path.name}.")


def _late(seconds: float) -> Hopeless:
    return Hopeless("time-limit", f"The work on it takes more than {seconds:.0f} s, which is the limit.")


def _cpu_seconds(process: "subprocess.Popen[str]") -> float:
    """CPU seconds of a process once it has ended, before it is waited for; 0 where that can't be told."""
    try:
        if sys.platform == "linux":
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except (ChildProcessError, FileNotFoundError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
