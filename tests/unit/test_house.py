"""Files and functions stay short, names say what they are, and terms are defined once."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
RIDDLES = {"asked", "found", "made", "said", "told", "what", "whose"}
"""Words that name nothing, as identifiers."""
FOLDERS = (".ci", "benchmarks", "client/src", "functions", "infra", "layers", "local", "migration", "release", "worker")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
TERMS = re.findall(r"^\| ([^|]+?) \|", GLOSSARY, re.MULTILINE)[1:]
PLAIN = set((ROOT / "tests" / "unit" / "plain_words.txt").read_text().split())
"""Words of names that mean here what they mean everywhere: English, Python, HTTP, AWS and Kubernetes."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def identifiers(tree: ast.AST) -> Iterator[str]:
    """The names that a module binds."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name


def words(name: str) -> list[str]:
    """The words of a name in CamelCase or snake_case, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def is_defined(word: str, known: set[str]) -> bool:
    """Whether a word, or its singular, is among known ones."""
    return bool({word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)} & known)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_and_functions_are_short_or_say_why_not(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION]
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE or "long because" in text
    assert not long or "long because" in text


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_name_is_a_riddle(path: Path) -> None:
    assert not RIDDLES & set(identifiers(ast.parse(path.read_text())))


def test_the_glossary_defines_each_term_once_in_alphabetical_order() -> None:
    assert len(TERMS) > 50
    assert len(set(TERMS)) == len(TERMS)
    assert sorted(TERMS, key=str.lower) == TERMS


def test_every_term_of_the_glossary_is_in_use() -> None:
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "glossary.md"]
    text = " ".join(path.read_text() for path in [*FILES, *pages, ROOT / "README.md"]).lower()
    text = re.sub(r"[\s_-]+", " ", text)
    assert [term for term in TERMS if re.sub("[ -]", " ", term.lower()) not in text] == []


def test_every_word_of_a_class_or_module_is_in_the_glossary_or_plain() -> None:
    """A new idea gets its definition, or the decision that its name needs none."""
    defined = {word for term in TERMS for word in re.split("[ -]", term.lower())} | PLAIN
    product = [path for path in FILES if path.relative_to(ROOT).parts[0] in ("functions", "infra", "layers", "worker")]
    used: dict[str, str] = {}
    for path in product:
        classes = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        for name in (path.parent.name, path.stem.strip("_"), *classes):
            used |= dict.fromkeys(words(name), f"{named(path)}: {name}")
    unknown = {word: place for word, place in used.items() if not is_defined(word, defined)}
    assert not unknown, f"define each word in docs/glossary.md or list it in tests/unit/plain_words.txt: {unknown}"


def test_plain_words_are_in_use_and_no_terms() -> None:
    assert {word.lower() for word in TERMS} & PLAIN == set()
