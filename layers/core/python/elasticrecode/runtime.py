"""How a function's `build` and its settings become a Lambda handler."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

from elasticrecode import __version__

HEALTH_EVENT = {"elasticrecode": "health"}
"""The event that every function answers with its version, once it has its code, layers and settings, and does nothing.

No event source sends it: `elasticrecode doctor` invokes functions with it.
"""


class Readable(Protocol):
    """Settings that an environment holds."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in an environment. Raises KeyError with the name of a missing variable."""


S = TypeVar("S", bound=Readable)


def compose(build: Callable[[S], Callable[[Any, Any], Any]], settings: type[S]) -> Callable[[Any, Any], Any]:
    """The Lambda handler that `build` returns for the settings in the environment; it also answers HEALTH_EVENT.

    On Lambda it is built during initialisation, which is cheaper. Elsewhere the first call builds it, so that tests
    can import a handler without an environment. Raises KeyError for a missing variable.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return _healthy(build(settings.read(os.environ)))
    built: list[Callable[[Any, Any], Any]] = []

    def handler(event: Any, context: Any) -> Any:
        if not built:
            built.append(_healthy(build(settings.read(os.environ))))
        return built[0](event, context)

    return handler


def _healthy(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def handle(event: Any, context: Any) -> Any:
        return {"status": "ok", "version": __version__} if event == HEALTH_EVENT else handler(event, context)

    return handle
