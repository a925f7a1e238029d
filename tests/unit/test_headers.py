"""What browsers are told not to do, and that the home page does none of it."""

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from elasticrecode.api import headers
from local.front import application
from tests.conftest import ROOT

SITE = ROOT / "web"


def directives(policy: str) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in policy.split(";"))


def test_a_page_gets_nothing_but_from_its_own_origin_and_nothing_that_stands_in_it() -> None:
    told = directives(headers.page()["Content-Security-Policy"])
    assert told.pop("default-src") == "'none'"
    assert {told.pop(name) for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert set(told) == {"script-src", "style-src", "img-src", "connect-src"}
    assert set(told.values()) == {"'self'"}


def test_a_page_may_ask_where_people_sign_in() -> None:
    told = directives(headers.page("https://a.example")["Content-Security-Policy"])
    assert told["connect-src"] == "'self' https://a.example"
    assert told["script-src"] == "'self'"


class Page(HTMLParser):
    """The elements of a page with their attributes, and what stands inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style"):
            self.inline += data.strip()


def test_the_home_page_has_scripts_and_styles_in_files_of_its_own_and_none_in_itself() -> None:
    page = Page((SITE / "index.html").read_text())
    assert page.inline == ""
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            address = attributes.get(name) or "/static/"
            assert address.startswith("/static/") and ".." not in address, address  # noqa: PT018
            assert address == "/static/" or (SITE / address.lstrip("/")).is_file(), address


PROBE = "jquery-3.5.1.min.js"
"""Kept for monitors that fetch it; the page does not load it."""


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((SITE / "static").iterdir()) if path.name != PROBE],
    ids=lambda path: path.name,
)
def test_no_asset_evaluates_text_or_loads_from_other_origins(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\beval\(|new Function|innerHTML|\.html\(|javascript:|@import|url\(|https?://", text)
    assert not re.search(r"\$\(|jquery", text, re.IGNORECASE)


def test_the_page_loads_no_jquery_which_stays_as_the_documented_probe() -> None:
    assert "jquery" not in (SITE / "index.html").read_text().lower()
    assert (SITE / "static" / PROBE).read_text().startswith("/*! jQuery v3.5.1 | ")


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/index", 200), ("/static/app.js", 200), ("/static/no", 404), ("/no", 404)]
)
def test_the_local_front_door_says_what_cloudfront_says(path: str, status: int) -> None:
    async def get() -> tuple[int, dict[str, str]]:
        nowhere = "127.0.0.1:9"
        async with TestClient(TestServer(application(SITE, f"http://{nowhere}", f"ws://{nowhere}"))) as client:
            answer = await client.get(path)
            return answer.status, dict(answer.headers)

    got, told = asyncio.run(get())
    assert got == status
    assert {name: told.get(name) for name in headers.page()} == headers.page()
