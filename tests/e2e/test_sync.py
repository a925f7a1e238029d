"""`make sync` on the deployed stack, from a copy of the sources."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.place import LocalError
from local.sync import CORE, sync
from tests.conftest import ROOT
from tests.e2e.conftest import Deployed

LOGS = "functions/logs"
JOB = "/api/v1/jobs/not-a-job"


@pytest.fixture
def sources(deployed: Deployed, tmp_path: Path) -> Iterator[Path]:
    """A copy of what is deployed. Afterwards the stack runs the original again."""
    for name in ("app.py", "cdk.json"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("infra", "functions", "layers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    yield tmp_path
    sync(deployed.place, deployed.supervisor)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def revisions(deployed: Deployed) -> dict[str, tuple[str, Any]]:
    """Function → its revision and layers."""
    functions = boto3.client("lambda", endpoint_url=deployed.place.aws_url)
    return {
        found["FunctionName"]: (found["CodeSha256"], [layer["Arn"] for layer in found["Layers"]])
        for found in functions.get_paginator("list_functions").paginate().search("Functions")
    }


def test_a_changed_handler_and_core_module_answer_after_a_sync(deployed: Deployed, sources: Path) -> None:
    assert sync(deployed.place, deployed.supervisor, sources) == []
    before = revisions(deployed)
    replace(sources / LOGS / "handler.py", "There is no job", "No such job:")
    assert sync(deployed.place, deployed.supervisor, sources) == [LOGS]
    assert deployed.call("GET", JOB)[1]["detail"].startswith("No such job: not-a-job")
    after = revisions(deployed)
    (updated,) = [name for name in before if before[name] != after[name]]
    assert "Logs" in updated
    assert before[updated][1] == after[updated][1]

    replace(sources / CORE / "python/elasticrecode/errors.py", '"Not found"', '"Found nowhere"')
    assert sync(deployed.place, deployed.supervisor, sources) == [CORE]
    assert deployed.call("GET", JOB)[1]["title"] == "Found nowhere"
    with_core = revisions(deployed)
    assert {name: code for name, (code, _) in with_core.items()} == {name: code for name, (code, _) in after.items()}
    assert all(with_core[name][1] != after[name][1] for name in after)

    assert sync(deployed.place, deployed.supervisor) == [LOGS, CORE]
    answer = deployed.call("GET", JOB)[1]
    assert (answer["title"], answer["detail"][:15]) == ("Not found", "There is no job")


def test_a_changed_stack_is_named_and_nothing_is_synced(deployed: Deployed, sources: Path) -> None:
    replace(sources / LOGS / "handler.py", "There is no job", "No such job:")
    with (sources / "infra" / "storage.py").open("a") as file:
        file.write("# a change\n")
    (sources / "functions" / "more").mkdir()
    (sources / "functions" / "more" / "handler.py").touch()
    with pytest.raises(LocalError, match=r"\(functions/more/handler.py, infra/storage.py\); run `make up`"):
        sync(deployed.place, deployed.supervisor, sources)
    assert deployed.call("GET", JOB)[1]["detail"].startswith("There is no job")


def test_a_module_that_does_not_compile_is_named(deployed: Deployed, sources: Path) -> None:
    (sources / CORE / "python/elasticrecode/errors.py").write_text("class\n")
    with pytest.raises(LocalError, match=r"elasticrecode/errors.py does not compile"):
        sync(deployed.place, deployed.supervisor, sources)
    assert deployed.call("GET", JOB)[0] == 404
