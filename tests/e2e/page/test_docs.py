"""The page at /docs: all that the API's two descriptions say, without a token and without another host."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect

from tests.conftest import ROOT
from tests.e2e.conftest import Deployed
from tests.e2e.page.conftest import Opened, violations

PHONE = {"width": 390, "height": 844}
FIRST_LOAD_BYTES = 185_000
"""Limit of what the home page loads of its own files when it opens, uncompressed, with the view of now."""


@pytest.fixture
def shown(opened: Opened, deployed: Deployed) -> Iterator[Callable[..., Page]]:
    """Opens /docs at a fragment. It asks nothing of another host, and nothing of the API but its descriptions."""
    requests: list[str] = []

    def show(fragment: str = "", **options: Any) -> Page:
        page = opened(None, **options)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{deployed.place.url}/docs#{fragment}")
        expect(page.get_by_role("status")).to_be_visible()
        return page

    yield show
    assert all(url.startswith(f"{deployed.place.url}/") for url in requests)
    asked = {url.removeprefix(deployed.place.url) for url in requests if "/api" in url}
    assert asked == {"/api/v1/openapi.json", "/api/v1/asyncapi.json"}


def document(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "docs" / f"{name}.json").read_text())
    return content


def described() -> list[str]:
    """The ids of all operations, deliveries and messages."""
    content = document("openapi")
    paths = [*content["paths"].values(), *content["webhooks"].values()]
    operations = [each["operationId"] for methods in paths for each in methods.values()]
    return [*operations, *document("asyncapi")["components"]["messages"]]


def test_it_shows_every_operation_and_every_message(shown: Callable[..., Page]) -> None:
    page = shown()
    ids = described()
    expect(page.get_by_role("status")).to_have_text(f"{len(ids)} of {len(ids)}")
    expect(page.locator(".entry")).to_have_count(len(ids))
    assert sorted(page.locator(".entry").evaluate_all("all => all.map(each => each.id)")) == sorted(ids)
    for each in page.locator(".entry > summary").all():
        each.click()
    names = page.locator(".members").evaluate_all("all => all.map(each => each.innerText).join('\\n')")
    for parameter in ("Idempotency-Key", "webhook-signature", "lastMod", "jobID", "tsMs"):
        assert parameter in names
    expect(page.get_by_text("1001", exact=True)).to_be_visible()


def test_search_finds_by_any_word(shown: Callable[..., Page]) -> None:
    page = shown()
    search = page.get_by_role("searchbox", name="Search")
    search.fill("POST webhook-signature")
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.locator("#receiveEvent")).to_be_visible()
    search.fill("gap cursor")
    expect(page.locator("#Gap")).to_be_visible()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_have_count(0)
    search.fill("no such word")
    expect(page.get_by_role("status")).to_have_text("Nothing matches.")


def test_an_address_opens_its_entry_and_fields_unfold_with_the_keyboard(shown: Callable[..., Page]) -> None:
    page = shown("submitJobs")
    entry = page.locator("#submitJobs")
    expect(entry.get_by_text('curl -X POST "$URL/api/v1/jobs"')).to_be_in_viewport()
    fold = entry.get_by_text("JobRequest", exact=True)
    fold.focus()
    page.keyboard.press("Enter")
    expect(entry.get_by_text("priority", exact=True)).to_be_visible()
    entry.get_by_text("FfmpegProfile", exact=True).first.click()
    entry.get_by_text("A package alone", exact=True).click()
    expect(entry.locator("dt").get_by_text("segmentSeconds", exact=True)).to_have_count(0)
    entry.get_by_text("Package", exact=True).click()
    expect(entry.locator("dt").get_by_text("segmentSeconds", exact=True)).to_be_visible()


@pytest.mark.parametrize(("scheme", "size"), [("light", {"width": 1280, "height": 900}), ("dark", PHONE)])
def test_axe_finds_nothing_in_either_colour_or_size(
    shown: Callable[..., Page], scheme: str, size: dict[str, int]
) -> None:
    page = shown("JobFinished", color_scheme=scheme, viewport=size)
    for name in ("submitJobs", "listUserEvents", "receiveEvent"):
        page.locator(f"#{name} > summary").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_it_speaks_chinese_and_keeps_the_choice(shown: Callable[..., Page]) -> None:
    page = shown(locale="zh-CN")
    expect(page.get_by_role("heading", name="接口")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_text("设置").click()
    page.get_by_label("语言").select_option("en")
    page.get_by_label("Colours").select_option("dark")
    page.reload()
    expect(page.get_by_role("heading", name="API", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_home_page_leads_there_and_loads_nothing_of_it(opened: Opened, deployed: Deployed) -> None:
    loaded: list[Response] = []
    page = opened(None)
    page.on("response", lambda response: loaded.append(response))
    page.goto(deployed.place.url)
    expect(page.get_by_role("link", name="API")).to_be_visible()
    page.wait_for_load_state("networkidle")
    files = {each.url: len(each.body()) for each in loaded if "/api/" not in each.url}
    assert not [url for url in files if "docs" in url]
    assert sum(files.values()) <= FIRST_LOAD_BYTES, files
    page.get_by_role("link", name="API").click()
    expect(page.locator("#submitJobs")).to_be_visible()
