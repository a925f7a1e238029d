"""What a path of the REST API says to methods that it does not have: 405, and those that it has."""

import json
from collections.abc import Iterable

from aws_cdk import aws_apigateway as apigateway

from elasticrecode import headers

STATUS, TITLE, DETAIL = 405, "Not this method", "The header Allow lists the methods of this path."


def refuse_others(api: apigateway.RestApi, routes: Iterable[str]) -> None:
    """Answer other methods of the paths of `METHOD /path` routes; API Gateway itself would say that there is no token.

    No function is asked, and nobody who they are.
    """
    for path, methods in allowed(routes).items():
        api.root.resource_for_path(path).add_method(
            "ANY",
            apigateway.MockIntegration(
                request_templates={"application/json": json.dumps({"statusCode": STATUS})},
                passthrough_behavior=apigateway.PassthroughBehavior.NEVER,
                integration_responses=[
                    apigateway.IntegrationResponse(
                        status_code=str(STATUS),
                        response_parameters={
                            f"method.response.header.{name}": f"'{value}'"
                            for name, value in {**_HEADERS, "Allow": ", ".join(methods)}.items()
                        },
                        response_templates={"application/json": _PROBLEM},
                    )
                ],
            ),
            authorization_type=apigateway.AuthorizationType.NONE,
            method_responses=[
                apigateway.MethodResponse(
                    status_code=str(STATUS),
                    response_parameters={f"method.response.header.{name}": True for name in (*_HEADERS, "Allow")},
                )
            ],
        )


def allowed(routes: Iterable[str]) -> dict[str, list[str]]:
    """Path → the methods that it has."""
    found: dict[str, list[str]] = {}
    for route in routes:
        method, path = route.split(" ")
        found.setdefault(path, []).append(method)
    return {path: sorted(methods) for path, methods in found.items()}


_HEADERS = {"Content-Type": "application/problem+json", **headers.ANSWER}
_PROBLEM = json.dumps(
    {"type": "about:blank", "title": TITLE, "status": STATUS, "detail": DETAIL, "instance": "$context.requestId"}
)
