"""The Python client of ElasticRecode: `Client` and `AsyncClient`, their problems, and ways to sign in.

`elasticrecode_client.types` has the types of requests and answers, `elasticrecode_client.settings` the configuration.
"""

from elasticrecode_client.auth import Auth, Cognito, SigV4, Token
from elasticrecode_client.client import AsyncClient, Client
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
