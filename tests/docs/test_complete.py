"""The documentation is complete: every name that users, operators or workers meet is on its page."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from elasticrecode.contract import metrics
from elasticrecode.contract.routes import ROUTES
from elasticrecode.errors import Problem
from elasticrecode.jobs.events import Action
from elasticrecode_client.command.root import root
from infra.options import Options
from local import place
from tests.conftest import ROOT

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def missing(names: set[str], text: str) -> set[str]:
    """The names that no code span of the text has as a word."""
    spans = " ".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    return {name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", spans)}


def variables(*paths: Path) -> set[str]:
    """The environment variables that modules read by name."""
    read = re.compile(r"environ(?:\.get\(|\[|\.pop\()\s*\"([A-Z][A-Z0-9_]+)\"")
    return {name for path in paths for name in read.findall(path.read_text())}


def test_every_endpoint_is_documented() -> None:
    listed = set()
    for line in re.findall(r"^\| (?:GET|POST|PUT|DELETE) .+$", page("reference/api"), re.MULTILINE):
        method, cell = re.match(r"\| (\w+) ([^|]+)\|", line).groups()  # type: ignore[union-attr]
        paths = re.findall(r"`(/[^`]*)`", cell)
        listed |= {f"{method} {path.removeprefix('/api').partition('?')[0] or '/'}" for path in paths}
    assert {route for served in ROUTES.values() for route in served} - listed == set()


def test_every_deployment_option_is_documented() -> None:
    assert missing(set(Options.__struct_fields__), page("reference/options")) == set()


def test_every_event_is_documented() -> None:
    assert missing(set(Action), page("reference/events") + page("how-to/watch") + page("how-to/webhooks")) == set()


def test_every_metric_is_documented() -> None:
    names = {value for name, value in vars(metrics).items() if name.isupper() and isinstance(value, str)}
    assert missing(names, page("how-to/operate")) == set()


def test_every_variable_of_a_worker_is_documented() -> None:
    read = variables(*(ROOT / "worker").rglob("*.py"))
    assert missing(read - {"KUBERNETES_PORT"}, page("reference/workers")) == set()


def test_every_variable_of_make_up_is_documented() -> None:
    chosen = {*place._NUMBERS, *place._WORDS, *variables(ROOT / "local" / "processes.py", ROOT / "local" / "place.py")}
    assert missing(chosen, page("start/one-machine") + page("reference/workers")) == set()


def test_every_make_target_is_documented() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}
    for readme in ("README.md", "README.zh.md"):
        assert missing({f"make {target}" for target in targets}, (ROOT / readme).read_text()) == set()


def test_every_code_of_a_job_is_documented() -> None:
    codes = re.findall(r"Failure\(\s*\"([a-z]+(?:-[a-z]+)+)\"", "".join(_sources("worker", "layers", "functions")))
    assert codes
    assert missing(set(codes), page("reference/codes")) == set()


def test_every_status_of_a_problem_is_documented() -> None:
    listed = re.findall(r"\b[45]\d\d\b", page("reference/api").partition("## Errors")[2].partition("\n## ")[0])
    assert {str(kind.status) for kind in _kinds(Problem)} - set(listed) == set()


def test_every_flag_of_the_first_generation_has_a_row() -> None:
    cells = re.findall(r"\| ([^|]+) \|$", page("reference/options"), re.MULTILINE)
    flags = {flag for cell in cells for flag in re.findall(r"`(-\w+)`", cell)}
    assert flags
    assert missing(flags, page("how-to/move")) == set()


def test_every_command_and_its_options_are_documented() -> None:
    sections = dict(re.findall(r"^## ([a-z ]+)\n(.*?)(?=^## |\Z)", page("reference/command"), re.MULTILINE | re.DOTALL))
    commands = dict(_commands(root))
    assert commands.keys() - sections.keys() == set()
    for name, command in commands.items():
        options = {max(option.opts, key=len) for option in command.params if isinstance(option, click.Option)}
        assert missing(options, sections[name]) == set(), name


LIMITS = re.findall(r"^\| [^|]+ \| ([^|]+) \| `([\w.]+)` \|$", page("reference/limits"), re.MULTILINE)


@pytest.mark.parametrize(("value", "name"), LIMITS, ids=[name for _, name in LIMITS])
def test_limits_are_those_of_the_code(value: str, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    limit = getattr(importlib.import_module(f"elasticrecode.{module}"), attribute)
    number, _, unit = value.partition(" ")
    sizes = {"": 1, "days": 86_400, "day": 86_400, "minutes": 60, "minute": 60}
    sizes |= {f"{letter}iB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)}
    size = 1 if attribute.endswith("_DAYS") else sizes[unit]
    assert int(number.replace(",", "")) * size == limit


def _commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """The commands of a group and of the groups in it, by their words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        elif not command.hidden:
            yield prefix + name, command


def _kinds(kind: type[Problem]) -> set[type[Problem]]:
    return {kind}.union(*(_kinds(special) for special in kind.__subclasses__()))


def _sources(*folders: str) -> list[str]:
    return [path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
