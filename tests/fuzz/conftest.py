"""The whole API over its functions on moto, behind API Gateway as `tests.front` has it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from elasticrecode.contract import routes, settings, tables
from tests.aws.conftest import Stack
from tests.front import Front
from tests.support import function


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """All routes on a fresh stack. Its transactions, which copy whole tables, take turns."""
    transact, turn = DynamoDBBackend.transact_write_items, threading.Lock()

    def in_turn(*arguments: Any) -> Any:
        with turn:
            return transact(*arguments)

    monkeypatch.setattr(DynamoDBBackend, "transact_write_items", in_turn)
    with mock_aws():
        yield Front(_functions(Stack()))


def _functions(stack: Stack) -> dict[str, Any]:
    """The functions behind routes, by name."""
    stack.queues["gpu"]["gpu_job"] = stack.sqs.create_queue(QueueName="gpu_job")["QueueUrl"]
    stack._table("webhooks", tables.WEBHOOKS_KEYS, {})
    fifo = stack.sqs.create_queue(
        QueueName="deliveries.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    own = {
        "webhooks": settings.WebhooksSettings(
            webhooks_table="webhooks", deliveries_queue=fifo, networks=["127.0.0.0/8"]
        ),
        "tickets": settings.TicketsSettings(connections_table="connections"),
    }
    made = {name: function(name).build(settings) for name, settings in own.items()}
    return made | {name: getattr(stack, name) for name in routes.ROUTES if name not in made}
