"""Tokens of an OpenID issuer: are they genuine, for us, and of now."""

import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt

from elasticrecode.errors import Unauthorized, Unavailable

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Those with a key pair: with the others whoever can check a token can make one."""
_FETCH_SECONDS = 5
_KEYS_SECONDS = 3600
_KEYS_PAUSE_SECONDS = 30
"""How often keys are fetched at the most, whatever keys tokens name."""
_DOCUMENT_BYTES = 1 << 20


class Tokens:
    """Checks tokens of one issuer, whose keys are at `jwks_url`, or where the issuer's OpenID document says."""

    def __init__(self, issuer: str, audience: list[str], jwks_url: str = "") -> None:
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token. Unauthorized with the reason; Unavailable when the issuer's keys can't be had."""
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
            raise Unauthorized(f"The token can't be used: {error}.") from error

    def _key(self, kid: str) -> jwt.PyJWK:
        age = time.monotonic() - self._fetched
        if age > _KEYS_SECONDS or (kid not in self._keys and age > _KEYS_PAUSE_SECONDS):
            self._fetch()
        if kid not in self._keys:
            raise Unauthorized("The token's key is none of the issuer's.")
        return self._keys[kid]

    def _fetch(self) -> None:
        """Read the issuer's keys. Where that fails those that are known stay in use."""
        self._fetched, known = time.monotonic(), bool(self._keys)
        try:
            self._jwks_url = self._jwks_url or str(_read(f"{self._issuer.rstrip('/')}{_DISCOVERY}")["jwks_uri"])
            keys = _read(self._jwks_url)["keys"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if known:
                return
            self._fetched = float("-inf")
            raise Unavailable(f"The keys of {self._issuer} can't be had: {error}") from error
        found = {}
        for key in keys:
            with suppress(jwt.PyJWTError, TypeError, AttributeError):  # of a kind that is not known here
                found[str(key.get("kid", ""))] = jwt.PyJWK(key)
        self._keys = found


_DISCOVERY = "/.well-known/openid-configuration"
_opener: Callable[..., Any] = urllib.request.build_opener(urllib.request.HTTPSHandler()).open


def _read(url: str) -> Any:
    with _opener(url, timeout=_FETCH_SECONDS) as answer:
        return json.loads(answer.read(_DOCUMENT_BYTES))
