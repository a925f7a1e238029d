"""How a function's `build` and its settings become a Lambda handler."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar


class Readable(Protocol):
    """Settings that an environment holds."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in an environment. Raises KeyError with the name of a missing variable."""


S = TypeVar("S", bound=Readable)
T = TypeVar("T")


def compose(build: Callable[[S], Callable[[Any, Any], T]], settings: type[S]) -> Callable[[Any, Any], T]:
    """The Lambda handler that `build` returns for the settings in the environment.

    On Lambda it is built during initialisation, which is cheaper. Elsewhere the first call builds it, so that tests
    can import a handler without an environment. Raises KeyError for a missing variable.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return build(settings.read(os.environ))
    built: list[Callable[[Any, Any], T]] = []

    def handler(event: Any, context: Any) -> T:
        if not built:
            built.append(build(settings.read(os.environ)))
        return built[0](event, context)

    return handler
