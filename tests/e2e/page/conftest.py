"""The home page of the deployed stack, in Chromium."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from local import users
from tests.browser import browser
from tests.conftest import ROOT
from tests.e2e.conftest import PASSWORD, Deployed

__all__ = ["browser"]

_MILLISECONDS = 60_000
expect.set_options(timeout=_MILLISECONDS)
Opened = Callable[..., Page]
"""Opens an address behind `#`, or a blank page for None, as a user, an operator unless another is named.

An operator acts for all users or, with `acts_for`, for one. Further arguments are the browser context's.
"""


@pytest.fixture
def page(browser: Browser, deployed: Deployed) -> Iterator[Page]:
    """The home page in a new browser context, before anybody has signed in."""
    with browser.new_context() as context:
        context.set_default_timeout(_MILLISECONDS)
        page = context.new_page()
        logged = log_of(page)
        page.goto(deployed.place.url)
        yield page
        assert faults(logged) == []


@pytest.fixture
def opened(browser: Browser, deployed: Deployed) -> Iterator[Opened]:
    """Opens views of the page for a user who has signed in."""
    contexts, logs = list[BrowserContext](), list[list[str]]()

    def open_(address: str | None = "/", user: str = users.OPERATOR, acts_for: str = "", **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(_MILLISECONDS)
        contexts.append(context)
        token = deployed.signed(user)["Authorization"].removeprefix("Bearer ")
        context.add_init_script(
            f"sessionStorage.getItem('token') ?? sessionStorage.setItem('token', '{token}');"
            f"localStorage.getItem('user') ?? localStorage.setItem('user', '{acts_for}');"
        )
        page = context.new_page()
        logs.append(log_of(page))
        if address is not None:
            page.goto(f"{deployed.place.url}#{address}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [faults(logged) for logged in logs] == [[]] * len(logs)


def log_of(page: Page) -> list[str]:
    """What the page writes to its console, and its uncaught errors, as they come."""
    logged = list[str]()
    page.on("console", lambda message: logged.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: logged.append(f"Error: {error}"))
    return logged


def faults(logged: list[str]) -> list[str]:
    """Violations of the page's policy, and uncaught errors."""
    return [line for line in logged if "Content Security Policy" in line or "Error:" in line]


def keep_texts(page: Page) -> None:
    """Keep what the page shows from now on for `wait_for_text`."""
    page.evaluate(
        """() => {
          const look = () => { window.texts += document.body.textContent + "\\n"; };
          window.texts = "";
          new MutationObserver(look).observe(document.body, { childList: true, characterData: true, subtree: true });
        }"""
    )


def wait_for_text(page: Page, text: str) -> None:
    """Wait until the page has shown a text, also one that is gone by now, as a notice after six seconds."""
    page.wait_for_function("(text) => texts.includes(text)", arg=text)


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is: rule and place."""
    page.evaluate((ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]]
