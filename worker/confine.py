"""The program that binds itself and then becomes another: how `sandbox` runs what reads users' files.

It runs by itself, with nothing but this file and what a bare interpreter loads quickly. A process that has threads
can't do this work between fork and exec.
"""

import ctypes
import errno
import os
import resource
import signal
import struct
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_OPEN_FILES = 1024


def _prctl(option: int, *values: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *values, *[0] * (4 - len(values))):
        raise OSError(ctypes.get_errno(), f"prctl {option} was refused")


def _bind(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Bounds that this process and what it becomes can't widen again.

    Memory is what is allocated and may be written (RLIMIT_DATA): address space is reserved in far larger pieces, by
    threads for instance, and says little.
    """
    wanted = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


_CLONE3 = 435
# An architecture's name in filters and its numbers of: socket, fork, vfork, ptrace, process_vm_readv,
# process_vm_writev, tkill, io_uring_setup, pidfd_send_signal, pidfd_getfd; kill, rt_sigqueueinfo, tgkill,
# rt_tgsigqueueinfo; clone.
_CALLS = {
    "x86_64": (0xC000003E, (41, 57, 58, 101, 310, 311, 200, 425, 424, 438), (62, 129, 234, 297), 56),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 130, 425, 424, 438), (129, 138, 131, 240), 220),
}
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_LEAST, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD = 0x10000
_SECOND_ABI = 0x40000000
"""x86-64's other set of numbers, for 32-bit pointers, would lead around the list."""


def _filter(machine: str, pid: int) -> list[tuple[int, int, int, int]]:
    """Seccomp's program: instructions of code, jumps if true and if false, and operand.

    Without sockets there is no network, and without io_uring no way around that. Threads may be made, processes not:
    they would have CPU time of their own. Signals go to the process itself alone.
    """
    audit, refused, signals, clone = _CALLS[machine]
    no = (_RETURN, 0, 0, _ERROR | errno.EACCES)
    yes = (_RETURN, 0, 0, _ALLOW)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *((_JUMP_IF_LEAST, 0, 1, _SECOND_ABI), no),
        # The library then takes clone, whose flags can be seen.
        *((_JUMP_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)),
    ]
    for number in refused:
        program += [(_JUMP_IF_EQUAL, 0, 1, number), no]
    argument = (_LOAD, 0, 0, _FIRST_ARGUMENT)
    program += [(_JUMP_IF_EQUAL, 0, 4, clone), argument, (_JUMP_IF_SET, 1, 0, _CLONE_THREAD), no, yes]
    for number in signals:
        program += [(_JUMP_IF_EQUAL, 0, 4, number), argument, (_JUMP_IF_EQUAL, 1, 0, pid), no, yes]
    return [*program, yes]


def _seal_calls() -> None:
    """Seccomp, for what this process becomes. OSError where the kernel or the architecture has none."""
    machine = os.uname().machine
    if machine not in _CALLS:
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    instructions = b"".join(struct.pack("=HBBI", *one) for one in _filter(machine, os.getpid()))
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions) // 8, ctypes.addressof(code)))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program))


_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Landlock's system calls, the same on all architectures."""
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_CHANGE = sum(1 << bit for bit in range(4, 13))
"""Removing and making files of every kind."""
_MAKE_FILE = 1 << 8
"""Plain files only: a link or a pipe would be a trap for the worker, which reads what is left in the folder."""
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL}
"""Version of Landlock → the right that came with it."""
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64")
_TOLD = ("/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/proc/self", "/sys/devices/system", "/dev/urandom")
_GPU_TOLD = ("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/sys/bus/pci", "/sys/module/nvidia")


def _seal_files(folder: str, program: str) -> None:
    """Landlock, for what this process becomes. OSError where the kernel has none."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *values: object) -> int:
        found: int = libc.syscall(number, *values)
        if found < 0:
            raise OSError(ctypes.get_errno(), "Landlock was refused")
        return found

    version = call(_CREATE, None, ctypes.c_size_t(0), 1)
    handled = _EXECUTE | _WRITE | _READ | _LIST | _CHANGE
    handled |= sum(right for since, right in _SINCE.items() if version >= since)
    # From version 4 on it knows TCP (nothing is granted), from 6 on abstract sockets and signals to others.
    attributes = struct.pack("=QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = call(_CREATE, attributes, ctypes.c_size_t(size), 0)
    look = _READ | _LIST
    nvidia = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")]  # noqa: PTH208
    granted = {
        **dict.fromkeys(_SYSTEM, look | _EXECUTE),
        **dict.fromkeys((*_TOLD, *(_GPU_TOLD if nvidia else ())), look),
        **dict.fromkeys(("/dev/null", *nvidia), look | _WRITE | _IOCTL),
        program: _READ | _EXECUTE,
        folder: look | _WRITE | _MAKE_FILE | _TRUNCATE,
    }
    for path, rights in granted.items():
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # what is not there need not be granted
            continue
        rights &= handled if os.path.isdir(path) else handled & _ON_FILES  # noqa: PTH112
        call(_ADD, rules, 1, struct.pack("=Qi", rights, place), 0)
        os.close(place)
    call(_RESTRICT, rules, 0)
    os.close(rules)


def _seal(folder: str, program: str, wanted: str) -> None:
    """All that the kernel offers, which `sandbox.check` has told, or all there is."""
    if sys.platform != "linux" and wanted != "required":
        return
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    try:
        _seal_files(folder, program)
    except OSError as error:
        _pass_over(error, wanted)
    try:
        _seal_calls()
    except OSError as error:
        _pass_over(error, wanted)


def _pass_over(error: OSError, wanted: str) -> None:
    """Go on where a kernel, or a container's filter before this one, does not offer what was asked for."""
    lacking = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES)
    if wanted == "required" or error.errno not in lacking:
        raise error


def _become(parent: str, cpu: str, memory: str, size: str, wanted: str, folder: str, program: str, *rest: str) -> None:
    """Bind this process, seal it, and become the program."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the worker died before its program began")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what it becomes would, too
        signal.signal(number, signal.SIG_DFL)
    if wanted != "off":
        _seal(folder, program, wanted)
    _bind(int(cpu), int(memory), int(size))
    os.execv(program, (program, *rest))  # noqa: S606


def _try(folder: str, beside: str) -> None:
    """Seal this process and print what it then can't reach."""
    import socket

    _seal(folder, sys.executable, "auto")
    for name in ("network", "files"):
        try:
            socket.socket() if name == "network" else os.open(beside, os.O_WRONLY)
        except PermissionError:
            print(name)


if __name__ == "__main__":
    _try(*sys.argv[1:]) if len(sys.argv) == 3 else _become(*sys.argv[1:])
