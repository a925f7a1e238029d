"""The isolation of programs, tested by programs that try to break out."""

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elasticrecode.media.codecs import CODECS, PURPOSES
from elasticrecode.media.profiles import Ffmpeg, Profile, Vmaf
from tests.conftest import ROOT
from tests.e2e.conftest import wait_for
from tests.hostile.corpus import H264, SMALL, SOUND, Maker
from tests.hostile.test_limits import SETTINGS
from worker.errors import PermanentError
from worker.loop import check_sandbox
from worker.media.encode import transcode
from worker.quality.score import Pair, score
from worker.sandbox import isolation, launcher
from worker.sandbox.isolation import Isolation, ProcessLimits
from worker.sandbox.runner import Runner
from worker.settings import ConfigurationError

DETECTED = isolation.detect()
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")
LIMITS = ProcessLimits(60, 600, 1 << 30, 1 << 20)
network = pytest.mark.skipif(not DETECTED.network, reason="this kernel has no seccomp for processes without privileges")
files = pytest.mark.skipif(not DETECTED.files, reason="this kernel has no Landlock")
needs_python = pytest.mark.skipif(PYTHON is None, reason="no system Python")
pytestmark = needs_python
Try = Callable[[str], str]
CHANGES = [
    "open(p, 'w')",
    "open(p + 'x', 'w')",
    "os.remove(p)",
    "os.mkdir(p + 'x')",
    "os.rename(p, 'in')",
    "os.symlink('a', p + 'x')",
    "os.link(p, 'in')",
    "os.truncate(p, 0)",
    "os.mkfifo(p + 'x')",
]


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    """Runs Python code as an isolated program; returns its output, or the last line of its error."""
    folder = tmp_path / "job"
    folder.mkdir()

    def execute(code: str) -> str:
        command = isolation.confined_command(
            [PYTHON or "", "-I", "-S", "-c", textwrap.dedent(code)],
            folder,
            LIMITS,
            "required" if all(DETECTED) else "auto",
        )
        run = subprocess.run(
            command, cwd=folder, env=isolation.program_environment(), capture_output=True, text=True, check=False
        )
        return run.stdout.strip() or (run.stderr.strip().splitlines() or [f"status {run.returncode}"])[-1]

    return execute


def test_an_isolated_program_can_write_start_threads_and_signal_itself(attempt: Try) -> None:
    assert attempt("open('new', 'w').write('x'); open('new', 'a').write('y'); print(open('new').read())") == "xy"
    assert attempt("from threading import Thread as T; t = T(target=print, args=('y',)); t.start(); t.join()") == "y"
    assert attempt("import os; os.kill(os.getpid(), 0); print('z')") == "z"


@network
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])
def test_no_socket_of_any_kind_can_be_opened(attempt: Try, family: str, kind: str) -> None:
    assert "PermissionError" in attempt(f"from socket import *; socket({family}, {kind})")


@network
def test_no_connection_is_made(attempt: Try) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        assert "PermissionError" in attempt(f"import socket; socket.create_connection(('127.0.0.1', {port}))")
        with pytest.raises(TimeoutError):
            server.accept()


@network
def test_every_refused_system_call_fails(attempt: Try) -> None:
    index = launcher._MACHINES[os.uname().machine][1]
    numbers = {name: both[index] for name, both in launcher._REFUSED.items() if both[index] is not None}
    output = attempt(f"""
        from ctypes import *
        libc = CDLL(None, use_errno=True)
        for name, number in {numbers}.items():
            if (libc.syscall(number, -1, -1, -1, -1, -1, -1), get_errno()) != (-1, 13):
                print(name)
        print("all tried")
    """)
    assert output == "all tried"


@network
def test_it_cannot_start_or_signal_processes(attempt: Try) -> None:
    assert "PermissionError" in attempt("import os; os.fork()")
    assert "PermissionError" in attempt("import subprocess; subprocess.run(['/usr/bin/true'])")
    assert "PermissionError" in attempt("import os; os.kill(os.getppid(), 9)")
    assert "PermissionError" in attempt("import os; os.kill(-1, 9)")


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of the same user, which must not change."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0)
    before = _attributes(sleeper.pid)
    yield sleeper.pid
    assert sleeper.poll() is None
    assert _attributes(sleeper.pid) == before
    sleeper.kill()
    sleeper.communicate()


