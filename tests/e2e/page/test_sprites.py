"""The small pictures over the position bar, by links that expire."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import TENANTS, Deployed
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


def picture(page: Page, share: float) -> Locator:
    """The picture under the pointer at a share of the bar."""
    box = page.locator(".bar").bounding_box()
    assert box
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    shown = page.locator(".sprite img")
    expect(shown).to_have_js_property("complete", True)
    return shown


def test_a_sheet_is_opened_when_it_is_shown_and_anew_when_its_link_expires(
    opened: Opened, deployed: Deployed, pictured: str
) -> None:
    page, sheets = opened(None, ANN), list[str]()
    page.clock.install()
    page.on("request", lambda request: sheets.append(request.url) if ".jpg" in urlsplit(request.url).path else None)
    page.goto(f"{deployed.place.url}#/watch/{pictured}")
    page.wait_for_function("() => document.querySelector('.pane.output video')?.readyState > 1")
    assert sheets == []
    assert picture(page, 0.5).evaluate("(image) => image.naturalWidth") > 0
    first = set(sheets)
    assert len(first) == 1
    page.mouse.move(0, 0)
    page.clock.fast_forward("16:00")
    picture(page, 0.6)
    assert len({url for url in sheets if url not in first}) == 1
