"""How a client proves who it is: nothing, a token, a Cognito user, or an AWS signature. No secret is in a `repr`."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from elasticrecode_client.calls import Call, Flow, Request, taken
from elasticrecode_client.problems import SignInFailed

if TYPE_CHECKING:
    from elasticrecode_client.exchange import Exchange

_EARLY_SECONDS = 60
_CHALLENGES = {"NEW_PASSWORD_REQUIRED": "NEW_PASSWORD", "SOFTWARE_TOKEN_MFA": "SOFTWARE_TOKEN_MFA_CODE"}

Answers = Callable[[str, Mapping[str, str]], str]
"""Answers a challenge of Cognito: its name (`NEW_PASSWORD_REQUIRED` or `SOFTWARE_TOKEN_MFA`) and its parameters →
the new password, or the code of the authenticator."""


class Auth:
    """Base of all ways to authenticate."""

    def __bool__(self) -> bool:
        """Whether requests carry a secret."""
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def sign(self, request: Request, exchange: Exchange) -> Flow[Request]:
        """The request with what proves who sends it. Raises SignInFailed."""
        raise NotImplementedError

    def renew(self) -> bool:
        """Forget a token that the API has refused. True where `sign` may get another one."""
        return False


class NoAuth(Auth):
    """For deployments with `auth` `none`."""

    def __bool__(self) -> bool:
        return False

    def sign(self, request: Request, exchange: Exchange) -> Flow[Request]:
        """The request as it is."""
        yield from ()
        return request


class Token(Auth):
    """A bearer token, for `auth` `jwt` or `cognito`: the token itself, or a function that returns a valid one.

    The function is called for each request, so it should keep its token until shortly before it ends.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token

    def sign(self, request: Request, exchange: Exchange) -> Flow[Request]:
        """The request with the token."""
        yield from ()
        return _with_token(request, self._token if isinstance(self._token, str) else self._token())

    def renew(self) -> bool:
        """True where a function gives tokens."""
        return not isinstance(self._token, str)


