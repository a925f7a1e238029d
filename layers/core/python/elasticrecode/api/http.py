"""Requests and answers of the REST API, and the Lambda handler for API Gateway's proxy integration."""

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

NO_CONTENT = 204
PAGE = (1, 1000)
"""The least and the most entries on a page."""
PAGE_DEFAULT = 100
PARAMETER_LENGTH = 256
CURSOR_LENGTH = 512
CURSOR = re.compile(r"job|progress|(log#)?\d{14}#\d#[\w.:@=+-]{1,160}")
"""The end of a page of jobs or events: a sort key of the jobs table, or of its index by user."""


class Request(NamedTuple):
    """One request. `path`, with the stage, and `query` are as the client sent them; header names are in lower case."""

    id: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    text: str | None
    base64: bool
    caller: Caller = ANYBODY

    def body(self, limit: int) -> bytes:
        """The body. Raises TooLarge for more than `limit` bytes, and Malformed for an empty or undecodable one."""
        text = self.text or ""
        try:
            body = base64.b64decode(text) if self.base64 else text.encode()
        except ValueError:
            raise Malformed("The body is not UTF-8 text.") from None
        if len(body) > limit:
            raise TooLarge(f"The body has {len(body)} bytes; the limit is {limit}. Send several smaller requests.")
        if not body:
            raise Malformed("The request has no body.")
        return body

    def page(self, default: int = PAGE_DEFAULT, cursor: re.Pattern[str] = CURSOR) -> tuple[int, str]:
        """`limit` and `after` of the query: the entries on the page, and the cursor behind which it begins.

        Raises BadParameter when either is out of range.
        """
        text, after = self.query.get("limit", str(default)), self.query.get("after", "")
        low, high = PAGE
        if not (text.isascii() and text.isdigit() and len(text) < 6 and low <= int(text) <= high):
            raise BadParameter(f"limit must be a whole number from {low} to {high}, not {text[:20]!r}.")
        if after and not cursor.fullmatch(after):
            raise BadParameter("after must come from the Link header of the page before.")
        return int(text), after

    def next_link(self, after: str) -> dict[str, str]:
        """The header `Link` to the page behind the cursor `after`; no header where it is empty."""
        if not after:
            return {}
        return {"Link": f'<{quote(self.path, safe="/%")}?{urlencode({**self.query, "after": after})}>; rel="next"'}


class Response(NamedTuple):
    """An answer: its content, its status, and headers beside those of every answer.

    The content is sent as JSON; an answer with NO_CONTENT has none.
    """

    content: Any
    status: int = 200
    headers: Mapping[str, str] = {}


Endpoint = Callable[[Request], Response]
LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]


def handler(
    routes: Mapping[str, Endpoint], settings: ApiSettings, count: Callable[[Caller], None] | None = None
) -> LambdaHandler:
    """A Lambda handler for `METHOD /resource` routes, which answers errors and crashes as problem details.

    It answers CORS preflight requests, and 405 for methods that a path does not have. `count` is called for requests
    that are not GETs, and may raise TooManyRequests.
    """

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = _request(event)
        shared = {**headers.ANSWER, **headers.cross_origin(settings.cors, request.headers.get("origin", ""))}
        if event["httpMethod"] == "OPTIONS":
            return {"statusCode": NO_CONTENT, "headers": {**shared, **headers.PREFLIGHT}, "body": ""}
        content_type = "application/json"
        try:
            answer = respond(request, event)
        except Problem as error:
            answer, content_type = problem(error, request.id), "application/problem+json"
        except Exception:  # noqa: BLE001
            _log.exception("request %s failed", request.id)
            unknown = Problem("The server failed. Report the id in `instance`, under which the error is logged.")
            answer, content_type = problem(unknown, request.id), "application/problem+json"
        if answer.status == NO_CONTENT:
            return {"statusCode": answer.status, "headers": {**shared, **answer.headers}, "body": ""}
        return {
            "statusCode": answer.status,
            "headers": {"Content-Type": content_type, **shared, **answer.headers},
            "body": msgspec.json.encode(answer.content).decode(),
        }

    def respond(request: Request, event: Mapping[str, Any]) -> Response:
        _check_once(event.get("multiValueQueryStringParameters") or {})
        _check_lengths(request)
        route = f"{event['httpMethod']} {event['resource']}"
        if route not in routes:
            raise NotAllowed(_methods(event["resource"]))
        if route not in PUBLIC_ROUTES:
            caller = callers.of_request(settings.auth, event["requestContext"], time.time())
            request = request._replace(caller=caller)
        if route in OPERATOR_ROUTES:
            request.caller.operate()
        if count and not route.startswith("GET "):
            count(request.caller)
        return routes[route](request)

    return handle


def _request(event: Mapping[str, Any]) -> Request:
    """The request in an event of API Gateway."""
    return Request(
        id=event["requestContext"].get("requestId", ""),
        path=event["requestContext"].get("path", event["path"]),
        # API Gateway decodes the query and not the path. No name contains '%', so decoding twice does no harm.
        parameters={name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()},
        query=event.get("queryStringParameters") or {},
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        text=event.get("body"),
        base64=bool(event.get("isBase64Encoded")),
    )


def _methods(resource: str) -> str:
    """The methods of a path over all functions, as the header Allow lists them."""
    routes = (route.split(" ") for served in ROUTES.values() for route in served)
    return ", ".join(sorted(method for method, path in routes if path == resource))


def _check_once(query: Mapping[str, list[str]]) -> None:
    """Reject query parameters given more than once."""
    for name, values in query.items():
        if len(values) > 1:
            raise BadParameter(f"{name:.{PARAMETER_LENGTH}} is given {len(values)} times; give it once.")


def _check_lengths(request: Request) -> None:
    """Reject path and query parameters too long to be a table key."""
    for name, value in (*request.parameters.items(), *request.query.items()):
        limit = CURSOR_LENGTH if name == "after" else PARAMETER_LENGTH
        if len(value) > limit:
            raise BadParameter(f"{name} has {len(value)} characters; the limit is {limit}.")


def problem(error: Problem, request_id: str) -> Response:
    """The answer for an error: RFC 9457 problem details, with Retry-After or Allow where the error has them."""
    faults = [BodyFault(*fault) for fault in error.faults] if isinstance(error, Invalid) else UNSET
    content = ProblemDetails("about:blank", error.title, error.status, error.detail, request_id, faults)
    more = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if isinstance(error, NotAllowed):
        more["Allow"] = error.allowed
    return Response(content, error.status, more)
