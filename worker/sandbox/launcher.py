"""Script that confines its own process and then executes a program. `isolation` builds its command line.

It is a separate process because code between fork and exec is not safe in a process that has threads. It imports
nothing of the package, so that a bare interpreter (`python -I -S`) starts it quickly.
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
_STACK_BYTES = 8 << 20
"""The usual default. RLIMIT_DATA does not count stacks."""


def _prctl(option: int, *values: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *values, *[0] * (4 - len(values))):
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")


def _drop_capabilities() -> None:
    """Drop all capabilities: under a root worker the program can open root's files but has no other privilege."""
    libc = ctypes.CDLL(None, use_errno=True)
    version, pid, no_capabilities = 0x20080522, 0, bytes(24)
    if libc.capset(struct.pack("=II", version, pid), no_capabilities):
        raise OSError(ctypes.get_errno(), "capset failed")


def _limit_resources(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Set hard resource limits, which neither this process nor the program it becomes can raise again.

    Memory means allocated writable memory (RLIMIT_DATA). Address space is a poor measure: threads, for instance,
    reserve much more of it than they use.
    """
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Architecture → its AUDIT_ARCH constant, and the index of its number in `_Numbers`."""
_Numbers = tuple[int, int | None]
"""The number of a system call on x86-64 and on arm64; None where arm64 lacks the call."""
_REFUSED: dict[str, _Numbers] = {
    # No sockets means no network; io_uring could open sockets without these calls.
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425),
    # Threads are allowed, processes are not: each would have its own CPU time. No namespaces, to be root inside.
    "fork": (57, None), "vfork": (58, None), "unshare": (272, 97), "setns": (308, 268),
    # Access to other processes: tracing, their memory, and handles other than the process id.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241), "bpf": (321, 280),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "ioprio_set": (251, 30),
    # Objects that other processes can find, or that outlive the program.
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # Memory that no limit counts.
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # Landlock protects the contents of files, but not their owner, mode, times or attributes.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}  # fmt: skip
_CLONE3 = 435
_SECOND_ABI = 0x40000000
"""The x32 ABI of x86-64 has its own system call numbers, which would bypass the list."""
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_LEAST, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD = 0x10000
_SHARED, _ANONYMOUS, _GROWS_DOWN = 0x01, 0x20, 0x100
_SET_OWNER, _SET_SIGNAL, _SET_OWNER_EX = 8, 10, 15
_PR_SCHED_CORE = 62
_Instruction = tuple[int, int, int, int]
_YES, _NO = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | errno.EACCES)


def _argument(number: int) -> _Instruction:
    """Load the lower 32 bits of an argument, which is all that the kernel reads of these arguments."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * number


def _only(number: int, value: int) -> list[_Instruction]:
    """Continue if an argument has the value; else refuse."""
    return [_argument(number), (_JUMP_IF_EQUAL, 1, 0, value), _NO]


def _all_but(number: int, *values: int) -> list[_Instruction]:
    """Refuse if an argument has one of the values; else continue."""
    return [_argument(number), *(step for value in values for step in ((_JUMP_IF_EQUAL, 0, 1, value), _NO))]


def _conditional(pid: int) -> dict[_Numbers, list[_Instruction]]:
    """System calls that are allowed or refused by their arguments, with the instructions that decide."""
    own_pid, itself = [*_only(0, pid), _YES], [*_only(0, 0), _YES]
    return {
        # kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        **dict.fromkeys(((62, 129), (234, 131), (129, 138), (297, 240)), own_pid),
        # prlimit64, sched_setaffinity, sched_setscheduler, sched_setparam, sched_setattr
        **dict.fromkeys(((302, 261), (203, 122), (144, 119), (142, 118), (314, 274)), itself),
        # setpriority: encoders lower the priority of their own threads
        (141, 140): [*_only(0, os.PRIO_PROCESS), *_only(1, 0), _YES],
        # fcntl: the owner of a file descriptor gets signals, so it could signal another process
        (72, 25): [*_all_but(1, _SET_OWNER, _SET_OWNER_EX, _SET_SIGNAL), _YES],
        # prctl: clearing the death signal would outlive the worker; core scheduling can share a core with others
        (157, 167): [*_all_but(0, _PR_SET_PDEATHSIG, _PR_SCHED_CORE), _YES],
        # clone: threads only
        (56, 220): [_argument(0), (_JUMP_IF_SET, 1, 0, _CLONE_THREAD), _NO, _YES],
        # mmap: RLIMIT_DATA does not count shared anonymous memory or stacks
        (9, 222): [
            _argument(3),
            *((_JUMP_IF_SET, 0, 1, _GROWS_DOWN), _NO),
            *((_JUMP_IF_SET, 0, 2, _ANONYMOUS), (_JUMP_IF_SET, 0, 1, _SHARED), _NO),
            _YES,
        ],
    }


def _filter(machine: str, pid: int) -> list[_Instruction]:
    """The seccomp filter: instructions of opcode, jump if true, jump if false, and operand."""
    audit, index = _MACHINES[machine]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *((_JUMP_IF_LEAST, 0, 1, _SECOND_ABI), _NO),
        # On ENOSYS the C library falls back to clone, whose flags a filter can read.
        *((_JUMP_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)),
    ]
    for numbers in _REFUSED.values():
        if (number := numbers[index]) is not None:
            program += [(_JUMP_IF_EQUAL, 0, 1, number), _NO]
    for numbers, steps in _conditional(pid).items():
        if (number := numbers[index]) is not None:
            program += [(_JUMP_IF_EQUAL, 0, len(steps), number), *steps]
    return [*program, _YES]


def _filter_system_calls() -> None:
    """Install the seccomp filter. Raises OSError if the kernel has no seccomp or the architecture has no list."""
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    instructions = b"".join(struct.pack("=HBBI", *one) for one in _filter(machine, os.getpid()))
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions) // 8, ctypes.addressof(code)))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program))


_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Landlock's system calls; they have the same numbers on all architectures."""
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_CHANGE = sum(1 << bit for bit in range(4, 13))
"""Creating and removing files of every kind."""
_MAKE_FILE = 1 << 8
"""Regular files only: the worker reads the folder afterwards, and must not follow a link or block on a pipe."""
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL}
"""Landlock version → the right that it added."""
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64")
_SYSTEM_INFO = (
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/sys/devices/system",
    "/dev/urandom",
)
_GPU_INFO = ("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/sys/bus/pci", "/sys/module/nvidia")


