"""The log of the first generation becomes events of the jobs table."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from elasticrecode.contract import routes
from migration.import_log import main
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call

ROWS: list[dict[str, Any]] = contract("job_events.response")
USER, JOB = ROWS[0]["userID"], ROWS[0]["jobID"]
OLD = ("ts", "userID", "jobID", "action", "job", "nodeName", "podName")


def typed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: TypeSerializer().serialize(value) for name, value in row.items()}


FORMS = {
    "events.json": json.dumps(ROWS, indent=1),
    "lines.json": "\n".join(map(json.dumps, ROWS)),
    "scan.json": json.dumps({"Items": [typed(row) for row in ROWS], "Count": 2}),
    "scan-lines.json": json.dumps({"Items": [typed(row) for row in ROWS]}, indent=1),
    "export.json.gz": "\n".join(json.dumps({"Item": typed(row)}) for row in ROWS),
    "texts.json": json.dumps([row | {"job": json.dumps(row["job"])} for row in ROWS]),
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def events(stack: Stack) -> list[dict[str, Any]]:
    answer = call(stack.logs, routes.JOB_EVENTS, parameters={"jobID": JOB})
    return list(answer.body) if answer.status == 200 else []


@pytest.mark.parametrize("name", FORMS)
def test_the_events_of_a_job_are_answered_as_the_first_generation_did(stack: Stack, tmp_path: Path, name: str) -> None:
    assert main([str(write(tmp_path, name, FORMS[name])), "--table", "jobs"]) == 0
    assert [{key: event[key] for key in OLD} for event in events(stack)] == ROWS
    listed = call(stack.logs, routes.USER_EVENTS, parameters={"userID": USER}).body
    assert [event["action"] for event in listed] == ["JobStart", "JobFinished"]


def test_an_import_that_is_repeated_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    path = write(tmp_path, "events.json", FORMS["events.json"])
    main([str(path), "--table", "jobs"])
    before = events(stack)
    (tmp_path / "events.json.imported").unlink()
    main([str(path), "--table", "jobs"])
    assert events(stack) == before


def test_an_import_goes_on_where_it_was_interrupted(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "events.json", FORMS["events.json"])
    (tmp_path / "events.json.imported").write_text("1")
    main([str(path), "--table", "jobs"])
    assert [event["action"] for event in events(stack)] == ["JobFinished"]
    assert capsys.readouterr().out == "2 rows: 1 done before, 1 imported, 0 left out\n"


def test_a_dry_run_writes_nothing_and_names_each_row_that_is_no_event(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "bad.json", json.dumps([*ROWS, {"ts": "soon"}, {"action": "JobStart", "ts": 1}]))
    assert main([str(path), "--table", "jobs", "--dry-run"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "4 rows: 0 done before, 2 can be imported, 2 left out\n"
    assert [line.partition(":")[0] for line in printed.err.splitlines()] == ["row 3", "row 4"]
    assert events(stack) == []
    assert not (tmp_path / "bad.json.imported").exists()


def test_watchers_do_not_see_imported_events(stack: Stack, tmp_path: Path) -> None:
    main([str(write(tmp_path, "events.json", FORMS["events.json"])), "--table", "jobs"])
    stack.flow()
    assert stack.dynamodb.scan(TableName="feed")["Items"] == []
