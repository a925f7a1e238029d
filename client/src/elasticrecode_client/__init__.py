"""The Python client of ElasticRecode: `Client` and `AsyncClient`, their problems, and ways to sign in.

`elasticrecode_client.types` has the types of requests and answers, `elasticrecode_client.settings` the configuration.
"""

from typing import TYPE_CHECKING, Any

from elasticrecode_client.auth import Auth, Cognito, SigV4, Token
from elasticrecode_client.problems import (
    BadRequest,
    Conflict,
    ConnectionFailed,
    ElasticRecodeError,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    SettingsError,
    SignInFailed,
    TooLarge,
    TooManyRequests,
    TransferFailed,
    Unauthorised,
    Unavailable,
)
from elasticrecode_client.version import __version__

if TYPE_CHECKING:
    from elasticrecode_client.client import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Auth",
    "BadRequest",
    "Client",
    "Cognito",
    "Conflict",
    "ConnectionFailed",
    "ElasticRecodeError",
    "Fault",
    "Forbidden",
    "Invalid",
    "NotFound",
    "Problem",
    "SettingsError",
    "SigV4",
    "SignInFailed",
    "Token",
    "TooLarge",
    "TooManyRequests",
    "TransferFailed",
    "Unauthorised",
    "Unavailable",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """The clients, which are imported when they are needed: the command answers `--help` without them."""
    if name in ("AsyncClient", "Client"):
        from elasticrecode_client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
