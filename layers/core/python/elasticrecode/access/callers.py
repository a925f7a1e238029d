"""The caller of a request, and the users that it may act for."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from elasticrecode.contract.auth import Auth
from elasticrecode.errors import Forbidden, Unauthorized

OPERATORS = "operators"
"""The group whose members may act for every user."""
USER = re.compile(r"[^\s/?#%\x00-\x1f\x7f\ufffe\uffff]{1,128}")
"""The form of a user's id."""
COGNITO_USER, COGNITO_GROUPS = "cognito:username", "cognito:groups"
"""Claims of Cognito's ID tokens: the user's name, and the groups."""

_GROUP_SEPARATOR = re.compile(r"[,\s\[\]]+")
"""API Gateway writes a list of groups as `a,b` or `[a b]`, where it does not hand on the list."""
_API_GATEWAY_TIME = "%a %b %d %H:%M:%S UTC %Y"
_SECONDS_LIMIT = 10**11


class Caller(NamedTuple):
    """Who sends a request. An operator may act for every user, any other caller for itself alone.

    `expires` is the Unix second in which the caller's token ends; 0 for a caller without one.
    """

    userID: str
    operator: bool = False
    expires: int = 0

    def may_act_for(self, user_id: str) -> bool:
        """Whether the caller may see and change what belongs to this user."""
        return self.operator or user_id == self.userID

    def act_for(self, user_id: str) -> None:
        """Raise Forbidden unless the caller may act for this user."""
        if not self.may_act_for(user_id):
            raise Forbidden(f"You are {self.userID} and may not act for {user_id}.")

    def operate(self) -> None:
        """Raise Forbidden unless the caller is an operator."""
        if not self.operator:
            raise Forbidden(f"Only operators may do this; you are {self.userID}, who is not in the group {OPERATORS}.")

    def context(self) -> dict[str, str]:
        """The caller as an authorizer's context, in strings, as API Gateway passes them on."""
        return {"userID": self.userID, "operator": str(self.operator).lower(), "expires": str(self.expires)}

    @classmethod
    def of_context(cls, context: Mapping[str, str]) -> "Caller":
        """The caller in an authorizer's context. Raises Unauthorized where a value is missing."""
        try:
            return cls(context["userID"], context["operator"] == "true", int(context["expires"]))
        except KeyError:
            raise Unauthorized("The request names no caller; send a token.") from None


ANYBODY = Caller("anybody", operator=True)
"""The caller of every request where option `auth` is `none`."""


def of_request(auth: Auth, context: Mapping[str, Any], now: float) -> Caller:
    """The caller of a REST request, from its `requestContext`. `now` is in Unix seconds.

    Raises Unauthorized where the context names no caller or its token has expired.
    """
    authorizer = context.get("authorizer") or {}
    match auth.kind:
        case "none":
            return ANYBODY
        case "cognito":
            claims = authorizer.get("claims") or {}
            groups = claims.get(COGNITO_GROUPS, "")
            if isinstance(groups, str):
                groups = _GROUP_SEPARATOR.split(groups)
            return of_claims({**claims, COGNITO_GROUPS: groups}, COGNITO_USER, COGNITO_GROUPS)
        case "iam":
            name = _principal(str(context.get("identity", {}).get("userArn") or ""))
            return Caller(name, name in auth.operators)
        case "jwt":
            caller = Caller.of_context(authorizer)
            if caller.expires <= now:  # API Gateway caches the authorizer's answer for some minutes
                raise Unauthorized("The token has expired; sign in again.")
            return caller


def of_connection(auth: Auth, context: Mapping[str, Any]) -> Caller:
    """The caller of a new WebSocket, as the authorizer wrote it into the `requestContext`."""
    return ANYBODY if auth.kind == "none" else Caller.of_context(context.get("authorizer") or {})


def of_claims(claims: Mapping[str, Any], user_claim: str, groups_claim: str) -> Caller:
    """The caller that a token's claims name. Raises Unauthorized where the user's claim is not a user's id."""
    user_id = claims.get(user_claim)
    if not isinstance(user_id, str) or not USER.fullmatch(user_id):
        raise Unauthorized(f"The token's claim {user_claim} must be a user's id; send an ID token.")
    return Caller(user_id, OPERATORS in _groups(claims.get(groups_claim)), _second(claims.get("exp", 0)))


def _second(exp: Any) -> int:
    """The Unix second of a claim `exp`: a number, or `Mon May 06 21:23:32 UTC 2019`, as API Gateway writes it.

    Raises Unauthorized for anything else.
    """
    if isinstance(exp, int | float) and 0 <= exp < _SECONDS_LIMIT:
        return int(exp)
    if isinstance(exp, str):
        if exp.isascii() and exp.isdigit() and len(exp) < len(str(_SECONDS_LIMIT)):
            return int(exp)
        with suppress(ValueError):
            return int(datetime.strptime(exp, _API_GATEWAY_TIME).replace(tzinfo=UTC).timestamp())
    raise Unauthorized("The token's claim exp must be the Unix second in which the token ends.")


def _groups(claim: Any) -> list[str]:
    """The groups in a claim: a list, or a single one."""
    if isinstance(claim, str):
        return [claim]
    return [group for group in claim if isinstance(group, str)] if isinstance(claim, list) else []


def _principal(arn: str) -> str:
    """The name in the ARN of an IAM user or of a role's session. Raises Unauthorized for any other ARN."""
    kind, *names = arn.rpartition(":")[2].split("/")
    if kind == "assumed-role" and names:
        return names[0]
    if kind == "user" and names:
        return names[-1]
    raise Unauthorized("Sign the request as an IAM user or with a role.")
