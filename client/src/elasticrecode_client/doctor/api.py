"""The API of the deployment, as checks call it: status, content, the server's clock and the time it took."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx

_SECONDS = 30


class Answer(NamedTuple):
    """An answer: `content` is decoded JSON, or the text; `seconds` is how long it took."""

    status: int
    content: Any
    headers: Mapping[str, str]
    seconds: float

    @property
    def detail(self) -> str:
        """The answer's problem in words, or its content in short."""
        if isinstance(self.content, dict):
            faults = "; ".join(str(each.get("detail", "")) for each in self.content.get("errors", ()))
            return f"{self.content.get('detail') or self.content.get('message') or self.content} {faults}".strip()[:300]
        return str(self.content)[:200]

    @property
    def server_time(self) -> float | None:
        """The header `Date` in Unix seconds."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return None


class Refused(Exception):
    """The API answered a request of a check with an error."""

    def __init__(self, method: str, path: str, answer: Answer) -> None:
        super().__init__(f"{method} {path} answers {answer.status}: {answer.detail}")
        self.answer = answer


class Api:
    """Calls the REST API below `base`, which ends before `/v1`; `socket_url` is the address of the WebSocket API."""

    def __init__(self, base: str, socket_url: str, auth: httpx.Auth | None) -> None:
        self.base, self.socket_url = base, socket_url
        self._auth = auth
        self._client = httpx.Client(timeout=_SECONDS, follow_redirects=False)

    def call(self, method: str, path: str, body: Any = None, *, anonymous: bool = False) -> Answer:
        """An answer, whatever its status. Raises httpx.HTTPError when there is none."""
        auth = None if anonymous else self._auth
        started = time.monotonic()
        answer = self._client.request(method, f"{self.base}{path}", json=body, auth=auth)
        seconds = time.monotonic() - started
        try:
            content = answer.json() if answer.content else None
        except ValueError:
            content = answer.text
        return Answer(answer.status_code, content, answer.headers, seconds)

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """The content of an answer. Raises Refused for an error."""
        answer = self.call(method, path, body)
        if answer.status >= 400:
            raise Refused(method, path, answer)
        return answer.content

    def put(self, url: str, data: bytes) -> None:
        """Upload bytes to a presigned URL. Raises httpx.HTTPStatusError when S3 refuses."""
        self._client.put(url, content=data).raise_for_status()
