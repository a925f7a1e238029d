"""A wait that ends in vain tells why, and files are served as S3 serves them."""

import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser

from local.place import ROOT
from tests.players import driver
from tests.players.making import Making


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with driver.serving(ROOT / "docs" / "play") as address:
        yield address


def test_what_fails_beside_the_player_ends_its_wait_at_once(browser: Browser, site: str) -> None:
    def make() -> None:
        time.sleep(0.2)
        raise ValueError("no chunk 3")

    began = time.monotonic()
    with (
        driver.page(browser, "hls.js", site, making=Making(make)) as played,
        pytest.raises(ValueError, match="chunk 3"),
    ):
        played.until("video.ended")
    assert time.monotonic() - began < driver.WAIT / 2


def test_a_wait_in_vain_shows_the_player_the_folder_and_where_its_maker_is(
    browser: Browser, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "WAIT", 1.0)
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "video.m3u8").write_text("#EXTM3U\n#EXTINF:2.0,\nvideo-0.m4s\n")
    release = threading.Event()
    making = Making(release.wait)
    try:
        with driver.page(browser, "hls.js", site, tmp_path, making) as played, pytest.raises(AssertionError) as failed:
            played.until("video.ended === argument", True)
    finally:
        release.set()
    assert making.result(10)
    words = ("video.ended === argument did not come true with True", "currentTime", "readyState", "buffered", "levels",
             "errors", "early/video.m3u8: ", "    video-0.m4s", "what is made is at", "self._cond.wait")  # fmt: skip
    text = str(failed.value)
    assert [word for word in words if word not in text] == []


def test_a_file_that_changes_twice_in_a_second_is_read_anew(tmp_path: Path) -> None:
    """A browser that took it for unchanged would wait for ever for the rest of a playlist."""
    file, now = tmp_path / "video.m3u8", time.time() // 1
    with driver.serving(tmp_path) as address:
        request = urllib.request.Request(f"{address}/video.m3u8")
        for content in (b"one", b"two"):
            file.write_bytes(content)
            os.utime(file, (now, now))
            with urllib.request.urlopen(request) as answer:
                assert answer.read() == content
                seen = {"If-None-Match": answer.headers["ETag"], "If-Modified-Since": formatdate(now, usegmt=True)}
            request = urllib.request.Request(request.full_url, headers=seen)
        with pytest.raises(HTTPError, match="304"):
            urllib.request.urlopen(request)
