"""The front door: one origin for the home page, the REST API and the WebSocket, as CloudFront is on AWS."""

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Handler
from yarl import URL

from elasticrecode.api import headers
from local.place import ROOT, Place

_BODY_LIMIT = 10 * 1024 * 1024
_HOP_BY_HOP = {
    "connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_PASSED_ON = ("authorization", "origin", "user-agent", "sec-websocket-protocol")
_API = "/api"
_LINE_LIMIT, _HEADER_LIMIT = 8_190, 10_240
"""Bytes of a request line and of a header, about those of CloudFront and API Gateway."""
_log = logging.getLogger("front")


def application(site: Path, rest_url: str, socket_url: str, sign_in_url: str = "") -> web.Application:
    """The front door's routes."""
    page = headers.page(sign_in_url)

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(site / "index.html", headers={"Cache-Control": "no-cache"})

    async def api(request: web.Request) -> web.Response:
        path = request.raw_path.removeprefix(_API)
        try:
            async with sessions[0].request(
                request.method,
                URL(rest_url + path, encoded=True),
                headers=_forwarded(request),
                data=await request.read(),
                allow_redirects=False,
            ) as answer:
                return web.Response(
                    status=answer.status,
                    headers=[
                        (name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
                    ],
                    body=await answer.read(),
                )
        except (aiohttp.ClientError, TimeoutError):
            return _unreachable()

    async def socket(request: web.Request) -> web.StreamResponse:
        passed_on = {name: value for name, value in request.headers.items() if name.lower() in _PASSED_ON}
        target = URL(f"{socket_url}?{request.rel_url.raw_query_string}", encoded=True)
        try:
            behind = await sessions[0].ws_connect(target, headers=passed_on, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status)
        except (aiohttp.ClientError, TimeoutError):
            return _unreachable()
        before = web.WebSocketResponse(max_msg_size=0)
        await before.prepare(request)
        opened.add(before)
        pumps = [asyncio.create_task(_pump(before, behind)), asyncio.create_task(_pump(behind, before))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await before.close(code=_told(behind.close_code))
        await behind.close(code=_told(before.close_code))
        opened.discard(before)
        return before

    async def guard(request: web.Request, response: web.StreamResponse) -> None:
        """Give answers the headers that CloudFront gives them: all but the API's, which have theirs."""
        if request.path != _API and not request.path.startswith(f"{_API}/"):
            response.headers.update(page)

    async def close_sockets(_: web.Application) -> None:
        await asyncio.gather(*(each.close(code=WSCloseCode.GOING_AWAY) for each in set(opened)))

    opened: set[web.WebSocketResponse] = set()
    sessions: list[aiohttp.ClientSession] = []

    async def session(_: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=35),
            connector=aiohttp.TCPConnector(limit=0),  # each watcher holds one
        ) as client:
            sessions.append(client)
            yield

    app = web.Application(client_max_size=_BODY_LIMIT, middlewares=[_as_problems])
    app.cleanup_ctx.append(session)
    app.on_response_prepare.append(guard)
    app.on_shutdown.append(close_sockets)
    app.router.add_get("/", index)
    app.router.add_get("/index", index)
    app.router.add_static("/static", site / "static")
    app.router.add_get("/ws", socket)
    for path in (_API, f"{_API}/{{rest:.*}}"):
        app.router.add_route("*", path, api)
    return app


def _told(code: int | None) -> int:
    """A close code as it may be passed on: what only says that none came is not one."""
    return WSCloseCode.INTERNAL_ERROR if code in (1005, 1006, 1015) else code or WSCloseCode.OK


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type == WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _forwarded(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}


def _unreachable() -> web.Response:
    detail = "The embedded AWS does not answer; `make up` starts it, `make logs` shows why it stopped."
    return _problem(502, "Not reachable", detail)


def _problem(status: int, title: str, detail: str) -> web.Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(status=status, content_type="application/problem+json", text=json.dumps(problem))


@web.middleware
async def _as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the front door refuses itself is told like everything else that is refused."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(error.status, error.reason, error.text or "")


class _Connection(web.RequestHandler):
    """A client's connection. What is no proper request is neither repeated nor logged: it may have a token in it."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        detail = "This is not a proper HTTP request."
        if isinstance(exc, LineTooLong):
            detail = f"The request line may have {_LINE_LIMIT} bytes, each header {_HEADER_LIMIT}."
        _log.warning("A request was refused: %s", detail)
        answer = _problem(400, "Bad Request", detail)
        answer.force_close()
        return answer


@asynccontextmanager
async def listening(app: web.Application, port: int) -> AsyncIterator[asyncio.Server]:
    """Answer on loopback while in the context. Bodies go to the routes as they came, compressed or not."""
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    routes, loop = cast(web.Server, runner.server), asyncio.get_running_loop()

    def connection() -> _Connection:
        return _Connection(
            routes,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # what is asked for may have a ticket in it
            auto_decompress=False,
            max_line_size=_LINE_LIMIT,
            max_field_size=_HEADER_LIMIT,
        )

    server = await loop.create_server(connection, "127.0.0.1", port)
    try:
        yield server
    finally:
        server.close()
        await runner.cleanup()


async def _serve(app: web.Application, port: int) -> None:
    """Answer until told to stop."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with listening(app, port):
        await stopped.wait()


def main() -> None:
    """Serve on loopback until stopped."""
    place = Place.read()
    stack = place.stack()
    site = ROOT / json.loads((ROOT / "cdk.json").read_text())["context"]["siteFolder"]
    app = application(site, stack["RestUrl"], stack["SocketUrl"], place.aws_url if place.auth == "cognito" else "")
    asyncio.run(_serve(app, place.port))


if __name__ == "__main__":
    main()
