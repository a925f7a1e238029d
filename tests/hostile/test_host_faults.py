"""Faults of the host, made with real disks, programs and signals: they are never the job's."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from elasticrecode.media.profiles import Ffmpeg, Profile
from tests.conftest import ROOT
from tests.hostile.corpus import H264, SMALL, Maker
from tests.hostile.test_limits import MIB, SETTINGS
from worker.errors import HostError, PermanentError
from worker.health import Health
from worker.media.encode import transcode
from worker.media.probe import probe_video
from worker.sandbox.limits import JobLimits
from worker.sandbox.runner import Runner
from worker.settings import Settings

PROFILE = Ffmpeg(codec="libx264", scale="640:360", bitrate="15M", buffersize="15M", platform="cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Maker(tmp_path_factory.mktemp("clips"))("film.mp4", *SMALL, *H264)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path, left: int = 0) -> None:
    """A neighbour takes the disk, but for some bytes."""
    with (disk / "neighbour").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)


def encode(folder: Path, settings: Settings = SETTINGS, limits: JobLimits = JobLimits()) -> object:  # noqa: B008
    return transcode(
        folder / "input", folder / "output", "s3://b/o.mp4", "mp4", Profile(ffmpeg=PROFILE), PROFILE, settings,
        Runner(limits), lambda _: None, then_score=False,
    )  # fmt: skip


def run(program: str, folder: Path, *arguments: str) -> int:
    return Runner().run([program, *arguments], folder, folder / "log", seconds=30)


def host_fault(do: Callable[[], object]) -> tuple[str, str]:
    """Code and sentence of the host fault that a call ends with."""
    with pytest.raises(HostError) as caught:
        do()
    assert caught.value.fault == "host"
    return caught.value.failure.code, caught.value.failure.message


def job_folder(disk: Path) -> Path:
    folder = disk / "job"
    folder.mkdir()
    return folder


def test_an_encoder_on_a_disk_that_a_neighbour_has_filled_is_no_fault_of_the_job(disk: Path, film: bytes) -> None:
    folder = job_folder(disk)
    (folder / "input").write_bytes(film)
    fill(disk, left=64 * 1024)
    assert host_fault(lambda: encode(folder))[0] == "disk-full"


def test_a_probe_whose_report_found_no_room_is_not_called_a_damaged_input(disk: Path, film: bytes) -> None:
    folder = job_folder(disk)
    (folder / "input").write_bytes(film)
    fill(disk)
    probe = lambda: probe_video(SETTINGS.ffprobe, Runner(), folder / "input")  # noqa: E731
    assert host_fault(probe)[0] == "disk-full"


def test_an_input_that_finds_no_room_beside_a_neighbour_goes_to_another_host(disk: Path) -> None:
    folder = job_folder(disk)
    fill(disk, left=MIB)
    assert host_fault(lambda: JobLimits().check_size("input", 4 * MIB, folder))[0] == "disk-full"
    with pytest.raises(PermanentError):
        JobLimits().check_size("input", 9 * MIB, folder)
    with pytest.raises(PermanentError):
        JobLimits(disk_bytes=2 * MIB).check_size("input", 4 * MIB, folder)


def test_a_read_only_disk_is_the_hosts(disk: Path, film: bytes) -> None:
    folder = job_folder(disk)
    (folder / "input").write_bytes(film)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    code, message = host_fault(lambda: encode(folder))
    assert (code, message) == ("host-failed", "The worker's host cannot run jobs: its disk is read-only.")


def executable(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def without_library(folder: Path) -> str:
    """A program of this system that needs a library which is not there."""
    program = shutil.which("cat")
    assert program
    return executable(folder / "cat", Path(program).read_bytes().replace(b"libc.so.6", b"libZ.so.6"))


BROKEN: dict[str, Callable[[Path], str]] = {
    "not there": lambda folder: str(folder / "nowhere"),
    "not on the PATH": lambda _: "nowhere-to-be-found",
    "not executable": lambda folder: executable(folder / "x", b"#!/bin/sh\n", 0o644),
    "a folder": str,
    "a text file": lambda folder: executable(folder / "x", b"hello\n"),
    "of another machine": lambda folder: executable(folder / "x", b"\x7fELF\x02\x01\x01" + bytes(200)),
    "a script without its interpreter": lambda folder: executable(folder / "x", b"#!/nowhere/sh\n"),
    "without its library": without_library,
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_program_that_cannot_be_executed_is_the_hosts(
    tmp_path: Path, film: bytes, make: Callable[[Path], str]
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "input").write_bytes(film)
    program = make(tmp_path)
    for settings in (SETTINGS._replace(ffmpeg=program), SETTINGS._replace(ffprobe=program)):
        code, message = host_fault(lambda settings=settings: encode(folder, settings))  # type: ignore[misc]
        assert code == "program-missing"
        assert str(tmp_path) not in message
        fault = Health(settings, lambda: None).fault()
        assert fault
        assert fault.failure.code == "program-missing"


def test_a_program_that_the_kernel_kills_is_no_fault_of_the_job(tmp_path: Path, film: bytes) -> None:
    program = executable(tmp_path / "x", b"#!/bin/sh\nkill -9 $$\n")
    assert host_fault(lambda: run(program, tmp_path))[0] == "memory-short"


def test_an_encoder_that_gets_no_thread_is_no_fault_of_the_job(tmp_path: Path) -> None:
    """A node's limit of processes, which root would pass: ffmpeg runs as a user with one."""
    if os.getuid():
        pytest.skip("only root may become another user")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    ffmpeg = shutil.copy(SETTINGS.ffmpeg, tmp_path / "ffmpeg")
    program = executable(
        tmp_path / "limited",
        f'#!/bin/sh\nexec prlimit --nproc=6 setpriv --reuid=54321 --clear-groups {ffmpeg} "$@"\n'.encode(),
    )
    source = ("-f", "lavfi", "-i", "testsrc2=size=64x64:duration=1", "-f", "null", "-")
    runner = Runner(sandbox="off")
    code, _ = host_fault(lambda: runner.run([program, *source], tmp_path, tmp_path / "log", seconds=30))
    assert code == "memory-short"


