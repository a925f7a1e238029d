"""Going from page to page: where the keyboard goes on, and what is shown on the way back."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Deployed
from tests.e2e.page.conftest import Opened
from tests.e2e.page.crowds import write_jobs

CROWD = "walkers"
LOW = 8000


@pytest.fixture(scope="module")
def crowd(deployed: Deployed) -> str:
    """A user with more jobs than the list reads at first."""
    write_jobs(deployed, CROWD, 250)
    return CROWD


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.localName"))


def scroll_to(page: Page, top: int) -> None:
    """Scroll down as far as the list grows on the way."""
    page.wait_for_function("(top) => (scrollTo(0, top), Math.abs(scrollY - top) <= 1)", arg=top)
    page.wait_for_function("() => history.state?.top === scrollY")


def test_the_keyboard_goes_on_in_the_new_page(opened: Opened, crowd: str) -> None:
    page = opened("/jobs", acts_for=crowd)
    expect(page.get_by_role("link", name="00249.mp4")).to_be_visible()
    assert focused(page) == "body"
    page.get_by_role("link", name="Batches", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Send one.")).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Send one.")).to_be_focused()


def test_typing_in_a_filter_keeps_the_focus(opened: Opened, crowd: str) -> None:
    page = opened("/jobs", acts_for=crowd)
    page.get_by_role("searchbox").fill("00012")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("link", name="00012.mp4")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_the_way_back_leads_to_the_same_row(opened: Opened, crowd: str) -> None:
    page = opened("/jobs", acts_for=crowd)
    scroll_to(page, LOW)
    name = page.locator(".rows-body a").nth(20).evaluate("(link) => (link.click(), link.innerText)")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.wait_for_function("() => scrollY === 0")
    page.go_back()
    page.wait_for_function("(top) => Math.abs(scrollY - top) <= 1", arg=LOW)
    expect(page.get_by_role("link", name=name)).to_be_visible()
    page.go_forward()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.wait_for_function("() => scrollY === 0")


def test_a_reload_shows_the_same_row(opened: Opened, crowd: str) -> None:
    page = opened("/jobs", acts_for=crowd)
    scroll_to(page, LOW)
    page.reload()
    page.wait_for_function("(top) => Math.abs(scrollY - top) <= 1", arg=LOW)


def test_each_page_has_a_title_of_its_own(opened: Opened, crowd: str) -> None:
    page = opened("/jobs", acts_for=crowd)
    expect(page).to_have_title("Jobs – ElasticRecode")
    page.get_by_role("link", name="00249.mp4").click()
    expect(page).to_have_title(f"Job {CROWD}- – ElasticRecode")
