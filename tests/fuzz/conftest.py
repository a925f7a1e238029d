"""The whole API: its functions on moto behind the fake API Gateway."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from elasticrecode.contract import routes, tables
from tests.fakes.api_gateway import Front
from tests.fakes.stack import Stack
from tests.fakes.turns import answer_in_turn


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """All routes on a fresh stack. Calls to DynamoDB take turns."""
    answer_in_turn(monkeypatch)
    with mock_aws():
        yield Front(_functions(Stack()))


def _functions(stack: Stack) -> dict[str, Any]:
    """Name → the handler of each function that answers routes."""
    stack.queues["gpu"]["gpu_job"] = stack.sqs.create_queue(QueueName="gpu_job")["QueueUrl"]
    stack._table("webhooks", tables.WEBHOOKS_KEYS, {})
    fifo = stack.sqs.create_queue(
        QueueName="deliveries.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    own = {
        "webhooks": stack.build("webhooks", deliveries_queue=fifo, networks=["127.0.0.0/8"]),
        "tickets": stack.build("tickets"),
        "files": stack.build("files"),
    }
    return own | {name: getattr(stack, name) for name in routes.ROUTES if name not in own}
