"""The WebSocket API, stage `ws`."""

from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_lambda as lambda_
from constructs import Construct


class SocketApi(Construct):
    """Every route goes to one function."""

    def __init__(self, scope: Construct, id_: str, sockets: lambda_.Function) -> None:
        super().__init__(scope, id_)
        route = {
            name: apigateway.WebSocketRouteOptions(
                integration=integrations.WebSocketLambdaIntegration(f"To{name.capitalize()}", sockets)
            )
            for name in ("connect", "disconnect", "default")
        }
        self.api = apigateway.WebSocketApi(
            self,
            "Sockets",
            connect_route_options=route["connect"],
            disconnect_route_options=route["disconnect"],
            default_route_options=route["default"],
        )
        self.stage = apigateway.WebSocketStage(
            self, "Stage", web_socket_api=self.api, stage_name="ws", auto_deploy=True
        )
