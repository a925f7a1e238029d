"""The OpenAPI document is complete, valid and equal to the wire contract."""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import validate

from elasticrecode.contract import routes
from elasticrecode.contract.auth import Kind, SignIn
from elasticrecode.webhooks.addresses import networks
from elasticrecode.webhooks.courier import Courier
from elasticrecode.webhooks.webhook import new
from infra.openapi import __main__ as command
from infra.openapi import examples
from infra.openapi.asset import documents, schema_function
from infra.openapi.document import AREAS, OPERATIONS
from infra.openapi.document import document as build_document
from infra.options import Options
from tests.conftest import ROOT, contract
from tests.fakes.receiver import running
from tests.fakes.wiring import build, wired
from tests.support import call, function

ROUTES = [route for routes in routes.ROUTES.values() for route in routes]

document = cache(build_document)


def operation(route: str, auth: Kind = "none") -> dict[str, Any]:
    method, path = route.split(" ")
    content: dict[str, Any] = document(auth)["paths"][path][method.lower()]
    return content


@pytest.mark.parametrize("auth", ["none", "cognito", "jwt", "iam"])
def test_the_document_is_valid_and_holds_every_route(auth: Kind) -> None:
    content = document(auth)
    validate(content)
    described = {f"{method.upper()} {path}" for path, methods in content["paths"].items() for method in methods}
    assert described == set(ROUTES)
    ids = [each["operationId"] for methods in content["paths"].values() for each in methods.values()]
    assert len(set(ids)) == len(ids)


def test_each_route_is_declared_in_one_area() -> None:
    declared = [route for area in AREAS for route in area.operations]
    assert sorted(declared) == sorted(set(declared)), "an area repeats a route"
    assert set(declared) == set(ROUTES), "declare in infra/openapi what contract/routes.py lists, and nothing else"


@pytest.mark.parametrize("route", ROUTES)
def test_a_summary_is_a_phrase_and_a_description_is_made_of_sentences(route: str) -> None:
    each = OPERATIONS[route]
    assert not each.summary.endswith(".")
    assert each.description.endswith(".")


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_but_the_public_ones_needs_a_token(route: str) -> None:
    assert "security" not in operation(route)
    assert "401" not in operation(route)["responses"]
    public = route in routes.PUBLIC_ROUTES
    assert operation(route, "jwt").get("security") == ([] if public else None)
    assert ("401" in operation(route, "jwt")["responses"]) is not public
    assert document("jwt")["security"] == [{"token": []}]


@pytest.mark.parametrize("route", sorted(routes.OPERATOR_ROUTES))
def test_routes_for_operators_say_so(route: str) -> None:
    assert operation(route, "jwt")["description"].endswith(" Operators only.")
    assert not operation(route)["description"].endswith(" Operators only.")


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
def test_examples_equal_the_wire_contract(example: Any, name: str) -> None:
    assert example == contract(name)


def test_every_example_matches_its_schema() -> None:
    content = document("none")
    shown = 0
    for methods in content["paths"].values():
        for each in methods.values():
            parts = [*each["responses"].values(), each.get("requestBody", {})]
            for media in (media for part in parts for media in part.get("content", {}).values()):
                schema = jsonschema_rs.validator_for({**media["schema"], "components": content["components"]})
                for example in media.get("examples", {}).values():
                    schema.validate(example["value"])
                    shown += 1
    assert shown >= 10


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
def test_the_committed_documents_are_those_for_the_default_options(name: str) -> None:
    committed = (ROOT / "docs" / name).read_bytes()
    assert committed == documents(Options().auth, indent=2)[name], "run `python -m infra.openapi`"


def test_the_check_names_a_document_that_is_not_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["infra.openapi"])
    command.main()
    monkeypatch.setattr(sys, "argv", ["infra.openapi", "--check"])
    command.main()
    (tmp_path / "docs" / "asyncapi.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"asyncapi\.json"):
        command.main()


def test_the_delivery_of_a_webhook_is_described() -> None:
    delivery = document("none")["webhooks"]["event"]["post"]
    with running() as receiver:
        secret = new("ann", receiver.url, []).secret
        Courier(networks(["127.0.0.0/8"])).post(receiver.url, secret, "event-1", b"{}")
    (post,) = receiver.posts
    described = {each["name"] for each in delivery["parameters"]}
    assert described == {name for name in post.headers if name.startswith("webhook-")}


def test_schema_serves_the_document_and_the_health() -> None:
    handler = build("schema")
    assert call(handler, routes.OPENAPI).body == json.loads(json.dumps(document("none")))
    assert call(handler, routes.HEALTH).body == {"status": "ok", "version": f"v{document('none')['info']['version']}"}


def test_schema_adds_where_people_sign_in() -> None:
    sign_in = SignIn("https://cognito.example", "client-1")
    with_sign_in = wired(sign_in=sign_in).settings_of("schema")
    handler = function("schema").build(with_sign_in, schema_function("cognito"))
    expected = json.loads(json.dumps(document("cognito")))
    expected["components"]["securitySchemes"]["token"]["x-cognito"] = msgspec.to_builtins(sign_in)
    assert call(handler, routes.OPENAPI).body == expected
