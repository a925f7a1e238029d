"""The REST API. Its stage is `api`, so its own URL ends in the documented paths."""

import json
from collections.abc import Mapping
from typing import cast

from aws_cdk import Aws, CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from elasticrecode.contract.routes import ROUTES
from infra import kept
from infra.api_body import Protection, body
from infra.functions import Functions
from infra.openapi.asset import schema_function
from infra.options import Options

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
_PERMITTED_AT_ONCE = 5
"""Permissions that are created at once. Lambda takes 15 calls a second."""


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
        protection: Protection,
    ) -> None:
        super().__init__(scope, id_)
        schema = functions.make("schema", memory_mib=_SCHEMA_MIB, folder=schema_function(options.auth))
        by_name = {**served, "schema": schema}
        self.api = apigateway.SpecRestApi(
            self,
            "Rest",
            rest_api_name="Rest",
            api_definition=apigateway.ApiDefinition.from_inline(
                body(by_name, protection, for_pages=bool(options.cors))
            ),
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
        permissions = [self._let_invoke(by_name[name], f"{STAGE}/*") for name in ROUTES]
        if protection.checker:
            permissions.append(self._let_invoke(protection.checker, "authorizers/*"))
        kept.a_few_at_a_time(permissions, _PERMITTED_AT_ONCE)
        if self.api.latest_deployment:
            # Without its permissions the API would answer 500.
            self.api.latest_deployment.node.add_dependency(*permissions)
        self.url = stage_url(options, self.api.rest_api_id, STAGE)
        if acl := options.web_acl("regional"):
            waf.CfnWebACLAssociation(
                self, "Firewall", resource_arn=self.api.deployment_stage.stage_arn, web_acl_arn=acl
            )

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

    def _let_invoke(self, function: lambda_.IFunction, part: str) -> CfnResource:
        """The permission with which a part of the API may invoke a function."""
        arn = Stack.of(self).format_arn(service="execute-api", resource=self.api.rest_api_id, resource_name=part)
        function.add_permission("Rest", principal=iam.ServicePrincipal("apigateway.amazonaws.com"), source_arn=arn)
        return cast(CfnResource, function.node.find_child("Rest"))


def stage_url(options: Options, api_id: str, stage: str) -> str:
    """The URL of a stage of an API, as the option `executeApi` spells it."""
    return options.executeApi.replace("{apiId}", api_id).replace("{region}", Aws.REGION) + f"/{stage}"
