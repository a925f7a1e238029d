"""The OpenAPI 3.1 document, joined from the areas, the routes and the schemas."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from elasticrecode import __version__
from elasticrecode.api.answers import ProblemDetails
from elasticrecode.api.http import CURSOR_LENGTH, PAGE
from elasticrecode.contract.auth import Kind
from elasticrecode.contract.routes import OPERATOR_ROUTES, PUBLIC_ROUTES, ROUTES
from elasticrecode.jobs.requests import IDEMPOTENCY_KEY
from elasticrecode.media.presets import NAME, NAME_RULE
from infra.openapi import batches, events, files, jobs, plans, presets, server, webhooks, workers
from infra.openapi.operation import Body, Json, Link, Operation, Query, name_schema
from infra.openapi.schemas import schema, schemas

AREAS = (
    server.AREA,
    jobs.AREA,
    files.AREA,
    plans.AREA,
    events.AREA,
    batches.AREA,
    workers.AREA,
    webhooks.AREA,
    presets.AREA,
)
OPERATIONS: Mapping[str, Operation] = {
    route: operation for area in AREAS for route, operation in area.operations.items()
}
_TAGS = {route: area.tag for area in AREAS for route in area.operations}

_DESCRIPTION = """\
A control plane for transcoding video and scoring its quality on a fleet of workers.

Errors are problem details (RFC 9457); `errors` lists every fault of a body. Lists come in pages: while there are more
entries, the header `Link` leads to the next page. WebSockets at `/ws` send events as they happen;
`GET /v1/asyncapi.json` describes them.
"""
_BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_SECURITY_SCHEMES: Mapping[Kind, Json] = {
    "cognito": _BEARER,
    "jwt": _BEARER,
    "iam": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}
"""Option `auth` → how requests are authenticated. With `none` they are not."""

_SUCCESSES = {
    200: "The request succeeded.",
    201: "It was created.",
    202: "The request was accepted.",
    204: "It was removed.",
}
_REFUSALS = {
    400: "The body is not JSON, or a parameter is out of range.",
    401: "There is no token, or one that cannot be used.",
    403: "The caller may not do this, or the deployment's firewall refused the request.",
    404: "It does not exist, has expired, or is another user's.",
    409: "The present state, or an option of the deployment, forbids the request.",
    413: "The body is too large.",
    415: "The Content-Type is not JSON.",
    422: "The body is not valid; `errors` lists every fault. Nothing was stored or sent.",
    429: "The user's allowance for this minute is used up, or the deployment's rate limit is reached.",
    500: "The server failed.",
    502: "The server failed.",
    503: "AWS refused after retries. Nothing was stored that the answer does not name.",
    504: "The server gave no answer in time. The request may have been carried out.",
}
_ALWAYS = (400, 403, 429, 500, 502, 504)
_WITH_BODY = (413, 415, 422)
_WITH_RETRY_AFTER = (409, 429, 503)

_PATH_PARAMETERS: Mapping[str, tuple[str, Json]] = {
    "jobID": ("The id of a job.", name_schema()),
    "planID": ("The id of a plan.", name_schema()),
    "uploadID": ("The id of an upload.", name_schema()),
    "userID": ("The id of a user.", name_schema()),
    "batchID": ("The id of a batch.", name_schema()),
    "queue": ("The name of a worker queue.", name_schema()),
    "webhookID": ("The id of a webhook.", name_schema()),
    "name": (f"The name of a preset: {NAME_RULE}.", {"type": "string", "pattern": f"^(?:{NAME.pattern})$"}),
}
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body from the same user get the same answer, and create nothing twice.",
    "schema": {"type": "string", "pattern": f"^(?:{IDEMPOTENCY_KEY.pattern})$"},
}


def document(auth: Kind) -> Json:
    """The document for a deployment with this option `auth`.

    The function `schema` adds `x-cognito` to the security scheme: where people sign in is known after deployment only.
    """
    paths: dict[str, Json] = {}
    for route in (route for routes in ROUTES.values() for route in routes):
        method, path = route.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(route, auth)
    secured: Json = {"security": [{"token": []}]} if auth in _SECURITY_SCHEMES else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ElasticRecode",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api"}],
        "tags": [{"name": area.tag, "description": area.description} for area in AREAS],
        **secured,
        "paths": paths,
        "webhooks": {"event": {"post": webhooks.DELIVERY}},
        "components": {
            "schemas": schemas(OPERATIONS.values()),
            "responses": {str(status): _refusal(status) for status in _REFUSALS},
            "parameters": {"IdempotencyKey": _KEY},
            **({"securitySchemes": {"token": _SECURITY_SCHEMES[auth]}} if secured else {}),
        },
    }


def text(content: Json, indent: int | None = None) -> bytes:
    """A document as JSON, which ends with a line break where it is indented."""
    written = json.dumps(content, indent=indent, ensure_ascii=False, separators=None if indent else (",", ":"))
    return (written + ("\n" if indent else "")).encode()


def _operation(route: str, auth: Kind) -> Json:
    operation = OPERATIONS.get(route)
    if operation is None:
        raise KeyError(f"{route} has no Operation: add one to an area in infra/openapi")
    secured = auth in _SECURITY_SCHEMES and route not in PUBLIC_ROUTES
    parameters = list(_parameters(route, operation))
    only_operators = " Operators only." if secured and route in OPERATOR_ROUTES else ""
    return {
        "operationId": operation.id,
        "tags": [_TAGS[route]],
        "summary": operation.summary,
        "description": operation.description + only_operators,
        **({"security": []} if auth in _SECURITY_SCHEMES and not secured else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": _request_body(operation.body)} if operation.body else {}),
        "responses": {str(status): _answer(operation, status, kind) for status, kind in operation.answers.items()}
        | {
            str(status): {"$ref": f"#/components/responses/{status}"}
            for status in sorted(_refusals(route, operation, secured))
        },
    }


def _parameters(route: str, operation: Operation) -> Iterator[Json]:
    """The parameters of the path, of the query and of the header."""
    for name in _path_names(route):
        description, kind = _PATH_PARAMETERS[name]
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": kind}
    for query in (*operation.query, *(_paging(operation) if operation.cursor else ())):
        yield {
            "name": query.name,
            "in": "query",
            "required": query.required,
            "description": query.description,
            "schema": query.schema,
        }
    if operation.has_key:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}


def _path_names(route: str) -> list[str]:
    return re.findall(r"{(\w+)}", route)


def _refusals(route: str, operation: Operation, secured: bool) -> set[int]:
    """The statuses of a route's refusals."""
    return {
        *_ALWAYS,
        *operation.refusals,
        *((404,) if _path_names(route) else ()),
        *(_WITH_BODY if operation.body else ()),
        *((401,) if secured else ()),
    }


