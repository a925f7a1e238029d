"""What a call is, apart from how it is sent: methods describe calls, `exchange` makes flows, `client` runs these.

A flow is a generator of steps. It knows nothing of sockets: the client sends each request, or waits, and gives the
answer back. So every rule is written once, for `Client` as for `AsyncClient`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from elasticrecode_client.client import AsyncClient, Client

_LOCK_SECONDS = 0.02

T = TypeVar("T")
P = ParamSpec("P")


class Request(NamedTuple):
    """One HTTP request to send. It may hold a token, so its representation leaves headers and body out."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method} {self.url.split('?', 1)[0]})"


class Pause(NamedTuple):
    """Seconds to wait before the flow goes on."""

    seconds: float


class Answer(NamedTuple):
    """An HTTP answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class NotSent(NamedTuple):
    """No answer came: `sent` is False where the request certainly reached nobody."""

    reason: str
    sent: bool


Flow = Generator[Any, Any, T]
"""Steps that end in a T. A `Request` is answered by an `Answer` or a `NotSent`, a `Pause` by None; `following`,
`uploading` and `downloading` have more steps."""


def taken(lock: Lock) -> Flow[None]:
    """Take a lock that other flows may hold, in this thread or in others; whoever takes it releases it."""
    while not lock.acquire(blocking=False):
        yield Pause(_LOCK_SECONDS)


def run(flow: Flow[T], take: Callable[[Any], Any]) -> T:
    """The end of a flow; `take` takes one step and returns its outcome."""
    outcome: Any = None
    with closing(flow):  # a step that raises leaves no lock taken
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = take(step)


async def run_async(flow: Flow[T], take: Callable[[Any], Awaitable[Any]]) -> T:
    """The same for asyncio."""
    outcome: Any = None
    with closing(flow):
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await take(step)


class Me:
    """Stands for the client's own user, where a call names none."""


ME = Me()
User = str | Me


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request to a route: parameters of its path and query, its body, and how its answer is read."""

    route: str
    path: Mapping[str, str | Me] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    """A parameter that is None is left out."""
    body: Mapping[str, Any] | None = None
    """A field that is None is left out."""
    key: str | None = None
    """The Idempotency-Key; None: a new one, where the route takes one."""
    read: Callable[[Any], T] = lambda content: content


class Method(Generic[P, T]):
    """A method of both clients: it returns a T on `Client`, and is a coroutine of a T on `AsyncClient`."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe
        self._describe = describe

    @overload
    def __get__(self, client: None, owner: Any = None) -> Method[P, T]: ...
    @overload
    def __get__(self, client: Client, owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: Any = None) -> Any:
        """The method of a client, which runs the call."""
        if client is None:
            return self

        @functools.wraps(self._describe.__get__(client))
        def method(*arguments: P.args, **options: P.kwargs) -> T | Awaitable[T]:
            result: T | Awaitable[T] = client.run(client.exchange.call(self._describe(client, *arguments, **options)))
            return result

        return method


class Listing(Generic[P, T]):
    """A method of both clients that iterates over a list of the API, page after page, as they are needed."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[list[T]]]) -> None:
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe
        self._describe = describe

    @overload
    def __get__(self, client: None, owner: Any = None) -> Listing[P, T]: ...
    @overload
    def __get__(self, client: Client, owner: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: Any = None) -> Any:
        """The method of a client, which reads the pages."""
        if client is None:
            return self

        @functools.wraps(self._describe.__get__(client))
        def method(*arguments: P.args, **options: P.kwargs) -> Iterator[T] | AsyncIterator[T]:
            entries: Iterator[T] | AsyncIterator[T] = client.pages(self._describe(client, *arguments, **options))
            return entries

        return method
