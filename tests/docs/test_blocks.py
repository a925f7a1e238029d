"""Each command block of the README and the documentation runs on a stack that `make up` starts, or says why not."""

import ast
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from local.place import Place
from tests.conftest import ROOT
from tests.docs.blocks import BLOCKS, COMMANDS, Block
from tests.e2e.conftest import free_ports
from tests.support import copy_checkout

_LANGUAGES = {"bash", "diff", "hcl", "http", "json", "python", "text", "toml", "yaml"}
_BUILT = (".tools/local", ".tools/dev", ".tools/python/.installed", "node_modules/.installed")
_PRELUDE = f"""
make() {{ command make {" ".join(f"-o {path}" for path in _BUILT)} "$@"; }}
pip() {{ "$HOME/python/bin/python" -m pip --quiet "$@"; }}
export PATH=$HOME/python/bin:$PATH
"""
"""`make` without the installation of tools, which the copy of the checkout shares with this one, and `pip` of an
environment that has them too, so that it needs no network."""
_RUN = [block for block in COMMANDS if not block.apart]
_PAGES = sorted({block.page for block in _RUN}, key=lambda page: ("start" not in page.parts, page))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_names_its_language(block: Block) -> None:
    assert block.language in _LANGUAGES


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.name)
def test_commands_are_bash(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: block.name
)
def test_python_parses(block: Block) -> None:
    ast.parse(block.text) if "return" not in block.text else ast.parse(f"def _():\n{_indented(block.text)}")


@pytest.mark.parametrize("block", [block for block in COMMANDS if block.apart], ids=lambda block: block.name)
def test_a_block_that_does_not_run_with_its_page_says_why_or_where(block: Block) -> None:
    _, where, test = block.apart.partition("run by ")
    assert (ROOT / test).exists() if where else len(block.apart.removeprefix("not run: ")) > 10


class Stack(NamedTuple):
    """A copy of the checkout, the environment of its commands, and the addresses in the pages that are others here."""

    checkout: Path
    environment: dict[str, str]
    addresses: dict[str, str]

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script in the root of the checkout."""
        for address, here in self.addresses.items():
            script = script.replace(address, here)
        command = ["bash", "-eu", "-o", "pipefail", "-c", _PRELUDE + script]
        return subprocess.run(
            command, cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The stack of `make up` in a copy of the checkout, gone after the last page."""
    folder = Path(tempfile.mkdtemp(prefix="elasticrecode-docs-"))
    checkout = copy_checkout(folder / "checkout")
    ports = dict(zip(("PORT", "AWS_PORT", "K8S_PORT"), map(str, free_ports(3)), strict=True))
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    away = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in away}
    environment |= ports | {"HOME": str(folder), "CURL_HOME": str(folder)}
    environment["ELASTICRECODE_URL"] = f"http://localhost:{ports['PORT']}"  # the command's default has the usual port
    environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip's word for "no isolation"
    venv.create(folder / "python", symlinks=True)
    (packages,) = (folder / "python" / "lib").glob("python*/site-packages")
    (packages / "tools.pth").write_text(sysconfig.get_path("purelib"))
    usual = Place.read({})
    addresses = {
        f"localhost:{usual.port}": f"localhost:{ports['PORT']}",
        f"localhost:{usual.aws_port}": f"localhost:{ports['AWS_PORT']}",
    }
    made = Stack(checkout, environment, addresses)
    try:
        ended = made.run("make up")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        yield made
    finally:
        made.run("make clean")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_run(stack: Stack, page: Path) -> None:
    blocks = [block for block in _RUN if block.page == page]
    heads = [f"printf '\\n=== {block.name} %s s\\n' $SECONDS | tee /dev/stderr" for block in blocks]
    script = "".join(f"{head}\n{block.text}\n" for head, block in zip(heads, blocks, strict=True))
    ended = stack.run(script)
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    started = re.findall(r"^=== (\S+)", ended.stdout, re.MULTILINE)
    assert started == [block.name for block in blocks]


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
