"""The documentation that `make docs` builds."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser import chromium
from tests.conftest import ROOT

_LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
_MILLISECONDS = 180_000


class Addresses(HTMLParser):
    """The addresses that a page loads by itself, and those that it links."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.linked: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name == _LOADED.get(tag):
                self.loaded.add(value)
            if value and tag == "a" and name == "href":
                self.linked.add(value)


def pages(built: Path) -> list[Path]:
    """The pages that were built, without HTML files that were copied from the checkout."""
    found = [path for path in built.rglob("*.html") if "_static" not in path.parts]
    return sorted(path for path in found if not (ROOT / path.relative_to(built)).exists())


def test_every_markdown_file_of_the_documentation_is_a_page(built: Path) -> None:
    sources = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    missing = [path for path in sources if not (built / path.relative_to(ROOT).with_suffix(".html")).exists()]
    assert missing == []


def test_pages_load_nothing_from_elsewhere(built: Path) -> None:
    styles = "".join(path.read_text() for path in built.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]*", styles) == []
    for page in pages(built):
        foreign = {address for address in Addresses(page).loaded if urlsplit(address).netloc}
        assert foreign == set(), page


def test_every_link_within_the_build_leads_to_a_file(built: Path) -> None:
    for page in pages(built):
        for address in Addresses(page).linked | Addresses(page).loaded:
            split = urlsplit(address)
            if split.path and not split.scheme and not split.netloc:
                assert (page.parent / unquote(split.path)).exists(), f"{page.relative_to(built)}: {address}"


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("terminationGracePeriodSeconds", "docs/how-to/eks.html"),
        ("userPrefixes", "docs/reference/options.html"),
        ("hostile files", "docs/reference/workers.html"),
        ("dead-letter", "docs/reference/codes.html"),
    ],
)
def test_search_finds_a_page_without_a_server(built: Path, words: str, page: str) -> None:
    with chromium() as browser:
        opened = browser.new_page()
        opened.set_default_timeout(_MILLISECONDS)
        opened.goto(f"{(built / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
        opened.wait_for_selector("#search-results li a")
        opened.wait_for_function("document.querySelector('#search-results p')?.innerText.match(/found|matching/)")
        found = [link.get_attribute("href") or "" for link in opened.query_selector_all("#search-results li a")]
    assert any(link.partition("?")[0].partition("#")[0] == page for link in found), found