def _attributes(pid: int) -> tuple[object, ...]:
    """Attributes of a process that another process could change."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    return limits, os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)


@network
@pytest.mark.parametrize(
    "do",
    [
        "resource.prlimit({pid}, resource.RLIMIT_CPU, (1, 1))",
        "resource.prlimit({pid}, resource.RLIMIT_NOFILE, (3, 3))",
        "os.sched_setaffinity({pid}, [0])",
        "os.sched_setscheduler({pid}, os.SCHED_IDLE, os.sched_param(0))",
        "os.sched_setparam({pid}, os.sched_param(0))",
        "os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
        "os.setpriority(os.PRIO_PGRP, {pid}, 19)",
        "os.setpriority(os.PRIO_PGRP, 0, 19)",
        "os.setpriority(os.PRIO_USER, 0, 19)",
        "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, {pid})",
        "fcntl.fcntl(os.pipe()[0], 15, struct.pack('ii', 1, {pid}))",
        "fcntl.fcntl(os.pipe()[0], 10, signal.SIGKILL)",
        "os.kill({pid}, 0)",
        "signal.pidfd_send_signal(os.pidfd_open({pid}), 9)",
    ],
)
def test_it_cannot_change_other_processes(attempt: Try, victim: int, do: str) -> None:
    output = attempt(f"import fcntl, os, resource, signal, struct; {do.format(pid=victim)}; print('done')")
    assert output.startswith("PermissionError"), output


@network
def test_it_can_lower_its_own_limits_and_priority(attempt: Try) -> None:
    output = attempt("""
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        os.setpriority(os.PRIO_PROCESS, 0, 10)
        print(resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0))
    """)
    assert output == "(64, 64) 10"


@network
@pytest.mark.parametrize(
    "do",
    [
        "os.chmod(p, 0)",
        "os.chown(p, 1, 1)",
        "os.lchown(p, 1, 1)",
        "os.utime(p, (1, 1))",
        "os.setxattr(p, 'user.x', b'y')",
        "os.removexattr(p, 'user.x')",
        "os.fchmod(os.open(sys.executable, os.O_RDONLY), 0o777)",
    ],
)
def test_it_cannot_change_owner_mode_or_times_of_files(attempt: Try, tmp_path: Path, do: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("there")
    before = outside.stat()
    output = attempt(f"import os, sys; p = {str(outside)!r}; {do}; print('done')")
    assert output.startswith("PermissionError"), output
    assert outside.stat() == before


@network
def test_it_cannot_allocate_memory_that_no_limit_counts(attempt: Try) -> None:
    take = "import mmap; m = mmap.mmap(-1, 2 << 30, flags={flags}); print('given')"
    for flags in ("mmap.MAP_SHARED | mmap.MAP_ANONYMOUS", "mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100"):
        assert attempt(take.format(flags=flags)).startswith("PermissionError")
    assert attempt("import os; os.memfd_create('x')").startswith("PermissionError")
    assert (
        attempt("import mmap; f = open('x', 'w+b'); f.write(b'x'); f.flush(); print(len(mmap.mmap(f.fileno(), 1)))")
        == "1"
    )


@network
def test_it_cannot_clear_its_death_signal(attempt: Try) -> None:
    output = attempt("from ctypes import *; l = CDLL(None, use_errno=True); print(l.prctl(1, 0, 0, 0, 0), get_errno())")
    assert output == "-1 13"


def test_it_has_no_capabilities_even_under_a_root_worker(attempt: Try) -> None:
    output = attempt("print({l.split()[1] for l in open('/proc/self/status') if l[:6] in ('CapPrm', 'CapEff')})")
    assert output == "{'0000000000000000'}"
    assert attempt("import resource as r; r.setrlimit(r.RLIMIT_CPU, (700, 700))").startswith("ValueError")


@files
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/1/environ", "/proc/self/root/etc/passwd", "../outside", "{outside}", "/etc", "/"]
)
def test_it_cannot_read_files_outside_its_folder(attempt: Try, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_text("secret")
    place = path.format(outside=tmp_path / "outside")
    output = attempt(f"import os; p = {place!r}; print(os.listdir(p) if os.path.isdir(p) else open(p).read())")
    assert output.startswith("PermissionError")


@files
def test_it_cannot_read_the_workers_environment_or_memory(attempt: Try) -> None:
    assert attempt("import os; open(f'/proc/{os.getppid()}/environ').read()").startswith("PermissionError")
    assert attempt("import os; open(f'/proc/{os.getppid()}/mem', 'rb').read(1)").startswith("PermissionError")


@files
@pytest.mark.parametrize("do", ["symlink('/etc/passwd', 'x')", "mkfifo('x')", "link('../outside', 'x')", "mkdir('x')"])
def test_it_cannot_create_links_pipes_or_folders(attempt: Try, tmp_path: Path, do: str) -> None:
    (tmp_path / "outside").write_text("secret")
    assert attempt(f"import os; os.{do}").startswith(("PermissionError", "OSError: [Errno 18]"))
    assert list((tmp_path / "job").iterdir()) == []


def test_a_link_that_a_program_left_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="output, which is not a regular file"):
        Runner(sandbox="off").run(["ln", "-s", "/etc/passwd", "output"], tmp_path, tmp_path / "log", seconds=10)


@files
@pytest.mark.parametrize("do", CHANGES)
def test_it_cannot_change_files_outside_its_folder(attempt: Try, tmp_path: Path, do: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("there")
    output = attempt(f"import os; p = {str(outside)!r}; {do}")
    assert output.startswith(("PermissionError", "OSError: [Errno 18]")), output
    assert outside.read_text() == "there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job", "outside"]
    assert list((tmp_path / "job").iterdir()) == []


def test_it_cannot_gain_privileges_or_raise_its_limits(attempt: Try) -> None:
    assert attempt("print([l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNewPrivs')])") == "['1']"
    hard = attempt(
        "from resource import *; print([getrlimit(r) for r in (RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_CORE)],"
        " getrlimit(RLIMIT_STACK)[1] <= 8 << 20)"
    )
    assert hard == f"{[(600, 600), (1 << 30, 1 << 30), (1 << 20, 1 << 20), (0, 0)]} True"
    assert attempt("bytearray(2 << 30)").startswith("MemoryError")


def test_it_does_not_get_the_workers_environment(attempt: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    assert "secret" not in attempt("import os; print(dict(os.environ))")


def test_it_dies_with_the_worker(tmp_path: Path) -> None:
    sleeper = "import time, os; print(os.getpid(), flush=True); time.sleep(600)"
    code = f"""
        import subprocess, pathlib
        from worker.sandbox import isolation
        limits = isolation.ProcessLimits(60, 60, 1 << 30, 1 << 20)
        program = [{PYTHON!r}, "-I", "-S", "-c", {sleeper!r}]
        subprocess.run(isolation.confined_command(program, pathlib.Path({str(tmp_path)!r}), limits))
    """
    path = {"PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}"}
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=os.environ | path
    )
    assert worker.stdout
    child = int(worker.stdout.readline())
    worker.kill()
    worker.wait()
    worker.stdout.close()

    def is_dead() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_for(is_dead, "the end of the program")  # it sleeps for longer


def test_a_missing_program_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        isolation.confined_command(["nowhere"], tmp_path, LIMITS)


@pytest.mark.parametrize(
    "detected",
    [Isolation(network=False, files=True), Isolation(network=True, files=False), Isolation(network=False, files=False)],
)
def test_missing_isolation_is_a_warning_or_with_required_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, detected: Isolation
) -> None:
    monkeypatch.setattr(isolation, "detect", lambda: detected)
    check_sandbox("auto")
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert ("the network" in line.getMessage()) is not detected.network
    assert ("files that are not the job's" in line.getMessage()) is not detected.files
    with pytest.raises(ConfigurationError, match="SANDBOX is required"):
        check_sandbox("required")


def test_a_disabled_sandbox_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check_sandbox("off")
    assert "SANDBOX is off" in caplog.text


def verdict(machine: str, number: int, *arguments: int, pid: int = 7) -> int:
    """The result of a machine's filter for a system call: a minimal interpreter of seccomp filters."""
    data = {0: number, 4: launcher._MACHINES[machine][0]}
    data |= {16 + 8 * n: value & 0xFFFFFFFF for n, value in enumerate((*arguments, *[0] * (6 - len(arguments))))}
    program, at, loaded = launcher._filter(machine, pid), 0, 0
    while True:
        code, yes, no, operand = program[at]
        if code == launcher._RETURN:
            return operand
        if code == launcher._LOAD:
            loaded, jump = data[operand], 0
        else:
            conditions = {
                launcher._JUMP_IF_EQUAL: loaded == operand,
                launcher._JUMP_IF_LEAST: loaded >= operand,
                launcher._JUMP_IF_SET: loaded & operand,
            }
            jump = yes if conditions[code] else no
        at += 1 + jump


