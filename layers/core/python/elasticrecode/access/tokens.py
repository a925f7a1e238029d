"""Validation of the tokens of an OpenID issuer: signature, issuer, audience and lifetime."""

import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt

from elasticrecode.errors import Unauthorized, Unavailable

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Algorithms with a key pair. With the others, whoever can check a token can also forge one."""
_FETCH_SECONDS = 5
_KEYS_SECONDS = 3600
"""Age at which the issuer's keys are fetched again."""
_KEYS_PAUSE_SECONDS = 30
"""Shortest time between two fetches, whatever key ids tokens name."""
_DOCUMENT_BYTES = 1 << 20


class Tokens:
    """Validates the tokens of one issuer. Its keys are at `jwks_url`, or where its OpenID document says.

    Any audience passes where `audience` is empty.
    """

    def __init__(self, issuer: str, audience: list[str], jwks_url: str = "") -> None:
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token.

        Raises Unauthorized with the reason for any other, and Unavailable when the issuer's keys cannot be fetched.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(str(header.get("kid", "")))
            return jwt.decode(
                token,
                key.key,
                algorithms=[name for name in _ALGORITHMS if name == key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience or None,
                options={"require": ["exp", "iss"], "verify_aud": bool(self._audience)},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(f"The token cannot be used: {error}.") from error

    def _key(self, kid: str) -> jwt.PyJWK:
        age = time.monotonic() - self._fetched
        if age > _KEYS_SECONDS or (kid not in self._keys and age > _KEYS_PAUSE_SECONDS):
            self._fetch()
        if kid not in self._keys:
            raise Unauthorized("The token is signed with a key that is not the issuer's.")
        return self._keys[kid]

    def _fetch(self) -> None:
        """Fetch the issuer's keys. Where that fails, the known ones stay in use; without any, Unavailable is raised."""
        self._fetched, known = time.monotonic(), bool(self._keys)
        try:
            self._jwks_url = self._jwks_url or str(_read(f"{self._issuer.rstrip('/')}{_DISCOVERY}")["jwks_uri"])
            keys = _read(self._jwks_url)["keys"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if known:
                return
            self._fetched = float("-inf")
            raise Unavailable(f"The keys of {self._issuer} cannot be fetched: {error}") from error
        usable = {}
        for key in keys:
            with suppress(jwt.PyJWTError, TypeError, AttributeError):  # a kind of key that PyJWT does not know
                usable[str(key.get("kid", ""))] = jwt.PyJWK(key)
        self._keys = usable


_DISCOVERY = "/.well-known/openid-configuration"
_opener: Callable[..., Any] = urllib.request.build_opener(urllib.request.HTTPSHandler()).open


def _read(url: str) -> Any:
    with _opener(url, timeout=_FETCH_SECONDS) as answer:
        return json.loads(answer.read(_DOCUMENT_BYTES))
