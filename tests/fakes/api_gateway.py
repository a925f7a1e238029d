"""API Gateway in front of the functions, as a WSGI application.

It routes a path to a resource, and prefers a fixed part to a parameter without backtracking. It passes path parameters
on undecoded and the query decoded, with the last value of a repeated name, and answers itself when no function does.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from elasticrecode.contract.routes import ROUTES

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

STAGE = "/api"
_BODY_LIMIT = 10 * 1024 * 1024
_ANSWER_LIMIT = 6 * 1024 * 1024
"""Bytes of the largest answer of a Lambda function."""


class Match(NamedTuple):
    """A resource, and the values of its parameters in a path."""

    resource: str
    parameters: dict[str, str]


class Front:
    """The stage over functions by name."""

    def __init__(self, functions: Mapping[str, Handler]) -> None:
        self._functions = {route: functions[name] for name, routes in ROUTES.items() for route in routes}
        self._resources = {route.split(" ")[1]: function for route, function in self._functions.items()}
        self._numbers = count(1)

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }
        uri = f"{environ['REQUEST_URI'].partition('?')[0]}?{environ['QUERY_STRING']}"
        status, answered, body = self.answer(
            environ["REQUEST_METHOD"], uri, headers, environ["wsgi.input"].read(length)
        )
        start_response(f"{status} {HTTPStatus(status).phrase}", list(answered.items()))
        return [body]

    def answer(
        self, method: str, uri: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to a request; `uri` is path and query as sent."""
        request_id = f"request-{next(self._numbers)}"
        path, _, query = uri.partition("?")
        match = self._match(path.removeprefix(STAGE)) if path.startswith(STAGE) else None
        if match is None:
            return _problem(404, "Not found", "This path does not exist, or not with this method.", request_id)
        function = self._functions.get(f"{method} {match.resource}", self._resources[match.resource])
        if len(body) > _BODY_LIMIT:
            return _problem(413, "The body is too large", "At most 10 MB are taken.", request_id)
        values: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
            values.setdefault(name, []).append(value)
        answer = function(
            {
                "httpMethod": method,
                "resource": match.resource,
                "path": unquote(path.removeprefix(STAGE), errors="replace"),
                "pathParameters": match.parameters or None,
                "queryStringParameters": {name: given[-1] for name, given in values.items()} or None,
                "multiValueQueryStringParameters": values or None,
                "headers": dict(headers),
                "body": body.decode(errors="replace") if body else None,
                "isBase64Encoded": False,
                "requestContext": {"requestId": request_id, "path": path},
            },
            None,
        )
        text = answer["body"].encode()
        if len(text) > _ANSWER_LIMIT or not all(_can_be_sent(value) for value in answer["headers"].values()):
            return _problem(500, "Internal error", "API Gateway can't send the answer.", request_id)
        return answer["statusCode"], answer["headers"], text

    def _match(self, path: str) -> Match | None:
        """The resource that matches a path; None when there is none."""
        given = [part for part in path.split("/") if part]
        found: list[str] = []
        parameters: dict[str, str] = {}
        for n, part in enumerate(given):
            below = {parts[n] for parts in map(_parts, self._resources) if len(parts) > n and parts[:n] == found}
            parameter = next((name for name in below if name.startswith("{")), None)
            if part in below:
                found.append(part)
            elif parameter:
                found.append(parameter)
                parameters[parameter.strip("{}")] = part
            else:
                return None
        resource = "/" + "/".join(found)
        return Match(resource, parameters) if resource in self._resources else None


def _parts(resource: str) -> list[str]:
    return [part for part in resource.split("/") if part]


def _can_be_sent(value: str) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _problem(status: int, title: str, detail: str, request_id: str) -> tuple[int, dict[str, str], bytes]:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": request_id}
    return status, {"Content-Type": "application/problem+json"}, json.dumps(content).encode()
