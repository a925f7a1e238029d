"""The workers' queues, GET /v1/worker/queues, and the Deployments behind them, GET /v1/worker/deployments."""

from elasticrecode import http
from elasticrecode.errors import Refused
from elasticrecode.settings import WORKER_DEPLOYMENTS, WORKER_QUEUES, WorkersSettings, compose


def build(settings: WorkersSettings) -> http.LambdaHandler:
    """The handler over the queues that the deployment names."""
    queues = http.Response({group: sorted(members) for group, members in settings.queues.items()})

    def deployments(_: http.Request) -> http.Response:
        raise Refused("Discovery is off in this deployment (option discovery), so no Deployments are known.")

    return http.handler({WORKER_QUEUES: lambda _: queues, WORKER_DEPLOYMENTS: deployments}, cors=settings.cors)


handler = compose(build, WorkersSettings)
