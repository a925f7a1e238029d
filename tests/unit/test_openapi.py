"""The API's description is whole, valid, and says what the contract says."""

import json
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from elasticrecode.api import examples
from elasticrecode.api.openapi import document
from elasticrecode.contract import routes, settings
from elasticrecode.contract.auth import Kind
from tests.conftest import contract
from tests.support import call, function

ROUTES = [route for routes in routes.ROUTES.values() for route in routes]


def operation(route: str, auth: Kind = "none") -> dict[str, Any]:
    method, path = route.split(" ")
    found: dict[str, Any] = document(auth)["paths"][path][method.lower()]
    return found


@pytest.mark.parametrize("auth", ["none", "cognito", "jwt", "iam"])
def test_the_description_is_valid_and_holds_every_route(auth: Kind) -> None:
    told = document(auth)
    validate(told)
    described = {f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods}
    assert described == set(ROUTES)
    ids = [each["operationId"] for methods in told["paths"].values() for each in methods.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("route", ROUTES)
def test_who_asks_is_asked_on_all_routes_but_those_that_are_public(route: str) -> None:
    assert "security" not in operation(route)
    assert "401" not in operation(route)["responses"]
    public = route in routes.PUBLIC_ROUTES
    assert operation(route, "jwt").get("security") == ([] if public else None)
    assert ("401" in operation(route, "jwt")["responses"]) is not public
    assert document("jwt")["security"] == [{"token": []}]


@pytest.mark.parametrize(
    ("example", "name"),
    [
        (examples.JOB, "job"),
        (examples.JOBS, "job_batch"),
        (examples.SUBMITTED, "job_batch.response"),
        (examples.VMAF, "vmaf"),
        (examples.VMAF_SUBMITTED, "vmaf.response"),
        (examples.QUEUES, "queues.response"),
    ],
)
def test_the_examples_are_those_of_the_contract(example: Any, name: str) -> None:
    assert example == contract(name)


def test_every_example_is_as_its_schema_has_it() -> None:
    told = document("none")
    shown = 0
    for methods in told["paths"].values():
        for each in methods.values():
            parts = [*each["responses"].values(), each.get("requestBody", {})]
            for content in (content for part in parts for content in part.get("content", {}).values()):
                schema = jsonschema_rs.validator_for({**content["schema"], "components": told["components"]})
                for example in content.get("examples", {}).values():
                    schema.validate(example["value"])
                    shown += 1
    assert shown >= 10


def test_schema_answers_it_and_says_that_it_is_there() -> None:
    handler = function("schema").build(settings.SchemaSettings(build="b", commit="c"))
    assert call(handler, routes.OPENAPI).body == json.loads(json.dumps(document("none")))
    assert call(handler, routes.HEALTH).body == {"status": "ok", "version": f"v{document('none')['info']['version']}"}
