"""Whether this host can run jobs: its disk, its memory, its programs and its credentials.

A worker on a host that cannot takes no jobs: it would return each to the next host with the same fault. It sits out,
checks again after growing pauses, and goes on when all is well.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from worker.errors import HostError, JobError
from worker.host_faults import disk_full, host_error, host_failed, memory_short, program_missing
from worker.sandbox.machine import available_memory
from worker.sandbox.runner import Runner, last_lines
from worker.settings import DEBUG, Settings

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 5.0
_MAX_PAUSE_SECONDS = 300.0
_ROOM_BYTES = 256 << 20
_ROOM_SHARE = 0.05
"""Room on a disk that is well: 256 MiB, or a twentieth of a disk that is smaller than 5 GiB."""
_MEMORY_BYTES = 64 << 20
_PROBE = os.urandom(1 << 20)
_PROGRAM_SECONDS = 30


class Health:
    """The health of a worker's host. `check_credentials` returns the host fault of the worker's credentials, if any."""

    def __init__(self, settings: Settings, check_credentials: Callable[[], HostError | None]) -> None:
        self._settings = settings
        self._check_credentials = check_credentials
        self._suspicion: HostError | None = None
        self._is_known = False

    def suspect(self, error: HostError) -> None:
        """A job met this host fault: before the next job the worker pauses, and checks the host."""
        self._suspicion = error

    def wait_for_disk(self, stopping: threading.Event) -> None:
        """Return when the temporary folder can be used, or the worker is to stop."""
        self._wait(stopping, None, self.disk_fault)

    def wait(self, stopping: threading.Event) -> None:
        """Return when the host is well, or the worker is to stop. Checks at the start, and after a host fault."""
        if self._is_known and not self._suspicion:
            return
        suspicion, self._suspicion = self._suspicion, None
        self._wait(stopping, suspicion, lambda: self.fault(suspicion))
        self._is_known = True

    def _wait(
        self, stopping: threading.Event, suspicion: HostError | None, check: Callable[[], HostError | None]
    ) -> None:
        began, logged, pause = time.monotonic(), "", _FIRST_PAUSE_SECONDS
        fault = suspicion or check()
        while fault and not stopping.is_set():
            if fault.failure.code != logged:
                logged = fault.failure.code
                _log.error("this worker takes no jobs until its host is well: %s: %s", logged, fault)
            stopping.wait(pause)
            pause = min(_MAX_PAUSE_SECONDS, 2 * pause)
            fault = check()
        if logged and not fault:
            _log.info("the host is well again after %.0f s: this worker takes jobs", time.monotonic() - began)

    def fault(self, suspicion: HostError | None = None) -> HostError | None:
        """The fault of this host, or None. After a fault of its credentials it checks these too."""
        fault = self.disk_fault() or self._memory_fault() or self._program_fault()
        if not fault and suspicion and suspicion.failure.code == "credentials-refused":
            fault = self._check_credentials()
        return fault

    def disk_fault(self) -> HostError | None:
        """The fault of the temporary folder: it is missing, read-only, full, or loses what is written to it."""
        wanted = os.environ.get("TMPDIR")
        folder = Path(wanted or tempfile.gettempdir())
        try:
            with tempfile.NamedTemporaryFile(dir=folder) as file:
                file.write(_PROBE)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                if file.read() != _PROBE:
                    return host_failed("its disk loses data")
            usage = os.statvfs(folder)
        except OSError as error:
            return host_error(error) or host_failed(f"its temporary folder cannot be used ({type(error).__name__})")
        if wanted:
            tempfile.tempdir = wanted  # Python has chosen another folder if this one could not be used at the start
        free, total = usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize
        return disk_full() if free < min(_ROOM_BYTES, _ROOM_SHARE * total) else None

    def _memory_fault(self) -> HostError | None:
        return memory_short() if available_memory() < _MEMORY_BYTES else None

    def _program_fault(self) -> HostError | None:
        """The fault of ffmpeg, ffprobe or Packager, each started in the sandbox. A debug worker needs none."""
        settings = self._settings
        programs = () if settings.kind == DEBUG else (settings.ffprobe, settings.ffmpeg)
        if settings.kind == "ffmpeg":
            programs = (*programs, settings.packager)
        try:
            for program in programs:
                with tempfile.TemporaryDirectory(prefix="health-") as path:
                    fault = self._version_fault(program, Path(path))
                if fault:
                    return fault
        except HostError as error:
            return error
        except JobError as error:
            return host_failed(f"a program does not start: {error}")
        except (OSError, RuntimeError) as error:
            return host_error(error) or host_failed(f"it starts no program ({type(error).__name__})")
        return None

    def _version_fault(self, program: str, folder: Path) -> HostError | None:
        runner, log = Runner(self._settings.limits, self._settings.sandbox), folder / "log"
        status = runner.run([program, "-version"], folder, log, seconds=_PROGRAM_SECONDS)
        if not status:
            return None
        lines = last_lines(log, folder)
        return program_missing(program, f"it ends with status {status}: {lines[-1] if lines else 'it gives no reason'}")
