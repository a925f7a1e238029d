"""A film plays in hls.js while its package is made, to its end, and then is a whole one without a reload."""

import threading
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from playwright.sync_api import Browser

from elasticrecode.jobs.events import Notice
from local.place import ROOT
from tests.e2e.conftest import STALL_SECONDS
from tests.players import clips, driver
from tests.players.growing import GrowingFilm, mirrored
from tests.players.making import Making
from worker.sandbox.runner import Runner

pytestmark = pytest.mark.alone

SECONDS, LATE = 30, 2
"""The length of the film, and the number of the chunk that is late."""


def test_a_film_plays_in_hls_js_while_its_chunks_are_encoded_and_ends_whole(browser: Browser, tmp_path: Path) -> None:
    """The player comes to the end of what there is, as a chunk is late, and goes on when it is there."""
    source, shown = clips.clip(tmp_path / "clip.mp4", SECONDS), tmp_path / "shown"
    shown.mkdir()
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="media")
        film = GrowingFilm(source, SECONDS, tmp_path, s3)
        mirrored(s3, shown)

        def make() -> list[Notice]:
            with film.playback(tmp_path / "job", Runner()) as playback:
                for number in range(len(film.chunks)):
                    if number == LATE:
                        assert is_waiting.wait(driver.WAIT), "the player does not wait for the late chunk"
                    film.encode(number)
            return playback.notices

        is_waiting = threading.Event()
        began = time.monotonic()
        making = Making(make)
        making.until((shown / "early.m3u8").exists, "the file that players open", driver.WAIT)
        ready = time.monotonic() - began
        played = _play(browser, shown, making, is_waiting, float(film.chunks[LATE].start))
        assert making.result(driver.WAIT) == []
    print(f"playable after {ready:.1f} s; {played}")
    assert played["before"] == {"live": True, "type": "EVENT"}
    assert played["after"] == {"live": False, "type": "EVENT"}
    assert played["early"] < SECONDS - 2
    assert abs(played["duration"] - SECONDS) < 0.1
    assert played["loads"] == 1
    assert all(abs(each - 2 * round(each / 2)) < 0.2 for each in played["starved"])  # at the end of a segment
    assert abs(played["stopped"] - float(film.chunks[LATE].start)) < 0.2
    assert played["resumed"] < 10 + STALL_SECONDS
    assert played["ended"]
    assert played["wrong"] == played["jumps"] == []
    for kind in ("video", "audio"):
        assert played[kind]["fragments"] > SECONDS / 2 - 2
        assert played[kind]["gap"] <= 0.001, kind


def _play(
    browser: Browser, folder: Path, making: Making[Any], is_waiting: threading.Event, late: float
) -> dict[str, Any]:
    """Play from the start to the end; what the player and the page tell. The player stops at second `late`."""
    details = "(({live, type}) => ({live, type}))(playing.player.levels[0].details)"
    with (
        driver.serving(folder) as media,
        driver.serving(ROOT / "docs" / "play") as site,
        driver.page(browser, "hls.js", site, folder, making) as played,
    ):
        played.open(f"{media}/early.m3u8")
        before, early = played.evaluate(details), played.evaluate("video.duration")
        played.evaluate(
            "(probe.loads = 1, playing.player.on('hlsManifestLoading', () => probe.loads++), probe.watch(argument), 0)",
            clips.RATE,
        )
        played.until("at('error').textContent || video.readyState < 3 && video.currentTime > argument", late - 0.2)
        stopped = played.evaluate("video.currentTime")
        is_waiting.set()
        began = time.monotonic()
        played.until("at('error').textContent || video.currentTime > argument + 0.2", stopped)
        resumed = time.monotonic() - began
        played.until("at('error').textContent || video.ended")
        assert played.error() == ""
        after = played.evaluate(details)
        return {
            "before": before,
            "after": after,
            "early": early,
            "stopped": stopped,
            "resumed": resumed,
            **played.evaluate(
                "({loads: probe.loads, ended: video.ended, duration: video.duration, waits: probe.waits,"
                " starved: probe.starved, wrong: probe.wrong, jumps: probe.jumps, frames: probe.frames,"
                " video: probe.gap('video'), audio: probe.gap('audio')})"
            ),
        }
