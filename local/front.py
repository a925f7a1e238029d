"""The front door: one origin for the home page, the REST API and the WebSocket, as CloudFront is on AWS."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler
from yarl import URL

from elasticrecode import headers
from local.place import ROOT, Place

_BODY_LIMIT = 10 * 1024 * 1024
_HOP_BY_HOP = {
    "connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_PASSED_ON = ("authorization", "origin", "user-agent", "sec-websocket-protocol")
_API = "/api"


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


def main() -> None:
    """Serve on loopback until stopped."""
    place = Place.read()
    stack = place.stack()
    site = ROOT / json.loads((ROOT / "cdk.json").read_text())["context"]["siteFolder"]
    web.run_app(
        application(site, stack["RestUrl"], stack["SocketUrl"], place.aws_url if place.auth == "cognito" else ""),
        host="127.0.0.1",
        port=place.port,
        print=None,
        access_log=None,  # what is asked for may have a ticket in it
        shutdown_timeout=2,
    )


if __name__ == "__main__":
    main()
