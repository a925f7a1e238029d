"""The page of codes is complete, and holds no others; the bounds that the documentation gives are those of the code."""

import ast
import re
from collections.abc import Iterator

from elasticrecode.overview.advice import advice
from infra.options import Options
from tests.conftest import ROOT
from worker.loop import _HOSTS_AT_ONCE, delay_seconds

SOURCES = [
    *(ROOT / "worker").rglob("*.py"),
    *(ROOT / "layers" / "core" / "python" / "elasticrecode" / "jobs").glob("*.py"),
    *(ROOT / "layers" / "core" / "python" / "elasticrecode" / "workers").glob("*.py"),
]
ERRORS = {"PermanentError", "TransientError", "HostError", "WorkerError", "Failure", "Notice"}
CODE = re.compile(r"[a-z]+(-[a-z]+)+")
SIDES_OF_AWS = {"not-found", "access-denied", "encrypted", "refused"}
"""Codes that an output can have as well."""


def words(node: ast.expr) -> str:
    """The text of a string, in which `input` stands for the side that it is made with."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join("input" if isinstance(value, ast.FormattedValue) else words(value) for value in values)
    return ""


def raised() -> Iterator[str]:
    """The codes that the code gives to errors."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            first: ast.expr | None = None
            match node:
                case ast.Call(func=ast.Name(id=name), args=[argument, *_]) if name in ERRORS:
                    first = argument
                case ast.Call(func=ast.Name(id="require"), args=[_, argument, *_]):
                    first = argument
                case ast.Return(value=ast.Tuple(elts=[argument, *_])) | ast.Yield(value=ast.Tuple(elts=[argument, *_])):
                    first = argument
            if first and CODE.fullmatch(code := words(first)):
                yield code
                if isinstance(first, ast.JoinedStr) and code.removeprefix("input-") in SIDES_OF_AWS:
                    yield code.replace("input", "output")


def documented() -> dict[str, str]:
    """Code → its kind, from the page."""
    page = (ROOT / "docs" / "reference" / "codes.md").read_text()
    rows = re.findall(r"^\| (`[^|]+`) \| (\w+) \|", page, re.MULTILINE)
    return {code: kind for codes, kind in rows for code in re.findall(r"`([\w-]+)`", codes)}


def test_every_code_is_documented_and_no_other() -> None:
    codes = {code for code in raised() if not code.startswith("origin-")}
    assert len(codes) > 40
    assert set(documented()) == codes


def test_there_is_advice_for_every_code_of_a_failed_job() -> None:
    codes = {code for code, kind in documented().items() if kind != "warning"}
    assert {code for code in codes if advice(code) == advice("never-seen")} == set()
    assert "original" in advice("origin-not-found")
    assert advice("origin-not-found") != advice("input-not-found") != advice("never-seen")


def test_the_kinds_are_those_of_the_errors() -> None:
    kinds = {"PermanentError": "final", "TransientError": "service", "HostError": "host", "WorkerError": "strike"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in kinds:
                    code = words(first)
                    assert not CODE.fullmatch(code) or code.startswith("origin-") or documented()[code] == kinds[name]


def test_the_bounds_in_the_documentation_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "reference" / "workers.md").read_text()
    (receives,) = re.findall(r"^_MAX_RECEIVES = (\d+)", (ROOT / "infra" / "storage.py").read_text(), re.MULTILINE)
    most = int(receives) + Options().maxAttempts
    service = sum(map(delay_seconds, range(1, most + 1))) / 3600
    host = sum(map(delay_seconds, range(1, most - _HOSTS_AT_ONCE + 1))) / 3600
    assert f"{receives} and `maxAttempts`, so {most} by default" in page
    assert f"after {service:.1f} hours of waits; host faults alone end it after {host:.1f} hours" in page
    assert f"from the {_HOSTS_AT_ONCE + 1}th attempt" in page
