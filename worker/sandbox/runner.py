"""Runs the programs of one job, and stops them: from another thread, from a signal handler, or at a limit."""

import errno
import logging
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
from typing import IO, NamedTuple

from worker.errors import Interrupted, JobError, PermanentError
from worker.host_faults import host_error, host_failed, memory_short, program_missing
from worker.sandbox import isolation
from worker.sandbox.isolation import ProcessLimits
from worker.sandbox.limits import JobLimits
from worker.sandbox.steps import Step, recorded

_log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.5
_LAUNCHED = b"."
_MAX_LINE_LENGTH = 4096
_LOG_BYTES = 65_536
_CPU_TOLERANCE_SECONDS = 1.0
"""The kernel enforces CPU seconds with a finer clock than the one it reports them with."""
_NO_MEMORY = re.compile(
    r"cannot allocate memory|out of memory|malloc of size|bad_alloc|failed to allocate|^MemoryError$", re.IGNORECASE
)
_NO_LIBRARY = re.compile(
    r"^\S+: (error while loading shared libraries|symbol lookup error): |^\S+: \S+: version \S+ not found \(required by"
    r"|^Error (loading shared library|relocating) "
)
"""The words of the dynamic loaders of glibc and musl, before the program itself begins."""
_NO_THREAD = re.compile(r"^\[[^\]]+\] pthread_create\(\) failed: Resource temporarily unavailable$")
_PROBE_BYTES = 1 << 16


class _Ended(NamedTuple):
    """A finished process: exit status (negative for a signal), CPU seconds, end of its log, limit that stopped it.

    `launch` is the launcher's report.
    """

    status: int
    cpu_seconds: float
    log: bytes
    error: JobError | None
    launch: bytes


class Runner:
    """The programs of one job, which starts now. After `stop` none of them runs, and `check` raises the reason."""

    def __init__(self, limits: JobLimits = JobLimits(), sandbox: str = "auto") -> None:  # noqa: B008
        self.limits = limits
        self._sandbox = sandbox
        self._deadline = time.monotonic() + limits.job_seconds
        self._running: set[subprocess.Popen[str]] = set()
        self._reason: Interrupted | PermanentError | None = None
        self.cpu_seconds = 0.0
        """CPU seconds of the programs that have ended."""
        self.steps: list[Step] = []
        """The runs that outputs came of, in the order of their ends."""

    def stop(self, reason: Interrupted | PermanentError) -> None:
        """Kill running programs and start no more. Safe to call from threads and signal handlers, repeatedly."""
        self._reason = self._reason or reason
        for process in tuple(self._running):
            process.kill()

    def check(self) -> None:
        """Raise the reason of `stop`, or PermanentError `time-limit` when the job takes too long."""
        if self._reason:
            raise self._reason
        if time.monotonic() > self._deadline:
            raise _timeout(self.limits.job_seconds)

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
        step: str = "",
    ) -> int:
        """Run a program in the job's folder until it ends, and return its exit status; negative for a signal.

        It may run for `seconds` and write files of up to `file_bytes`. Its standard output goes to the file `output`,
        or line by line to `on_line`, with the seconds since the start. `log` gets the last 64 KiB of its standard
        error. A run with the name of a `step` is recorded in `steps`. Raises Interrupted after `stop`; PermanentError
        for a limit or a special file it leaves; HostError when the program cannot be executed, or the host has no room
        or no memory for it.
        """
        self.check()
        limits = self.limits.for_process(folder, seconds, file_bytes)
        ended = self._execute(arguments, folder, limits, output, on_line)
        self.cpu_seconds += ended.cpu_seconds
        self.check()
        if ended.error:
            raise ended.error
        _raise_if_not_executed(arguments[0], ended)
        try:
            log.write_bytes(ended.log)
            if ended.status or output:
                _try_to_write(folder)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise self.limits.disk_error(folder) from error
            raise host_error(error) or error from error
        self._raise_if_limited(ended, limits, folder, log, output)
        _raise_if_host_failed(arguments[0], ended, last_lines(log, folder))
        _reject_special_files(folder)
        if step:
            self.steps.append(recorded(step, arguments, folder))
        return ended.status

    def _execute(
        self,
        arguments: Sequence[str],
        folder: Path,
        limits: ProcessLimits,
        output: Path | None,
        on_line: Callable[[str, float], None],
    ) -> _Ended:
        ended, errors, log = threading.Event(), list[JobError](), bytearray()
        with ExitStack() as stack:
            started = time.monotonic()
            process, channel = self._start(arguments, folder, limits, output, stack)
            watch = threading.Thread(target=self._watch, args=(process, folder, limits, ended, errors), daemon=True)
            listen = threading.Thread(target=_keep_end, args=(process.stderr, log), daemon=True)
            self._running.add(process)
            try:
                if self._reason:
                    process.kill()
                watch.start()
                listen.start()
                while process.stdout and (line := process.stdout.readline(_MAX_LINE_LENGTH)):
                    on_line(line, time.monotonic() - started)
                cpu_seconds = _cpu_seconds(process)
                status = process.wait()
            finally:
                ended.set()
                process.kill()
                process.wait()
                for thread in (watch, listen):
                    if thread.ident:  # else the host refused to start it
                        thread.join()
                for stream in (process.stdout, process.stderr):
                    if stream:
                        stream.close()
                self._running.discard(process)
            return _Ended(status, cpu_seconds, bytes(log), errors[0] if errors else None, channel.read())

    def _start(
        self, arguments: Sequence[str], folder: Path, limits: ProcessLimits, output: Path | None, stack: ExitStack
    ) -> tuple["subprocess.Popen[str]", IO[bytes]]:
        """The launcher's process and its report, which ends when the program begins. Raises HostError."""
        try:
            stdout = stack.enter_context(output.open("wb")) if output else subprocess.PIPE
            reading, writing = os.pipe()
            channel = stack.enter_context(os.fdopen(reading, "rb"))
            with os.fdopen(writing, "wb"):
                command = isolation.confined_command(arguments, folder, limits, self._sandbox, writing)
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=isolation.program_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=subprocess.PIPE,
                    pass_fds=(writing,),
                    text=True,
                    errors="replace",
                )
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == arguments[0]:
                raise program_missing(arguments[0], "it is not there, or not executable") from error
            raise host_error(error) or host_failed(f"it starts no process ({type(error).__name__})") from error
        return process, channel

    def _watch(
        self,
        process: "subprocess.Popen[str]",
        folder: Path,
        limits: ProcessLimits,
        ended: threading.Event,
        errors: list[JobError],
    ) -> None:
        """Kill a program that runs too long, or whose job takes too much disk space. Appends the error."""
        deadline = min(time.monotonic() + limits.seconds, self._deadline)
        while not ended.wait(_WATCH_SECONDS):
            if time.monotonic() > deadline:
                errors.append(_timeout(limits.seconds))
            else:
                errors += self._disk_errors(folder)
            if errors:
                process.kill()
                return

    def _disk_errors(self, folder: Path) -> list[JobError]:
        try:
            return [self.limits.disk_error(folder)] if self.limits.free_bytes(folder) < 0 else []
        except OSError as error:
            return [host_error(error) or host_failed("its disk has vanished")]

    def _raise_if_limited(
        self, ended: _Ended, limits: ProcessLimits, folder: Path, log: Path, output: Path | None
    ) -> None:
        """Raise the error of the limit for which the kernel stopped the program, if it did."""
        if ended.status == -signal.SIGXFSZ:
            if self.limits.free_bytes(folder) <= 0:
                raise self.limits.disk_error(folder)
            is_output = output and output.stat().st_size >= limits.file_bytes
            subject = "The program's output" if is_output else "A file that the program wrote"
            message = f"{subject} exceeds the limit of {limits.file_bytes} bytes."
            raise PermanentError("disk-limit", message, last_lines(log, folder))
        if ended.status == -signal.SIGKILL and ended.cpu_seconds > limits.cpu_seconds - _CPU_TOLERANCE_SECONDS:
            message = f"The program exceeded the limit of {limits.cpu_seconds} s of CPU time."
            raise PermanentError("time-limit", message, last_lines(log, folder))
        if ended.status and any(_NO_MEMORY.search(line) for line in last_lines(log, folder)):
            message = f"The program exceeded the limit of {limits.memory_bytes} bytes of memory."
            raise PermanentError("memory-limit", message, last_lines(log, folder))


