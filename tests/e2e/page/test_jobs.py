"""Jobs on the home page: the list, a job's own page, actions, languages, colours and sizes."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from local.place import TOOLS
from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened, keep_texts, violations, wait_for_text
from tests.e2e.test_deployed import Clips, long_clip

pytestmark = pytest.mark.timeout(300)
ANN, BOB = TENANTS
FILM = TOOLS / "media" / "bigbuckbunny.mp4"
PHONE = {"width": 390, "height": 844}
VIEWS = ("/", "/jobs", "/batches")


def submit(deployed: Deployed, user: str, uri: str, **profile: Any) -> str:
    """A job of a user; its id."""
    bucket = deployed.bucket
    body = {"userid": user, "input": uri, "output": f"s3://{bucket}/page/{user}/out/", "priority": 0}
    encode = {"codec": "h264", "scale": "480p", "bitrate": "1M", "speed": "fast"}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body | {"profile": {"ffmpeg": encode, **profile}})
    assert status == 200, answer.get("errors")
    return str(answer[0]["jobid"])


@pytest.fixture(scope="module")
def finished(deployed: Deployed) -> str:
    """Ann's job, with a poster and thumbnails."""
    job_id = submit(deployed, ANN, deployed.put(FILM, f"page/{ANN}/film.mp4"), images={"poster": True, "sprite": {}})
    deployed.until(job_id, "finished")
    return job_id


@pytest.fixture(scope="module")
def failed(deployed: Deployed) -> str:
    """Ann's job without an input."""
    job_id = submit(deployed, ANN, f"s3://{deployed.bucket}/page/{ANN}/missing.mp4")
    deployed.until(job_id, "failed")
    return job_id


def test_a_jobs_page_shows_its_input_beside_its_output(opened: Opened, finished: str) -> None:
    page = opened(f"/job/{finished}", user=ANN)
    expect(page.get_by_role("heading", name="film.mp4")).to_be_visible()
    table = page.get_by_role("table").filter(has_text="Input")
    expect(table.get_by_role("row").filter(has_text="Input")).to_contain_text("h264")
    expect(table.get_by_role("row").filter(has_text="Output")).to_contain_text("800 × 450")
    expect(page.get_by_role("img", name="Thumbnail of film.mp4").first).to_be_visible()
    shown = page.get_by_role("img", name="Thumbnail of film.mp4").first
    assert shown.evaluate("async (image) => (await image.decode(), image.naturalWidth)") == 800
    expect(page.get_by_text("attempt 1")).to_be_visible()
    assert violations(page) == []


def test_a_failed_job_tells_why_and_runs_again(opened: Opened, deployed: Deployed) -> None:
    uri = f"s3://{deployed.bucket}/page/{ANN}/late.mp4"
    job_id = submit(deployed, ANN, uri)
    deployed.until(job_id, "failed")
    page = opened(f"/job/{job_id}", user=ANN)
    expect(page.get_by_role("heading", name="Error: input-not-found")).to_be_visible()
    deployed.put(FILM, f"page/{ANN}/late.mp4")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".heading .state")).to_have_text("finished", timeout=180_000)
    assert deployed.record(job_id)["state"] == "finished"


def test_a_running_job_moves_and_is_cancelled(opened: Opened, deployed: Deployed, clips: Clips) -> None:
    slow = {"codec": "av1", "scale": "1080p", "fit": "exact", "speed": "slow", "quality": {"crf": 20}}
    body = {
        "userid": ANN,
        "input": long_clip(deployed, clips, "moves"),
        "output": f"s3://{deployed.bucket}/page/c/",
    }
    job_id = deployed.call("POST", "/api/v1/jobs", body | {"profile": {"ffmpeg": slow}})[1][0]["jobid"]
    page = opened("/", user=ANN)
    row = page.get_by_role("listitem").filter(has_text=job_id[:8])
    expect(row.get_by_role("progressbar")).to_be_visible()
    row.get_by_role("link").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".heading .state")).to_have_text("cancelled")
    assert deployed.record(job_id)["state"] == "cancelled"


def test_the_list_is_filtered_searched_and_acted_on(
    opened: Opened, deployed: Deployed, finished: str, failed: str
) -> None:
    page = opened("/jobs", user=ANN)
    table = page.get_by_role("table", name="Jobs")
    expect(table.get_by_role("link", name="film.mp4").first).to_be_visible()
    page.get_by_role("combobox", name="State").select_option("failed")
    expect(table.get_by_text("finished")).to_have_count(0)
    expect(table.get_by_role("link", name="missing.mp4")).to_be_visible()
    assert "state=failed" in page.url
    page.get_by_role("searchbox").fill("MISSING")
    page.get_by_role("searchbox").press("Enter")
    expect(table.get_by_role("row")).to_have_count(2)
    table.get_by_role("checkbox", name=f"Select missing.mp4 {failed[:8]}").check()
    keep_texts(page)
    page.get_by_role("button", name="Retry (1)").click()
    wait_for_text(page, "1 run again, 0 not.")
    deployed.until(failed, "failed")
    assert deployed.actions(failed).count("JobRetried") == 1


