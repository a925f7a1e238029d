"""A package as the worker makes it plays in every player, from each of its entries, and nothing is late at a seam."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from local.place import ROOT
from tests.packages.made import make_package
from tests.players import clips, driver

pytestmark = pytest.mark.alone

SECONDS, SWITCHES = 60, 6
RUNGS = [{"scale": "426:240", "bitrate": "300K"}, {"scale": "320:180", "bitrate": "200K"}]
PROFILE = {"package": {"segmentSeconds": 2, "speed": "fast", "ladder": RUNGS}, "audio": {"tracks": "all"}}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("made")
    package = make_package(clips.clip(folder / "clip.mp4", SECONDS), PROFILE, folder / "package")
    with driver.serving(package.folder) as address:
        yield address


@pytest.mark.parametrize(
    ("player", "entry"),
    [
        ("hls.js", "master.m3u8"),
        ("shaka-player", "master.m3u8"),
        ("shaka-player", "manifest.mpd"),
        ("dash.js", "manifest.mpd"),
    ],
)
def test_a_package_of_the_worker_plays_without_stall_gap_or_wrong_frame(
    player: str, entry: str, browser: Browser, media: str
) -> None:
    def play() -> dict[str, Any]:
        with driver.serving(ROOT / "docs" / "play") as site, driver.page(browser, player, site) as played:
            played.open(f"{media}/{entry}")
            played.evaluate("(probe.watch(argument), 0)", clips.RATE)
            assert len(played.switch(SWITCHES)) == SWITCHES
            return dict(played.evaluate("({...probe, video: probe.gap('video'), audio: probe.gap('audio')})"))

    measured = driver.steadily(play)
    assert measured["wrong"] == measured["waits"] == measured["jumps"] == []
    assert measured["frames"] > 25 * SWITCHES
    for kind in ("video", "audio"):
        assert measured[kind]["fragments"] > SWITCHES
        assert measured[kind]["gap"] <= 0.001, kind
