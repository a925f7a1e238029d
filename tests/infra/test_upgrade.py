"""An upgrade from the last release changes the stack in place: what holds data or has an address is never replaced."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.infra.test_kept import KEPT
from tests.infra.test_stack import MODES, template
from tests.released import last_release

CDK = ROOT / "node_modules" / ".bin" / "cdk"
STACK = "ElasticRecode"
OLD_TEMPLATE = """
import json, sys
from tests.infra.test_stack import template
print(json.dumps([template(**changes) for changes in json.loads(sys.argv[1])]))
"""
UPGRADES: dict[str, dict[str, Any]] = {"default": MODES[0], "everything": MODES[1], "embedded": {"frontDoor": "none"}}
_CHANGE = re.compile(
    r"^\[([-+~])\] (\w+::\S+) (?:.* )??(\w+?)(?: (destroy|orphan|replace|may be replaced))?$", re.MULTILINE
)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The templates of the last release, made by its own code."""
    folder = tmp_path_factory.mktemp("released")
    last_release(folder)
    environment = {"PYTHONPATH": f"{folder / 'layers/core/python'}:{folder}", "PATH": str(Path(sys.executable).parent)}
    command = [sys.executable, "-c", OLD_TEMPLATE, json.dumps(list(UPGRADES.values()))]
    node = shutil.which("node")
    assert node
    environment["PATH"] += f":{Path(node).parent}:/usr/bin:/bin"
    environment["JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION"] = "1"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(UPGRADES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("mode", UPGRADES)
def test_what_has_data_or_an_address_keeps_its_id_and_kind(before: dict[str, Any], mode: str) -> None:
    after = template(**UPGRADES[mode])["Resources"]
    kept = {key: each["Type"] for key, each in before[mode]["Resources"].items() if each["Type"] in KEPT}
    assert {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Cognito::UserPool"} <= set(
        kept.values()
    )
    assert {key: after[key]["Type"] if key in after else None for key in kept} == kept


@pytest.mark.parametrize("mode", UPGRADES)
def test_no_change_of_a_property_replaces_it(before: dict[str, Any], mode: str, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(before[mode]))
    changes = diff(tmp_path / "old.json", template(**UPGRADES[mode]), tmp_path / "assembly")
    assert changes
    assert [change for change in changes if change[1] in KEPT and (change[0] == "-" or change[3])] == []


def test_the_diff_names_a_replacement(before: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(before["default"]))
    after = json.loads(json.dumps(before["default"]))
    tables = [key for key, each in after["Resources"].items() if each["Type"] == "AWS::DynamoDB::Table"]
    after["Resources"][tables[0]]["Properties"]["TableName"] = "another"
    del after["Resources"][tables[1]]
    changes = diff(tmp_path / "old.json", after, tmp_path / "assembly")
    assert [change for change in changes if change[1] in KEPT] == [
        ("-", "AWS::DynamoDB::Table", tables[1], "orphan"),
        ("~", "AWS::DynamoDB::Table", tables[0], "replace"),
    ]


@pytest.mark.parametrize("mode", UPGRADES)
def test_no_table_gets_or_loses_two_indexes_at_once_which_dynamodb_refuses(before: dict[str, Any], mode: str) -> None:
    after = template(**UPGRADES[mode])["Resources"]
    for key, table in before[mode]["Resources"].items():
        if table["Type"] == "AWS::DynamoDB::Table":
            assert len(indexes(table) ^ indexes(after[key])) <= 1, key


def indexes(table: dict[str, Any]) -> set[str]:
    """The names of a table's global indexes."""
    return {index["IndexName"] for index in table["Properties"].get("GlobalSecondaryIndexes", ())}


def diff(old: Path, new: dict[str, Any], assembly: Path) -> list[tuple[str, str, str, str]]:
    """What the CDK CLI says of each resource that differs: sign, kind, logical id, and what becomes of it."""
    assembly.mkdir()
    (assembly / "new.json").write_text(json.dumps(new))
    artefact = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "properties": {"templateFile": "new.json"},
    }
    (assembly / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": {STACK: artefact}}))
    command = [str(CDK), "diff", "--app", str(assembly), "--template", str(old), "--no-color", "--no-notices"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = [match.groups(default="") for match in _CHANGE.finditer(done.stdout + done.stderr)]
    return sorted((sign, kind, key, fate) for sign, kind, key, fate in found)