@pytest.fixture
def held_worker(deployed: Deployed) -> Iterator[None]:
    """The worker takes no job for the time of a test."""
    worker = deployed.supervisor.pids()["worker-ffmpeg-0"]
    os.kill(worker, signal.SIGSTOP)
    yield
    os.kill(worker, signal.SIGCONT)


@pytest.mark.usefixtures("held_worker")
def test_a_job_enters_and_leaves_the_list_of_a_state_at_its_place(opened: Opened, deployed: Deployed) -> None:
    body = {
        "userid": "elders",
        "output": f"s3://{deployed.bucket}/page/elders/out/",
        "profile": {"preset": "h264-360p"},
    }
    old = body | {"input": f"s3://{deployed.bucket}/page/elders/old.mp4"}
    job_id = deployed.call("POST", "/api/v1/jobs", old)[1][0]["jobid"]
    others = 120
    younger = body | {"inputs": [f"s3://{deployed.bucket}/page/elders/{n}.mp4" for n in range(others)]}
    batch_id = deployed.call("POST", "/api/v1/batches", younger)[1]["batchID"]
    path = f"/api/v1/batches/{batch_id}"
    wait_for(lambda: deployed.call("GET", path)[1]["queued"] == others, "the batch's jobs")
    deployed.call("DELETE", path)
    wait_for(lambda: deployed.call("GET", path)[1]["cancelled"] == others, "the batch's end")
    page = opened("/jobs?state=cancelled", acts_for="elders")
    oldest = page.get_by_role("link", name="old.mp4", exact=True)
    loaded = page.get_by_text(f"{others} jobs", exact=True)

    def reached_the_end() -> bool:
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.wait_for_timeout(200)
        return loaded.count() == 1

    wait_for(reached_the_end, "the last job")
    deployed.call("DELETE", f"/api/v1/jobs/{job_id}")
    expect(page.get_by_text(f"{others + 1} jobs", exact=True)).to_be_visible()
    page.wait_for_function(
        "() => { scrollTo(0, document.documentElement.scrollHeight);"
        " return [...document.querySelectorAll('[role=row]')].at(-1).innerText.includes('old.mp4'); }"
    )
    deployed.call("POST", f"/api/v1/jobs/{job_id}/retry")
    expect(oldest).to_have_count(0)
    expect(loaded).to_be_visible()
    deployed.call("DELETE", f"/api/v1/jobs/{job_id}")


def test_on_a_phone_the_filters_are_behind_a_button(opened: Opened, finished: str, failed: str) -> None:
    page = opened("/jobs?state=failed", user=ANN, viewport=PHONE)
    state = page.get_by_role("combobox", name="State")
    expect(page.get_by_role("link", name="missing.mp4").first).to_be_visible()
    expect(state).to_have_count(0)
    assert page.locator(".filters").bounding_box()["height"] < PHONE["height"] / 5  # type: ignore[index]
    page.get_by_role("button", name="Filters (1)").click()
    state.select_option("finished")
    expect(page.get_by_role("link", name="film.mp4").first).to_be_visible()
    state.select_option("")
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(state).to_have_count(0)


def test_an_address_may_hold_a_lone_percent_sign(opened: Opened) -> None:
    page = opened("/jobs?text=100%", user=ANN)
    expect(page.get_by_role("searchbox")).to_have_value("100%")
    expect(page.get_by_text("No job matches.")).to_be_visible()


def test_a_user_sees_no_job_of_another(opened: Opened, finished: str) -> None:
    page = opened(f"/job/{finished}", user=BOB)
    expect(page.get_by_role("alert")).to_contain_text("There is no job")
    expect(page.get_by_text("film.mp4")).to_have_count(0)


@pytest.mark.parametrize("address", VIEWS)
def test_axe_finds_nothing_in_either_colour_or_size(opened: Opened, address: str, finished: str, failed: str) -> None:
    for scheme, size in (("light", {"width": 1280, "height": 900}), ("dark", PHONE)):
        page = opened(address, user=ANN, color_scheme=scheme, viewport=size)
        expect(page.get_by_role("status")).to_have_text("live")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_the_page_speaks_chinese_by_the_browser_and_by_a_switch(opened: Opened, finished: str) -> None:
    page = opened("/jobs", user=ANN, locale="zh-CN")
    expect(page.get_by_role("heading", name="任务")).to_be_visible()
    expect(page.get_by_role("table", name="任务").get_by_text("已完成").first).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_text("设置").click()
    page.get_by_label("语言").select_option("en")
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


def test_the_keyboard_alone_is_enough(opened: Opened, finished: str) -> None:
    page = opened("/", user=ANN)
    expect(page.get_by_role("status")).to_have_text("live")
    _press_until(page, "Jobs")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="film.mp4").first).to_be_visible()
    _press_until(page, "film.mp4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="film.mp4")).to_be_visible()


def _press_until(page: Page, text: str) -> None:
    """Press Tab until the link with this text has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == text:
            return
    pytest.fail(f"Tab does not reach {text}")
