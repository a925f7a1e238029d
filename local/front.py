"""The front door: one origin for the home page, the REST API and the WebSocket, in place of CloudFront."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
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
from infra import options
from local.place import ROOT, Place

_BODY_LIMIT = 10 * 1024 * 1024
_NOT_FORWARDED = {
    "connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_API = "/api"
_LINE_LIMIT, _HEADER_LIMIT = 8_190, 10_240
"""Bytes of a request line and of a header, about those of CloudFront and API Gateway."""
_NO_CLOSE_CODE = (1005, 1006, 1015)
"""Codes that say how a connection ended without one; they cannot be sent."""
_log = logging.getLogger("front")

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def application(
    site: Path, rest_url: str, socket_url: str, sign_in_url: str = "", media: Sequence[str] = ()
) -> web.Application:
    """The routes: `site` at /, /docs and /static, the API below /api, the WebSocket at /ws.

    `media` are origins of files.
    """
    front = _Front(site, rest_url, socket_url, headers.page(sign_in_url, media))
    app = web.Application(client_max_size=_BODY_LIMIT, middlewares=[_as_problems])
    app.cleanup_ctx.append(front.client)
    app.on_response_prepare.append(front.add_headers)
    app.router.add_get("/", front.index)
    app.router.add_get("/index", front.index)
    app.router.add_get("/docs", front.docs)
    app.router.add_static("/static", site / "static")
    app.router.add_get("/ws", front.socket)
    app.router.add_route("*", _API + "{rest:(/.*)?}", front.api)
    return app


class _Front:
    """The handlers of the routes."""

    def __init__(self, site: Path, rest_url: str, socket_url: str, page: Mapping[str, str]) -> None:
        self._index, self._docs = site / "index.html", site / "docs.html"
        self._rest_url, self._socket_url, self._page = rest_url, socket_url, page

    async def client(self, _: web.Application) -> AsyncIterator[None]:
        """Opens the client of the embedded AWS, and closes it with the application."""
        timeout = aiohttp.ClientTimeout(total=35)
        connector = aiohttp.TCPConnector(limit=0)  # each watcher holds a connection
        async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout, connector=connector) as session:
            self._session = session
            yield

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that CloudFront adds, to all answers but the API's."""
        if request.path != _API and not request.path.startswith(f"{_API}/"):
            response.headers.update(self._page)

    async def index(self, _: web.Request) -> web.FileResponse:
        """The home page."""
        return web.FileResponse(self._index, headers={"Cache-Control": "no-cache"})

    async def docs(self, _: web.Request) -> web.FileResponse:
        """The page that shows the API's descriptions. Raises HTTPNotFound where a site of one's own has none."""
        if not self._docs.exists():
            raise web.HTTPNotFound
        return web.FileResponse(self._docs, headers={"Cache-Control": "no-cache"})

    async def api(self, request: web.Request) -> web.Response:
        """The API's answer; bodies pass unchanged, compressed or not."""
        url = URL(self._rest_url + request.raw_path.removeprefix(_API), encoded=True)
        body = await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=_forwarded(request.headers), data=body, allow_redirects=False
            ) as answer:
                return web.Response(
                    status=answer.status,
                    headers=[
                        (name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_FORWARDED
                    ],
                    body=await answer.read(),
                )
        except (aiohttp.ClientError, TimeoutError):
            return _unreachable()

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket joined to one of the embedded AWS, until either end closes."""
        url = URL(f"{self._socket_url}?{request.rel_url.raw_query_string}", encoded=True)
        given = {
            name: value
            for name, value in _forwarded(request.headers).items()
            if not name.lower().startswith("sec-websocket-") or name.lower() == "sec-websocket-protocol"
        }
        try:
            behind = await self._session.ws_connect(url, headers=given, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status)
        except (aiohttp.ClientError, TimeoutError):
            return _unreachable()
        before = web.WebSocketResponse(max_msg_size=0)
        await before.prepare(request)
        pumps = [asyncio.create_task(_pump(before, behind)), asyncio.create_task(_pump(behind, before))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await before.close(code=_close_code(behind.close_code))
        await behind.close(code=_close_code(before.close_code))
        return before


async def _pump(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type == WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _close_code(received: int | None) -> int:
    """The close code to send to one end when the other has closed with `received`."""
    return WSCloseCode.INTERNAL_ERROR if received in _NO_CLOSE_CODE else received or WSCloseCode.OK


def _forwarded(given: Mapping[str, str]) -> dict[str, str]:
    """The headers that are not of one connection only."""
    return {name: value for name, value in given.items() if name.lower() not in _NOT_FORWARDED}


def _unreachable() -> web.Response:
    detail = "The embedded AWS does not answer; `make up` starts it, `make logs` shows why it stopped."
    return _problem(502, "Not reachable", detail)


def _problem(status: int, title: str, detail: str) -> web.Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(status=status, content_type="application/problem+json", text=json.dumps(problem))


@web.middleware
async def _as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors of the front door itself, in the form of the API's errors."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(error.status, error.reason, error.text or "")


class _Connection(web.RequestHandler):
    """A client's connection. Malformed requests are neither echoed nor logged, as they may hold a token."""

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        detail = "The request is not valid HTTP."
        if isinstance(exc, LineTooLong):
            detail = f"The request line may have {_LINE_LIMIT} bytes, each header {_HEADER_LIMIT}."
        _log.warning("A request was refused: %s", detail)
        answer = _problem(400, "Bad Request", detail)
        answer.force_close()
        return answer


@asynccontextmanager
async def listening(app: web.Application, port: int) -> AsyncIterator[asyncio.Server]:
    """Serve on loopback while in the context."""
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    routes, loop = cast(web.Server, runner.server), asyncio.get_running_loop()

    def connection() -> _Connection:
        return _Connection(
            routes,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # queries may hold a ticket
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
    async with listening(app, port) as server:
        await server.serve_forever()


def main() -> None:
    """Serve on loopback until killed."""
    place = Place.read()
    stack = place.stack()
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    site = ROOT / options.read({**context, **place.options()}).siteFolder
    sign_in_url = place.aws_url if place.auth == "cognito" else ""
    app = application(site, stack["RestUrl"], stack["SocketUrl"], sign_in_url, [place.aws_url])
    asyncio.run(_serve(app, place.port))


if __name__ == "__main__":
    main()
