"""AWS calls that fail on demand: refused, made with the answer lost, made in part, or cut off by the caller's death."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from tests.fakes.memory import Aws

_ENTRIES = {"BatchWriteItem": "RequestItems", "SendMessageBatch": "Entries"}


class Died(BaseException):
    """The process is gone; nothing it would still have done happens."""


class Faults:
    """Breaks AWS calls with a probability, while it is on."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rate = 0.0
        self.counts: Counter[str] = Counter()
        self._dead = False

    @contextmanager
    def process(self) -> Iterator[None]:
        """A process of the product, which may die in any of its calls."""
        self._dead = False
        try:
            yield
        except Died:
            self.counts["crashes"] += 1
        finally:
            self._dead = False

    def __call__(self, real: Aws, client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        """A call of the product to AWS."""
        self.counts["calls"] += 1
        if self._dead:
            raise Died
        if self.rng.random() >= self.rate:
            return real(client, operation, arguments)
        kind = self.rng.choice(("throttle", "fault", "lost", "lost", "part", "part", "before", "after"))
        self.counts["faults"] += 1
        if kind in ("before", "after"):
            if kind == "after":
                real(client, operation, arguments)
            self._dead = True
            raise Died
        if kind == "part" and operation in _ENTRIES:
            return self._in_part(real, client, operation, arguments)
        if kind == "lost":
            real(client, operation, arguments)
            raise ReadTimeoutError(endpoint_url="aws")
        code, status = ("ThrottlingException", 400) if kind == "throttle" else ("InternalServerError", 500)
        error = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(error, operation)  # type: ignore[arg-type]

    def _in_part(self, real: Aws, client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        asked = arguments[_ENTRIES[operation]]
        if operation == "SendMessageBatch":
            done, left = self._split(asked)
            answer = real(client, operation, arguments | {"Entries": done}) if done else {}
            failed = [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in left]
            return {**answer, "Failed": failed}
        ((table, requests),) = asked.items()
        done, left = self._split(requests)
        if done:
            real(client, operation, {"RequestItems": {table: done}})
        return {"UnprocessedItems": {table: left} if left else {}}

    def _split(self, entries: list[Any]) -> tuple[list[Any], list[Any]]:
        kept = [self.rng.random() < 0.5 for _ in entries]
        return [e for e, keep in zip(entries, kept, strict=True) if keep], [
            e for e, keep in zip(entries, kept, strict=True) if not keep
        ]
