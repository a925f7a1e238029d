"""The small pictures over the position bar, by links that expire."""

import time
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened
from tests.e2e.page.test_jobs import FILM, submit

ANN = TENANTS[0]


@pytest.fixture(scope="module")
def pictured(deployed: Deployed) -> str:
    """A job with small pictures."""
    job_id = submit(
        deployed, ANN, deployed.put(FILM, f"page/{ANN}/pictured.mp4"), images={"sprite": {"everySeconds": 1}}
    )
    deployed.until(job_id, "finished")
    return job_id


def point(page: Page, sheets: list[str], count: int) -> None:
    """Move the pointer over the bar until a picture is there, and so many sheets were opened."""
    until = time.monotonic() + 60
    shown = "() => document.querySelector('.sprite img')?.naturalWidth > 0"
    while not (len(set(sheets)) >= count and page.evaluate(shown)):
        assert time.monotonic() < until, sheets
        box = page.locator(".bar").bounding_box()  # what loads above it moves it
        assert box
        for share in (0.5, 0.6):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            page.wait_for_timeout(100)


def test_a_sheet_is_opened_when_it_is_shown_and_anew_when_its_link_expires(
    opened: Opened, deployed: Deployed, pictured: str
) -> None:
    page, sheets = opened(None, ANN), list[str]()
    page.clock.install()
    page.on("request", lambda request: sheets.append(request.url) if ".jpg" in urlsplit(request.url).path else None)
    page.goto(f"{deployed.place.url}#/watch/{pictured}")
    page.wait_for_function("() => document.querySelector('.pane.output video')?.readyState > 1")
    assert sheets == []
    point(page, sheets, 1)
    assert len(set(sheets)) == 1
    page.mouse.move(0, 0)
    second = int(time.time())
    wait_for(lambda: int(time.time()) > second, "the next second: links of one second are equal")
    page.clock.fast_forward("16:00")
    point(page, sheets, 2)
    assert len(set(sheets)) == 2
