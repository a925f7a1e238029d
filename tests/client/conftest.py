"""A misbehaving server for each test, and both clients behind one face."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elasticrecode_client import AsyncClient, Client, exchange
from tests.client.server import Server


class Blocking:
    """An AsyncClient whose methods wait, so that one test tries both clients."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.inner = AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        if not callable(member):
            return member

        def method(*arguments: Any, **options: Any) -> Any:
            result = member(*arguments, **options)
            if inspect.isawaitable(result):
                return self.runner.run(self._await(result))
            if hasattr(result, "following"):
                return BlockingWatch(result, self.runner)
            return self._entries(result) if hasattr(result, "__anext__") else result

        return method

    async def _await(self, result: Any) -> Any:
        return await result

    def _entries(self, entries: Any) -> Iterator[Any]:
        while True:
            try:
                yield self.runner.run(self._await(anext(entries)))
            except StopAsyncIteration:
                return

    def end(self) -> None:
        self.runner.run(self.inner.close())
        self.runner.close()


class BlockingWatch:
    """An AsyncWatch in the same way."""

    def __init__(self, watch: Any, runner: asyncio.Runner) -> None:
        self._watch, self._runner = watch, runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._watch, name)
        if not callable(member):
            return member

        async def wait(*arguments: Any, **options: Any) -> Any:
            return await member(*arguments, **options)

        return lambda *arguments, **options: self._runner.run(wait(*arguments, **options))

    def __enter__(self) -> "BlockingWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        while (event := self.next_event()) is not None:
            yield event


Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of whoever runs the tests, short pauses between tries."""
    for name in ("URL", "AUTH", "TOKEN", "USERNAME", "PASSWORD", "USER", "PROFILE", "REGION"):
        monkeypatch.delenv(f"ELASTICRECODE_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(exchange, "_FIRST_SECONDS", 0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes clients, of both kinds in turn."""
    opened: list[Any] = []

    def client(*arguments: Any, **options: Any) -> Any:
        options = {"patience": 60.0} | options
        opened.append(Client(*arguments, **options) if request.param == "sync" else Blocking(*arguments, **options))
        return opened[-1]

    yield client
    for one in opened:
        one.end() if isinstance(one, Blocking) else one.close()


@pytest.fixture
def client(make: Make, server: Server) -> Any:
    """A client of the server, without authentication."""
    return make(server.url)
