"""The OpenAPI body of the REST API: API Gateway imports it in one call, with its integrations and its own answers.

As CloudFormation resources, the same methods, paths and answers would be a hundred calls, and API Gateway takes a few
a second from all that deploys in an account. docs/decisions/one-api-body.md has more.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from aws_cdk import Aws
from aws_cdk import aws_lambda as lambda_

from elasticrecode.api import headers
from elasticrecode.contract.routes import PUBLIC_ROUTES, ROUTES

Json = dict[str, Any]

_PROBLEM = (
    '{{"type": "about:blank", "title": "{title}", "status": {status}, "detail": "{detail}",'
    ' "instance": "$context.requestId"}}'
)
_GATEWAY_PROBLEMS = {
    "DEFAULT_4XX": (400, "Bad request", "API Gateway refused the request before a function saw it."),
    "DEFAULT_5XX": (500, "Internal error", "Try again; if it fails again, report the id in instance."),
    "UNAUTHORIZED": (401, "Unauthorized", "Send a token that has not expired in the header Authorization."),
    "EXPIRED_TOKEN": (401, "Unauthorized", "The credentials of the signature have expired; sign the request anew."),
    "INVALID_SIGNATURE": (401, "Unauthorized", "The request's signature is not valid; sign it anew."),
    "ACCESS_DENIED": (
        403,
        "Forbidden",
        "You may not do this. Ask the operator of this deployment.",
    ),
    "MISSING_AUTHENTICATION_TOKEN": (404, "Not found", "This path does not exist, or not with this method."),
    "INVALID_API_KEY": (403, "Forbidden", "This deployment does not know the API key."),
    "WAF_FILTERED": (403, "Forbidden", "A rule of this deployment's firewall refused the request."),
    "REQUEST_TOO_LARGE": (413, "The body is too large", "Send at most 10 MB."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Unsupported media type", "Send JSON, as Content-Type: application/json."),
    "THROTTLED": (429, "Too many requests", "This deployment takes no more requests at once. Try again in a moment."),
    "QUOTA_EXCEEDED": (429, "Too many requests", "The quota of this API key is used up."),
    "AUTHORIZER_FAILURE": (500, "Internal error", "The token could not be checked; try again in a moment."),
    "INTEGRATION_FAILURE": (502, "Internal error", "Try again; if it fails again, report the id in instance."),
    "INTEGRATION_TIMEOUT": (504, "No answer in time", "The request may have taken effect; check before you try again."),
}
"""API Gateway's own answers by type: status, title and detail. Its own texts may name an ARN with the account."""
_MORE: dict[int, dict[str, str]] = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}
"""Headers of answers with a status, beside those of every answer."""
_SCHEME = "caller"
ANY = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
AUTHORIZER = "x-amazon-apigateway-authorizer"
ANSWERS = "x-amazon-apigateway-gateway-responses"


class Protection(NamedTuple):
    """The security scheme by which callers prove who they are, empty when none has to; `checker` checks tokens."""

    scheme: Mapping[str, Any] = {}
    checker: lambda_.IFunction | None = None

    @classmethod
    def by_pool(cls, pool_arn: str, cached_seconds: int) -> "Protection":
        """Tokens of a Cognito user pool."""
        return cls(
            {
                **_in_header("cognito_user_pools"),
                AUTHORIZER: {
                    "type": "cognito_user_pools",
                    "providerARNs": [pool_arn],
                    "authorizerResultTtlInSeconds": cached_seconds,
                },
            }
        )

    @classmethod
    def by_function(cls, function: lambda_.IFunction, cached_seconds: int) -> "Protection":
        """Tokens that a function checks."""
        return cls(
            {
                **_in_header("custom"),
                AUTHORIZER: {
                    "type": "request",
                    "identitySource": "method.request.header.Authorization",
                    "authorizerUri": _uri(function),
                    "authorizerResultTtlInSeconds": cached_seconds,
                },
            },
            checker=function,
        )

    @classmethod
    def by_signature(cls) -> "Protection":
        """Signatures of IAM."""
        return cls(_in_header("awsSigv4"))


def body(functions: Mapping[str, lambda_.IFunction], protection: Protection, *, for_pages: bool) -> Json:
    """The body, for functions by name; `for_pages` lets pages of other origins read API Gateway's own answers.

    OpenAPI 3.0 without schemas: API Gateway reads no newer one, and the functions check requests.
    """
    paths: dict[str, Json] = {}
    for name, routes in ROUTES.items():
        for route in routes:
            method, path = route.split(" ")
            # A function of the path also answers other methods, with 405, and CORS preflight requests.
            operations = paths.setdefault(path, {ANY: _operation(functions[name], path)})
            secured = protection.scheme and route not in PUBLIC_ROUTES
            operations[method.lower()] = _operation(functions[name], path) | (
                {"security": [{_SCHEME: []}]} if secured else {}
            )
    return {
        "openapi": "3.0.1",
        "info": {"title": "ElasticRecode", "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": {_SCHEME: dict(protection.scheme)} if protection.scheme else {}},
        ANSWERS: {type_: _answer(*problem, for_pages) for type_, problem in _GATEWAY_PROBLEMS.items()},
    }


def _operation(function: lambda_.IFunction, path: str) -> Json:
    """An operation that a function answers, with what OpenAPI demands: the path's parameters, and one response."""
    names = re.findall(r"{(\w+)}", path)
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": "The answer of the function"}},
        INTEGRATION: {"type": "aws_proxy", "httpMethod": "POST", "uri": _uri(function)},
    }


def _uri(function: lambda_.IFunction) -> str:
    """The address at which API Gateway invokes a function."""
    lambdas = f"arn:{Aws.PARTITION}:apigateway:{Aws.REGION}:lambda:path/2015-03-31/functions"
    return f"{lambdas}/{function.function_arn}/invocations"


def _in_header(kind: str) -> Json:
    return {"type": "apiKey", "in": "header", "name": "Authorization", "x-amazon-apigateway-authtype": kind}


def _answer(status: int, title: str, detail: str, for_pages: bool) -> Json:
    """One of API Gateway's own answers, in the form of the product's problems."""
    sent = {"Content-Type": "application/problem+json", **headers.ANSWER, **_MORE.get(status, {})}
    if for_pages:
        sent["Access-Control-Allow-Origin"] = "*"  # the answer holds no data of a user
    return {
        "statusCode": str(status),
        "responseParameters": {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in sent.items()},
        "responseTemplates": {"application/json": _PROBLEM.format(title=title, status=status, detail=detail)},
    }
