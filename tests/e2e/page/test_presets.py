"""Presets on the page: everybody sees and uses them, operators make, change and remove them."""

from typing import Any

from playwright.sync_api import expect

from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened, violations

NAME = "page-small"


def stored(deployed: Deployed) -> dict[str, Any]:
    return {each["name"]: each["profile"] for each in deployed.call("GET", "/api/v1/presets")[1]}


def test_an_operator_makes_changes_and_removes_a_preset(opened: Opened, deployed: Deployed) -> None:
    page = opened("/presets")
    page.get_by_role("button", name="New from this: h264-360p").click()
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("scale", exact=True).fill("tiny")
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_label("scale", exact=True)).to_be_focused()
    expect(page.get_by_label("scale", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("scale", exact=True).fill("240p")
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("heading", name=NAME, exact=True)).to_be_visible()
    assert stored(deployed)[NAME]["ffmpeg"]["scale"] == "240p"
    page.get_by_role("button", name=f"Change {NAME}").click()
    page.get_by_label("scale", exact=True).fill("480p")
    page.get_by_role("button", name="Store").click()
    wait_for(lambda: stored(deployed)[NAME]["ffmpeg"]["scale"] == "480p", "the change")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Remove {NAME}").click()
    expect(page.get_by_role("heading", name=NAME, exact=True)).to_have_count(0)
    assert NAME not in stored(deployed)


def test_a_name_that_cannot_be_stored_is_refused_above_the_form(opened: Opened) -> None:
    page = opened("/presets")
    page.get_by_role("button", name="New from this: hls", exact=True).click()
    page.get_by_label("Name").fill("web-720p")
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("alert")).to_contain_text("is built in")


def test_a_user_sees_what_a_preset_means_and_uses_it(opened: Opened) -> None:
    page = opened("/presets", TENANTS[0])
    page.get_by_text("ffmpeg codec av1").click()
    expect(page.get_by_text('"libsvtav1"')).to_be_visible()
    expect(page.get_by_role("button", name="New from this")).to_have_count(0)
    assert violations(page) == []
    page.get_by_role("link", name="Use hls", exact=True).click()
    expect(page.get_by_label("Package")).to_be_checked()
    expect(page.get_by_label("Preset", exact=True)).to_have_value("hls")
