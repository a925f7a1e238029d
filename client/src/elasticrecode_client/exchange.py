"""Flows of requests to the API: authentication, retries, idempotency keys, pages and problems, without any socket."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from elasticrecode_client.auth import Auth, NoAuth
from elasticrecode_client.calls import Answer, Call, Flow, Me, NotSent, Pause, Request, taken
from elasticrecode_client.problems import ConnectionFailed, ElasticRecodeError, SettingsError, problem
from elasticrecode_client.routes import REPEATS, Repeat

T = TypeVar("T")

_REPEATED = frozenset({502, 503, 504})
_FIRST_SECONDS, _LONGEST_SECONDS = 0.25, 20.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Page(NamedTuple):
    """A page of a list: its entries, and the call of the next page."""

    entries: list[Any]
    following: Call[Any] | None


def origin(url: str) -> str:
    """The base of a deployment, from any of its URLs: without the slash, `/api` or `/api/v1` at its end.

    Raises SettingsError where it is not an http or https URL, or has a user name, query or fragment.
    """
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that are no address, or a port that is no number
        is_url = False
    if not is_url:
        raise SettingsError(f"{url!r} is not the URL of a deployment; it begins with https:// or http://.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError("The URL of a deployment has no user name, query or fragment.")
    return url.rstrip("/").removesuffix("/v1").removesuffix("/api")


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent to this URL: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK


def delay(tries: int) -> float:
    """Seconds before the next try: at random up to a bound that doubles with each (full jitter)."""
    return random.uniform(0, min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**tries))  # noqa: S311


class Exchange:
    """Makes flows of calls to one deployment.

    `patience` is how many seconds a call may spend in retries; `user_id` the user of calls that name none, which is
    else the user that the API knows the caller by.
    """

    def __init__(self, url: str, auth: Auth | None, user_id: str | None, patience: float, agent: str) -> None:
        self.url = origin(url)
        self.auth = auth or NoAuth()
        self.user_id = user_id
        self.patience = patience
        self.server_ahead = 0.0
        """Seconds by which the server's clock is ahead of this one, by its latest answer; to the second."""
        self._agent = agent
        self._lock = threading.Lock()
        if self.auth:
            self.check_private(self.url)

    def now(self) -> float:
        """The server's clock, in Unix seconds."""
        return time.time() + self.server_ahead

    def call(self, call: Call[T]) -> Flow[T]:
        """The answer to a call, read. Raises a Problem, ConnectionFailed or SignInFailed."""
        answer = yield from self.answer(call)
        return call.read(_decoded(answer))

    def public(self, call: Call[T]) -> Flow[T]:
        """The same for a route without authentication: no secret is sent."""
        answer = yield from self._answer(call, NoAuth())
        return call.read(_decoded(answer))

    def outside(self, request: Request) -> Flow[Answer]:
        """Another server's answer to a request that may be repeated, whatever its status. Raises ConnectionFailed."""
        until = time.monotonic() + self.patience
        tries = 0
        while True:
            outcome = yield request
            seconds = _pause(Repeat.SAFE, outcome, tries)
            if seconds is None or time.monotonic() + seconds > until:
                if isinstance(outcome, Answer):
                    return outcome
                raise _failure(outcome, request.url.split("?", 1)[0])
            yield Pause(seconds)
            tries += 1

    def check_private(self, url: str) -> None:
        """Raise SettingsError for a URL to which no secret may be sent."""
        if not is_private(url):
            raise SettingsError(f"{url} is plain http: whoever is on the way could read secrets. Use https.")

    def page(self, call: Call[Any]) -> Flow[Page]:
        """One page of a list, and the call of the next one."""
        answer = yield from self.answer(call)
        entries = _decoded(answer)
        following = _following(answer.headers.get("link", ""))
        if isinstance(entries, dict):
            entries = list(entries.items())
        more = Call[Any](call.route, call.path, following, read=call.read) if following else None
        return Page(call.read(entries), more)

    def answer(self, call: Call[Any]) -> Flow[Answer]:
        """The successful answer to a call. Raises like `call`."""
        return self._answer(call, self.auth)

    def _answer(self, call: Call[Any], auth: Auth) -> Flow[Answer]:
        user = yield from self._user(call)
        request = self._request(call, user)
        until = time.monotonic() + self.patience
        renewed, tries = False, 0
        while True:
            signed = yield from auth.sign(request, self)
            outcome = yield signed
            if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
                self._set_clock(outcome)
                return outcome
            if isinstance(outcome, Answer) and outcome.status == 401 and not renewed and auth.renew():
                renewed = True
                continue
            seconds = _pause(REPEATS[call.route], outcome, tries)
            if seconds is None or time.monotonic() + seconds > until:
                raise _failure(outcome, self.url)
            yield Pause(seconds)
            tries += 1

    def who(self) -> Flow[str]:
        """The user of calls that name none: that of the settings, else the one by which the API knows the caller."""
        if self.user_id is None:
            yield from taken(self._lock)
            try:
                known = self.user_id or (yield from self.call(Call[Any]("GET /v1")))["userID"]
                self.user_id = str(known)
            finally:
                self._lock.release()
        return self.user_id

    def _user(self, call: Call[Any]) -> Flow[str]:
        named = (*call.path.values(), *call.query.values(), *(call.body or {}).values())
        if any(isinstance(value, Me) for value in named):
            return (yield from self.who())
        return ""

    def _request(self, call: Call[Any], user: str) -> Request:
        """The request of a call, before it is signed."""

        def filled(values: Mapping[str, Any]) -> dict[str, Any]:
            given = {name: value for name, value in values.items() if value is not None}
            return {name: user if isinstance(value, Me) else value for name, value in given.items()}

        method, path = call.route.split(" ")
        for name, value in filled(call.path).items():
            if str(value) in ("", ".", ".."):
                raise ElasticRecodeError(f"{name} must not be {str(value)!r}.")
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        query = urlencode(filled(call.query), quote_via=quote)
        headers = {"Accept": "application/json", "User-Agent": self._agent}
        content = b""
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(filled(call.body)).encode()
        if REPEATS[call.route] is Repeat.KEYED:
            headers["Idempotency-Key"] = call.key or str(uuid.uuid4())
        return Request(method, f"{self.url}/api{path}{f'?{query}' if query else ''}", headers, content)

    def _set_clock(self, answer: Answer) -> None:
        try:
            self.server_ahead = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
        except (KeyError, ValueError):
            return


