"""The REST API. Its stage is `api`, so its own URL ends in the documented paths."""

import json
from collections.abc import Mapping
from typing import cast

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from elasticrecode.api import headers
from elasticrecode.contract.routes import PUBLIC_ROUTES, ROUTES
from infra import kept
from infra.functions import Functions
from infra.openapi.asset import schema_function
from infra.options import Options

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
_LOGGED = {
    "time": "$context.requestTime",
    "request": "$context.requestId",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "from": "$context.identity.sourceIp",
    "bytes": "$context.responseLength",
    "ms": "$context.responseLatency",
    "tls": "$context.tlsVersion",
    "refused": "$context.error.responseType",
}
"""A line of the access log, without headers and query, which may hold a token or a ticket."""
_USER = {
    "cognito": "$context.authorizer.claims.sub",
    "jwt": "$context.authorizer.userID",
    "iam": "$context.identity.caller",
    "none": "-",
}
_TLS = "SecurityPolicy_TLS13_1_2_2021_06"
STAGE = "api"
_SCHEMA_MIB = 512


class RestApi(Construct):
    """The REST API with the routes of `ROUTES`; `url` is its stage's address.

    `served` holds the functions that answer, by name, except `schema`, which this construct makes.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        options: Options,
        functions: Functions,
        served: Mapping[str, lambda_.Function],
        protection: apigateway.MethodOptions,
    ) -> None:
        super().__init__(scope, id_)
        schema = functions.make("schema", memory_mib=_SCHEMA_MIB, folder=schema_function(options.auth))
        by_name = {**served, "schema": schema}
        self.api = apigateway.RestApi(
            self,
            "Rest",
            deploy_options=self._stage(options),
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # The role for logs is a setting of the account and stays: other APIs may use it by now.
            cloud_watch_role=options.accessLogs,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN if options.accessLogs else None,
        )
        if options.accessLogs:
            name = f"API-Gateway-Execution-Logs_{self.api.rest_api_id}/{STAGE}"
            # API Gateway's own log group would keep its lines for ever.
            self.api.deployment_stage.node.add_dependency(kept.log_group(self, "ExecutionLog", name))
        api = cast(apigateway.CfnRestApi, self.api.node.default_child)
        api.security_policy, api.endpoint_access_mode = _TLS, "BASIC"
        paths: dict[str, apigateway.LambdaIntegration] = {}
        for name, routes in ROUTES.items():
            integration = apigateway.LambdaIntegration(by_name[name], allow_test_invoke=False)
            for route in routes:
                method, path = route.split(" ")
                public = route in PUBLIC_ROUTES
                self.api.root.resource_for_path(path).add_method(
                    method,
                    integration,
                    authorizer=None if public else protection.authorizer,
                    authorization_type=None if public else protection.authorization_type,
                )
                paths.setdefault(path, integration)
        for path, integration in paths.items():
            # A function of the path also answers other methods, with 405, and CORS preflight requests.
            self.api.root.resource_for_path(path).add_method("ANY", integration)
        self.url = stage_url(options, self.api.rest_api_id, STAGE)
        if acl := options.web_acl("regional"):
            waf.CfnWebACLAssociation(
                self, "Firewall", resource_arn=self.api.deployment_stage.stage_arn, web_acl_arn=acl
            )
        for type_, (status, title, detail) in _GATEWAY_PROBLEMS.items():
            self._answer(type_, status, title, detail, options)

    def _stage(self, options: Options) -> apigateway.StageOptions:
        """The stage with its rate limits, a line of the access log for each request, and a log of its own errors."""
        logging = options.accessLogs
        return apigateway.StageOptions(
            stage_name=STAGE,
            throttling_rate_limit=options.requestsPerSecond,
            throttling_burst_limit=options.requestsBurst,
            access_log_destination=apigateway.LogGroupLogDestination(kept.log_group(self, "AccessLog"))
            if logging
            else None,
            access_log_format=apigateway.AccessLogFormat.custom(json.dumps({**_LOGGED, "user": _USER[options.auth]}))
            if logging
            else None,
            logging_level=apigateway.MethodLoggingLevel.ERROR if logging else None,
            data_trace_enabled=False,
        )

    def _answer(self, type_: str, status: int, title: str, detail: str, options: Options) -> None:
        """Give one of API Gateway's own answers the form of the product's problems."""
        response_headers = {"Content-Type": "application/problem+json", **headers.ANSWER, **_MORE.get(status, {})}
        if options.cors:
            response_headers["Access-Control-Allow-Origin"] = "*"  # the answer holds no data of a user
        response = self.api.add_gateway_response(
            type_.title().replace("_", ""),
            type=apigateway.ResponseType.of(type_),
            status_code=str(status),
            response_headers={name: f"'{value}'" for name, value in response_headers.items()},
            templates={"application/json": _PROBLEM.format(title=title, status=status, detail=detail)},
        )
        if self.api.latest_deployment:
            # A deployment contains only the responses that exist when it is created.
            self.api.latest_deployment.node.add_dependency(response)


def stage_url(options: Options, api_id: str, stage: str) -> str:
    """The URL of a stage of an API, as the option `executeApi` spells it."""
    return options.executeApi.replace("{apiId}", api_id).replace("{region}", Aws.REGION) + f"/{stage}"
