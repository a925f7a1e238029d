"""Handlers as Lambda calls them."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from infra.openapi.asset import schema_function

ROOT = Path(__file__).resolve().parent.parent


def function(name: str) -> ModuleType:
    """The module of a function's handler."""
    folder = schema_function("none") if name == "schema" else ROOT / "functions" / name
    spec = importlib.util.spec_from_file_location(f"functions_{name}", folder / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Answer(NamedTuple):
    """What a client sees."""

    status: int
    headers: dict[str, str]
    body: Any


def call(
    handler: Callable[[dict[str, Any], Any], dict[str, Any]],
    route: str,
    body: Any = None,
    parameters: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Call a REST handler as API Gateway does."""
    method, resource = route.split(" ")
    path = "/api" + resource.format(**(parameters or {}))
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    answer = handler(
        {
            "httpMethod": method,
            "resource": resource,
            "path": path,
            "pathParameters": parameters,
            "queryStringParameters": query,
            "headers": headers,
            "body": text,
            "isBase64Encoded": False,
            "requestContext": {"requestId": "request-1", "path": path},
        },
        None,
    )
    return Answer(answer["statusCode"], answer["headers"], json.loads(answer["body"] or "null"))
