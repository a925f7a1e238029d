"""The HTML report of a score: its content, and that hostile names and outside resources stay out."""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from worker.quality.html_report import Moment, render

ORIGIN, INPUT = "s3://media/in/film.mov", "s3://media/out/film.mp4"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
HOSTILE = "s3://b/\"><script>alert(1)</script>\n' onload=x&amp;{{ 7 * 7 }}é影.mp4"
MOMENTS = [Moment(25 * n, float(n), 60 + n, b"origin%d" % n, b"input%d" % n) for n in range(5)]
POINTS = [(n / 25, 90.0) for n in range(250)]


class Page(HTMLParser):
    """A parsed page: its elements with their attributes, and its text without styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] and self.elements[-1][0] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def line(self, kind: str) -> list[tuple[float, float]]:
        """The points of a path: x from 0 to 1000, and the score."""
        paths = [str(path["d"]) for path in self.all("path") if path["class"] == kind]
        return [(float(x), 100 - float(y)) for path in paths for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]


def percent(attribute: str | None) -> float:
    return float(str(attribute).removesuffix("%"))


def html(
    points: Sequence[tuple[float, float]] = POINTS,
    moments: Sequence[Moment] = MOMENTS,
    passed: bool | None = None,
    figures: Mapping[str, float | None] | None = None,
    name: str = INPUT,
    warnings: Sequence[str] = ("The input has 1 frame less.",),
) -> str:
    return render(
        input=name,
        origin=name if name != INPUT else ORIGIN,
        figures=figures or {"VMAF mean": 93.126, "SSIM": 0.991},
        points=points,
        moments=moments,
        measured={"Model": "vmaf_v0.6.1", "Name": name},
        warnings=warnings,
        passed=passed,
    )


def test_hostile_names_are_shown_as_text() -> None:
    page = Page(html(name=HOSTILE, warnings=[HOSTILE], figures={HOSTILE: 1.0}))
    assert not page.all("script")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) == 5


def test_hostile_names_add_no_elements() -> None:
    assert [tag for tag, _ in Page(html(name=HOSTILE)).elements] == [tag for tag, _ in Page(html()).elements]


def test_the_page_loads_nothing_from_outside() -> None:
    page = html()
    assert not re.search(r"https?:|url\(|@import|<script|<link|<iframe|<object|javascript:", page, re.IGNORECASE)
    assert not re.search(r"""\b(?:href|srcset|action)=|src=(?!"data:image/jpeg;base64,)""", page)
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in Page(page).all("meta")


def test_the_page_has_a_language_a_title_and_a_viewport() -> None:
    page = Page(html())
    assert page.all("html") == [{"lang": "en"}]
    assert "film.mp4 · VMAF report" in page.text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_every_label_refers_to_an_element() -> None:
    page = Page(html())
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    references = [str(attributes.get("aria-labelledby", "")).split() for _, attributes in page.elements]
    assert len(ids) == len(set(ids))
    assert {one for names in references for one in names} <= set(ids)


def test_one_bad_frame_in_100_000_is_drawn() -> None:
    points = [(n / 25, 12.5 if n == 61_803 else 95.0) for n in range(100_000)]
    page = Page(html(points))
    low, mean = page.line("low"), page.line("mean")
    dip = [x for x, score in low if score == 12.5]
    assert dip == [pytest.approx(618.03, abs=0.02)]
    assert len(low) == len(mean) == 1000
    assert min(score for _, score in mean) == pytest.approx(95 - 82.5 / 100, abs=0.01)
    assert "12.50 at 41:12.120" in page.text


def test_a_short_film_is_drawn_frame_by_frame() -> None:
    page = Page(html(points=[(n / 25, n / 10) for n in range(1000)]))
    assert len(page.line("low")) == 1000
    assert not page.line("mean")


def test_frames_hours_apart_are_drawn() -> None:
    """Two frames per column at the start, and one frame hours later."""
    points = [(n / 25, 90.0) for n in range(1100)] + [(36_000.0, 40.0)]
    assert Page(html(points)).line("low")[-1] == (1000, 40)


