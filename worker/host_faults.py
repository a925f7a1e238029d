"""Host faults: errors of the operating system that are the host's, not the job's. Pure.

disk-full          no room, or no quota, for a file that the job's own limit allows
memory-short       no memory for a process or a thread
host-failed        a disk that fails, is read-only or has vanished; no file descriptors
program-missing    ffmpeg, ffprobe or Packager cannot be executed (`sandbox.runner`)
"""

import errno
from pathlib import PurePath

from worker.errors import HostError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_NO_MEMORY = {errno.ENOMEM, errno.EAGAIN}
_BROKEN = {
    errno.EIO: "its disk fails",
    errno.EROFS: "its disk is read-only",
    errno.ESTALE: "its disk has vanished",
    errno.ENODEV: "its disk has vanished",
    errno.ENXIO: "its disk has vanished",
    errno.ENOTCONN: "its disk has vanished",
    errno.EMFILE: "it has no file descriptors left",
    errno.ENFILE: "it has no file descriptors left",
}


def host_error(error: BaseException) -> HostError | None:
    """The error of the host that an exception stands for; None for any other."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't start new thread" in str(error)):
        return memory_short()
    if not isinstance(error, OSError):
        return None
    if error.errno in _NO_ROOM:
        return disk_full()
    if error.errno in _NO_MEMORY:
        return memory_short()
    if error.errno in _BROKEN:
        return host_failed(_BROKEN[error.errno])
    return None


def disk_full(log: list[str] | None = None) -> HostError:
    """The disk has no room for a file that the job's own limit allows."""
    return HostError("disk-full", "The worker's disk is full.", log)


def memory_short(log: list[str] | None = None) -> HostError:
    """The host has no memory for the job, or for its process."""
    return HostError("memory-short", "The worker's host has too little memory.", log)


def host_failed(reason: str, log: list[str] | None = None) -> HostError:
    """The host cannot run jobs, for a reason such as `its disk is read-only`."""
    return HostError("host-failed", f"The worker's host cannot run jobs: {reason}.", log)


def program_missing(program: str, reason: str) -> HostError:
    """A program cannot be executed on this host. Its path is not for users."""
    return HostError("program-missing", f"The worker's host cannot run {PurePath(program).name}: {reason}.")
