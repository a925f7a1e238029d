"""What the documentation says is so."""

import re

from tests.conftest import ROOT


def test_the_readme_tells_of_every_command() -> None:
    commands = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}
    for readme in ("README.md", "README.zh.md"):
        told = set(re.findall(r"^\| `make ([a-z-]+)", (ROOT / readme).read_text(), re.MULTILINE))
        assert told == commands, readme
