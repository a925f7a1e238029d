"""Who makes a request, and for whom it may act."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from elasticrecode.contract.auth import Auth
from elasticrecode.errors import Forbidden, Unauthorized

OPERATORS = "operators"
"""The group whose members act for everybody."""
USER = re.compile(r"[^\s/?#%\x00-\x1f\x7f\ufffe\uffff]{1,128}")
"""A user's id."""
COGNITO_USER, COGNITO_GROUPS = "cognito:username", "cognito:groups"
"""Claims of Cognito's ID tokens."""

_GROUPS_END = re.compile(r"[,\s\[\]]+")
"""Between groups in what API Gateway makes of a list: `a,b` or `[a b]`."""
_API_GATEWAYS_TIME = "%a %b %d %H:%M:%S UTC %Y"
_LATEST = 10**11


class Caller(NamedTuple):
    """Who asks. An operator acts for everybody, the others each for the one user that they are.

    `expires` is the Unix second in which the word of who it is ends, 0 for never.
    """

    userID: str
    operator: bool = False
    expires: int = 0

    def may_act_for(self, user_id: str) -> bool:
        """Whether this user's things are the caller's to see and change."""
        return self.operator or user_id == self.userID

    def act_for(self, user_id: str) -> None:
        """Forbidden unless the caller may act for this user."""
        if not self.may_act_for(user_id):
            raise Forbidden(f"You are {self.userID} and act for that user only, not for {user_id}.")

    def operate(self) -> None:
        """Forbidden to all but operators."""
        if not self.operator:
            raise Forbidden(f"Only operators may do this, and {self.userID} is none.")

    def context(self) -> dict[str, str]:
        """The caller as an authorizer's context, whose values API Gateway makes strings in any case."""
        return {"userID": self.userID, "operator": str(self.operator).lower(), "expires": str(self.expires)}

    @classmethod
    def of_context(cls, context: Mapping[str, str]) -> "Caller":
        """The caller in an authorizer's context."""
        return cls(context["userID"], context["operator"] == "true", int(context["expires"]))


ANYBODY = Caller("anybody", operator=True)
"""Who asks where nobody is asked who he is."""


def of_request(auth: Auth, context: Mapping[str, Any], now: float) -> Caller:
    """The caller of a REST request, from its `requestContext`. Unauthorized where that names nobody, or no more."""
    match auth.kind:
        case "none":
            return ANYBODY
        case "cognito":
            claims = context["authorizer"]["claims"]
            groups = _GROUPS_END.split(claims.get(COGNITO_GROUPS, ""))
            return of_claims({**claims, COGNITO_GROUPS: groups}, COGNITO_USER, COGNITO_GROUPS)
        case "iam":
            name = _principal(str(context["identity"].get("userArn") or ""))
            return Caller(name, name in auth.operators)
        case "jwt":
            caller = Caller.of_context(context["authorizer"])
            if caller.expires <= now:  # API Gateway keeps the authorizer's word for some minutes
                raise Unauthorized("The token has expired.")
            return caller


def of_connection(auth: Auth, context: Mapping[str, Any]) -> Caller:
    """The caller of a new WebSocket, which in all kinds is the authorizer's word, from its `requestContext`."""
    return ANYBODY if auth.kind == "none" else Caller.of_context(context["authorizer"])


def of_claims(claims: Mapping[str, Any], user_claim: str, groups_claim: str) -> Caller:
    """The caller that a token's claims name. Unauthorized where they name none, or one that no user can be called."""
    user_id = claims.get(user_claim)
    if not isinstance(user_id, str) or not USER.fullmatch(user_id):
        raise Unauthorized(f"The token's claim {user_claim} must be a user's id; send an ID token.")
    return Caller(user_id, OPERATORS in _groups(claims.get(groups_claim)), _second(claims.get("exp", 0)))


def _second(told: Any) -> int:
    """The Unix second that a token ends in: a number, or what API Gateway makes of one, `Mon May 06 21:23:32 UTC 2019`.

    Unauthorized where it is neither.
    """
    if isinstance(told, int | float) and 0 <= told < _LATEST:
        return int(told)
    if isinstance(told, str):
        if told.isascii() and told.isdigit() and len(told) < len(str(_LATEST)):
            return int(told)
        with suppress(ValueError):
            return int(datetime.strptime(told, _API_GATEWAYS_TIME).replace(tzinfo=UTC).timestamp())
    raise Unauthorized("The token's claim exp must be the Unix second in which it ends.")


def _groups(told: Any) -> list[str]:
    """The groups in a claim: a list, or one alone."""
    if isinstance(told, str):
        return [told]
    return [group for group in told if isinstance(group, str)] if isinstance(told, list) else []


def _principal(arn: str) -> str:
    """The name in the ARN of an IAM user, or of a role's session. Unauthorized where it is neither."""
    kind, *names = arn.rpartition(":")[2].split("/")
    if kind == "assumed-role" and names:
        return names[0]
    if kind == "user" and names:
        return names[-1]
    raise Unauthorized("Sign as an IAM user or with a role.")
