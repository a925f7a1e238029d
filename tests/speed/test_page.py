"""How fast the home page is, in Chromium on the deployed stack. Runs alone: a busy machine makes frames late."""

import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from elasticrecode.clock import now_ms
from tests.browser import browser
from tests.conftest import Tell
from tests.e2e.conftest import Deployed, deployed, wait_for
from tests.e2e.page.conftest import Opened, keep_texts, opened, wait_for_text
from tests.e2e.page.crowds import write_jobs
from tests.sizes import sized

__all__ = ["browser", "deployed", "opened"]

pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]
ROWS = 10_000
MANY = sized(ROWS, 100_000, 1_000_000)
CROWD = "crowd"
EVENTS_A_SECOND, SECONDS = 500, sized(15, 60, 60)
PACK = 10
HOUR_OF_EVENTS = sized(40_000, 180_000, 180_000)
T = TypeVar("T", int, float)
PAINT_MS = 1000
FRAME_MS = 50
"""Of 20 frames, 19 take no longer, beside the test that drives the page on the same two cores."""
WATCH_FRAMES = """() => {
  window.frames_ = []; let last = performance.now();
  const next = (now) => { frames_.push(now - last); last = now; window.watching = requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""
LISTED = """performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/api/v1/jobs?'))
  .map((entry) => entry.duration)"""
"""The milliseconds of each page of jobs that was read."""
FRAMES = "() => { cancelAnimationFrame(watching); return frames_.slice(1); }"


def calmest(frames: Callable[[], list[float]]) -> list[float]:
    """The frames of the first run whose p95 is within FRAME_MS, else of the last of three.

    A page that makes frames late does so in each; a machine that was busy for a moment does not.
    """
    for _ in range(2):
        if percentile(measured := frames(), 0.95) <= FRAME_MS:
            return measured
    return frames()


def percentile(values: Sequence[T], share: float) -> T:
    """The value that this share of the values does not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]


@pytest.fixture(scope="module")
def crowd(deployed: Deployed) -> str:
    """A user with 10,000 finished jobs."""
    write_jobs(deployed, CROWD, ROWS)
    return CROWD


def test_the_first_load_is_light_and_soon_painted(opened: Opened, tell: Tell) -> None:
    page = opened("/")
    expect(page.get_by_role("status")).to_have_text("live")
    loaded: list[str] = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    own = [url for url in loaded if "/static/" in url]
    packed = sum(len(gzip.compress(page.request.get(url).body(), 6)) for url in [*own, page.url.partition("#")[0]])
    paint = _ms_to_paint(page)
    for _ in range(4):  # a stall of the machine makes one late, and not all of five
        paint = min(paint, _ms_to_paint(opened("/")) if paint >= PAINT_MS else paint)
    tell("home page, first load", {"KB": round(packed / 1000), "files": len(own), "ms to first paint": round(paint)})
    assert not [url for url in own if "hls" in url]
    assert packed < 150_000
    assert paint < PAINT_MS


def _ms_to_paint(page: Page) -> float:
    """Milliseconds from the start of a page's load to its first content."""
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0")
    return float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))


def test_a_list_of_10_000_jobs_is_quick_and_smooth(opened: Opened, crowd: str, tell: Tell) -> None:
    page = opened("/jobs", acts_for=crowd)
    table = page.get_by_role("table", name="Jobs")
    expect(table.get_by_role("link", name="09999.mp4")).to_be_visible()
    page.evaluate(WATCH_FRAMES)

    def reached_the_end() -> bool:
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.wait_for_timeout(50)
        return bool(table.get_by_role("link", name="00000.mp4").count())

    wait_for(reached_the_end, "the last row", 400)
    frames = page.evaluate(FRAMES)
    assert int(table.get_attribute("aria-rowcount") or 0) == ROWS + 1
    assert table.get_by_role("row").count() < 120
    timings: list[float] = page.evaluate(LISTED)
    tell(
        "home page, 10,000 rows",
        {
            "pages": len(timings),
            "ms a page, p95": round(percentile(timings, 0.95)),
            "ms a frame, p95": round(percentile(frames, 0.95)),
            "ms of the longest frame": round(max(frames)),
        },
    )
    assert len(timings) >= ROWS / 100
    assert percentile(frames, 0.95) <= FRAME_MS
    _scroll_back(page)


def _scroll_back(page: Page) -> None:
    """Through all rows in two seconds, with the wheel."""

    def frames() -> list[float]:
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        expect(page.get_by_role("link", name="00000.mp4")).to_be_visible()
        page.evaluate(WATCH_FRAMES)
        for _ in range(40):
            page.mouse.wheel(0, -ROWS * 38 / 40)
            page.wait_for_timeout(50)
        return list(page.evaluate(FRAMES))

    assert percentile(calmest(frames), 0.95) <= FRAME_MS
    expect(page.get_by_role("link", name="09999.mp4")).to_be_visible()


@pytest.mark.timeout(3600)
def test_a_page_of_jobs_takes_no_longer_for_what_lies_behind_it(opened: Opened, deployed: Deployed, tell: Tell) -> None:
    medians = list[int]()
    for user, count in (("few", 1_000), ("many", MANY)):
        newest = _settled(deployed, user, count)
        for state in ("", "finished"):
            timings = sorted(_ms_a_page(opened(f"/jobs?state={state}", acts_for=user), newest, count))
            medians.append(percentile(timings, 0.5))
            shown = {"ms, median": medians[-1], "ms, p95": percentile(timings, 0.95)}
            tell(f"home page, 100 {state or 'jobs'} of {count:,}", shown)
    assert medians[2] < 2 * medians[0] + 20
    assert medians[3] < 2 * medians[1] + 20