@pytest.mark.parametrize("number", ["SEGV", "ABRT", "SYS"])
def test_a_program_that_crashes_is_the_jobs(tmp_path: Path, number: str) -> None:
    assert run(executable(tmp_path / "x", f"#!/bin/sh\nkill -{number} $$\n".encode()), tmp_path) < 0


@pytest.mark.parametrize(
    "words",
    [
        "error while loading shared libraries: libx.so.1: cannot open shared object file",
        "x: No space left on device",
        "./x: error while loading shared libraries",
    ],
)
def test_the_words_of_a_program_that_succeeds_are_no_fault(tmp_path: Path, words: str) -> None:
    assert run(executable(tmp_path / "x", f"#!/bin/sh\necho '{words}' >&2\n".encode()), tmp_path) == 0


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """This process may open so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened[-1] + 1, before[1]))
    for _ in range(left):
        os.close(opened.pop())
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in opened:
            os.close(descriptor)


@pytest.mark.parametrize("left", [1, 2, 3, 4])
def test_a_host_without_file_descriptors_is_no_fault_of_the_job(tmp_path: Path, left: int) -> None:
    with descriptors(left):
        code, message = host_fault(lambda: run("true", tmp_path))
    assert (code, "no file descriptors" in message) == ("host-failed", True)


def test_a_host_without_memory_for_a_thread_is_no_fault_of_the_job(tmp_path: Path) -> None:
    code = f"""
        import resource
        from pathlib import Path
        from worker.host_faults import host_error
        from worker.sandbox.runner import Runner
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), resource.RLIM_INFINITY))
        try:
            Runner().run(["true"], Path({str(tmp_path)!r}), Path({str(tmp_path)!r}) / "log", seconds=9)
        except Exception as error:
            fault = error if hasattr(error, "failure") else host_error(error)
        print(fault.failure.code)
    """
    path = {"PYTHONPATH": f"{ROOT / 'layers' / 'core' / 'python'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "memory-short", done.stderr


def test_a_sandbox_that_does_not_start_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.sandbox.isolation._LAUNCHER", [sys.executable, "-c", "raise SystemExit(1)"])
    assert host_fault(lambda: run("true", tmp_path)) == (
        "host-failed",
        "The worker's host cannot run jobs: its sandbox does not start.",
    )


def health(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Health:
    """The health of a host whose TMPDIR is the folder."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return Health(SETTINGS, lambda: None)


def test_a_host_is_well_where_disk_memory_and_programs_are(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health(monkeypatch, disk).fault() is None
    assert list(disk.iterdir()) == []


def test_a_host_whose_disk_is_full_is_not_well_until_there_is_room(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = health(monkeypatch, disk)
    for left in (0, 300_000):
        fill(disk, left)
        fault = host.fault()
        assert fault
        assert fault.failure.code == "disk-full"
        (disk / "neighbour").unlink()
    assert host.fault() is None


def test_a_host_with_a_read_only_or_vanished_folder_is_not_well(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = health(monkeypatch, disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert "read-only" in str(host.fault())
    vanished = health(monkeypatch, disk / "nowhere")
    assert "temporary folder cannot be used" in str(vanished.fault())


def test_a_folder_that_appears_later_is_used_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = health(monkeypatch, tmp_path / "late")
    assert tempfile.gettempdir() != str(tmp_path / "late")
    assert host.fault()
    (tmp_path / "late").mkdir()
    assert host.fault() is None
    assert tempfile.gettempdir() == str(tmp_path / "late")


def test_a_folder_that_is_none_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "temporary folder cannot be used (NotADirectoryError)" in str(health(monkeypatch, tmp_path / "file").fault())
