"""How programs that read users' files are kept in: what they may use, and what the kernel lets them reach.

    no new privileges   nothing gains rights by being executed, and root has none of its powers
    resource limits     CPU time, memory, size of a file, open files, no core dumps
    seccomp             no sockets; no other processes made, signalled, hampered or looked into; no memory, queue or key
                        that outlives the program; no file's owner, rights or times changed
    Landlock            no file but the job's own, the program, the system's libraries and its GPUs

None of it needs a privilege, and all of it works inside containers. Kernels that lack a part do without: `check` tells.
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

_CONFINE = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py").resolve())]
_KEPT = ("PATH", "LD_LIBRARY_PATH")
_KEPT_OF_GPUS = ("CUDA_", "NVIDIA_")


class Bounds(NamedTuple):
    """What one run of a program may use: wall and CPU seconds, bytes of memory and of each file that it writes."""

    seconds: float
    cpu_seconds: int
    memory_bytes: int
    file_bytes: int


class Held(NamedTuple):
    """What the kernel keeps a sealed program from: the network, and files that are not its own."""

    network: bool
    files: bool


def environment() -> dict[str, str]:
    """What programs that read users' files run with: where programs and GPUs are, and no character sets.

    A static build would load those from the system's C library, which is another, and crash on a transport stream.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_OF_GPUS)}
    return kept | {"GCONV_PATH": os.devnull}


def command(arguments: Sequence[str], folder: Path, bounds: Bounds, wanted: str = "auto") -> list[str]:
    """The command line that runs a program in bounds; it can write below the folder and nowhere else.

    It dies with this process, even by SIGKILL. `wanted` is the variable SANDBOX: with `required` it does not start
    where the kernel can't keep it in, with `off` it reaches what this process may reach.
    """
    found = shutil.which(arguments[0])
    if not found:
        raise FileNotFoundError(errno.ENOENT, "there is no such program", arguments[0])
    program = Path(found).resolve()
    numbers = os.getpid(), bounds.cpu_seconds, bounds.memory_bytes, bounds.file_bytes, wanted
    return [*_CONFINE, *map(str, numbers), str(folder.resolve()), str(program), *arguments[1:]]


def check() -> Held:
    """Try it: whether a sealed program can open a socket, or a file beside its folder."""
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as beside:
        said = subprocess.run([*_CONFINE, folder, beside.name], capture_output=True, text=True, check=False)
    held = said.stdout.split() if said.returncode == 0 else ()
    return Held(network="network" in held, files="files" in held)
