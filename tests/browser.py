"""The browser of tests: Debian's Chromium, which `make browser` installs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]


_START_MILLISECONDS = 180_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that plays without a click. Without one the test fails, and says what brings it."""
    path = shutil.which("chromium")
    if not path:
        pytest.fail("There is no Chromium. Run: make browser", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS, timeout=_START_MILLISECONDS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of a module's tests."""
    with chromium() as browser:
        yield browser
