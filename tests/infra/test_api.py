"""The OpenAPI body of the REST API: what API Gateway makes of it for each way to prove who calls.

cdk-nag reads methods that are resources, and no body: these tests do what its rules APIG4 and COG4 would.
"""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, validate

from elasticrecode.contract.routes import PUBLIC_ROUTES, ROUTES
from infra.api_body import ANSWERS, ANY, AUTHORIZER, INTEGRATION
from tests.infra.test_linters import resolved
from tests.infra.test_nag import NAGGED
from tests.infra.test_stack import function, resources, template

ALL = {route: name for name, routes in ROUTES.items() for route in routes}
AUTHORIZED: dict[str, dict[str, Any] | str | None] = {
    "default": {
        "type": "cognito_user_pools",
        "providerARNs": [{"Fn::GetAtt": ["AuthPool693BB957", "Arn"]}],
        "authorizerResultTtlInSeconds": 300,
    },
    "everything": {
        "type": "request",
        "identitySource": "method.request.header.Authorization",
        "authorizerUri": "Authorize",
        "authorizerResultTtlInSeconds": 300,
    },
    "iam": "awsSigv4",
    "none": None,
}
"""Mode of the template → the authorizer of its protected routes."""


def body(**changes: Any) -> dict[str, Any]:
    (api,) = resources("AWS::ApiGateway::RestApi", **changes)
    found: dict[str, Any] = api["Properties"]["Body"]
    return found


def invoked(uri: dict[str, Any]) -> str:
    """The name of the function that API Gateway invokes at an address."""
    (name,) = re.findall(r'"Functions([A-Za-z]+)[0-9A-F]{8}"', json.dumps(uri))
    return str(name)


def operations(**changes: Any) -> dict[str, dict[str, Any]]:
    return {
        f"{'ANY' if method == ANY else method.upper()} {path}": operation
        for path, methods in body(**changes)["paths"].items()
        for method, operation in methods.items()
    }


def authorizer(operation: dict[str, Any], **changes: Any) -> Any:
    """What has to let a caller through to an operation, with the name of a function in place of its address."""
    if not operation.get("security"):
        return None
    ((name,),) = operation["security"]
    assert operation["security"] == [{name: []}]
    scheme = body(**changes)["components"]["securitySchemes"][name]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "Authorization")
    found = scheme.get(AUTHORIZER, scheme["x-amazon-apigateway-authtype"])
    if "authorizerUri" in found:
        return {**found, "authorizerUri": invoked(found["authorizerUri"])}
    return found


@pytest.mark.parametrize("mode", NAGGED)
def test_every_route_but_the_public_ones_is_protected_as_the_option_auth_says(mode: str) -> None:
    found = {route: authorizer(each, **NAGGED[mode]) for route, each in operations(**NAGGED[mode]).items()}
    assert {route: found[route] for route in ALL} == {
        route: None if route in PUBLIC_ROUTES else AUTHORIZED[mode] for route in ALL
    }


@pytest.mark.parametrize("mode", NAGGED)
def test_every_route_reaches_its_function_and_every_path_answers_other_methods(mode: str) -> None:
    found = operations(**NAGGED[mode])
    paths = {route.split(" ")[1] for route in ALL}
    assert found.keys() == ALL.keys() | {f"ANY {path}" for path in paths}
    for route, operation in found.items():
        integration = operation[INTEGRATION]
        assert (integration["type"], integration["httpMethod"]) == ("aws_proxy", "POST")
        name = invoked(integration["uri"]).lower()
        if route.startswith("ANY "):
            assert name in {ALL[other] for other in ALL if other.split(" ")[1] == route.removeprefix("ANY ")}
            assert authorizer(operation, **NAGGED[mode]) is None
        else:
            assert name == ALL[route]


@pytest.mark.parametrize("mode", NAGGED)
def test_api_gateway_may_invoke_each_function_once_for_this_api_only(mode: str) -> None:
    changes = NAGGED[mode]
    granted = [
        (grant["Properties"]["FunctionName"]["Fn::GetAtt"][0], "".join(parts[-2:]))
        for grant in resources("AWS::Lambda::Permission", **changes)
        for parts in [[str(part) for part in grant["Properties"]["SourceArn"].get("Fn::Join", ["", []])[1]]]
        if "ApiRest" in "".join(parts)
    ]
    api = str({"Ref": "ApiRest4DEC74FE"})
    expected = [(function(name, **changes), f"{api}/api/*") for name in ROUTES]
    if mode == "everything":
        expected.append((function("authorize", **changes), f"{api}/authorizers/*"))
    assert sorted(granted) == sorted(expected)


@pytest.mark.parametrize("mode", NAGGED)
def test_the_body_is_valid_openapi_3_0(mode: str) -> None:
    """API Gateway reads more than the standard allows; other readers, such as moto's, do not."""
    template_ = template(**NAGGED[mode])
    validate(resolved(body(**NAGGED[mode]), template_["Resources"]), cls=OpenAPIV30SpecValidator)


@pytest.mark.parametrize("cors", ["", "https://app.example.com"])
def test_api_gateways_own_answers_are_problems_without_an_account(cors: str) -> None:
    answers = body(cors=cors)[ANSWERS]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "UNAUTHORIZED", "ACCESS_DENIED", "THROTTLED"} <= answers.keys()
    for answer in answers.values():
        problem = json.loads(answer["responseTemplates"]["application/json"])
        assert set(problem) == {"type", "title", "status", "detail", "instance"}
        assert str(problem["status"]) == answer["statusCode"]
        sent = answer["responseParameters"]
        assert sent["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        assert sent["gatewayresponse.header.Cache-Control"] == "'no-store'"
        assert ("gatewayresponse.header.Access-Control-Allow-Origin" in sent) is bool(cors)


def test_the_rest_api_is_one_import_and_one_deployment() -> None:
    """API Gateway takes a few calls a second, of all that deploys in an account."""
    kinds = [each["Type"] for each in template()["Resources"].values() if each["Type"].startswith("AWS::ApiGateway::")]
    assert sorted(kinds) == [f"AWS::ApiGateway::{name}" for name in ("Account", "Deployment", "RestApi", "Stage")]


@pytest.mark.parametrize("mode", NAGGED)
def test_the_api_is_deployed_after_its_permissions(mode: str) -> None:
    """Without them it would answer 500, for a moment, with every new deployment of authorizers."""
    found = template(**NAGGED[mode])["Resources"]
    (deployment,) = (each for each in found.values() if each["Type"] == "AWS::ApiGateway::Deployment")
    needed = {
        key
        for key, each in found.items()
        if each["Type"] == "AWS::Lambda::Permission"
        and "ApiRest4DEC74FE" in json.dumps(each["Properties"]["SourceArn"])
    }
    assert needed == set(deployment["DependsOn"])


def test_another_body_is_deployed() -> None:
    """A deployment is a copy of the API: one that stays would serve the old methods."""

    def deployment(**changes: Any) -> list[str]:
        found = template(**changes)["Resources"].items()
        return [key for key, each in found if each["Type"] == "AWS::ApiGateway::Deployment"]

    assert deployment() != deployment(auth="iam")
    assert deployment() == deployment(verbose=True)
