"""Security headers, and a home page that works under them."""

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


def test_the_content_security_policy_allows_only_files_of_the_own_origin() -> None:
    rules = directives(headers.page()["Content-Security-Policy"])
    assert rules.pop("default-src") == "'none'"
    assert {rules.pop(name) for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert rules.pop("media-src") == "blob:"
    assert set(rules) == {"script-src", "style-src", "img-src", "connect-src"}
    assert set(rules.values()) == {"'self'"}


def test_the_page_may_connect_to_the_sign_in_url() -> None:
    rules = directives(headers.page("https://a.example")["Content-Security-Policy"])
    assert rules["connect-src"] == "'self' https://a.example"
    assert rules["script-src"] == "'self'"


def test_the_page_shows_media_of_the_given_origins_and_runs_nothing_of_them() -> None:
    media = ["https://media.s3.eu-west-1.amazonaws.com", "https://a.example"]
    rules = directives(headers.page("https://a.example", media)["Content-Security-Policy"])
    assert rules["img-src"] == f"'self' {media[0]} {media[1]}"
    assert rules["media-src"] == f"blob: {media[0]} {media[1]}"
    assert set(rules["connect-src"].split(" ")) == {"'self'", *media}
    others = set(rules) - {"img-src", "media-src", "connect-src"}
    assert not [name for name in others if "example" in rules[name] or "blob:" in rules[name]]


class Page(HTMLParser):
    """The elements of a page with their attributes, and its inline scripts and styles."""

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


@pytest.mark.parametrize("file", ["index.html", "docs.html"])
def test_a_page_has_no_inline_scripts_or_styles(file: str) -> None:
    page = Page((SITE / file).read_text())
    assert page.inline == ""
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            address = attributes.get(name) or "/static/"
            assert address.startswith("/static/") and ".." not in address, address  # noqa: PT018
            assert address == "/static/" or (SITE / address.lstrip("/")).is_file(), address


PROBE = "jquery-3.5.1.min.js"
"""Kept for monitors that fetch it; the page does not load it."""
SVG = "http://www.w3.org/2000/svg"
"""A namespace, which nothing loads."""


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((SITE / "static").rglob("*.*")) if path.name != PROBE and path.parent.name != "vendor"],
    ids=lambda path: path.name,
)
def test_no_asset_evaluates_text_or_loads_from_other_origins(path: Path) -> None:
    text = path.read_text().replace(SVG, "")
    assert not re.search(r"\beval\(|new Function|innerHTML|\.html\(|javascript:|@import|url\(|https?://", text)
    assert not re.search(r"\$\(|jquery", text, re.IGNORECASE)


def test_the_page_loads_no_jquery_which_stays_as_the_documented_probe() -> None:
    assert "jquery" not in (SITE / "index.html").read_text().lower()
    assert (SITE / "static" / PROBE).read_text().startswith("/*! jQuery v3.5.1 | ")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/index", 200), ("/docs", 200), ("/static/page/app.js", 200), ("/static/no", 404), ("/no", 404)],
)
def test_the_local_front_door_sends_the_headers_of_cloudfront(path: str, status: int) -> None:
    async def get() -> tuple[int, dict[str, str]]:
        nowhere = "127.0.0.1:9"
        async with TestClient(TestServer(application(SITE, f"http://{nowhere}", f"ws://{nowhere}"))) as client:
            answer = await client.get(path)
            return answer.status, dict(answer.headers)

    answered, sent = asyncio.run(get())
    assert answered == status
    assert {name: sent.get(name) for name in headers.page()} == headers.page()
