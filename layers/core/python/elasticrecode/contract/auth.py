"""How callers authenticate, as part of settings."""

from typing import Literal

from msgspec import Struct

Kind = Literal["none", "cognito", "jwt", "iam"]
"""How callers authenticate; with `none` they do not."""


class Auth(Struct, frozen=True):
    """How callers authenticate, and with `iam` the names of the roles and users that are operators."""

    kind: Kind = "none"
    operators: tuple[str, ...] = ()


class SignIn(Struct, frozen=True):
    """Where people get tokens for name and password: Cognito's URL in the Region, and a client of the user pool."""

    url: str
    clientId: str
