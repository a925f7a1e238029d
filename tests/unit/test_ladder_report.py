"""The report of a package's scores: figures of all rungs, and a page that loads nothing and escapes what it shows."""

import json
import re
from html.parser import HTMLParser

import pytest

from elasticrecode.jobs.events import Quality, VmafScore
from elasticrecode.media.profiles import Vmaf
from worker.quality.ladder_report import RungScore, json_report, render

PROFILE = Vmaf(scale="1920x1080", min=80)


def rung(
    codec: str, height: int, bitrate: int, mean: float, p5: float | None = None, dynamic: str = "sdr"
) -> RungScore:
    low = mean - 5 if p5 is None else p5
    return RungScore(
        name=f"{codec}-{height}p-{bitrate // 1000}k",
        uri=f"s3://out/film/v/{codec}-{height}p.mp4",
        width=height * 16 // 9,
        height=height,
        codec=codec,
        dynamicRange=dynamic,
        frameRate=25.0,
        bitrate=bitrate,
        vmaf=VmafScore(mean, mean - 1, low - 3, low, "vmaf_v0.6.1", 100),
        passed=mean >= 80,
    )


LADDER = [rung("h264", 1080, 6_000_000, 95), rung("h264", 720, 3_000_000, 85), rung("h264", 240, 200_000, 30)]


def quality(first: RungScore) -> Quality:
    return Quality(first.vmaf, passed=first.passed)


def page(rungs: list[RungScore], profile: Vmaf = PROFILE, source: str = "s3://in/film.mp4") -> str:
    return render(source, "s3://out/film/", profile, quality(rungs[0]), rungs)


def dots(html: str) -> list[tuple[float, float]]:
    """Percent from the left and the top of each dot of the curve."""
    found = re.findall(r'class="rung" cx="([\d.-]+)%" cy="([\d.-]+)%"', html)
    return [(float(x), float(y)) for x, y in found]


def test_the_document_has_the_figures_of_every_rung() -> None:
    document = json.loads(json_report("s3://in/film.mp4", "s3://out/film/", PROFILE, quality(LADDER[0]), LADDER))
    assert document["quality"]["vmaf"]["mean"] == 95
    assert [each["passed"] for each in document["rungs"]] == [True, True, False]
    low = document["rungs"][2]
    assert (low["height"], low["codec"], low["bitrate"]) == (240, "h264", 200_000)
    assert low["vmaf"] == {"mean": 30, "harmonicMean": 29, "min": 22, "p5": 25, "model": "vmaf_v0.6.1", "frames": 100}


def test_the_axis_of_bitrates_is_logarithmic() -> None:
    rungs = [rung("h264", 720, rate, 90) for rate in (8_000_000, 4_000_000, 2_000_000)]
    first, second, third = (x for x, _ in dots(page(rungs)))
    assert first - second == pytest.approx(second - third, abs=0.01)
    assert abs(first - second) > 10


def test_better_rungs_are_higher_and_all_lie_inside() -> None:
    places = dots(page(LADDER))
    assert places == sorted(places, key=lambda place: -place[1])
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in places)


def test_each_codec_and_dynamic_range_has_a_line() -> None:
    html = page([*LADDER, rung("h265", 1080, 4_500_000, 96), rung("h265", 1080, 5_400_000, 97, dynamic="hdr10")])
    assert html.count('class="line ') == 3
    assert "h265 hdr10</span>" in html


@pytest.mark.parametrize("scores", [(110, 105), (0, 0), (100, 100), (59.9, 3)])
def test_scores_of_any_model_lie_inside_the_curve(scores: tuple[float, float]) -> None:
    ((_, y),) = dots(page([rung("av1", 720, 1, *scores)]))
    assert 0 <= y <= 100


def test_the_page_says_whether_the_largest_rung_passes() -> None:
    assert "✓ Passed." in page(LADDER)
    assert "✗ Failed." in page([LADDER[2]])
    assert "The job sets no minimum." in render(
        "s3://in/f", "s3://out/f/", Vmaf(scale="1280x720"), Quality(LADDER[0].vmaf), LADDER
    )


def test_the_page_loads_nothing_and_escapes_names() -> None:
    html = page(LADDER, source='s3://in/<img src=x onerror="alert(1)">.mp4')
    assert "default-src 'none'" in html
    assert "<img" not in html
    assert "<script" not in html
    tags = set[str]()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not {"src", "href", "onerror"} & {name for name, _ in attrs}

    Tags().feed(html)
    assert {"svg", "table", "style"} <= tags
