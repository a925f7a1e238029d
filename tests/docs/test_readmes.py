"""README.md and README.zh.md have the same content: commands, headings, links, pictures, tables and lists."""

import re

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import read

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
_OTHER = {"README.zh.md", "README.md"}
"""Each leads to the other."""


def shape(text: str, pattern: str) -> list[str]:
    """What matches, outside code blocks."""
    return re.findall(pattern, re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)


def test_the_commands_are_the_same() -> None:
    english, chinese = ([block for block in read(page) if block.language == "bash"] for page in (ENGLISH, CHINESE))
    assert [block.text for block in english] == [block.text for block in chinese]  # those of the English one run
    assert len(english) >= 3


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"^#+ ", id="headings"),
        pytest.param(r"\]\(([^)\s]+)\)", id="links"),
        pytest.param(r"!\[[^\]]+\]\(([^)]+)\)", id="pictures"),
        pytest.param(r"^\| (`[^|]+`) \|", id="commands in tables"),
        pytest.param(r"^(- |\|)", id="list items and rows"),
        pytest.param(r"^(- \*\*)", id="reasons"),
        pytest.param(r"`(make [a-z-]+|elasticrecode|[A-Z_]+=[\w.]+)`", id="commands in text"),
    ],
)
def test_the_shape_is_the_same(pattern: str) -> None:
    english, chinese = (shape(page.read_text(), pattern) for page in (ENGLISH, CHINESE))
    assert english
    assert [link for link in english if link not in _OTHER] == [link for link in chinese if link not in _OTHER]


def test_links_have_texts_of_their_language() -> None:
    prose = re.sub(r"<!--.*?-->|```.*?```|`[^`]*`|\([^)]*\)", "", CHINESE.read_text(), flags=re.DOTALL)
    paragraphs = [line for line in prose.splitlines() if len(line) > 40]
    assert [line for line in paragraphs if not re.search(r"[一-鿿]", line)] == []


def test_each_readme_shows_a_package_in_a_player() -> None:
    for page in (ENGLISH, CHINESE):
        pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", page.read_text())
        assert any("play-" in path for _, path in pictures)
        assert all(text and (ROOT / path).stat().st_size < 120_000 for text, path in pictures)
