"""The code blocks of the README and the documentation.

Commands are the blocks in `bash`. Tests run them, page by page, unless a comment before the block, or one for the page,
says why not (`<!-- not run: reason -->`, `<!-- page not run: reason -->`) or by which test (`<!-- run by tests/… -->`,
`<!-- page run by tests/… -->`).
"""

import re
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_PAGE = re.compile(r"^<!-- page (not run: .+|run by \S+) -->$", re.MULTILINE)
_BLOCK = re.compile(r"<!-- (not run: .+|run by \S+) -->\s*\Z")
FOLDERS = ("docs", "client", "examples")


class Block(NamedTuple):
    """A code block: its page, first line, language and text, and why or by which test it does not run with its page."""

    page: Path
    line: int
    language: str
    text: str
    apart: str

    @property
    def name(self) -> str:
        """The page and the line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The Markdown files of the root and of the folders of the documentation."""
    return sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])


def read(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    whole = _PAGE.search(text)
    blocks = []
    for found in _FENCE.finditer(text):
        before = _BLOCK.search(text, 0, found.start())
        marker = before or whole
        line = text.count("\n", 0, found.start()) + 1
        blocks.append(Block(page, line, found[2], found[3], marker[1] if marker else ""))
    return blocks


BLOCKS = [block for page in pages() for block in read(page)]
COMMANDS = [block for block in BLOCKS if block.language == "bash"]