class Cognito(Auth):
    """A user of the deployment's Cognito user pool, for `auth` `cognito`.

    The pool is that of the deployment (`x-cognito` of its OpenAPI document). `challenge` answers with a new password or
    the code of an authenticator, when Cognito demands one. The client gets a token at the first request, and another
    before it ends.
    """

    def __init__(self, username: str, password: str, *, challenge: Answers | None = None) -> None:
        self.username = username
        self._password = password
        self._challenge = challenge
        self._pool: Mapping[str, str] | None = None
        self._token = ""
        self._refresh_token = ""
        self._until = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Cognito({self.username!r})"

    def sign(self, request: Request, exchange: Exchange) -> Flow[Request]:
        """The request with an ID token. Raises SignInFailed."""
        if self._has_ended():
            yield from taken(self._lock)
            try:
                if self._has_ended():
                    yield from self._sign_in(exchange)
            finally:
                self._lock.release()
        return _with_token(request, self._token)

    def renew(self) -> bool:
        """True: the next request signs in."""
        self._until = 0.0
        return True

    def _has_ended(self) -> bool:
        return time.time() > self._until - _EARLY_SECONDS

    def _sign_in(self, exchange: Exchange) -> Flow[None]:
        if self._refresh_token:
            try:
                parameters = {"REFRESH_TOKEN": self._refresh_token}
                result = yield from self._ask(exchange, "InitiateAuth", _flow("REFRESH_TOKEN_AUTH", parameters))
            except SignInFailed:
                self._refresh_token = ""
            else:
                self._keep(result)
                return
        parameters = {"USERNAME": self.username, "PASSWORD": self._password}
        result = yield from self._ask(exchange, "InitiateAuth", _flow("USER_PASSWORD_AUTH", parameters))
        while name := result.get("ChallengeName"):
            response = self._response(name, result.get("ChallengeParameters") or {})
            result = yield from self._ask(
                exchange,
                "RespondToAuthChallenge",
                {"ChallengeName": name, "Session": result.get("Session"), "ChallengeResponses": response},
            )
        self._keep(result)

    def _response(self, name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        if name not in _CHALLENGES:
            raise SignInFailed(f"Cognito asks for {name}, which this client cannot answer.")
        if self._challenge is None:
            raise SignInFailed(f"Cognito asks for {name}; give Cognito(…, challenge=…) a function that answers it.")
        answer = self._challenge(name, parameters)
        if name == "NEW_PASSWORD_REQUIRED":
            self._password = answer
        return {"USERNAME": parameters.get("USER_ID_FOR_SRP", self.username), _CHALLENGES[name]: answer}

    def _keep(self, result: Mapping[str, Any]) -> None:
        try:
            tokens = result["AuthenticationResult"]
            self._token = str(tokens["IdToken"])
        except (KeyError, TypeError):
            raise SignInFailed("Cognito answers without a token.") from None
        self._refresh_token = tokens.get("RefreshToken") or self._refresh_token
        self._until = _end(self._token) or time.time() + float(tokens.get("ExpiresIn", 300))

    def _ask(self, exchange: Exchange, action: str, body: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        """Cognito's answer. Raises SignInFailed with its reason."""
        pool = self._pool or (yield from self._find_pool(exchange))
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"AWSCognitoIdentityProviderService.{action}",
        }
        content = json.dumps({"ClientId": pool["clientId"], **body}).encode()
        answer = yield from exchange.outside(Request("POST", pool["url"], headers, content))
        try:
            result = json.loads(answer.content)
            message = "" if answer.status == 200 else str(result.get("message") or f"status {answer.status}")
        except (ValueError, AttributeError):
            result, message = {}, f"status {answer.status}"
        if message:
            raise SignInFailed(f"Cognito refuses {self.username}: {message}")
        return dict(result)

    def _find_pool(self, exchange: Exchange) -> Flow[Mapping[str, str]]:
        document = yield from exchange.public(Call[Any]("GET /v1/openapi.json"))
        try:
            pool = document["components"]["securitySchemes"]["token"]["x-cognito"]
            url, client_id = str(pool["url"]), str(pool["clientId"])
        except (KeyError, TypeError):
            raise SignInFailed(f"{exchange.url} has no Cognito user pool to sign in at; use Token or SigV4.") from None
        exchange.check_private(url)
        self._pool = {"url": url, "clientId": client_id}
        return self._pool


class SigV4(Auth):
    """AWS signatures, for `auth` `iam`; needs `elasticrecode[aws]`. The client's URL must be the REST API's own.

    `session` is a botocore session; absent: the credentials of the environment, as the AWS CLI takes them. `region` is
    by default the one in the URL of the API, else AWS_REGION, else that of the session.
    """

    def __init__(self, *, session: Any = None, region: str | None = None) -> None:
        try:
            import botocore.session
        except ImportError:
            raise SignInFailed("AWS signatures need botocore: pip install 'elasticrecode[aws]'.") from None
        self._session = session or botocore.session.get_session()
        self._region = region

    def sign(self, request: Request, exchange: Exchange) -> Flow[Request]:
        """The request with a signature. Raises SignInFailed where there are no credentials."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        yield from ()
        credentials = self._session.get_credentials()
        if credentials is None:
            raise SignInFailed("There are no AWS credentials; `aws sts get-caller-identity` shows whether there are.")
        signed = AWSRequest(request.method, request.url, dict(request.headers), request.content)
        SigV4Auth(credentials.get_frozen_credentials(), "execute-api", self._region_of(request.url)).add_auth(signed)
        return request._replace(headers=dict(signed.headers.items()))

    def _region_of(self, url: str) -> str:
        labels = (urlsplit(url).hostname or "").split(".")
        in_url = labels[2] if labels[1:2] == ["execute-api"] and len(labels) > 3 else None
        region = self._region or in_url or environment_region() or self._session.get_config_variable("region")
        if not region:
            raise SignInFailed("The AWS Region is unknown: give SigV4(region=…), or set AWS_REGION.")
        return str(region)


def environment_region() -> str | None:
    """AWS_REGION, which comes first; botocore reads AWS_DEFAULT_REGION alone. None where it is not set."""
    return os.environ.get("AWS_REGION") or None


def _with_token(request: Request, token: str) -> Request:
    token = token.strip().removeprefix("Bearer ").removeprefix("bearer ")
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise SignInFailed("The token is empty, or has characters that no token has.")
    return request._replace(headers={**request.headers, "Authorization": f"Bearer {token}"})


def _flow(kind: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"AuthFlow": kind, "AuthParameters": parameters}


def _end(token: str) -> float:
    """The Unix second in which a JSON web token ends; 0 where it does not say."""
    try:
        claims = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, KeyError, ValueError, TypeError):
        return 0.0
