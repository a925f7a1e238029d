"""The WebSocket API, stage `ws`."""

import json
from typing import cast

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_apigateway import SpecRestApi
from constructs import Construct

from infra import kept
from infra.api import stage_url
from infra.options import Options

_LOGGED = {
    "time": "$context.requestTime",
    "request": "$context.requestId",
    "event": "$context.eventType",
    "connection": "$context.connectionId",
    "status": "$context.status",
    "user": "$context.authorizer.userID",
    "from": "$context.identity.sourceIp",
    "refused": "$context.error.responseType",
}
"""A line of the access log, without headers and query, which may hold a token or a ticket."""


class SocketApi(Construct):
    """`url` is the address of clients, `management_url` of functions that post to connections.

    Its routes come last: the function behind them answers over the API.
    """

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        self.api = apigateway.WebSocketApi(self, "Sockets")
        self.stage = apigateway.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name="ws",
            auto_deploy=True,
            throttle=apigateway.ThrottleSettings(
                rate_limit=options.requestsPerSecond, burst_limit=options.requestsBurst
            ),
        )
        if options.accessLogs:
            stage = cast(apigateway.CfnStage, self.stage.node.default_child)
            stage.access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=kept.log_group(self, "AccessLog").log_group_arn, format=json.dumps(_LOGGED)
            )
        self.management_url = stage_url(options, self.api.api_id, "ws")
        self.url = "ws" + self.management_url.removeprefix("http")

    def log_after(self, rest: SpecRestApi) -> None:
        """Deploy the stage after the REST API's, which brings the role with which API Gateway writes logs."""
        self.stage.node.add_dependency(rest.deployment_stage)

    def serve(self, function: lambda_.Function, authorizer: apigateway.IWebSocketRouteAuthorizer | None) -> None:
        """Let a function answer `$connect`, which the authorizer protects, `$disconnect` and messages."""
        for name in ("connect", "disconnect", "default"):
            integration = integrations.WebSocketLambdaIntegration(f"To{name.capitalize()}", function)
            protection = authorizer if name == "connect" else None
            self.api.add_route(f"${name}", integration=integration, authorizer=protection)

    def may_post(self) -> iam.PolicyStatement:
        """The right to post to connections."""
        return self._may("POST")

    def may_end(self) -> iam.PolicyStatement:
        """The right to end connections."""
        return self._may("DELETE")

    def _may(self, method: str) -> iam.PolicyStatement:
        resource = f"{self.api.api_id}/{self.stage.stage_name}/{method}/@connections"
        arn = Stack.of(self).format_arn(service="execute-api", resource=resource, resource_name="*")
        return iam.PolicyStatement(actions=["execute-api:ManageConnections"], resources=[arn])
