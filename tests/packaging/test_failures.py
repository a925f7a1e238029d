"""What packaging does when Packager fails, and what others on the host can see of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.ladders import AES, CBCS, KEY, SETTINGS, VERSION, build, languages, rungs
from worker.errors import HostError, PermanentError
from worker.packaging import packager
from worker.packaging.packager import run_packager
from worker.packaging.tracks import Track
from worker.sandbox.runner import Runner


class Watched(Runner):
    """A Runner that records the command lines that other processes on the host can see."""

    def __init__(self) -> None:
        super().__init__(sandbox="required")
        self.commands: list[Sequence[str]] = []
        self.modes: list[int] = []

    def run(self, arguments: Sequence[str], folder: Path, log: Path, **options: Any) -> int:
        self.commands.append(arguments)
        self.modes += [path.stat().st_mode & 0o777 for path in folder.glob("*flags")]
        return super().run(arguments, folder, log, **options)


def package(folder: Path, tracks: list[Track], runner: Runner, program: str = SETTINGS.packager) -> None:
    options: dict[str, Any] = {"segment": 6, "gop": 2, "encryption": CBCS, "version": VERSION}
    run_packager(program, tracks, folder=folder, runner=runner, **options)


def test_a_file_that_is_no_video_fails_with_packagers_own_words(tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"\0\0\0\x10ftypjunk" + bytes(4096))
    track = Track(tmp_path / "junk.mp4", "junk", "video")
    with pytest.raises(PermanentError) as caught:
        package(tmp_path, [track], Watched())
    assert caught.value.failure.code == "packaging-failed"
    assert any("junk.mp4" in line for line in caught.value.failure.log)
    assert {path.name for path in tmp_path.iterdir()} <= {"junk.mp4", "package-junk.mp4"}


def test_the_key_is_on_no_command_line_and_in_a_file_of_the_workers_own(tmp_path: Path) -> None:
    (track, *_) = rungs()
    copied = tmp_path / "video.mp4"
    copied.write_bytes(track.file.read_bytes())
    runner = Watched()
    package(tmp_path, [track._replace(file=copied)], runner)
    assert runner.commands
    assert KEY.hex() not in str(runner.commands).lower()
    assert runner.modes == [0o600]


def test_the_key_is_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flags(*_: Any) -> list[str]:
        return [f"--keys={KEY.hex()}", "--enable_raw_key_encryption", f"--{KEY.hex()}=1"]

    monkeypatch.setattr(packager, "_flags", flags)
    (tmp_path / "video.mp4").write_bytes(rungs()[0].file.read_bytes())
    with pytest.raises(PermanentError) as caught:
        package(tmp_path, [Track(tmp_path / "video.mp4", "video", "video")], Watched())
    assert "…" in str(caught.value.failure.log)
    assert KEY.hex() not in str(caught.value.failure.log)


def test_a_host_without_packager_is_at_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        package(tmp_path, [Track(tmp_path / "v.mp4", "v", "video")], Watched(), str(tmp_path / "absent"))
    assert caught.value.failure.code == "program-missing"


def test_tracks_that_no_package_can_hold_are_refused(tmp_path: Path) -> None:
    video = rungs()[0]
    refused: list[tuple[list[Track], dict[str, Any]]] = [
        ([video, video], {}),
        (languages(), {}),
        ([video._replace(name="../x")], {}),
        ([video], {"encryption": AES}),
    ]
    for number, (tracks, options) in enumerate(refused):
        with pytest.raises(ValueError, match=r"track|video|one name|AES-128"):
            build(tracks, tmp_path / str(number), **options)