def _settled(deployed: Deployed, user: str, count: int) -> float:
    """Finished jobs of a user, of which all functions have heard; when the last was made, in Unix seconds."""
    newest = write_jobs(deployed, user, count)
    overview = f"/api/v1/overview?userID={user}"
    wait_for(lambda: deployed.call("GET", overview)[1]["states"]["finished"] == count, "the jobs' events", 3000)
    return newest


def _ms_a_page(page: Page, newest: float, count: int) -> list[int]:
    """How long each of thirty pages of 100 jobs, all over the list, takes from its request to its last byte."""
    timings = list[int]()
    table = page.get_by_role("table", name="Jobs")
    for n in range(30):
        at = count - 1 - n * (count - 200) // 30
        page.evaluate("performance.clearResourceTimings()")
        page.evaluate(
            """(until) => {
              const [path, query] = location.hash.slice(1).split("?"), parameters = new URLSearchParams(query);
              parameters.set("until", until);
              location.hash = `${path}?${parameters}`;
            }""",
            newest - (count - 1 - at),
        )
        expect(table.get_by_role("row").nth(1)).to_contain_text(f"{at - 1:05}.mp4")
        timings.append(round(page.evaluate(LISTED)[0]))
    return timings


class Feed:
    """A feed as /ws sends it, in place of the stack's, which takes about 1,000 events a second at most."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self.sockets: list[WebSocketRoute] = []
        self.sent = 0
        page.route_web_socket("**/ws?*", lambda socket: self.sockets.append(socket))
        page.goto(url)
        self.wait_for_connections(1)

    def wait_for_connections(self, count: int) -> None:
        """Until the page has connected so often."""

        def have_come() -> bool:
            self._page.wait_for_timeout(50)
            return len(self.sockets) >= count

        wait_for(have_come, "the page's WebSocket")

    def send(self, count: int) -> None:
        """Events of 200 jobs that start, report progress and finish."""
        self.sockets[-1].send(json.dumps(list(self._events(count))))

    def _events(self, count: int) -> Iterator[dict[str, Any]]:
        for _ in range(count):
            n, self.sent = self.sent, self.sent + 1
            job, step = f"job-{n % 200 + 200 * (n // 10_000)}", (n // 200) % 50
            action = {0: "JobStart", 49: "JobFinished"}.get(step, "JobProgress")
            event = {"ts": int(time.time()), "userID": "ann", "jobID": job, "action": action, "eventID": f"e{n}"}
            event |= {"tsMs": now_ms(), "cursor": f"c{n}", "attempt": 1, "job": {"input": f"s3://b/{job}.mp4"}}
            yield event | ({"progress": {"percent": 2.0 * step, "etaSeconds": 9}} if action == "JobProgress" else {})


def test_500_events_a_second_leave_the_page_smooth(opened: Opened, deployed: Deployed, tell: Tell) -> None:
    page = opened(None)
    feed = Feed(page, deployed.place.url)
    rates = list[float]()

    def run() -> list[float]:
        page.evaluate(WATCH_FRAMES)
        began, before, passed = time.monotonic(), feed.sent, 0.0
        while passed < SECONDS:
            page.wait_for_timeout(10)
            passed = time.monotonic() - began
            while feed.sent - before < EVENTS_A_SECOND * passed:  # what a stall held up follows it
                feed.send(PACK)
        rates.append((feed.sent - before) / (time.monotonic() - began))
        return list(page.evaluate(FRAMES))

    frames, rate = calmest(run), rates[-1]
    tell(
        "home page, events",
        {
            "events a second": round(rate),
            "frames": len(frames),
            "ms a frame, p95": round(percentile(frames, 0.95)),
            "ms of the longest frame": round(max(frames)),
        },
    )
    assert rate > 0.95 * EVENTS_A_SECOND
    assert percentile(frames, 0.95) <= FRAME_MS
    expect(page.get_by_role("link", name="job-0.mp4")).to_be_visible()


def test_an_hours_events_leave_the_memory_flat(opened: Opened, deployed: Deployed, tell: Tell) -> None:
    page = opened(None)
    feed = Feed(page, deployed.place.url)
    session = page.context.new_cdp_session(page)

    def heap() -> float:
        page.wait_for_timeout(300)
        session.send("HeapProfiler.collectGarbage")
        return float(page.evaluate("performance.memory.usedJSHeapSize")) / 1e6

    after = []
    for _ in range(4):
        for _ in range(HOUR_OF_EVENTS // 4 // 500):
            feed.send(500)
            page.wait_for_timeout(5)
        after.append(heap())
    tell(
        "home page, memory",
        {"events": feed.sent, "MB × 10 at a quarter": round(10 * after[0]), "at the end": round(10 * after[3])},
    )
    assert after[3] < after[0] + 3


def test_the_page_says_that_it_lost_the_connection_and_goes_on_where_it_was(opened: Opened, deployed: Deployed) -> None:
    page = opened(None)
    feed = Feed(page, deployed.place.url)
    feed.send(5)
    page.wait_for_timeout(300)
    keep_texts(page)
    feed.sockets[-1].close(code=1001, reason="going away")
    wait_for_text(page, "connection lost")
    feed.wait_for_connections(2)
    expect(page.get_by_role("status")).to_have_text("live")
    assert "after=c4" in feed.sockets[-1].url
