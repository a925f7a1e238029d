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
_STACK_BYTES = 8 << 20
"""What is usual. Stacks don't count as data."""


def _prctl(option: int, *values: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *values, *[0] * (4 - len(values))):
        raise OSError(ctypes.get_errno(), f"prctl {option} was refused")


def _drop_capabilities() -> None:
    """Where the worker is root, the program has root's files and none of root's powers."""
    libc = ctypes.CDLL(None, use_errno=True)
    version, pid, none = 0x20080522, 0, bytes(24)
    if libc.capset(struct.pack("=II", version, pid), none):
        raise OSError(ctypes.get_errno(), "capabilities were not dropped")


def _bind(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Bounds that this process and what it becomes can't widen again.

    Memory is what is allocated and may be written (RLIMIT_DATA): address space is reserved in far larger pieces, by
    threads for instance, and says little.
    """
    wanted = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""An architecture → its name in filters, and which of two numbers is its own."""
_Numbers = tuple[int, int | None]
_REFUSED: dict[str, _Numbers] = {
    # Without sockets there is no network, and without io_uring no way around that.
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425),
    # Threads may be made, processes not: they would have CPU time of their own. Nor namespaces, to be root there.
    "fork": (57, None), "vfork": (58, None), "unshare": (272, 97), "setns": (308, 268),
    # What looks into other processes, or gets at them by another way than their number.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241), "bpf": (321, 280),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "ioprio_set": (251, 30),
    # What others can find, and what is still there when the program has ended.
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # Memory that counts as nobody's.
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # Landlock knows what is in files, not whose they are, who may read them, or of when they are.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}  # fmt: skip
_CLONE3 = 435
_SECOND_ABI = 0x40000000
"""x86-64's other set of numbers, for 32-bit pointers, would lead around the list."""
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
    """Load the lower half of an argument, which is all that the kernel takes of these."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * number


def _only(number: int, value: int) -> list[_Instruction]:
    """Go on where an argument has the value."""
    return [_argument(number), (_JUMP_IF_EQUAL, 1, 0, value), _NO]


def _all_but(number: int, *values: int) -> list[_Instruction]:
    """Go on where an argument has none of the values."""
    return [_argument(number), *(step for value in values for step in ((_JUMP_IF_EQUAL, 0, 1, value), _NO))]


def _judged(pid: int) -> dict[_Numbers, list[_Instruction]]:
    """The calls whose arguments decide, and how."""
    to_itself, of_itself = [*_only(0, pid), _YES], [*_only(0, 0), _YES]
    return {
        # kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        **dict.fromkeys(((62, 129), (234, 131), (129, 138), (297, 240)), to_itself),
        # prlimit64, sched_setaffinity, sched_setscheduler, sched_setparam, sched_setattr
        **dict.fromkeys(((302, 261), (203, 122), (144, 119), (142, 118), (314, 274)), of_itself),
        # setpriority: encoders are nice with threads of theirs
        (141, 140): [*_only(0, os.PRIO_PROCESS), *_only(1, 0), _YES],
        # fcntl: a file could have another process signalled
        (72, 25): [*_all_but(1, _SET_OWNER, _SET_OWNER_EX, _SET_SIGNAL), _YES],
        # prctl: to outlive the worker, and to share a core's secrets with others
        (157, 167): [*_all_but(0, _PR_SET_PDEATHSIG, _PR_SCHED_CORE), _YES],
        (56, 220): [_argument(0), (_JUMP_IF_SET, 1, 0, _CLONE_THREAD), _NO, _YES],
        # mmap: RLIMIT_DATA leaves out what is shared, or a stack
        (9, 222): [
            _argument(3),
            *((_JUMP_IF_SET, 0, 1, _GROWS_DOWN), _NO),
            *((_JUMP_IF_SET, 0, 2, _ANONYMOUS), (_JUMP_IF_SET, 0, 1, _SHARED), _NO),
            _YES,
        ],
    }


def _filter(machine: str, pid: int) -> list[_Instruction]:
    """Seccomp's program: instructions of code, jumps if true and if false, and operand."""
    audit, which = _MACHINES[machine]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *((_JUMP_IF_LEAST, 0, 1, _SECOND_ABI), _NO),
        # The library then takes clone, whose flags can be seen.
        *((_JUMP_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)),
    ]
    for numbers in _REFUSED.values():
        if (number := numbers[which]) is not None:
            program += [(_JUMP_IF_EQUAL, 0, 1, number), _NO]
    for numbers, steps in _judged(pid).items():
        if (number := numbers[which]) is not None:
            program += [(_JUMP_IF_EQUAL, 0, len(steps), number), *steps]
    return [*program, _YES]


def _seal_calls() -> None:
    """Seccomp, for what this process becomes. OSError where the kernel or the architecture has none."""
    machine = os.uname().machine
    if machine not in _MACHINES:
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
    for part in (_drop_capabilities, lambda: _seal_files(folder, program), _seal_calls):
        try:
            part()
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
