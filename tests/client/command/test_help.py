"""Help: every command has one with examples that it takes, and docs/reference/command.md is made of them."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from elasticrecode_client import settings
from elasticrecode_client.command.exits import MEANINGS, Exit
from elasticrecode_client.command.frame import Command, Group
from elasticrecode_client.command.reference import PAGE, render
from elasticrecode_client.command.root import COMMANDS, root
from tests.conftest import ROOT


def commands(
    group: click.Group = root, path: tuple[str, ...] = ("elasticrecode",)
) -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, with the words that call them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


LEAVES = dict(commands())
EXAMPLES = [(path, example) for path, command in LEAVES.items() for example in getattr(command, "examples", ())]


def helped(path: str) -> str:
    command = LEAVES[path]
    return command.get_help(click.Context(command, info_name=path))


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_help_with_examples(path: str) -> None:
    text = helped(path)
    assert f"Usage: {path}" in text
    assert "Examples:" in text
    assert f"  {path}" in text.partition("Examples:")[2] or "elasticrecode completion" in text
    assert "--json" in text
    assert all(len(line) < 121 for line in text.splitlines())


@pytest.mark.parametrize(("path", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_a_command_takes_its_examples(path: str, example: str) -> None:
    line = re.sub(r"^(?:eval \"\$\(|echo \$TOKEN \| )", "", example).split(" | ")[0].split(" > ")[0].rstrip('")')
    assert line.startswith(path)
    arguments = shlex.split(line.removeprefix(path))
    with LEAVES[path].make_context(path, arguments):
        pass


def test_the_table_says_what_each_command_says() -> None:
    context = click.Context(root)
    for name, entry in COMMANDS.items():
        command = root.get_command(context, name)
        assert command is not None
        if isinstance(command, Command):
            assert command.short_help == entry.summary, name
        if isinstance(command, Group):
            for inner, one in command.entries.items():
                leaf = command.get_command(context, inner)
                assert isinstance(leaf, Command)
                assert leaf.short_help == one.summary, (name, inner)


def test_the_reference_is_what_the_commands_say() -> None:
    assert (ROOT / PAGE).read_text() == render(), (
        "python -m elasticrecode_client.command.reference > docs/reference/command.md"
    )


def test_every_variable_is_in_the_reference() -> None:
    assert {f"`{name}`" for name in (*settings._ENVIRONMENT.values(), settings.PROFILE)} <= set(
        re.findall(r"`ELASTICRECODE_\w+`", render())
    )


def test_every_exit_status_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)


def test_help_imports_no_client_and_no_screen() -> None:
    """Which is what makes it fast: `elasticrecode --help` takes about 110 ms of CPU time."""
    script = (
        "import sys; from elasticrecode_client.command.run import run; run(['--help']); "
        "print([m for m in ('httpx', 'rich', 'websockets', 'boto3', 'asyncio') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert printed.stdout.rstrip().endswith("[]")


ENVIRONMENT = {"PYTHONPATH": str(ROOT / "client" / "src"), "PATH": "/usr/bin:/bin"}