@pytest.mark.parametrize(
    ("numbers", "allowed", "refused"),
    [
        ((62, 129), [(7, 9)], [(8, 9), (0, 9), (-1, 9)]),  # kill
        ((234, 131), [(7, 8, 9)], [(8, 8, 9)]),  # tgkill
        ((302, 261), [(0, 1)], [(8, 1)]),  # prlimit64
        ((203, 122), [(0,)], [(8,)]),  # sched_setaffinity
        ((144, 119), [(0,)], [(8,)]),  # sched_setscheduler
        ((142, 118), [(0,)], [(8,)]),  # sched_setparam
        ((314, 274), [(0,)], [(8,)]),  # sched_setattr
        ((141, 140), [(0, 0, 10)], [(0, 8, 10), (1, 0, 10), (2, 0, 10)]),  # setpriority
        ((72, 25), [(3, 1), (3, 2), (3, 4)], [(3, 8, 8), (3, 10, 9), (3, 15)]),  # fcntl
        ((157, 167), [(15,)], [(1, 0), (62,)]),  # prctl
        ((56, 220), [(0x3D0F00,)], [(17,), (0x10000000,)]),  # clone
        ((9, 222), [(0, 1, 3, 0x22), (0, 1, 3, 1), (0, 1, 3, 0x20022)], [(0, 1, 3, 0x21), (0, 1, 3, 0x122)]),  # mmap
        ((0, 63), [(3,)], []),  # read
    ],
)
@pytest.mark.parametrize("machine", sorted(launcher._MACHINES))
def test_conditional_calls_are_allowed_and_refused_alike_on_both_architectures(
    machine: str, numbers: tuple[int, int], allowed: list[tuple[int, ...]], refused: list[tuple[int, ...]]
) -> None:
    number = numbers[launcher._MACHINES[machine][1]]
    assert {verdict(machine, number, *arguments) for arguments in allowed} <= {launcher._ALLOW}
    assert {verdict(machine, number, *arguments) for arguments in refused} <= {launcher._ERROR | errno.EACCES}