@pytest.mark.parametrize(
    ("end", "ticks"),
    [
        (5, ["0:00", "0:01", "0:02", "0:03", "0:04", "0:05"]),
        (600, ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]),
        (5400, ["0:00", "15:00", "30:00", "45:00", "1:00:00", "1:15:00", "1:30:00"]),
        (90_000, ["0:00", "4:00:00", "8:00:00", "12:00:00", "16:00:00", "20:00:00", "24:00:00"]),
    ],
)
def test_ticks_are_at_round_times(end: int, ticks: list[str]) -> None:
    page = html(points=[(0.0, 90.0), (float(end), 90.0)])
    assert re.findall(r'text-anchor="middle">(\d+:[\d:]+)<', page) == ticks


def test_moments_are_marked_at_their_time_and_score() -> None:
    page = Page(html(points=[(0.0, 90.0), (10.0, 90.0)]))
    dots = [(percent(at["cx"]), percent(at["cy"])) for at in page.all("circle") if at["class"] == "dot"]
    assert dots == [(10 * n, 40 - n) for n in range(5)]


@pytest.mark.parametrize("second", [0.0, 5.0, 10.0, 99.0])
def test_numbers_of_marks_at_the_same_time_do_not_overlap(second: float) -> None:
    page = Page(html(points=[(0.0, 90.0), (10.0, 90.0)], moments=[one._replace(seconds=second) for one in MOMENTS]))
    positions = [percent(at["cx"]) for at in page.all("circle") if at["class"] == "flag"]
    assert [right - left for left, right in pairwise(positions)] == [6.5] * 4
    assert 0 <= positions[0] <= positions[-1] <= 100


def test_each_moment_shows_both_pictures() -> None:
    page = Page(html())
    pictures = [(str(image["src"]).partition("base64,")[2], image["alt"]) for image in page.all("img")]
    assert [(b64decode(data), alt) for data, alt in pictures] == [
        (b"%s%d" % (side.lower().encode(), n), f"{side}, frame {25 * n} at 0:0{n}.000")
        for n in range(5)
        for side in ("Origin", "Input")
    ]
    assert "VMAF 61.00 at 0:01.000" in page.text


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([(0.0, 80.0)], [(0, 80), (1000, 80)]),
        ([(7.5, 80.0)], [(0, 80), (1000, 80)]),
        ([(0.0, 100.0), (1.0, 100.0)], [(0, 100), (1000, 100)]),
        ([(0.0, 0.0), (1.0, 0.0)], [(0, 0), (1000, 0)]),
        ([(0.0, -1.0), (1.0, 101.0)], [(0, 0), (1000, 100)]),
    ],
)
def test_a_single_point_and_equal_points_are_drawn(
    points: list[tuple[float, float]], line: list[tuple[float, float]]
) -> None:
    assert Page(html(points, moments=[])).line("low") == line


def test_points_at_equal_times_are_drawn() -> None:
    assert Page(html(points=[(0.0, 90.0)] * 2000)).line("low")


def test_the_page_says_when_it_has_no_moments_and_no_points() -> None:
    page = Page(html(points=[], moments=[], warnings=[]))
    assert "There are no pictures." in page.text
    assert "No frame was scored." in page.text
    assert "Warning" not in page.text


@pytest.mark.parametrize(
    ("passed", "verdict"),
    [
        (True, "✓ Passed. The score reaches the required minimum."),
        (False, "✗ Failed. The score is below the required minimum."),
        (None, "The job sets no minimum."),
    ],
)
def test_the_verdict_says_whether_the_minimum_is_reached(passed: bool | None, verdict: str) -> None:
    text = Page(html(passed=passed)).text
    assert verdict in text
    assert ("Passed" in text, "Failed" in text) == (passed is True, passed is False)


def test_figures_are_rounded_and_undefined_ones_are_dashes() -> None:
    figures = {"VMAF mean": 93.126, "SSIM": 0.99126, "PSNR (dB)": float("inf"), "MS-SSIM": None}
    shown = re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd></div>", html(figures=figures))
    assert shown == [("VMAF mean", "93.13"), ("SSIM", "0.9913"), ("PSNR (dB)", "∞"), ("MS-SSIM", "–")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.9996, "1:00.000"), (3599.9996, "1:00:00.000"), (9.9994, "0:09.999"), (36_061.5, "10:01:01.500")],
)
def test_times_do_not_round_to_sixty(seconds: float, text: str) -> None:
    assert f" at {text}" in html(moments=[MOMENTS[0]._replace(seconds=seconds)])
