"""The words of the home page: each text that a module shows is there in English and Chinese, and none is left over."""

import re
from pathlib import Path

import pytest

from local.place import ROOT

PAGE = ROOT / "web" / "static" / "page"
BLOCK = re.compile(r"const t = words\(\{(.*?)\}\);", re.DOTALL)
PAIR = re.compile(r'(\w+):\s*\[\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)"\s*\]')
MODULES = sorted(path for path in PAGE.rglob("*.js") if BLOCK.search(path.read_text()))
CODE = BLOCK.sub("", "".join(path.read_text() for path in PAGE.rglob("*.js")))


def pairs(module: Path) -> dict[str, tuple[str, str]]:
    block = BLOCK.search(module.read_text())
    return {key: (english, chinese) for key, english, chinese in PAIR.findall(block[1] if block else "")}


def named(module: Path) -> str:
    return str(module.relative_to(PAGE))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_every_text_has_words(module: Path) -> None:
    assert set(re.findall(r'\bt\("(\w+)"', module.read_text())) <= pairs(module).keys()


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_both_languages_name_the_same_values(module: Path) -> None:
    for key, texts in pairs(module).items():
        english, chinese = (sorted(re.findall(r"\{\w+\}", text)) for text in texts)
        assert english == chinese, key
        assert all(texts), key


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_no_words_are_left_over(module: Path) -> None:
    assert [key for key in pairs(module) if not re.search(rf"\b{key}\b", CODE)] == []
