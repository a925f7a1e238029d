"""A job's output beside its source, and its scores, in Chromium on the deployed stack."""

import time
from statistics import fmean
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.page.conftest import Opened, violations
from tests.e2e.test_deployed import BUNNY, Clips
from tests.players.clips import RATE, clip

pytestmark = pytest.mark.alone

BAD = range(80, 87)
"""Frames of the output that are blurred."""
NUMBERS = """() => {
  const canvas = new OffscreenCanvas(4, 4), context = canvas.getContext("2d", { willReadFrequently: true });
  window.videos = () => [...document.querySelectorAll(".pane video")];
  window.numbers = () => videos().map((video) => {
    context.drawImage(video, 0, 0, 4, 4);
    const { data } = context.getImageData(0, 0, 4, 4);
    return Array.from({ length: 16 }, (_, n) => (data[4 * n] > 128 ? 1 << n : 0)).reduce((a, b) => a + b);
  });
}"""
SAMPLES = """async (count) => {
  const found = [];
  while (found.length < count) {
    await new Promise(requestAnimationFrame);
    found.push(numbers());
  }
  return found;
}"""
BRIGHTEST = """() => {
  const canvas = document.querySelector(".sum canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let most = 0;
  for (let n = 0; n < data.length; n++) if (n % 4 < 3) most = Math.max(most, data[n]);
  return [canvas.width, most];
}"""
"""The difference before it is amplified: the width of the picture, and the highest of its samples."""


def finished(deployed: Deployed, route: str, profile: dict[str, Any], **fields: str) -> dict[str, Any]:
    """The record of a job at its end."""
    status, answer, _ = deployed.call("POST", f"/api/v1/{route}", contract("job") | fields | {"profile": profile})
    assert status == 200, answer
    record = deployed.until((answer[0] if isinstance(answer, list) else answer)["jobid"], "finished", "failed")
    assert record["error"] is None
    return record


