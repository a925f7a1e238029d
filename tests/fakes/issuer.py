"""An OpenID issuer."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "elasticrecode"


class Issuer(ThreadingHTTPServer):
    """An OpenID issuer. `served` counts what was asked of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Issued)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.keys: dict[str, Any] = {"one": rsa.generate_private_key(65537, 2048)}
        self.broken = False
        self.served = 0

    def jwks(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = [{"kty": "unknown", "kid": "odd"}]
        for kid, key in self.keys.items():
            kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            found.append(kind.to_jwk(key.public_key(), as_dict=True) | {"kid": kid})
        return {"keys": found}

    def token(self, kid: str = "one", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        told = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 600} | claims
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, key or self.keys[kid], algorithm=algorithm, headers={"kid": kid})


class _Issued(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        self.server.served += 1
        content: Any = {
            "/.well-known/openid-configuration": {"jwks_uri": f"{self.server.url}/keys"},
            "/keys": self.server.jwks(),
        }[self.path]
        body = b"<html>" if self.server.broken else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
