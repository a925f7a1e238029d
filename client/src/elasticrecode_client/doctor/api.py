"""The API of the deployment, as checks call it: status, content, the server's clock and the time it took."""

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from elasticrecode_client.auth import Auth
from elasticrecode_client.calls import Request
from elasticrecode_client.client import Client
from elasticrecode_client.exchange import origin
from elasticrecode_client.uploading import s3_code

_SECONDS = 35


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
    """Calls the REST API of the deployment at `url` without retries; `socket_url` is the address of its WebSocket API.

    Raises SettingsError for credentials that would go over plain http.
    """

    def __init__(self, url: str, socket_url: str, auth: Auth | None) -> None:
        self.base, self.socket_url = f"{origin(url)}/api", socket_url
        self._auth = auth
        self._signer = Client(url, auth=auth) if auth else None
        self._client = httpx.Client(timeout=_SECONDS, follow_redirects=False)

    def call(self, method: str, path: str, body: Any = None, *, anonymous: bool = False) -> Answer:
        """An answer, whatever its status. Raises httpx.HTTPError when there is none, and SignInFailed."""
        given = {"Content-Type": "application/json"} if body is not None else {}
        request = Request(method, f"{self.base}{path}", given, b"" if body is None else json.dumps(body).encode())
        if self._auth and self._signer and not anonymous:
            request = self._signer.run(self._auth.sign(request, self._signer.exchange))
        started = time.monotonic()
        answer = self._client.request(
            request.method, request.url, headers=dict(request.headers), content=request.content
        )
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
        """Upload bytes to a presigned URL, which no error repeats. Raises Refused when S3 refuses."""
        answer = self._client.put(url, content=data)
        if not answer.is_success:
            refusal = Answer(answer.status_code, s3_code(answer.content), answer.headers, 0.0)
            raise Refused("PUT", urlsplit(url).path, refusal)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._signer:
            self._signer.close()
