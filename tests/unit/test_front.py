"""The local front door and unusual requests, over real sockets."""

import asyncio
import gzip
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local.front import application, listening
from tests.conftest import ROOT

SITE = ROOT / "web"
SECRET = "c2VjcmV0"


async def ask(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to the bytes of a request, after which the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\r\n".join(parts))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def sent(*parts: bytes, api: Callable[[web.Request, bytes], Any] = lambda *_: None) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of the front door's answer; the API behind it answers with the result of `api`."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(api(request, await request.read()))

    async def run() -> tuple[int, dict[str, str], Any]:
        behind = web.Application(handler_args={"auto_decompress": False, "max_field_size": 20_000})
        behind.router.add_route("*", "/{rest:.*}", answer)
        async with (
            TestServer(behind) as server,
            listening(application(SITE, str(server.make_url("")).rstrip("/"), "ws://127.0.0.1:9"), 0) as door,
        ):
            status, headers, body = await ask(door.sockets[0].getsockname()[1], *parts)
            return status, headers, json.loads(body)

    return asyncio.run(run())


def posted(body: bytes, *headers: bytes) -> tuple[bytes, ...]:
    length = b"Content-Length: %d" % len(body)
    return b"POST /api/v1/jobs HTTP/1.1", b"Host: localhost", b"Connection: close", length, *headers, b"", body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("body", [b'{"a": 1}', gzip.compress(b'{"a": 1}')], ids=["plain", "compressed"])
def test_a_body_passes_unchanged(coding: str, body: bytes) -> None:
    request = posted(body, b"Content-Encoding: " + coding.encode())
    status, _, got = sent(*request, api=lambda request, body: [request.headers["Content-Encoding"], body.hex()])
    assert (status, got) == (200, [coding, body.hex()])


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((b"GET /api HTTP/1.1", b"Authorization: " + SECRET.encode() * 2_000), "each header 10240"),
        ((b"GET /api?ticket=" + SECRET.encode() * 2_000 + b" HTTP/1.1",), "request line may have 8190"),
        ((b"GET /api HTTP/1.1", b"Authorization: " + SECRET.encode() + b"\0"), "not valid HTTP"),
        ((b"GET /api HTTP/1.1", b"Authorization " + SECRET.encode()), "not valid HTTP"),
        ((b"PUT /api HTTP/1.1", b"Transfer-Encoding: chunked", b"", SECRET.encode()), "not valid HTTP"),
        ((SECRET.encode(),), "not valid HTTP"),
    ],
    ids=["a long header", "a long line", "a header with NUL", "a header without colon", "a broken chunk", "no HTTP"],
)
def test_a_malformed_request_is_neither_echoed_nor_logged(
    parts: tuple[bytes, ...], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, headers, got = sent(*parts, b"Host: localhost", b"", b"")
    assert (status, headers["Content-Type"].partition(";")[0]) == (400, "application/problem+json")
    assert why in got["detail"]
    assert why in caplog.text
    assert SECRET[:4] not in str(got) + caplog.text


def test_a_header_of_10_000_bytes_passes() -> None:
    token = "x" * 10_000
    request = posted(b"{}", b"Authorization: " + token.encode())
    status, _, got = sent(*request, api=lambda request, _: request.headers["Authorization"] == token)
    assert (status, got) == (200, True)
