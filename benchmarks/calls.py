"""AWS calls for each accepted job, counted on moto: storing, sending and reporting it, and what is known of queues.

`tally` counts what a second's invocations report, with two more calls.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from botocore.client import BaseClient
from moto import mock_aws

from elasticrecode.contract import routes
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Calls a job, alone and in a full batch."""
    first, later = _count([contract("job"), contract("job")])
    (many,) = _count([_batch(1000)])
    yield _row("AWS calls a job", later, 1, 3.0)
    yield _row("AWS calls a job, 1000 at once", many, 1000, 0.15)
    # At most once in 3 s for each container of both functions, and for the looks, two here, once in 5 s.
    yield _row("AWS calls to know two queues again", first - later, 1, 6.0)


def _row(figure: str, counted: Counter[str], jobs: int, limit: float) -> tuple[str, str, str, float, float]:
    summary = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
    return figure, f"{sum(counted.values())} calls", summary, sum(counted.values()) / jobs, limit


def _batch(size: int) -> dict[str, Any]:
    body: dict[str, Any] = contract("job_batch") | {"batchInputs": [f"s3://bucket/{n}.mp4" for n in range(size)]}
    return body


def _count(bodies: list[dict[str, Any]]) -> list[Counter[str]]:
    """The calls for each of some requests, made one after another in the same containers."""
    counted: Counter[str] = Counter()
    real = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001

    def counting(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        counted[operation] += client.meta.service_model.service_name != "dynamodbstreams"  # not a call of the product
        return real(client, operation, arguments)

    counts: list[Counter[str]] = []
    with mock_aws():
        stack = Stack()
        BaseClient._make_api_call = counting  # type: ignore[attr-defined]  # noqa: SLF001
        try:
            for body in bodies:
                counted.clear()
                answer = call(stack.submit, routes.SUBMIT, body)
                stack.flow()
                if answer.status != 200:
                    raise RuntimeError(f"not accepted: {answer}")
                counts.append(+counted)
        finally:
            BaseClient._make_api_call = real  # type: ignore[attr-defined]  # noqa: SLF001
    return counts
