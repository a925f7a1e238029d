"""The Lambda authorizer of new WebSockets, and of REST requests with tokens that API Gateway cannot validate itself."""

from collections.abc import Callable, Mapping
from typing import Any

from elasticrecode.access import callers
from elasticrecode.access.callers import Caller
from elasticrecode.access.tickets import Tickets
from elasticrecode.access.tokens import Tokens
from elasticrecode.contract.settings import AuthorizeSettings
from elasticrecode.errors import Unauthorized
from elasticrecode.log import logger
from elasticrecode.runtime import compose

_SCHEME = "bearer "


class Authorizer:
    """Authorizes a token of the issuer, or, for a WebSocket, a ticket."""

    def __init__(self, settings: AuthorizeSettings) -> None:
        self._claims = settings.user_claim, settings.groups_claim
        self._tickets = Tickets(settings.connections_table)
        self._tokens = Tokens(settings.issuer, settings.audience, settings.jwks_url) if settings.issuer else None

    def authorize(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """The policy for a request. For a REST request that is not authorized, API Gateway needs an exception."""
        connecting = "connectionId" in event["requestContext"]
        try:
            caller = self._caller(event, connecting)
        except Unauthorized as error:
            logger.info("a request was not authorized", extra={"reason": error.detail})
            if connecting:
                return _policy(event["methodArn"], "Deny")
            raise Exception("Unauthorized") from None  # the text for which API Gateway answers 401
        return _policy(event["methodArn"], "Allow", caller)

    def _caller(self, event: Mapping[str, Any], connecting: bool) -> Caller:
        """The caller of the token, or of a WebSocket's ticket. Raises Unauthorized."""
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        token, query = headers.get("authorization", ""), event.get("queryStringParameters") or {}
        if token and self._tokens:
            bare = token[len(_SCHEME) :] if token.lower().startswith(_SCHEME) else token
            return callers.of_claims(self._tokens.claims(bare.strip()), *self._claims)
        if connecting and query.get("ticket"):
            return self._tickets.redeem(query["ticket"])
        raise Unauthorized("The request has neither a token nor a ticket.")


def _policy(method_arn: str, effect: str, caller: Caller | None = None) -> dict[str, Any]:
    """An authorizer's answer. API Gateway caches it, so the policy covers every method of the stage."""
    api, stage, *_ = method_arn.split("/")
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": f"{api}/{stage}/*"}
    return {
        "principalId": caller.userID if caller else "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": caller.context() if caller else {},
    }


def build(settings: AuthorizeSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda handler."""
    return Authorizer(settings).authorize


handler = compose(build, AuthorizeSettings)
