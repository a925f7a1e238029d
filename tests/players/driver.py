"""Drives the page of docs/play in Chromium, and waits for conditions of the page."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.conftest import ROOT
from tests.players.clips import CUE_SHOWN, RATE, cue
from tests.players.making import Making
from worker.uploads import GROWING

PLAYERS = ("hls.js", "shaka-player", "dash.js")
WAIT = 120.0
"""Seconds that a condition of the page may take on a busy machine."""
_LOOK = 0.5
"""Seconds after which a wait looks at what is made beside it."""
_LAST_LINES = 4
"""Lines of a playlist that a failure shows."""
_PROBE = (ROOT / "tests" / "players" / "probe.js").read_text()


class _Files(SimpleHTTPRequestHandler):
    """Serves a folder with byte ranges to pages of any origin.

    It tells contents apart by their ETag, as S3 does. By Last-Modified, which has whole seconds, a browser would keep a
    playlist that grows again in the second in which it was read.
    """

    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Range")
        self.send_header("Access-Control-Expose-Headers", "Content-Length, Content-Range")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        """CORS preflight requests."""
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """A file, or the range of it that the request names."""
        path, ranged = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        if self.headers.get("If-None-Match") == tag:
            return self._answer(304, path, tag, {}, b"")
        if not ranged:
            return self._answer(200, path, tag, {}, content)
        first, _, last = ranged.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        place = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        return self._answer(206, path, tag, place, content[start : end + 1])

    def _answer(self, status: int, path: Path, tag: str, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", GROWING)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Type", self.guess_type(str(path)))
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # players give up requests when they switch
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a folder, without a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def steadily(play: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `play` measures, the first time without a wait: a package that stalls a player does so each time of five.

    A machine that was busy for a moment does not.
    """
    for _ in range(4):
        if not (measured := play())["waits"]:
            return measured
    return play()


def entry(player: str) -> str:
    """The entry file of a package that a player plays best."""
    return "master.m3u8" if player == "hls.js" else "manifest.mpd"


