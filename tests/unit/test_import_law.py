"""Who may import whom (docs/architecture.md), computed from the imports themselves."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

CORE = ROOT / "layers" / "core" / "python" / "elasticrecode"
LEVELS = (
    {"api"},
    {"batches", "drops", "files", "lists", "overview", "parts", "plans", "watch", "webhooks", "workers"},
    {"jobs"},
    {"media", "access"},
    {"aws"},
    {"contract"},
)
"""Packages from top to bottom. Each may import what stands below it, and no neighbour."""
PACKAGES = {package for level in LEVELS for package in level}
SDK = {"boto3", "botocore", "aws_lambda_powertools", "pycurl"}
REACHES_AWS = {"elasticrecode.aws", *SDK}


def module_of(path: Path) -> str:
    """The name that a file is imported by."""
    base = CORE.parent if path.is_relative_to(CORE) else ROOT
    name = ".".join(path.relative_to(base).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere in it, by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES or inner in WORKER_MODULES else node.module


def sources(*folders: str) -> list[Path]:
    """The Python files below folders of the checkout."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


CORE_FILES = sorted(CORE.rglob("*.py"))
MODULES = {module_of(path) for path in CORE_FILES}
WORKER_FILES = sources("worker")
WORKER_MODULES = {module_of(path) for path in WORKER_FILES}
IMPORTS = {module_of(path): set(imports(path)) for path in CORE_FILES}


def package_of(module: str) -> str:
    """The package that a module of the core belongs to; empty at its top level."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PACKAGES else ""


def reached(*modules: str) -> set[str]:
    """All modules that get imported with some modules of the core, these included."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += IMPORTS.get(module, ())
    return found


def touches_aws(modules: set[str]) -> set[str]:
    """What of AWS is among the modules."""
    return {module for module in modules if module.split(".")[0] in SDK or package_of(module) == "aws"}


def test_each_folder_of_the_core_is_a_package_of_the_law() -> None:
    assert {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"} == PACKAGES


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_its_own_package_and_what_stands_below(module: str) -> None:
    package = package_of(module)
    level = next((n for n, packages in enumerate(LEVELS) if package in packages), len(LEVELS))
    below = {other for packages in LEVELS[level + 1 :] for other in packages}
    imported = {package_of(name) for name in IMPORTS[module] if name in MODULES}
    assert imported - {""} <= below | {package} - {""}


@pytest.mark.parametrize("package", ["contract", "media"])
def test_what_is_asked_for_and_agreed_on_reaches_no_aws(package: str) -> None:
    assert not touches_aws(reached(*(module for module in MODULES if package_of(module) == package)))


def test_no_package_holds_more_than_a_quarter_of_the_core() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in CORE_FILES}
    total = sum(lines.values())
    for package in PACKAGES:
        held = sum(count for path, count in lines.items() if package_of(module_of(path)) == package)
        assert held <= total / 4, f"{package} holds {held} of {total} lines"


@pytest.mark.parametrize("path", sources("functions"), ids=lambda path: path.parent.name)
def test_functions_use_the_core_and_not_each_other(path: Path) -> None:
    outside = {name.split(".")[0] for name in imports(path)}
    assert not outside & {"boto3", "botocore", "functions", "infra", "worker", "local"}


def test_the_stack_reaches_no_aws() -> None:
    used = {name for path in sources("infra") for name in imports(path) if name in MODULES}
    assert not touches_aws(reached(*used))


def test_the_worker_reaches_jobs_and_their_claims_commits_versions_and_memory_alone() -> None:
    used = {name for path in sources("worker") for name in imports(path) if name in MODULES}
    packages = {package_of(name) for name in reached(*used)} - {""}
    assert packages <= {"parts", "jobs", "media", "access", "aws", "contract"}
    writers = {"elasticrecode.jobs.claims", "elasticrecode.jobs.commits", "elasticrecode.jobs.versions"}
    writers |= {"elasticrecode.jobs.memory", "elasticrecode.parts.store"}
    pure = reached(*(used - writers))
    assert not touches_aws(pure)


def worker_room(module: str) -> str:
    """The package of a module of the worker, or the module itself where it stands at the worker's top level."""
    return module.split(".")[1] if "." in module else module


def worker_rooms() -> dict[str, set[str]]:
    """Each package and top-level module of the worker, with those of the worker that it imports."""
    rooms: dict[str, set[str]] = {}
    for path in WORKER_FILES:
        room = worker_room(module_of(path))
        imported = {worker_room(name) for name in imports(path) if name.split(".")[0] == "worker"}
        rooms.setdefault(room, set()).update(imported - {room})
    return rooms


def test_packages_of_the_worker_form_no_cycle() -> None:
    TopologicalSorter(worker_rooms()).prepare()


@pytest.mark.parametrize(
    ("room", "below"),
    [
        ("sandbox", {"errors", "host_faults"}),
        ("media", {"errors", "host_faults", "sandbox"}),
        ("quality", {"errors", "media", "sandbox"}),
        ("packaging", {"cuts", "errors", "host_faults", "sandbox"}),
    ],
)
def test_packages_of_the_worker_know_nothing_of_the_loop(room: str, below: set[str]) -> None:
    assert worker_rooms()[room] - {"settings"} <= below


def test_the_embedded_mode_reaches_no_function_of_the_core() -> None:
    used = {name for path in sources("local") for name in imports(path) if name in MODULES}
    assert not touches_aws(reached(*used))


def test_nothing_of_the_product_imports_tests_or_benchmarks() -> None:
    for path in [*CORE_FILES, *sources("functions", "infra", "worker", "local")]:
        assert not {name.split(".")[0] for name in imports(path)} & {"tests", "benchmarks"}, path
