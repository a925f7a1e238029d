"""The lines that `make run` prints while a job runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.demo import _follow
from local.place import LocalError, Place
from local.processes import Supervisor

JOB = "job-1"


class Socket:
    """A WebSocket that has received these events."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events = iter(events)

    def recv(self, timeout: float) -> str:
        return json.dumps({"ts": 0, "jobID": JOB} | next(self._events))


def tick(percent: float, **more: Any) -> dict[str, Any]:
    return {"action": "JobProgress", "progress": {"percent": percent, **more}}


def follow(folder: Path, *events: dict[str, Any]) -> dict[str, Any]:
    supervisor = Supervisor(Place.read({"LOCAL_DIR": str(folder)}))
    return _follow(Socket(*events), JOB, supervisor, {})  # type: ignore[arg-type]


FINISHED = {"action": "JobFinished", "result": {"outputs": []}}


def test_printed_progress_never_goes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = (tick(36), tick(74, etaSeconds=3), tick(81), tick(45) | {"jobID": "other"}, tick(45), tick(90), FINISHED)
    assert follow(tmp_path, {"action": "JobStart", "podName": "worker-0"}, *events) == {"outputs": []}
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "JobStart    worker-0",
        "JobProgress  36.0 %",
        "JobProgress  74.0 %, 3 s to go",
        "JobProgress  81.0 %",
        "JobProgress  90.0 %",
        "JobFinished ",
    ]


def test_a_new_attempt_starts_again_from_the_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = {"action": "JobStart"}
    follow(tmp_path, start, tick(60), start, tick(5), FINISHED)
    assert "5.0 %" in capsys.readouterr().out.splitlines()[-2]


def test_a_new_attempt_starts_again_though_its_clock_is_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = {"attempt": 1, "ts": 60}, {"attempt": 2, "ts": 5}
    follow(tmp_path, tick(60) | before, {"action": "JobStart"} | after, tick(5) | after, FINISHED | after)
    assert "5.0 %" in capsys.readouterr().out.splitlines()[-2]


def test_a_late_start_does_not_begin_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = {"action": "JobStart", "ts": 1}
    follow(tmp_path, tick(51) | {"ts": 5}, late, tick(0) | {"ts": 2}, tick(60) | {"ts": 6}, FINISHED | {"ts": 7})
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines()] == [
        ["JobProgress", "51.0"],
        ["JobStart"],
        ["JobProgress", "60.0"],
        ["JobFinished"],
    ]


def test_a_failed_job_is_an_error_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="The job failed: input-corrupt: cut short"):
        follow(tmp_path, {"action": "JobFailed", "error": {"code": "input-corrupt", "message": "cut short"}})
