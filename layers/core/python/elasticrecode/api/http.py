"""REST API requests and answers, in the shapes of API Gateway's Lambda proxy integration."""

import base64
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

import msgspec
from msgspec import UNSET

from elasticrecode.access import callers
from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.api import headers
from elasticrecode.api.answers import BodyFault, ProblemDetails
from elasticrecode.contract.routes import OPERATOR_ROUTES, PUBLIC_ROUTES, ROUTES
from elasticrecode.contract.settings import ApiSettings
from elasticrecode.errors import BadParameter, Invalid, Malformed, NotAllowed, Problem, TooLarge

_log = logging.getLogger(__name__)

PAGE = (1, 1000)
PAGE_DEFAULT = 100
PARAMETER_LENGTH = 256
CURSOR_LENGTH = 512
CURSOR = re.compile(r"job|progress|(log#)?\d{14}#\d#[\w.:@=+-]{1,160}")
"""Where a page of jobs or events ended: a sort key of the jobs table or of its index by user."""


class Request(NamedTuple):
    """One request. `path` and `query` are as the client sent them, the stage included."""

    id: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    text: str | None
    base64: bool
    caller: Caller = ANYBODY

    def body(self, limit: int) -> bytes:
        """The body's bytes. TooLarge over `limit` bytes, Malformed when there is none."""
        text = self.text or ""
        try:
            body = base64.b64decode(text) if self.base64 else text.encode()
        except ValueError:
            raise Malformed("The body is not UTF-8 text.") from None
        if len(body) > limit:
            raise TooLarge(f"The body has {len(body)} bytes; at most {limit} are taken. Send several smaller requests.")
        if not body:
            raise Malformed("The request has no body.")
        return body

    def page(self, default: int = PAGE_DEFAULT, cursor: re.Pattern[str] = CURSOR) -> tuple[int, str]:
        """`limit` and `after` of the query. BadParameter when either is out of range."""
        text, after = self.query.get("limit", str(default)), self.query.get("after", "")
        low, high = PAGE
        if not (text.isascii() and text.isdigit() and len(text) < 6 and low <= int(text) <= high):
            raise BadParameter(f"limit must be a whole number from {low} to {high}, not {text[:20]!r}.")
        if after and not cursor.fullmatch(after):
            raise BadParameter("after must be taken from the Link header of an earlier page.")
        return int(text), after

    def next_link(self, after: str) -> dict[str, str]:
        """The header that leads to the page behind `after`; none where `after` is empty."""
        if not after:
            return {}
        return {"Link": f'<{quote(self.path, safe="/%")}?{urlencode({**self.query, "after": after})}>; rel="next"'}


class Response(NamedTuple):
    """An answer: a JSON document, its status and headers beyond the usual ones."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = {}


Endpoint = Callable[[Request], Response]
LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]


def handler(
    routes: Mapping[str, Endpoint], settings: ApiSettings, count: Callable[[Caller], None] | None = None
) -> LambdaHandler:
    """A Lambda handler for `METHOD /resource` routes. Problems become problem+json, and so does a crash.

    Methods that a path does not have are refused, and browsers' questions whether a page of another origin may ask are
    answered, for all of them. Requests for something to be done, and not just to be told, are counted for their caller
    where `count` is given.
    """

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = Request(
            id=event["requestContext"].get("requestId", ""),
            path=event["requestContext"].get("path", event["path"]),
            # API Gateway decodes the query and not the path. No name has a '%', so what is decoded stays as it is.
            parameters={name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()},
            query=event.get("queryStringParameters") or {},
            headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
            text=event.get("body"),
            base64=bool(event.get("isBase64Encoded")),
        )
        shared = {**headers.ANSWER, **headers.cross_origin(settings.cors, request.headers.get("origin", ""))}
        if event["httpMethod"] == "OPTIONS":
            return {"statusCode": 204, "headers": {**shared, **headers.PREFLIGHT}, "body": ""}
        content_type = "application/json"
        try:
            _check_once(event.get("multiValueQueryStringParameters") or {})
            _check_lengths(request)
            route = f"{event['httpMethod']} {event['resource']}"
            if route not in routes:
                raise NotAllowed(_methods(event["resource"]))
            if route not in PUBLIC_ROUTES:
                request = request._replace(
                    caller=callers.of_request(settings.auth, event["requestContext"], time.time())
                )
            if route in OPERATOR_ROUTES:
                request.caller.operate()
            if count and not route.startswith("GET "):
                count(request.caller)
            answer = routes[route](request)
        except Problem as error:
            answer, content_type = problem(error, request.id), "application/problem+json"
        except Exception:  # noqa: BLE001
            _log.exception("request %s failed", request.id)
            unknown = Problem("The fault is ours and has been logged under the id in `instance`.")
            answer, content_type = problem(unknown, request.id), "application/problem+json"
        return {
            "statusCode": answer.status,
            "headers": {"Content-Type": content_type, **shared, **answer.headers},
            "body": msgspec.json.encode(answer.content).decode(),
        }

    return handle


def _methods(resource: str) -> str:
    """The methods of a path, whichever functions they are of, as the header Allow lists them."""
    routes = (route.split(" ") for served in ROUTES.values() for route in served)
    return ", ".join(sorted(method for method, path in routes if path == resource))


def _check_once(query: Mapping[str, list[str]]) -> None:
    """Nothing is given twice: which of the two is meant can't be known."""
    for name, values in query.items():
        if len(values) > 1:
            raise BadParameter(f"{name:.{PARAMETER_LENGTH}} is given {len(values)} times.")


def _check_lengths(request: Request) -> None:
    """Nothing that is known by a name has one so long that a table can't be asked for it."""
    for name, value in (*request.parameters.items(), *request.query.items()):
        most = CURSOR_LENGTH if name == "after" else PARAMETER_LENGTH
        if len(value) > most:
            raise BadParameter(f"{name} has {len(value)} characters; at most {most} are taken.")


def problem(error: Problem, request_id: str) -> Response:
    """RFC 9457 problem details of an error."""
    faults = [BodyFault(*fault) for fault in error.faults] if isinstance(error, Invalid) else UNSET
    content = ProblemDetails("about:blank", error.title, error.status, error.detail, request_id, faults)
    told = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if isinstance(error, NotAllowed):
        told["Allow"] = error.allowed
    return Response(content, error.status, told)
