"""Sends the requests of flows over HTTP, in both worlds. Redirects are not followed: a token stays with its host."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Iterable
from typing import NamedTuple

import httpx

from elasticrecode_client.calls import Answer, NotSent, Request
from elasticrecode_client.downloading import Fetch


class _WithoutLinks(logging.Filter):
    """Keeps links of S3, by which anyone can read or write a file, out of the lines that httpx logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True; the query of a link is removed."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                value.copy_with(query=None) if isinstance(value, httpx.URL) and b"X-Amz-" in value.query else value
                for value in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_WithoutLinks())

_PIECE = 1024 * 1024
_ANSWER_LIMIT = 256 * 1024 * 1024
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Options(NamedTuple):
    """Seconds to wait for a connection and for each piece of an answer."""

    connect: float
    read: float

    @property
    def timeout(self) -> httpx.Timeout:
        """The same for httpx."""
        return httpx.Timeout(self.read, connect=self.connect)


def send(http: httpx.Client, request: Request, content: bytes | Iterable[bytes] | None = None) -> Answer | NotSent:
    """The answer to a request; `content` in place of the request's own."""
    body = request.content if content is None else content
    try:
        with http.stream(request.method, request.url, headers=dict(request.headers), content=body) as response:
            received = bytearray()
            for piece in response.iter_bytes():
                received += piece
                _check_size(received)
            return Answer(response.status_code, _lower(response.headers), bytes(received))
    except (httpx.TransportError, httpx.DecodingError) as error:
        return _not_sent(error)


async def send_async(
    http: httpx.AsyncClient, request: Request, content: bytes | AsyncIterable[bytes] | None = None
) -> Answer | NotSent:
    """The same for asyncio."""
    body = request.content if content is None else content
    try:
        async with http.stream(request.method, request.url, headers=dict(request.headers), content=body) as response:
            received = bytearray()
            async for piece in response.aiter_bytes():
                received += piece
                _check_size(received)
            return Answer(response.status_code, _lower(response.headers), bytes(received))
    except (httpx.TransportError, httpx.DecodingError) as error:
        return _not_sent(error)


def fetch(http: httpx.Client, step: Fetch) -> Answer | NotSent:
    """The answer to a request for what a partial file lacks, which gets it."""
    try:
        with http.stream("GET", step.url, headers=dict(step.headers)) as response:
            with step.writing(response.status_code) as write:
                for piece in response.iter_raw(_PIECE):
                    write(piece)
            return Answer(response.status_code, {}, b"")
    except httpx.TransportError as error:
        return _not_sent(error)


async def fetch_async(http: httpx.AsyncClient, step: Fetch) -> Answer | NotSent:
    """The same for asyncio."""
    try:
        async with http.stream("GET", step.url, headers=dict(step.headers)) as response:
            with step.writing(response.status_code) as write:
                async for piece in response.aiter_raw(_PIECE):
                    write(piece)
            return Answer(response.status_code, {}, b"")
    except httpx.TransportError as error:
        return _not_sent(error)


def _check_size(received: bytearray) -> None:
    if len(received) > _ANSWER_LIMIT:
        raise httpx.DecodingError(f"the answer has more than {_ANSWER_LIMIT >> 20} MiB")


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _not_sent(error: Exception) -> NotSent:
    return NotSent(str(error) or type(error).__name__, not isinstance(error, _NEVER_SENT))
