"""The worked examples of CONTRIBUTING.md hold: each is applied to a copy of the checkout, and its tests pass there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.support import copy_checkout

_MOST_FILES = 4


class Example(NamedTuple):
    """A worked example: a change as a diff, and the commands that come after it."""

    title: str
    change: str
    commands: list[str]

    @property
    def files(self) -> set[str]:
        """The files that the change touches."""
        return set(re.findall(r"^\+\+\+ b/(\S+)", self.change, re.MULTILINE))


def read() -> list[Example]:
    """The examples of CONTRIBUTING.md: every section of it with a diff."""
    sections = re.split(r"^### ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)[1:]
    examples = []
    for section in sections:
        changes = re.findall(r"```diff\n(.*?)```", section, re.DOTALL)
        commands = [
            line for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL) for line in block.splitlines()
        ]
        if changes:
            examples.append(Example(section.partition("\n")[0], "".join(changes), commands))
    return examples


EXAMPLES = read()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout, under git."""
    folder = copy_checkout(tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def test_there_is_an_example_of_each_change() -> None:
    assert [example.title for example in EXAMPLES] == [
        "Add a codec",
        "Add an endpoint",
        "Add an event action",
        "Add a deployment option",
        "Add a function",
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title.replace(" ", "-"))
def test_an_example_touches_few_files(example: Example) -> None:
    assert 1 <= len(example.files) <= _MOST_FILES


@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title.replace(" ", "-"))
def test_an_example_works(example: Example, checkout: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": f"{checkout / 'layers' / 'core' / 'python'}:{checkout}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for command in ("git apply -", *example.commands):
        ended = subprocess.run(
            command,
            shell=True,
            input=example.change,
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout[-4000:]}{ended.stderr[-2000:]}"
