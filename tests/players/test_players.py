"""Packages of `worker.packaging` in hls.js, shaka-player and dash.js, in Chromium."""

import json
import random
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from local.place import TOOLS
from tests.conftest import ROOT
from tests.players import clips, driver
from tests.sizes import SEED, sized
from worker.packaging.package import pack
from worker.packaging.tracks import Encrypted
from worker.sandbox.runner import Runner
from worker.settings import Settings

pytestmark = pytest.mark.alone

FFMPEG, FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "node", "pod", FFMPEG, FFPROBE)
SECONDS = 120
SIZES = ((160, 90), (320, 180), (426, 240))
KEY_ID, KEY = "00112233445566778899aabbccddeeff", "0123456789abcdef0123456789abcdef"
SWITCHES, SEEKS = sized(8, 20, 20), sized(15, 50, 50)
LADDERS = sized(["h264"], ["h264", "av1"], ["h264", "av1"])
PLAY = ROOT / "docs" / "play"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with driver.serving(PLAY) as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("players")


@pytest.fixture(scope="module")
def media(folder: Path) -> Iterator[str]:
    with driver.serving(folder) as address:
        yield address


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    return clips.clip(folder / "clip.mp4", SECONDS)


def packaged(folder: Path, source: Path, codec: str, scheme: str = "") -> str:
    """Package the clip below the folder; the package's path there."""
    name = f"{codec}{scheme}"
    if (folder / name).exists():
        return name
    work = folder / f"{name}-work"
    work.mkdir()
    encryption = Encrypted(scheme, "key.bin", bytes.fromhex(KEY), bytes.fromhex(KEY_ID)) if scheme else None  # type: ignore[arg-type]
    result = pack(
        clips.encoded(source, work, codec, SIZES),
        formats=["hls"] if scheme == "aes-128" else ["hls", "dash"],
        segment=Fraction(2),
        gop=Fraction(2),
        encryption=encryption,
        thumbnails=clips.sprites(source, work, SECONDS),
        version="0123456789",
        folder=work,
        settings=SETTINGS,
        runner=Runner(),
    )
    for file, path in result.files:
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for place in ("", "0123456789"):
        (folder / name / place / "key.bin").write_bytes(bytes.fromhex(KEY))
    return name


@pytest.mark.parametrize("codec", LADDERS)
@pytest.mark.parametrize("player", driver.PLAYERS)
def test_a_player_switches_rungs_and_seeks_without_stall_gap_or_wrong_frame(
    player: str, codec: str, browser: Browser, site: str, media: str, folder: Path, source: Path
) -> None:
    """Switches, then seeks: each frame that is shown is the one of its time."""
    address = f"{media}/{packaged(folder, source, codec)}/{driver.entry(player)}"

    def play() -> dict[str, Any]:
        with driver.page(browser, player, site) as played:
            played.open(address)
            played.evaluate("(probe.watch(argument), 0)", clips.RATE)
            assert len(played.switch(SWITCHES)) == SWITCHES
            return dict(played.evaluate("({...probe, video: probe.gap('video'), audio: probe.gap('audio')})"))

    measured = driver.steadily(play)
    assert measured["wrong"] == measured["waits"] == measured["jumps"] == []
    assert measured["frames"] > 25 * SWITCHES
    assert {int(width) for width in measured["widths"]} == {width for width, _ in SIZES}
    for kind in ("video", "audio"):
        assert measured[kind]["fragments"] > SWITCHES
        assert measured[kind]["gap"] <= 0.001, kind
    with driver.page(browser, player, site) as played:
        played.open(address)
        played.evaluate("(probe.watch(argument), 0)", clips.RATE)
        places = random.Random(SEED)
        played.seek([(places.randrange(clips.RATE * (SECONDS - 3)) + 0.5) / clips.RATE for _ in range(SEEKS)])
        assert played.evaluate("probe.wrong") == []


@pytest.mark.parametrize("player", driver.PLAYERS)
def test_a_player_speaks_another_language_and_shows_its_captions(
    player: str, browser: Browser, site: str, media: str, folder: Path, source: Path
) -> None:
    with driver.page(browser, player, site) as played:
        played.open(f"{media}/{packaged(folder, source, 'h264')}/{driver.entry(player)}")
        for language in ("en", "fr", "en"):
            played.choose("Audio", language)
            played.until("Math.abs(probe.pitch() - argument) < 30", clips.PITCHES[language])
        for language, second in (("fr", 8), ("fr", 40), ("en", 80)):
            played.choose("Text", language)
            played.caption(language, second)
        assert played.error() == ""


@pytest.mark.parametrize("player", ["shaka-player", "dash.js"])
def test_a_player_shows_the_thumbnail_of_a_position(
    player: str, browser: Browser, site: str, media: str, folder: Path, source: Path
) -> None:
    with driver.page(browser, player, site) as played:
        played.open(f"{media}/{packaged(folder, source, 'h264')}/{driver.entry(player)}")
        for second in (1, 30, 61, 101, 115):
            number = played.evaluate("probe.pictured(await playing.thumbnail(argument))", second)
            start = second // 4 * 4
            assert start * clips.RATE <= number <= (start + 4) * clips.RATE, second


@pytest.mark.parametrize(("player", "scheme"), [("shaka-player", "cbcs"), ("dash.js", "cbcs"), ("hls.js", "aes-128")])
def test_a_player_decrypts_a_package(
    player: str, scheme: str, browser: Browser, site: str, media: str, folder: Path, source: Path
) -> None:
    with driver.page(browser, player, site) as played:
        keys = {KEY_ID: KEY} if scheme == "cbcs" else None
        played.open(f"{media}/{packaged(folder, source, 'h264', scheme)}/{driver.entry(player)}", keys)
        played.evaluate("(probe.watch(argument), 0)", clips.RATE)
        played.switch(3)
        played.seek([50.5, 10.1, 90.3])
        assert played.evaluate("probe.wrong") == []
        decoded = played.evaluate("video.getVideoPlaybackQuality().totalVideoFrames")
        assert decoded > 50
        assert played.error() == ""


def test_the_page_says_that_hls_js_cannot_decrypt_cbcs(
    browser: Browser, site: str, media: str, folder: Path, source: Path
) -> None:
    with driver.page(browser, "hls.js", site) as played:
        url = f"{media}/{packaged(folder, source, 'h264', 'cbcs')}/master.m3u8"
        played.evaluate("void play(argument, 'hls.js')", url)
        played.until("at('error').textContent")
        assert "choose shaka-player or dash.js" in played.error()


def test_the_page_says_why_a_package_does_not_play(browser: Browser, site: str, media: str) -> None:
    for player in driver.PLAYERS:
        with driver.page(browser, player, site) as played:
            played.page.get_by_label("Address").fill(f"{media}/none/master.m3u8")
            played.page.get_by_role("button", name="Play").click()
            played.until("at('error').textContent")
            assert f"{player} cannot play this package" in played.error()
            assert "CORS" in played.error()


def test_the_players_of_the_page_are_those_of_the_lock() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    listed = (PLAY / "players" / "README.md").read_text()
    for file, package, place in (
        ("hls.min.js", "hls.js", "dist/hls.min.js"),
        ("shaka-player.js", "shaka-player", "dist/shaka-player.compiled-es2021.js"),
        ("dash.all.min.js", "dashjs", "dist/modern/umd/dash.all.min.js"),
    ):
        version = lock[f"node_modules/{package}"]["version"]
        assert f"| [{file}]({file}) | {package} {version} |" in listed
        assert (PLAY / "players" / file).read_bytes() == (ROOT / "node_modules" / package / place).read_bytes(), file
