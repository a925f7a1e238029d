"""The command line and environment that isolate a program, and a check of how far the kernel can do it.

    no new privileges   the program gains no rights by executing files, and root has no capabilities
    resource limits     CPU time, memory, size of a file, open files, no core dumps
    seccomp             no sockets; no creating, signalling, slowing or tracing of other processes; no shared memory,
                        message queue or key that outlives the program; no change of a file's owner, mode or times
    Landlock            no files except the job's folder, the program, the system's libraries and the GPUs

None of this needs privileges, and all of it works inside containers. On a kernel that lacks a part, programs run
without that part; `detect` reports it.
"""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_LAUNCHER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py").resolve())]
_KEPT = ("PATH", "LD_LIBRARY_PATH")
_KEPT_PREFIXES = ("CUDA_", "NVIDIA_")


class ProcessLimits(NamedTuple):
    """Limits of one run of a program.

    `seconds` of wall-clock time, `cpu_seconds` of CPU time over all threads, `memory_bytes` of allocated memory, and
    `file_bytes` for each file it writes.
    """

    seconds: float
    cpu_seconds: int
    memory_bytes: int
    file_bytes: int


class Isolation(NamedTuple):
    """Whether the kernel keeps an isolated program from the network, and from files that are not the job's."""

    network: bool
    files: bool


def program_environment() -> dict[str, str]:
    """Environment variables for programs that read users' files: PATH and GPU settings, no credentials.

    GCONV_PATH points nowhere: a static build would load character sets from the system's own C library, which is
    another version, and crash on some transport streams.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return kept | {"GCONV_PATH": os.devnull}


def confined_command(
    arguments: Sequence[str], folder: Path, limits: ProcessLimits, sandbox: str = "auto", channel: int = -1
) -> list[str]:
    """The command line that runs a program within limits; the program can write below `folder` only.

    `channel` is a file descriptor for the launcher's report (`launcher._launch`), if any. The program dies with this
    process, even on SIGKILL. `sandbox` is the value of SANDBOX: with `required` the program does not start where the
    kernel cannot isolate it; with `off` it can reach whatever this process can. Raises FileNotFoundError if the program
    is not on the PATH.
    """
    path = shutil.which(arguments[0])
    if not path:
        raise FileNotFoundError(errno.ENOENT, "program not found on the PATH", arguments[0])
    program = Path(path).resolve()
    settings = os.getpid(), channel, limits.cpu_seconds, limits.memory_bytes, limits.file_bytes, sandbox
    return [*_LAUNCHER, *map(str, settings), str(folder.resolve()), str(program), *arguments[1:]]


def detect() -> Isolation:
    """Test the kernel: start an isolated program that tries to open a socket, and a file outside its folder."""
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as outside:
        run = subprocess.run([*_LAUNCHER, folder, outside.name], capture_output=True, text=True, check=False)
    denied = run.stdout.split() if run.returncode == 0 else ()
    return Isolation(network="network" in denied, files="files" in denied)
