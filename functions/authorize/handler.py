"""Who is there: API Gateway asks it of new WebSockets, and of REST requests with tokens that it can't read itself."""

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


def build(settings: AuthorizeSettings) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The handler over the tickets and the issuer's keys."""
    tickets = Tickets(settings.connections_table)
    tokens = Tokens(settings.issuer, settings.audience, settings.jwks_url) if settings.issuer else None

    def authorize(event: dict[str, Any], context: Any) -> dict[str, Any]:
        connecting = "connectionId" in event["requestContext"]
        try:
            caller = _caller(event, connecting)
        except Unauthorized as error:
            logger.info("refused", extra={"reason": error.detail})
            if connecting:
                return _word(event["methodArn"], "Deny")
            raise Exception("Unauthorized") from None  # the text for which API Gateway answers 401
        return _word(event["methodArn"], "Allow", caller)

    def _caller(event: Mapping[str, Any], connecting: bool) -> Caller:
        """Who it is by the token, or by the ticket of a WebSocket."""
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        token, query = headers.get("authorization", ""), event.get("queryStringParameters") or {}
        if token and tokens:
            bare = token[len(_SCHEME) :] if token.lower().startswith(_SCHEME) else token
            return callers.of_claims(tokens.claims(bare.strip()), settings.user_claim, settings.groups_claim)
        if connecting and query.get("ticket"):
            return tickets.redeem(query["ticket"])
        raise Unauthorized("There is neither a token nor a ticket.")

    return authorize


def _word(method_arn: str, effect: str, caller: Caller | None = None) -> dict[str, Any]:
    """What API Gateway is told. It is kept, and so is for every method of the stage."""
    api, stage, *_ = method_arn.split("/")
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": f"{api}/{stage}/*"}
    return {
        "principalId": caller.userID if caller else "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": caller.context() if caller else {},
    }


handler = compose(build, AuthorizeSettings)