def _paging(operation: Operation) -> Iterator[Query]:
    low, high = PAGE
    limit = {"type": "integer", "minimum": low, "maximum": high, "default": operation.limit}
    yield Query("limit", "The most entries on a page.", limit)
    after = {"type": "string", "maxLength": CURSOR_LENGTH, "pattern": f"^(?:{operation.cursor}|)$"}
    yield Query("after", "Where the page begins, from the `Link` header of the page before.", after)


def _request_body(body: Body) -> Json:
    kinds = [schema(kind) for kind in body.kinds]
    content: Json = {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}
    return {"required": True, "content": {"application/json": content | _examples(body.examples)}}


def _answer(operation: Operation, status: int, kind: Any) -> Json:
    links = {OPERATIONS[link.route].id: _link(link) for link in operation.links}
    return {
        "description": _SUCCESSES[status],
        **({"headers": {"Link": _header('The next page: `<…>; rel="next"`.')}} if operation.cursor else {}),
        **({"content": {"application/json": {"schema": schema(kind)} | _examples(operation.examples)}} if kind else {}),
        **({"links": links} if links else {}),
    }


def _link(link: Link) -> Json:
    return {"operationId": OPERATIONS[link.route].id, "parameters": {link.parameter: link.source}}


def _refusal(status: int) -> Json:
    retry_after = {"headers": {"Retry-After": _header("Seconds to wait before the next try.")}}
    return {
        "description": _REFUSALS[status],
        **(retry_after if status in _WITH_RETRY_AFTER else {}),
        "content": {"application/problem+json": {"schema": schema(ProblemDetails)}},
    }


def _header(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


def _examples(examples: Mapping[str, Any]) -> Json:
    shown = {name: {"value": msgspec.to_builtins(value)} for name, value in examples.items()}
    return {"examples": shown} if shown else {}
