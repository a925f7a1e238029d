"""A server that answers like a deployment, and misbehaves as it is told: real sockets, on this machine."""

import asyncio
import json
import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

USER, TOKEN = "ann", "a-token"
PART = 1024


@dataclass
class Reply:
    """One answer: after `seconds`, or `broken` off without one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    broken: bool = False


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    target: str = ""
    """Path and query as they came over the wire."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Answers routes by `replies`, each used once, then by `always`; feeds WebSockets and keeps uploads."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = defaultdict(list)
        self.always: dict[str, Any] = {
            "GET /api/v1": {"server": "ElasticRecode", "version": "1.0.0", "userID": USER, "operator": False}
        }
        self.seen: list[Seen] = []
        self.events: list[dict[str, Any]] = []
        self.cuts: list[int] = []
        """After how many events each next connection breaks."""
        self.tickets: set[str] = set()
        self.uploads: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        """Idempotency-Key → the upload that was begun with it."""
        self.frames: list[str] = []
        self.sockets = 0
        """How many WebSockets have opened: each gets the events that happen from then on."""
        self.silent = False
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def requests(self, route: str) -> list[Seen]:
        """The requests to a route."""
        return [one for one in self.seen if f"{one.method} {one.path}" == route]

    def event(self, job_id: str, action: str, **more: Any) -> None:
        """Something happens to a job."""
        number = len(self.events)
        event = {"jobID": job_id, "action": action, "cursor": str(number), "eventID": f"e{number}", "userID": USER}
        self.events.append({**event, "tsMs": int(time.time() * 1000), **more})

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_get("/ws", self._socket)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{port}"

    async def _end(self) -> None:
        """End what is still at work: asyncio would log it in whichever later test it is collected as garbage."""
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.path, dict(request.query), headers, body, request.raw_path))
        route = f"{request.method} {request.path}"
        if self.replies[route]:
            reply = self.replies[route].pop(0)
        elif route in self.always:
            reply = Reply(body=self.always[route])
        else:
            reply = self._upload(request.method, request.path, body, headers.get("idempotency-key", ""))
        await asyncio.sleep(reply.seconds)
        if reply.broken:
            assert request.transport is not None
            request.transport.abort()
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        kind = {} if isinstance(reply.body, bytes) else {"Content-Type": "application/json"}
        return web.Response(status=reply.status, body=content, headers={**kind, **reply.headers})

    def _upload(self, method: str, path: str, body: bytes, key: str) -> Reply:
        if (method, path) == ("POST", "/api/v1/uploads"):
            wanted = json.loads(body)
            if known := self.uploads.get(self.keys.get(key, "")):
                return Reply(201, {name: value for name, value in known.items() if name != "have"})
            self.keys[key] = upload_id = f"u{len(self.uploads)}"
            size = wanted["bytes"]
            record = {"uploadID": upload_id, "uri": f"s3://media/{wanted['name']}", "bytes": size, "partBytes": PART}
            self.uploads[upload_id] = {**record, "parts": -(-size // PART), "have": {}}
            return Reply(201, {**record, "parts": -(-size // PART)})
        match = re.fullmatch(r"/(?:api/v1/uploads|s3)/(\w+)(?:/(\w+))?", path)
        upload = self.uploads.get(match[1]) if match else None
        if not match or upload is None:
            return Reply(404, {"title": "Not found", "status": 404, "detail": f"There is no {path}.", "instance": "r1"})
        shown = {name: value for name, value in upload.items() if name != "have"}
        match method, match[2]:
            case "PUT", str(number):
                upload["have"][int(number)] = body
                return Reply(200, b"", {"ETag": '"etag"'})
            case "GET", None:
                return Reply(200, {**shown, "uploaded": sorted(upload["have"])})
            case "POST", "links":
                urls = {
                    str(number): f"{self.url}/s3/{match[1]}/{number}?X-Amz-Signature=secret-{number}"
                    for number in json.loads(body)["parts"]
                }
                return Reply(200, {"expiresAt": int(time.time()) + 900, "urls": urls})
            case "POST", "complete":
                return Reply(200, {"uri": upload["uri"]})
        return Reply(404, {})

    def content(self, upload_id: str) -> bytes:
        """The bytes that S3 has of an upload."""
        have: dict[int, bytes] = self.uploads[upload_id]["have"]
        return b"".join(have[number] for number in sorted(have))

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.seen.append(Seen("GET", "/ws", query, {}, b""))
        if self.tickets:
            ticket = query.get("ticket", "")
            if ticket not in self.tickets:
                return web.Response(status=401)
            self.tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else 1 << 30
        place = int(query["after"]) + 1 if "after" in query else (0 if "lastMod" in query else len(self.events))
        self.sockets += 1
        sent = 0
        listening = asyncio.create_task(self._listen(socket))
        while not socket.closed:
            if sent >= cut:
                assert request.transport is not None
                request.transport.abort()
                break
            if place < len(self.events):
                if query.get("jobID") in (None, self.events[place]["jobID"]):
                    await socket.send_str(json.dumps(self.events[place]))
                    sent += 1
                place += 1
            else:
                await asyncio.sleep(0.01)
        listening.cancel()
        return socket

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                self.frames.append(message.data)
                if not self.silent:
                    await socket.send_str("pong")


def problem(status: int, title: str, detail: str, **more: Any) -> Reply:
    """An answer with problem details."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": "request-1", **more}
    return Reply(status, body, {"Content-Type": "application/problem+json"})
