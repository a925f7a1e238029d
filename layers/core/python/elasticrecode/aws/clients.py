"""Clients of AWS services, and its errors in the product's own terms."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.errors import Unavailable
from elasticrecode.service_faults import passes

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 16
"""Calls in flight at once from one function."""
_ROUNDS = 6
_BACKOFF_SECONDS = 0.05

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 4},
    connect_timeout=2,
    read_timeout=6,
    max_pool_connections=PARALLEL,
    tcp_keepalive=True,
    parameter_validation=False,  # parameters are made here, and walking through a batch costs more than signing it
)
_session = botocore.session.get_session()
_threads = ThreadPoolExecutor(PARALLEL)


def client(service: str, endpoint_url: str | None = None, config: Config | None = None) -> Any:
    """A client with the product's time limits and retries, as far as `config` sets no others.

    Region and credentials come from the environment.
    It is boto3's client without boto3, whose import of the S3 transfer manager no function here has a use for.
    """
    return _session.create_client(service, endpoint_url=endpoint_url, config=_CONFIG.merge(config or Config()))


@contextmanager
def refusals(doing: str) -> Iterator[None]:
    """Turn AWS's throttles, faults and timeouts, after the client's own retries, into Unavailable."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if passes(error.response["Error"]["Code"], status):
            raise Unavailable(f"AWS could not take it while {doing}. Try again in a moment.") from error
        raise
    except BotoCoreError as error:
        raise Unavailable(f"AWS could not be reached while {doing}. Try again in a moment.") from error


def code(error: Exception) -> str:
    """The code of an AWS error, which answers may show. Its message names accounts and roles: log it only."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def pauses(rounds: int = _ROUNDS) -> Iterator[float]:
    """Growing, jittered pauses between the rounds of a call that succeeded in part, or met others at the same thing."""
    return (random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**round_ for round_ in range(rounds))  # noqa: S311


def side_by_side(do: Callable[[T], R], things: Sequence[T]) -> list[R]:
    """Call a function with each item, several at once. The threads are shared, so calls must not be nested."""
    return [do(thing) for thing in things] if len(things) < 2 else list(_threads.map(do, things))


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