class Played:
    """A package in a player: its page, and what the page shows."""

    def __init__(self, page: Page, name: str, folder: Path | None, making: Making[Any] | None) -> None:
        self.page, self.name = page, name
        self._folder, self._making = folder, making

    def open(self, url: str, keys: dict[str, str] | None = None, buffer_seconds: float = 3) -> None:
        """Load the package and wait until it plays. Errors that the page shows fail."""
        self.page.evaluate(
            "([url, name, keys, seconds]) => void play(url, name, keys, seconds)",
            [url, self.name, keys or {}, buffer_seconds],
        )
        self.until("at('error').textContent || !!playing")
        self.evaluate("playing && (probe.listen(playing.player), 0)")
        self.until("at('error').textContent || video.currentTime > 0.2")
        assert self.error() == ""

    def error(self) -> str:
        """The error that the page shows."""
        return self.page.locator("#error").inner_text()

    def until(self, condition: str, argument: Any = None) -> Any:
        """Wait for a condition of the page, an expression over `argument`; its value.

        What fails beside the page ends the wait with its error.
        """
        function = f"""async ([argument, milliseconds]) => {{
            for (const until = performance.now() + milliseconds;;) {{
                const value = {condition};
                if (value || performance.now() > until) return value;
                await new Promise((resolve) => setTimeout(resolve, 10));
            }}
        }}"""
        until = time.monotonic() + WAIT
        while not (value := self.page.evaluate(function, [argument, 1000 * _LOOK])):
            if self._making:
                self._making.check()
            assert time.monotonic() < until, f"{condition} did not come true with {argument}; {self.state()}"
        return value

    def state(self) -> str:
        """What the page and the player are at, what is in the package's folder, and where its maker is."""
        shown = {"error": self.error()} | self.evaluate("probe.state()")
        lines = [json.dumps({name: value}) for name, value in shown.items()]
        return "\n".join([*lines, *(listed(self._folder) if self._folder else []), str(self._making or "")])

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        """The value of an expression over `argument`."""
        return self.page.evaluate(f"async (argument) => ({expression})", argument)

    def rungs(self) -> list[dict[str, Any]]:
        """The rungs, narrowest first."""
        return sorted(self.evaluate("playing.rungs()"), key=lambda rung: int(rung["bitrate"]))

    def switch(self, times: int) -> list[int]:
        """Play on, and hold one rung after another; the width of the picture at each."""
        rungs, widths = self.rungs(), []
        assert len({rung["width"] for rung in rungs}) > 1
        order = _walk(rungs)
        for _ in range(times):
            rung = next(order)
            self.evaluate("playing.chooseRung(argument)", rung["id"])
            self.until("at('error').textContent || probe.shown()?.display === argument", rung["width"])
            assert self.error() == ""
            widths.append(rung["width"])
        return widths

    def seek(self, seconds: Sequence[float]) -> None:
        """Seek to each place while playing, wait for its frame, and until playback goes on from there."""
        for second in seconds:
            shown = self._first_from(
                second,
                second,
                "!video.seeking && video.currentTime > argument + 0.1 && probe.shown()?.time >= argument - 0.04"
                " && probe.shown()",
            )
            assert shown.get("hidden") or shown["number"] == round(shown["time"] * RATE), second
            assert shown["time"] < second + 5, second

    def _first_from(self, start: float, argument: float, condition: str) -> Any:
        """Play from a second; the first value of a condition.

        The page looks by itself: playback goes on while the machine holds up who waits.
        """
        self.evaluate(
            f"""(() => {{
                const [start, second] = argument;
                probe.found = null;
                clearInterval(probe.looking);
                video.currentTime = start;
                probe.looking = setInterval((argument) => {{
                    probe.found ||= {condition};
                    if (probe.found) clearInterval(probe.looking);
                }}, 10, second);
            }})()""",
            [start, argument],
        )
        return self.until("probe.found")

    def caption(self, language: str, second: int) -> None:
        """Play from a second at which a caption starts; wait until it is shown, at its time."""
        shown = self._first_from(
            second - 0.5,
            second,
            "!video.seeking && video.currentTime >= argument && probe.cues().length"
            " && [video.currentTime, ...probe.cues()]",
        )
        assert shown[1:] == [cue(language, second)]
        assert second <= shown[0] < second + CUE_SHOWN

    def choose(self, kind: str, language: str) -> None:
        """Choose the audio or the text of a language, and wait until a chosen text has cues.

        dash.js gives up the load of a text when it seeks at once, and does not load it again.
        """
        (track,) = (one for one in self.evaluate(f"playing.{kind.lower()}s()") if one["language"][:2] == language)
        self.evaluate(f"(playing.choose{kind}(argument), 0)", track["id"])
        if kind == "Text":
            self.until("[...video.textTracks].some((track) => track.mode === 'showing' && track.cues?.length)")


def _walk(rungs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rungs up, down, and over several steps; each differs in size from the one before."""
    before = None
    while True:
        for rung in [*rungs, *reversed(rungs), rungs[0], rungs[-1]]:
            if rung["width"] != before:
                before = rung["width"]
                yield rung


def listed(folder: Path) -> Iterator[str]:
    """The files of a folder, each with its bytes and how many seconds ago it was written, and the ends of playlists."""
    now = time.time()
    for file in sorted(folder.rglob("*"), key=lambda each: (each.stat().st_mtime, each)):
        if not file.is_file():
            continue
        yield f"{file.relative_to(folder)}: {file.stat().st_size} bytes, {now - file.stat().st_mtime:.1f} s ago"
        if file.suffix == ".m3u8":
            yield from (f"    {line}" for line in file.read_text().splitlines()[-_LAST_LINES:])


@contextmanager
def page(
    browser: Browser, name: str, site: str, folder: Path | None = None, making: Making[Any] | None = None
) -> Iterator[Played]:
    """The page of docs/play, served at `site`, with the probe in it.

    A failure shows what is in `folder`, that of the package. What fails in `making`, which makes the package meanwhile,
    ends every wait.
    """
    with browser.new_context() as context:
        opened = context.new_page()
        opened.add_init_script(_PROBE)
        opened.goto(f"{site}/index.html")
        opened.select_option("#player", name)
        yield Played(opened, name, folder, making)