@pytest.fixture(scope="module")
def numbered(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip whose frames show their numbers."""
    return deployed.put(clip(tmp_path_factory.mktemp("watch") / "numbers.mp4", 24), "watch/numbers.mp4")


@pytest.fixture(scope="module")
def bad(deployed: Deployed, clips: Clips) -> dict[str, Any]:
    """A score of a real clip of which a few frames are blurred."""
    blur = f"gblur=sigma=12:enable='between(n,{BAD[0]},{BAD[-1]})'"
    path = clips("blurred.mp4", "-i", str(BUNNY), "-vf", blur, "-c:v", "libx264", "-crf", "20", "-an")
    both = {"input": deployed.put(path, "watch/blurred.mp4"), "origin": deployed.put(BUNNY, "watch/bunny.mp4")}
    scoring = {"vmaf": {"scale": "360p"}}
    return finished(deployed, "vmaf", scoring, output=f"s3://{deployed.bucket}/watch-scores/", **both)


def watch(opened: Opened, record: dict[str, Any], sides: int = 2, parameters: str = "", **options: object) -> Page:
    """The player of a job, with a picture on each side."""
    page = opened(f"/watch/{record['jobID']}{parameters}", **options)
    shown = (
        "(sides) => [...document.querySelectorAll('.pane video')].filter((each) => each.readyState > 1).length >= sides"
    )
    page.evaluate(NUMBERS)
    page.wait_for_function(shown, arg=sides, timeout=60_000)
    return page


def position(page: Page) -> Locator:
    return page.locator(".position")


def wait_for_numbers(page: Page, number: int) -> None:
    """Wait until both sides show the frame of a number."""
    page.wait_for_function("(number) => numbers().every((each) => each === number)", arg=number, timeout=60_000)


def in_step(page: Page) -> bool:
    """Whether both sides play within half a frame of each other, by their pixels, and seldom a whole frame apart.

    A browser that has no processor for a moment falls out of step, so this watches until both have played for a second
    without, at most twelve times, from the beginning of the clip.
    """
    for _ in range(12):
        pairs = page.evaluate(SAMPLES, 90)
        apart = [source - output for source, output in pairs]
        is_moving = pairs[-1][1] > pairs[0][1] + RATE / 2
        if is_moving and abs(fmean(apart)) < 0.5 and sum(abs(each) <= 1 for each in apart) > 0.9 * len(apart):
            return True
        page.get_by_label("Position").fill("0")
    return False


def test_output_and_source_play_in_step_and_stop_on_the_same_frame(
    opened: Opened, deployed: Deployed, numbered: str
) -> None:
    encode = {"codec": "h264", "scale": "240p", "bitrate": "1M"}
    record = finished(deployed, "jobs", {"ffmpeg": encode}, input=numbered, output=f"s3://{deployed.bucket}/watch-out/")
    page = watch(opened, record)
    page.keyboard.press("Space")
    assert in_step(page)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    page.wait_for_function("() => numbers()[0] === numbers()[1]")
    stopped = page.evaluate("numbers()")[0]
    for key, step in ((".", 1), (".", 2), (",", 1), (",", 0), (",", -1)):
        page.keyboard.press(key)
        wait_for_numbers(page, stopped + step)
    expect(position(page)).to_contain_text(f"frame {stopped - 1}")


def test_the_worst_frames_are_two_clicks_from_the_job(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(f"/job/{bad['jobID']}")
    page.get_by_role("link", name="Watch the result").click()
    worst = page.get_by_role("group", name="Worst frames").get_by_role("button")
    expect(worst).to_have_count(5)
    worst.first.click()
    expect(position(page)).to_contain_text(f"frame {BAD[0]}")
    frames = "[...document.querySelectorAll('.pane video')].map((each) => Math.floor(25 * each.currentTime)).join()"
    page.wait_for_function(f"(wanted) => {frames} === wanted", arg=f"{BAD[0]},{BAD[0]}")


def test_worst_moments_are_pictures_of_both_sides_and_the_chart_seeks(opened: Opened, bad: dict[str, Any]) -> None:
    page = watch(opened, bad)
    page.get_by_role("heading", name="Score over time").scroll_into_view_if_needed()
    moments = page.locator(".moments li")
    expect(moments).to_have_count(5)
    expect(moments.first).to_contain_text(f"Frame {BAD[0]} at 0:03.200")
    is_sharper = """([source, output]) => {
      const detail = (canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let sum = 0;
        for (let n = 4; n < data.length; n += 4) sum += Math.abs(data[n] - data[n - 4]);
        return sum / data.length;
      };
      if (source.width < 100 || output.width < 100) return false;
      return detail(source) > 3 * detail(output) && detail(output) > 0;
    }"""
    wait_for(lambda: moments.first.locator("canvas").evaluate_all(is_sharper), "the pictures of both sides")
    chart = page.locator(".scores .u-over")
    box = chart.bounding_box()
    assert box
    chart.hover(position={"x": box["width"] * 0.5, "y": 40})
    expect(page.locator(".readout")).to_contain_text("VMAF")
    frame = page.locator(".readout").inner_text().split()[1]
    chart.click(position={"x": box["width"] * 0.5, "y": 40})
    expect(position(page)).to_contain_text(f"frame {frame}")


def test_the_difference_of_equal_files_is_black_and_that_of_others_is_not(
    opened: Opened, deployed: Deployed, numbered: str, bad: dict[str, Any]
) -> None:
    equal = finished(
        deployed, "vmaf", {"vmaf": {"scale": "240p"}},
        input=numbered, origin=numbered, output=f"s3://{deployed.bucket}/watch-same/",
    )  # fmt: skip
    page = watch(opened, equal)
    page.get_by_role("radio", name="Difference").check()
    page.wait_for_function(f"() => ({BRIGHTEST})()[0] === 426")
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    page.keyboard.press("Space")
    for _ in range(5):  # while it plays, a browser may show a frame before it says so
        page.keyboard.press(".")
        page.wait_for_timeout(300)
        page.wait_for_function(f"() => ({BRIGHTEST})().join() === '426,0'")
    page = watch(opened, bad)
    expect(page.get_by_role("group", name="Worst frames").get_by_role("button")).to_have_count(5)
    page.keyboard.press("3")
    page.keyboard.press("w")
    expect(position(page)).to_contain_text(f"frame {BAD[0]}")
    page.wait_for_function(f"() => {{ const [width, most] = ({BRIGHTEST})(); return width === 1280 && most > 30; }}")


def test_a_package_plays_rung_by_rung_with_sprites(opened: Opened, deployed: Deployed, numbered: str) -> None:
    ladder = [{"scale": "240p", "bitrate": "600K"}, {"scale": "180:102", "bitrate": "200K"}]
    profile = {
        "package": {"formats": ["hls"], "segmentSeconds": 2, "ladder": ladder},
        "images": {"sprite": {"everySeconds": 2, "width": 96}},
    }
    record = finished(deployed, "jobs", profile, input=numbered, output=f"s3://{deployed.bucket}/watch package/")
    page = watch(opened, record)
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/links") else None)
    rungs = page.get_by_label("Rung").locator("option")
    expect(rungs).to_have_count(2)
    page.keyboard.press("Space")
    assert in_step(page)
    page.keyboard.press("Space")
    page.get_by_label("Rung").select_option(index=1)
    page.wait_for_function("() => document.querySelectorAll('.pane video')[1].videoWidth < 200", timeout=60_000)
    page.locator(".bar").hover()
    page.wait_for_function("() => document.querySelector('.sprite img')?.naturalWidth >= 96")
    assert len(asked) < 12


def test_the_outputs_of_two_jobs_are_compared_frame_by_frame(opened: Opened, deployed: Deployed, numbered: str) -> None:
    def made(profile: dict[str, Any], folder: str) -> dict[str, Any]:
        output = f"s3://{deployed.bucket}/watch-two/{folder}/"
        return finished(deployed, "jobs", profile, userid="pair", input=numbered, output=output)

    cut = made({"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M", "start": 2}}, "cut")
    ladder = [{"scale": "240p", "bitrate": "600K"}]
    whole = made({"package": {"formats": ["hls"], "segmentSeconds": 2, "ladder": ladder}}, "whole")
    page = opened("/jobs", acts_for="pair")
    compare = page.get_by_role("button", name="Compare")
    boxes = page.get_by_role("checkbox", name="Select numbers.mp4")
    expect(boxes).to_have_count(2)
    boxes.first.check()
    expect(compare).to_be_disabled()
    boxes.last.check()
    compare.click()
    expect(page.locator(".pane figcaption").first).to_contain_text(cut["jobID"][:8])
    expect(page.locator(".pane figcaption").nth(1)).to_contain_text(whole["jobID"][:8])
    page.evaluate(NUMBERS)
    wait_for_numbers(page, 2 * RATE)
    page.keyboard.press(".")
    wait_for_numbers(page, 2 * RATE + 1)
    page.keyboard.press("Space")
    assert in_step(page)
    assert violations(page) == []
    swapped = watch(opened, cut, parameters=f"?beside={whole['jobID']}")
    wait_for_numbers(swapped, 2 * RATE)


def test_outputs_of_other_lengths_and_parts_are_compared_where_both_have_a_picture(
    opened: Opened, deployed: Deployed, numbered: str
) -> None:
    def made(folder: str, **part: int) -> dict[str, Any]:
        encode = {"codec": "h264", "scale": "240p", "bitrate": "1M"} | part
        output = f"s3://{deployed.bucket}/watch-parts/{folder}/"
        return finished(deployed, "jobs", {"ffmpeg": encode}, userid="pair", input=numbered, output=output)

    long, short, late = made("long"), made("short", end=3), made("late", start=20)
    page = watch(opened, long, parameters=f"?beside={short['jobID']}")
    page.get_by_label("Position").fill("5")
    wait_for = "([side, number]) => numbers()[side] >= number"
    page.wait_for_function(wait_for, arg=[1, 5 * RATE - 1])
    page.keyboard.press("Space")
    page.wait_for_function(wait_for, arg=[1, 7 * RATE], timeout=60_000)
    page.wait_for_function("(number) => numbers()[0] === number", arg=3 * RATE - 1)
    page = watch(opened, short, sides=1, parameters=f"?beside={late['jobID']}")
    expect(page.get_by_text("is of another part of the film")).to_be_visible()
    page.keyboard.press("Space")
    page.wait_for_function(wait_for, arg=[1, RATE], timeout=60_000)


def test_links_are_renewed_at_the_frame_on_the_screen(opened: Opened, bad: dict[str, Any]) -> None:
    page = opened(f"/job/{bad['jobID']}")

    def shorten(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"expiresAt": int(time.time()) + 63})

    page.route("**/links", shorten)
    page.get_by_role("link", name="Watch the result").click()
    page.evaluate(NUMBERS)
    page.wait_for_function("() => videos().length === 2 && videos().every((each) => each.readyState > 1)")
    page.get_by_role("group", name="Worst frames").get_by_role("button").first.click()
    before = page.evaluate("videos().map((each) => each.src)")
    renewed = "(before) => videos().every((each, n) => each.src !== before[n] && each.readyState > 1 && !each.seeking)"
    page.wait_for_function(renewed, arg=before, timeout=60_000)
    page.wait_for_function("(time) => videos().every((each) => Math.abs(each.currentTime - time) < 0.02)", arg=3.22)


def test_a_source_that_no_browser_decodes_leaves_the_output(opened: Opened, deployed: Deployed, clips: Clips) -> None:
    path = clips("prores.mov", "-i", str(BUNNY), "-t", "2", "-c:v", "prores_ks", "-c:a", "aac")
    encode = {"codec": "h264", "scale": "240p", "bitrate": "1M"}
    uri = deployed.put(path, "watch/prores.mov")
    record = finished(deployed, "jobs", {"ffmpeg": encode}, input=uri, output=f"s3://{deployed.bucket}/watch-alone/")
    page = watch(opened, record, sides=1)
    expect(page.get_by_text("cannot decode prores.mov")).to_be_visible()
    expect(page.get_by_role("group", name="View")).to_have_count(0)
    page.keyboard.press(".")
    expect(position(page)).to_contain_text("frame 1")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_wrong_with_the_player(opened: Opened, bad: dict[str, Any], width: int, scheme: str) -> None:
    options: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "bypass_csp": True}
    page = watch(opened, bad, **options)
    page.get_by_role("heading", name="Score over time").scroll_into_view_if_needed()
    expect(page.locator(".moments li")).to_have_count(5)
    for mode in ("Side by side", "Slider", "Difference"):
        page.get_by_role("radio", name=mode).check()
        assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
