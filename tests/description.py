"""The API's own description, held to what functions answer in tests."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from elasticrecode.contract.routes import ROUTES
from infra.openapi.document import document

_ROUTES = {route for routes in ROUTES.values() for route in routes}
_USUAL = {
    "content-type", "cache-control", "strict-transport-security", "content-security-policy", "x-content-type-options",
    "access-control-allow-origin", "access-control-expose-headers", "vary",
}  # fmt: skip
"""Headers that every answer may have."""


def conforms(route: str, status: int, headers: Mapping[str, str], content: object) -> None:
    """AssertionError where an answer of the product's own routes is not described, or has what is not described."""
    if route not in _ROUTES:
        return
    answer = _answer(route, status)
    told = {name.lower() for name in (*headers, *answer.get("headers", ()))} - {
        name.lower() for name in answer.get("headers", ())
    }
    assert told <= _USUAL, f"{route} {status}: headers {told - _USUAL} are not described"
    media_type = headers["Content-Type"]
    assert media_type in answer["content"], f"{route} {status}: {media_type} is not described"
    faults = [
        f"{list(error.instance_path)}: {error.message}" for error in _validator(route, status).iter_errors(content)
    ]
    assert not faults, f"{route} {status}: {faults[:5]}"


@cache
def described() -> dict[str, Any]:
    """The description of a deployment that asks callers who they are; nothing may be beside what it names."""
    found = document("cognito")
    for schema in found["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found


def _answer(route: str, status: int) -> dict[str, Any]:
    method, path = route.split(" ")
    answers = described()["paths"][path][method.lower()]["responses"]
    assert str(status) in answers, f"{route}: {status} is not described"
    answer: dict[str, Any] = answers[str(status)]
    reference = answer.get("$ref")
    return described()["components"]["responses"][reference.rpartition("/")[2]] if reference else answer


@cache
def _validator(route: str, status: int) -> jsonschema_rs.Validator:
    (content,) = _answer(route, status)["content"].values()
    return jsonschema_rs.validator_for({**content["schema"], "components": described()["components"]})