@pytest.mark.parametrize("machine", sorted(launcher._MACHINES))
def test_each_listed_call_is_refused(machine: str) -> None:
    numbers = [both[launcher._MACHINES[machine][1]] for both in launcher._REFUSED.values()]
    assert {verdict(machine, number) for number in numbers if number is not None} == {launcher._ERROR | errno.EACCES}
    assert verdict(machine, 435) == launcher._ERROR | errno.ENOSYS
    assert len(set(numbers) - {None}) == len([number for number in numbers if number is not None])


SOFTWARE = [(codec.encoders["cpu"].name, purpose) for codec in CODECS.values() for purpose in PURPOSES]


@pytest.mark.parametrize(("codec", "purpose"), SOFTWARE)
def test_isolated_encoders_and_scorers_work(tmp_path: Path, codec: str, purpose: str) -> None:
    source, target = tmp_path / "input", tmp_path / "output"
    source.write_bytes(Maker(tmp_path)("made.mp4", *SMALL, *SOUND, "-shortest", *H264))
    rate: dict[str, Any] = {"bitrate": "200K", "buffersize": "200K", "platform": "cpu", "profile": purpose}
    profile = Ffmpeg(codec=codec, scale="320:180", fit="exact", **rate)
    runner = Runner(sandbox="required" if all(DETECTED) else "auto")
    encoded = transcode(
        source,
        target,
        "s3://b/o.mp4",
        "mp4",
        Profile(ffmpeg=profile),
        profile,
        SETTINGS,
        runner,
        lambda _: None,
        then_score=True,
    )
    assert (encoded.output.width, encoded.output.frames) == (320, 25)
    assert not re.search("denied|permitted", (tmp_path / "encode.log").read_text())
    pair = Pair(source, target, "s3://b/i", "s3://b/o.mp4", encoded.plan)
    scored = score(pair, Vmaf(scale="320x180", model="v0.6.1"), SETTINGS, runner, lambda _: None, tmp_path)
    assert scored.quality.vmaf.frames == 25