def _raise_if_not_executed(program: str, ended: _Ended) -> None:
    """Raise HostError if the launcher could not confine itself, or not execute the program."""
    if ended.launch == _LAUNCHED:
        return
    _log.error("the launcher of %s failed: %s", program, ended.log.decode(errors="replace"))
    if not ended.launch:
        raise memory_short() if ended.status == -signal.SIGKILL else host_failed("its sandbox does not start")
    number = int(ended.launch.removeprefix(_LAUNCHED))
    error = host_error(OSError(number, os.strerror(number)))
    raise error or program_missing(program, os.strerror(number))


def _raise_if_host_failed(program: str, ended: _Ended, lines: list[str]) -> None:
    """Raise HostError if no limit explains the end of a program: it was killed, or got no thread, or no library."""
    if ended.status == -signal.SIGKILL or (ended.status and any(map(_NO_THREAD.search, lines))):
        raise memory_short(lines)
    if ended.status and (missing := next(filter(_NO_LIBRARY.search, lines), "")):
        raise program_missing(program, missing.partition(": ")[2])


def _try_to_write(folder: Path) -> None:
    """Write to the folder, since programs do not notice that their output is cut off. Raises OSError."""
    probe = folder / "room"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    finally:
        probe.unlink(missing_ok=True)


def last_lines(log: Path, folder: Path) -> list[str]:
    """The lines in the last 64 KiB of a program's log, without the job folder's path; none if there is no log."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
        end = file.read().decode(errors="replace")
    return end.replace(str(folder), "").splitlines()


def _keep_end(stream: IO[str], end: bytearray) -> None:
    """Read a stream until it closes and keep its last 64 KiB. A hostile file can make a log very long."""
    while chunk := os.read(stream.fileno(), _LOG_BYTES):
        end += chunk
        del end[:-_LOG_BYTES]


def _reject_special_files(folder: Path) -> None:
    """Raise PermanentError for a link or a pipe: a link could point to a file that only the worker may read."""
    for path in folder.iterdir():
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # removed since the listing, by another thread
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise PermanentError("encoder-failed", f"The encoder left {path.name}, which is not a regular file.")


def _timeout(seconds: float) -> PermanentError:
    return PermanentError("time-limit", f"The work exceeded the limit of {seconds:.0f} s.")


def _cpu_seconds(process: "subprocess.Popen[str]") -> float:
    """CPU seconds of a process that has closed its output; 0 where the system cannot report it.

    Must run before the process is waited for: reaping it removes its entry in /proc.
    """
    try:
        if sys.platform == "linux":
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except (ChildProcessError, FileNotFoundError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
