"""AWS calls for each accepted job, counted on moto: storing it and sending it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from botocore.client import BaseClient
from moto import mock_aws

from elasticrecode import settings as names
from tests.aws.conftest import Stack
from tests.conftest import contract
from tests.support import call


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Calls a job, alone and in a full batch."""
    for size, limit in ((1, 2.0), (1000, 0.15)):
        body = contract("job") if size == 1 else _batch(size)
        counted = _count(body)
        told = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
        yield (
            f"AWS calls a job, {size} at once",
            f"{sum(counted.values())} calls",
            told,
            sum(counted.values()) / size,
            limit,
        )


def _batch(size: int) -> dict[str, Any]:
    found: dict[str, Any] = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(size)]}
    return found


def _count(body: dict[str, Any]) -> Counter[str]:
    counted: Counter[str] = Counter()
    real = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001

    def counting(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        counted[operation] += client.meta.service_model.service_name != "dynamodbstreams"  # not a call of the product
        return real(client, operation, arguments)

    with mock_aws():
        stack = Stack()
        BaseClient._make_api_call = counting  # type: ignore[attr-defined]  # noqa: SLF001
        try:
            answer = call(stack.submit, names.SUBMIT, body)
            stack.flow()
        finally:
            BaseClient._make_api_call = real  # type: ignore[attr-defined]  # noqa: SLF001
    if answer.status != 200:
        raise RuntimeError(f"not accepted: {answer}")
    return +counted
