"""What the kernel keeps sealed programs from, tried by programs that want it."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from worker import confine, sandbox
from worker.failures import Hopeless
from worker.loop import _tell_of_sandbox
from worker.sandbox import Bounds, Held
from worker.settings import ConfigurationError
from worker.work import Work

HELD = sandbox.check()
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")
BOUNDS = Bounds(60, 600, 1 << 30, 1 << 20)
network = pytest.mark.skipif(not HELD.network, reason="this kernel has no seccomp for processes without privileges")
files = pytest.mark.skipif(not HELD.files, reason="this kernel has no Landlock")
needs_python = pytest.mark.skipif(PYTHON is None, reason="no Python of the system's own")
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
    """Runs Python as a sealed program in a folder; what it prints, or how it fails."""
    folder = tmp_path / "job"
    folder.mkdir()

    def run(code: str) -> str:
        command = sandbox.command(
            [PYTHON or "", "-I", "-S", "-c", textwrap.dedent(code)], folder, BOUNDS, "required" if all(HELD) else "auto"
        )
        said = subprocess.run(
            command, cwd=folder, env=sandbox.environment(), capture_output=True, text=True, check=False
        )
        return said.stdout.strip() or (said.stderr.strip().splitlines() or [f"status {said.returncode}"])[-1]

    return run


def test_a_sealed_program_does_its_work(attempt: Try) -> None:
    assert attempt("open('new', 'w').write('x'); open('new', 'a').write('y'); print(open('new').read())") == "xy"
    assert attempt("from threading import Thread as T; t = T(target=print, args=('y',)); t.start(); t.join()") == "y"
    assert attempt("import os; os.kill(os.getpid(), 0); print('z')") == "z"


@network
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])
def test_there_is_no_network_of_any_kind(attempt: Try, family: str, kind: str) -> None:
    assert "PermissionError" in attempt(f"from socket import *; socket({family}, {kind})")


@network
def test_nobody_is_reached(attempt: Try) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        assert "PermissionError" in attempt(f"import socket; socket.create_connection(('127.0.0.1', {port}))")
        with pytest.raises(TimeoutError):
            server.accept()


@network
@pytest.mark.parametrize(
    "number", {"x86_64": [425, 101, 310, 311, 438], "aarch64": [425, 117, 270, 271, 438]}[os.uname().machine]
)
def test_there_is_no_way_around_by_io_uring_or_other_processes(attempt: Try, number: int) -> None:
    told = attempt(
        f"from ctypes import *; l = CDLL(None, use_errno=True); print(l.syscall({number}, 1, 0, 0, 0, 0), get_errno())"
    )
    assert told == "-1 13"


@network
def test_it_makes_no_processes_and_signals_none(attempt: Try) -> None:
    assert "PermissionError" in attempt("import os; os.fork()")
    assert "PermissionError" in attempt("import subprocess; subprocess.run(['/usr/bin/true'])")
    assert "PermissionError" in attempt("import os; os.kill(os.getppid(), 9)")
    assert "PermissionError" in attempt("import os; os.kill(-1, 9)")


@files
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/1/environ", "/proc/self/root/etc/passwd", "../beside", "{beside}", "/etc", "/"]
)
def test_nothing_else_is_read(attempt: Try, tmp_path: Path, path: str) -> None:
    (tmp_path / "beside").write_text("secret")
    place = path.format(beside=tmp_path / "beside")
    told = attempt(f"import os; p = {place!r}; print(os.listdir(p) if os.path.isdir(p) else open(p).read())")
    assert told.startswith("PermissionError")


@files
def test_the_workers_secrets_are_not_read(attempt: Try) -> None:
    assert attempt("import os; open(f'/proc/{os.getppid()}/environ').read()").startswith("PermissionError")
    assert attempt("import os; open(f'/proc/{os.getppid()}/mem', 'rb').read(1)").startswith("PermissionError")


@files
@pytest.mark.parametrize("do", ["symlink('/etc/passwd', 'x')", "mkfifo('x')", "link('../beside', 'x')", "mkdir('x')"])
def test_it_leaves_the_worker_no_traps(attempt: Try, tmp_path: Path, do: str) -> None:
    (tmp_path / "beside").write_text("secret")
    assert attempt(f"import os; os.{do}").startswith(("PermissionError", "OSError: [Errno 18]"))
    assert list((tmp_path / "job").iterdir()) == []


def test_what_is_no_file_is_not_touched_where_the_kernel_lets_it_be_made(tmp_path: Path) -> None:
    with pytest.raises(Hopeless, match="no file, output"):
        Work(wanted="off").run(["ln", "-s", "/etc/passwd", "output"], tmp_path, tmp_path / "log", seconds=10)


@files
@pytest.mark.parametrize("do", CHANGES)
def test_nothing_else_is_changed(attempt: Try, tmp_path: Path, do: str) -> None:
    beside = tmp_path / "beside"
    beside.write_text("there")
    told = attempt(f"import os; p = {str(beside)!r}; {do}")
    assert told.startswith(("PermissionError", "OSError: [Errno 18]")), told
    assert beside.read_text() == "there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "job"]
    assert list((tmp_path / "job").iterdir()) == []


def test_it_can_gain_no_rights_and_its_bounds_can_not_be_widened(attempt: Try) -> None:
    assert attempt("print([l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNewPrivs')])") == "['1']"
    hard = attempt(
        "from resource import *; print([getrlimit(r) for r in (RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_CORE)])"
    )
    assert hard == str([(600, 600), (1 << 30, 1 << 30), (1 << 20, 1 << 20), (0, 0)])
    assert attempt("bytearray(2 << 30)").startswith("MemoryError")


def test_it_knows_nothing_of_the_workers_environment(attempt: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    assert "secret" not in attempt("import os; print(dict(os.environ))")


def test_it_dies_with_the_worker(tmp_path: Path) -> None:
    sleeper = "import time, os; print(os.getpid(), flush=True); time.sleep(60)"
    code = f"""
        import subprocess, pathlib
        from worker import sandbox
        bounds = sandbox.Bounds(60, 60, 1 << 30, 1 << 20)
        program = [{PYTHON!r}, "-I", "-S", "-c", {sleeper!r}]
        subprocess.run(sandbox.command(program, pathlib.Path({str(tmp_path)!r}), bounds))
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
    until = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        sandbox.command(["nowhere"], tmp_path, BOUNDS)


@pytest.mark.parametrize(
    "held", [Held(network=False, files=True), Held(network=True, files=False), Held(network=False, files=False)]
)
def test_what_a_kernel_does_not_hold_is_said_and_may_be_demanded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, held: Held
) -> None:
    monkeypatch.setattr(sandbox, "check", lambda: held)
    _tell_of_sandbox("auto")
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert ("the network" in line.getMessage()) is not held.network
    assert ("files that are not the job's" in line.getMessage()) is not held.files
    with pytest.raises(ConfigurationError, match="SANDBOX is required"):
        _tell_of_sandbox("required")


def test_a_sandbox_that_is_off_is_said(caplog: pytest.LogCaptureFixture) -> None:
    _tell_of_sandbox("off")
    assert "SANDBOX is off" in caplog.text


def test_both_lists_of_system_calls_are_of_one_length() -> None:
    (x86, arm) = (confine._CALLS[machine] for machine in ("x86_64", "aarch64"))
    assert len(x86[2]) == len(arm[2])
    assert len(x86[1]) == len(arm[1]) + 2  # fork and vfork are x86's alone
