"""The WebSocket API, stage `ws`."""

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct


class SocketApi(Construct):
    """Its routes come last: the function behind them answers over the API."""

    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(scope, id_)
        self.api = apigateway.WebSocketApi(self, "Sockets")
        self.stage = apigateway.WebSocketStage(
            self, "Stage", web_socket_api=self.api, stage_name="ws", auto_deploy=True
        )

    def serve(self, function: lambda_.Function, authorizer: apigateway.IWebSocketRouteAuthorizer | None) -> None:
        """Let a function see who comes, who leaves and what is said; who may come is the authorizer's to say."""
        for name in ("connect", "disconnect", "default"):
            integration = integrations.WebSocketLambdaIntegration(f"To{name.capitalize()}", function)
            asked = authorizer if name == "connect" else None
            self.api.add_route(f"${name}", integration=integration, authorizer=asked)

    def may_post(self) -> iam.PolicyStatement:
        """Sending to connections."""
        return self._may("POST")

    def may_end(self) -> iam.PolicyStatement:
        """Ending connections."""
        return self._may("DELETE")

    def _may(self, method: str) -> iam.PolicyStatement:
        resource = f"{self.api.api_id}/{self.stage.stage_name}/{method}/@connections"
        arn = Stack.of(self).format_arn(service="execute-api", resource=resource, resource_name="*")
        return iam.PolicyStatement(actions=["execute-api:ManageConnections"], resources=[arn])