def _restrict_files(folder: str, program: str) -> None:
    """Install the Landlock rules. Raises OSError if the kernel has no Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *values: object) -> int:
        result: int = libc.syscall(number, *values)
        if result < 0:
            raise OSError(ctypes.get_errno(), f"Landlock system call {number} failed")
        return result

    version = call(_CREATE, None, ctypes.c_size_t(0), 1)
    handled = _EXECUTE | _WRITE | _READ | _LIST | _CHANGE
    handled |= sum(right for since, right in _SINCE.items() if version >= since)
    # Version 4 adds TCP (no port is granted); version 6 adds abstract sockets and signals to other processes.
    attributes = struct.pack("=QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = call(_CREATE, attributes, ctypes.c_size_t(size), 0)
    read = _READ | _LIST
    nvidia = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")]  # noqa: PTH208
    granted = {
        **dict.fromkeys(_SYSTEM, read | _EXECUTE),
        **dict.fromkeys((*_SYSTEM_INFO, *(_GPU_INFO if nvidia else ())), read),
        **dict.fromkeys(("/dev/null", *nvidia), read | _WRITE | _IOCTL),
        program: _READ | _EXECUTE,
        folder: read | _WRITE | _MAKE_FILE | _TRUNCATE,
    }
    for path, rights in granted.items():
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # the path does not exist on this machine
            continue
        rights &= handled if os.path.isdir(path) else handled & _ON_FILES  # noqa: PTH112
        call(_ADD, rules, 1, struct.pack("=Qi", rights, descriptor), 0)
        os.close(descriptor)
    call(_RESTRICT, rules, 0)
    os.close(rules)


def _isolate(folder: str, program: str, sandbox: str) -> None:
    """Apply every part of the isolation. With `required`, raises OSError for a part that the kernel lacks."""
    if sys.platform != "linux" and sandbox != "required":
        return
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for part in (_drop_capabilities, lambda: _restrict_files(folder, program), _filter_system_calls):
        try:
            part()
        except OSError as error:
            _skip_if_unsupported(error, sandbox)


def _skip_if_unsupported(error: OSError, sandbox: str) -> None:
    """Ignore the error if the kernel, or the container's own filter, does not support the part; else raise it."""
    unsupported = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES)
    if sandbox == "required" or error.errno not in unsupported:
        raise error


def _launch(
    parent: str, channel: str, cpu: str, memory: str, size: str, sandbox: str, folder: str, program: str, *rest: str
) -> None:
    """Confine this process and execute the program. Arguments as in `isolation.confined_command`.

    The worker reads on the file descriptor `channel`, which the program does not inherit, whether the launch succeeded:
    nothing when this process cannot be confined, a dot when it is, and an errno behind that when the program cannot be
    executed. There is none if `channel` is negative.
    """
    descriptor = int(channel)
    if descriptor >= 0:
        os.set_inheritable(descriptor, False)
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the worker ended before its program started")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and the program would inherit that
        signal.signal(number, signal.SIG_DFL)
    if sandbox != "off":
        _isolate(folder, program, sandbox)
    _limit_resources(int(cpu), int(memory), int(size))
    _report(descriptor, ".")
    try:
        os.execv(program, (program, *rest))  # noqa: S606
    except OSError as error:
        _report(descriptor, str(error.errno))
        raise


def _report(channel: int, text: str) -> None:
    if channel >= 0:
        os.write(channel, text.encode())


def _detect(folder: str, outside: str) -> None:
    """Isolate this process, then print which of `network` and `files` it cannot reach."""
    import socket

    _isolate(folder, sys.executable, "auto")
    for name in ("network", "files"):
        try:
            socket.socket() if name == "network" else os.open(outside, os.O_WRONLY)
        except PermissionError:
            print(name)


if __name__ == "__main__":
    _detect(*sys.argv[1:]) if len(sys.argv) == 3 else _launch(*sys.argv[1:])
