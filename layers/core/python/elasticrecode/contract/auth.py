"""How callers prove who they are, as the stack tells the functions."""

from typing import Literal

from msgspec import Struct

Kind = Literal["none", "cognito", "jwt", "iam"]
"""How callers prove who they are; with `none` they need not."""


class Auth(Struct, frozen=True):
    """How callers prove who they are, and with `iam` the names of the roles and users that are operators."""

    kind: Kind = "none"
    operators: tuple[str, ...] = ()


class SignIn(Struct, frozen=True):
    """Where people get their tokens with name and password: Cognito's URL in the Region, and a client of its pool."""

    url: str
    clientId: str
