"""`download` as a shell runs it: all files in a folder, kept where they are whole, and what to do without any."""

import json
from pathlib import Path

import pytest

from tests.client.command.test_run import FAILED, Run, environment, record, run
from tests.client.server import Server
from tests.client.test_download import finished

__all__ = ["environment", "run"]


def test_the_outputs_of_jobs_come_into_a_folder(run: Run, server: Server, tmp_path: Path) -> None:
    finished(server, "a", film=b"film", **{"hls/1.m4s": b"segment"})
    finished(server, "b", film=b"another film")
    ended = run("download", "a", "b", "-o", "out")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == [
        "downloaded out/film.mp4, 4 B",
        "downloaded out/hls/1.m4s, 7 B",
        "downloaded out/b/film.mp4, 12 B",
    ]
    again = run("download", "a", "-o", "out", "--json")
    assert json.loads(again.stdout) == [{"jobID": "a", "files": ["out/film.mp4", "out/hls/1.m4s"]}]
    assert again.stderr.splitlines() == ["kept out/film.mp4, which is whole", "kept out/hls/1.m4s, which is whole"]


@pytest.mark.parametrize(
    ("state", "status", "told"),
    [
        ("queued", 2, "`elasticrecode watch a` waits for its end; then repeat this."),
        ("failed", 1, "`elasticrecode logs a` shows why, `elasticrecode retry a` runs it again."),
        ("cancelled", 1, "`elasticrecode retry a` runs it again."),
    ],
)
def test_a_job_without_files_says_what_to_type(
    run: Run, server: Server, tmp_path: Path, state: str, status: int, told: str
) -> None:
    finished(server, "b", film=b"film")
    server.always["GET /api/v1/jobs/a/status"] = FAILED if state == "failed" else record("a", state)
    ended = run("download", "b", "a")
    assert ended.returncode == status
    assert ended.stderr.splitlines()[-1] == told
    assert "job a " in ended.stderr
    assert not (tmp_path / "film.mp4").exists()


def test_a_file_of_someone_else_is_named_and_stays(run: Run, server: Server, tmp_path: Path) -> None:
    finished(server, "a", film=b"film")
    for place in (tmp_path / "film.mp4", tmp_path / "a" / "film.mp4"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"mine")
    ended = run("download", "a")
    assert ended.returncode == 2
    assert ended.stderr == "a/film.mp4: is another file; move it away, or name another folder\n"
    assert (tmp_path / "a" / "film.mp4").read_bytes() == b"mine"
