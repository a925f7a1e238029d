"""How a function's composition becomes its Lambda handler."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar


class Readable(Protocol):
    """Settings that can be read from an environment."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in an environment. KeyError names a variable that is missing."""


S = TypeVar("S", bound=Readable)
T = TypeVar("T")


def compose(build: Callable[[S], Callable[[Any, Any], T]], settings: type[S]) -> Callable[[Any, Any], T]:
    """The Lambda handler that `build` makes from its settings.

    Lambda builds it while it initialises, and bills that less; elsewhere the first call builds it, so that a test can
    import a handler without an environment.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return build(settings.read(os.environ))
    built: list[Callable[[Any, Any], T]] = []

    def handler(event: Any, context: Any) -> T:
        if not built:
            built.append(build(settings.read(os.environ)))
        return built[0](event, context)

    return handler
