"""Who may import whom (docs/architecture.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

CORE = ROOT / "layers" / "core" / "python" / "elasticrecode"
PURE = {
    "addresses", "answers", "batches", "callers", "deployments", "drops", "errors", "events", "examples", "fleet",
    "headers", "hooks", "ids", "jobs", "lifecycle", "prefixes", "presets", "profiles", "records", "routing", "streams",
    "strips", "validation", "watching", "wire",
}  # fmt: skip
AWS = {
    "aws", "bus", "claims", "clusters", "connections", "feed", "idempotency", "ledger", "objects", "posting", "queues",
    "rates", "registry", "table", "tickets", "webhooks",
}  # fmt: skip
SHARED = {"delivery", "openapi", "settings", "http", "observe", "intake", "tokens"}
SDK = {"boto3", "botocore"}


def imports(path: Path) -> Iterator[str]:
    """The modules a file imports, those of the core by their own name: `elasticrecode.jobs`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "elasticrecode":
            yield from (f"elasticrecode.{alias.name}" for alias in node.names if (CORE / f"{alias.name}.py").exists())
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def core(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("elasticrecode.")}


def outside(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def test_every_module_of_the_core_has_its_place() -> None:
    assert {path.stem for path in CORE.glob("*.py")} - {"__init__"} == PURE | AWS | SHARED


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_import_only_each_other(name: str) -> None:
    path = CORE / f"{name}.py"
    assert core(path) <= PURE
    assert not outside(path) & (SDK | {"os", "time", "aws_lambda_powertools"})


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_only_aws_modules_touch_the_sdk(path: Path) -> None:
    assert path.stem in AWS or not outside(path) & SDK


@pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*/*.py")), ids=lambda path: path.parent.name)
def test_handlers_import_the_core_and_not_each_other(path: Path) -> None:
    assert not outside(path) & (SDK | {"functions", "infra", "worker", "local"})


@pytest.mark.parametrize("path", sorted((ROOT / "infra").glob("*.py")), ids=lambda path: path.stem)
def test_the_stack_knows_settings_and_pure_modules(path: Path) -> None:
    assert core(path) <= PURE | {"settings"}


@pytest.mark.parametrize("path", sorted((ROOT / "worker").glob("*.py")), ids=lambda path: path.stem)
def test_the_worker_knows_pure_modules_and_claims(path: Path) -> None:
    assert core(path) <= PURE | {"claims"}


def test_the_readme_tells_of_every_command() -> None:
    commands = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}
    for readme in ("README.md", "README.zh.md"):
        told = set(re.findall(r"^\| `make ([a-z-]+)", (ROOT / readme).read_text(), re.MULTILINE))
        assert told == commands, readme
