"""The REST API, stage `api`, so that its own URL ends in the documented paths."""

from collections.abc import Mapping, Sequence
from itertools import chain

from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import methods

_PROBLEM = (
    '{{"type": "about:blank", "title": "{title}", "status": {status}, "detail": "{detail}",'
    ' "instance": "$context.requestId"}}'
)
_GATEWAY_PROBLEMS = {
    "DEFAULT_4XX": (400, "The request was not understood", "API Gateway refused it before it reached the product."),
    "DEFAULT_5XX": (500, "Internal error", "The fault is ours; try again, and name the id in instance if it stays."),
    "MISSING_AUTHENTICATION_TOKEN": (404, "Not found", "No such path, or not with this method."),
    "REQUEST_TOO_LARGE": (413, "The body is too large", "At most 10 MB are taken."),
    "THROTTLED": (429, "Too many requests", "Slow down and try again."),
    "INTEGRATION_TIMEOUT": (504, "No answer in time", "What was asked may have happened; look before you try again."),
}


class RestApi(Construct):
    """Routes are `METHOD /path` strings below the stage."""

    def __init__(
        self, scope: Construct, id_: str, routes: Mapping[lambda_.Function, Sequence[str]], *, cors: bool
    ) -> None:
        super().__init__(scope, id_)
        self.api = apigateway.RestApi(
            self,
            "Rest",
            deploy_options=apigateway.StageOptions(stage_name="api"),
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=False,
            default_cors_preflight_options=_PREFLIGHT if cors else None,
        )
        for function, served in routes.items():
            integration = apigateway.LambdaIntegration(function, allow_test_invoke=False)
            for route in served:
                method, path = route.split(" ")
                self.api.root.resource_for_path(path).add_method(method, integration)
        methods.refuse_others(self.api, chain.from_iterable(routes.values()))
        for type_, (status, title, detail) in _GATEWAY_PROBLEMS.items():
            response = self.api.add_gateway_response(
                type_.title().replace("_", ""),
                type=apigateway.ResponseType.of(type_),
                status_code=str(status),
                response_headers={"Content-Type": "'application/problem+json'"}
                | ({"Access-Control-Allow-Origin": "'*'"} if cors else {}),
                templates={"application/json": _PROBLEM.format(title=title, status=status, detail=detail)},
            )
            if self.api.latest_deployment:
                # A deployment takes along the responses that exist when it is made.
                self.api.latest_deployment.node.add_dependency(response)


_PREFLIGHT = apigateway.CorsOptions(
    allow_origins=["*"],
    allow_methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"],
    allow_headers=["Content-Type", "Authorization", "Idempotency-Key"],
)
