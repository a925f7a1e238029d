"""Everything that the client raises on purpose.

ElasticRecodeError
├── Problem               the API refused a request: RFC 9457 problem details
│   ├── BadRequest   400  a parameter is out of range, or the body is not JSON
│   ├── Unauthorised 401  there is no token, or one that is not valid
│   ├── Forbidden    403  the caller may not do this
│   ├── NotFound     404  it does not exist, has expired, or is another user's
│   ├── Conflict     409  the present state or the deployment forbids it
│   ├── TooLarge     413  the body is over its limit
│   ├── Invalid      422  `errors` has every fault of the body
│   ├── TooManyRequests 429  the user's allowance of this minute is used up
│   └── Unavailable  502, 503, 504  AWS refused, or did not answer in time
├── ConnectionFailed      no answer came
├── SignInFailed          no token could be had
├── SettingsError         the configuration of the client is wrong
└── TransferFailed        a file could not be read, or S3 refused a part of it
"""

import json
import re
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_TEXT_LIMIT = 2000


class ElasticRecodeError(Exception):
    """Base of all errors of this package. Its text is for people."""


class ConnectionFailed(ElasticRecodeError):
    """No answer came, after all retries."""


class SignInFailed(ElasticRecodeError):
    """No token could be had: wrong password, or a challenge that nobody answers."""


class SettingsError(ElasticRecodeError):
    """The configuration of the client is wrong, or names no deployment."""


class TransferFailed(ElasticRecodeError):
    """A file could not be read, has changed meanwhile, or S3 refused a part of it."""


class Fault(NamedTuple):
    """One thing wrong in a body: a JSON pointer to it (RFC 6901), and what is wrong."""

    pointer: str
    detail: str


class Problem(ElasticRecodeError):
    """The API refused a request.

    `request_id` names the request in the logs of the deployment. `retry_after` is in seconds, 0 where the API names
    none. `str()` of a problem says all of it, with control characters replaced.
    """

    code: ClassVar[str] = "problem"
    """A word for programs, the same for every problem of a class."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        errors: tuple[Fault, ...] = (),
        request_id: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(status, title, detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        lines = [f"{self.title} ({self.status}){f': {self.detail}' if self.detail else ''}"]
        lines += [f"  {fault.pointer or '/'} {fault.detail}" for fault in self.errors]
        lines += [f"  request {self.request_id}"] if self.request_id else []
        return "\n".join(printable(line) for line in lines)


class BadRequest(Problem):
    """A parameter is out of range, or the body is not JSON."""

    code = "bad-request"


class Unauthorised(Problem):
    """There is no token, or one that is not valid."""

    code = "unauthorised"


class Forbidden(Problem):
    """The request names another user, or is for operators only."""

    code = "forbidden"


class NotFound(Problem):
    """It does not exist, has expired, or is another user's."""

    code = "not-found"


class Conflict(Problem):
    """The request is valid; the present state or the deployment forbids it."""

    code = "conflict"


class TooLarge(Problem):
    """The body is over its limit."""

    code = "too-large"


class Invalid(Problem):
    """The body is not valid: `errors` has every fault. Nothing was stored."""

    code = "invalid"


class TooManyRequests(Problem):
    """The user's allowance of this minute is used up."""

    code = "too-many-requests"


class Unavailable(Problem):
    """AWS refused, or did not answer in time."""

    code = "unavailable"


_KINDS: Mapping[int, type[Problem]] = {
    400: BadRequest,
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Invalid,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def problem(status: int, content: bytes, headers: Mapping[str, str], retry_after: float = 0.0) -> Problem:
    """The problem in an answer, whoever sent it: also of a proxy that sends no problem details. Never raises."""
    details = _details(content)
    title, detail = _text(details.get("title")), _text(details.get("detail"))
    if not detail:  # API Gateway's own refusals have `message`
        detail = _text(details.get("message")) or _text(details.get("Message"))
    if 300 <= status < 400:
        title, detail = "The server redirects", f"use the address it names: {headers.get('location', 'none')}"
    faults = details.get("errors")
    errors = tuple(
        Fault(_text(one.get("pointer")), _text(one.get("detail")))
        for one in (faults if isinstance(faults, list) else ())
        if isinstance(one, dict)
    )
    request_id = _text(details.get("instance")) or headers.get("x-amzn-requestid", "")
    kind = _KINDS.get(status, Problem)
    return kind(status, title or "Refused", detail, errors=errors, request_id=request_id, retry_after=retry_after)


def _details(content: bytes) -> Mapping[str, object]:
    try:
        details = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return details if isinstance(details, dict) else {}


def _text(value: object) -> str:
    return value[:_TEXT_LIMIT] if isinstance(value, str) else ""


def printable(text: str) -> str:
    """The text on one line: characters that end it, move a terminal's cursor or turn its writing are replaced."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