def _pause(repeat: Repeat, outcome: Answer | NotSent, tries: int) -> float | None:
    """Seconds until a request is sent again; None where it is not."""
    if isinstance(outcome, NotSent):
        return delay(tries) if repeat is not Repeat.NEVER or not outcome.sent else None
    after = _retry_after(outcome)
    busy = outcome.status == 409 and repeat is Repeat.KEYED and after > 0  # the first request with the key still runs
    again = outcome.status == 429 or (outcome.status in _REPEATED and repeat is not Repeat.NEVER) or busy
    return after + delay(tries) if again else None


def _failure(outcome: Answer | NotSent, url: str) -> ElasticRecodeError:
    if isinstance(outcome, NotSent):
        return ConnectionFailed(f"No answer from {url}: {outcome.reason}")
    return problem(outcome.status, outcome.content, outcome.headers, _retry_after(outcome))


def _retry_after(answer: Answer) -> float:
    """Seconds of the header Retry-After; 0 without it."""
    value = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(value) if value.isascii() and value.isdigit() else _seconds_until(value))
    except ValueError:
        return 0.0


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _decoded(answer: Answer) -> Any:
    """The JSON of an answer; None for one without content."""
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "something without a type")
        raise ConnectionFailed(f"The server answers with {kind!r}, not JSON: is this a deployment's URL?") from None


def _following(link: str) -> dict[str, str]:
    """The query of the next page in a header Link; empty for the last page. Its host and path do not matter."""
    for one in link.split(",<") if link else ():
        target, _, rest = one.lstrip(" <").partition(">")
        if 'rel="next"' in rest or "rel=next" in rest:
            return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    return {}
