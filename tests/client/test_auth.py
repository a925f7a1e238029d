"""Sign-in for each kind of deployment; secrets go to their own host alone, and into no text."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from elasticrecode_client import (
    AsyncClient,
    Client,
    Cognito,
    NotFound,
    SettingsError,
    SignInFailed,
    SigV4,
    Token,
    Unauthorised,
)
from tests.client.conftest import Make
from tests.client.server import Reply, Seen, Server

PASSWORD, CODE = "a-secret-password", "123456"


def token(number: int, seconds: float = 3600) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds, "n": number}).encode()).decode()
    return f"head.{claims.rstrip('=')}.signature"


def tokens(number: int, seconds: float = 3600, **more: str) -> Reply:
    return Reply(body={"AuthenticationResult": {"IdToken": token(number, seconds), "ExpiresIn": 3600, **more}})


@pytest.fixture
def pool(server: Server) -> Server:
    """The server with a user pool of its own."""
    scheme = {"token": {"x-cognito": {"url": f"{server.url}/cognito", "clientId": "the-client"}}}
    server.always["GET /api/v1/openapi.json"] = {"components": {"securitySchemes": scheme}}
    server.always["GET /api/v1/health"] = {"status": "ok"}
    return server


def test_a_token_goes_with_each_request(make: Make, server: Server) -> None:
    server.always["GET /api/v1/health"] = {"status": "ok"}
    numbers = iter("12")
    for auth in (Token("Bearer abc"), Token(lambda: f"t{next(numbers)}")):
        client = make(server.url, auth=auth)
        client.health()
        client.health()
    sent = [request.headers["authorization"] for request in server.seen]
    assert sent == ["Bearer abc", "Bearer abc", "Bearer t1", "Bearer t2"]


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nHost: x", "é"])
def test_what_is_no_token_is_not_sent(make: Make, server: Server, bad: str) -> None:
    with pytest.raises(SignInFailed):
        make(server.url, auth=Token(bad)).health()
    assert server.seen == []


def test_a_user_of_cognito_signs_in_once_and_is_renewed(make: Make, pool: Server) -> None:
    pool.replies["POST /cognito"] = [tokens(1, 1, RefreshToken="refresh"), tokens(2, 1), tokens(3)]
    client = make(pool.url, auth=Cognito("ann", PASSWORD))
    for _ in range(4):
        client.health()
    bodies = [request.json for request in pool.requests("POST /cognito")]
    assert bodies[0] == {
        "ClientId": "the-client",
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": {"USERNAME": "ann", "PASSWORD": PASSWORD},
    }
    assert [body["AuthFlow"] for body in bodies[1:]] == ["REFRESH_TOKEN_AUTH"] * 2
    assert bodies[1]["AuthParameters"] == {"REFRESH_TOKEN": "refresh"}
    assert len(pool.requests("GET /api/v1/openapi.json")) == 1
    assert "authorization" not in pool.requests("GET /api/v1/openapi.json")[0].headers
    claims = pool.seen[-1].headers["authorization"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["n"] == 3


def test_many_calls_at_once_sign_in_once(pool: Server) -> None:
    pool.replies["POST /cognito"] = [tokens(1)]

    async def calls() -> None:
        async with AsyncClient(pool.url, auth=Cognito("ann", PASSWORD)) as client:
            await asyncio.gather(*(client.health() for _ in range(20)))

    asyncio.run(calls())
    pool.replies["POST /cognito"] = [tokens(2)]
    with Client(pool.url, auth=Cognito("ann", PASSWORD)) as client, ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(lambda _: client.health(), range(20)))) == 20
    assert len(pool.requests("POST /cognito")) == 2


def test_a_refresh_token_that_has_ended_leads_to_the_password(make: Make, pool: Server) -> None:
    refused = Reply(400, {"__type": "NotAuthorizedException", "message": "Refresh Token has expired"})
    pool.replies["POST /cognito"] = [tokens(1, 1, RefreshToken="refresh"), refused, tokens(2)]
    client = make(pool.url, auth=Cognito("ann", PASSWORD))
    client.health()
    client.health()
    flows = [request.json["AuthFlow"] for request in pool.requests("POST /cognito")]
    assert flows == ["USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH", "USER_PASSWORD_AUTH"]


def test_a_token_that_the_api_refuses_is_renewed_once(make: Make, pool: Server) -> None:
    pool.replies["POST /cognito"] = [tokens(1), tokens(2), tokens(3)]
    pool.replies["GET /api/v1/health"] = [Reply(401, {"message": "Unauthorized"})]
    client = make(pool.url, auth=Cognito("ann", PASSWORD))
    assert client.health() == {"status": "ok"}
    pool.replies["GET /api/v1/health"] = [Reply(401, {"message": "Unauthorized"}) for _ in range(2)]
    with pytest.raises(Unauthorised):
        client.health()


def test_challenges_are_answered_by_the_callers_function(make: Make, pool: Server) -> None:
    pool.replies["POST /cognito"] = [
        Reply(body={"ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": "s1", "ChallengeParameters": {}}),
        Reply(
            body={
                "ChallengeName": "SOFTWARE_TOKEN_MFA",
                "Session": "s2",
                "ChallengeParameters": {"USER_ID_FOR_SRP": "id"},
            }
        ),
        tokens(1),
    ]
    answers = {"NEW_PASSWORD_REQUIRED": "a-new-one", "SOFTWARE_TOKEN_MFA": CODE}
    auth = Cognito("ann", PASSWORD, challenge=lambda name, parameters: answers[name])
    make(pool.url, auth=auth).health()
    first, second = (request.json for request in pool.requests("POST /cognito")[1:])
    assert first["ChallengeResponses"] == {"USERNAME": "ann", "NEW_PASSWORD": "a-new-one"}
    assert second["ChallengeResponses"] == {"USERNAME": "id", "SOFTWARE_TOKEN_MFA_CODE": CODE}
    assert second["Session"] == "s2"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(400, {"message": "Incorrect username or password."}), "Incorrect username or password"),
        (Reply(body={"ChallengeName": "SMS_MFA", "Session": "s"}), "SMS_MFA, which this client cannot answer"),
        (Reply(body={"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "s"}), "challenge="),
        (Reply(body=[]), "without a token"),
        (Reply(400, b"no json"), "status 400"),
    ],
)
def test_a_sign_in_that_fails_says_why(make: Make, pool: Server, reply: Reply, words: str) -> None:
    pool.replies["POST /cognito"] = [reply]
    with pytest.raises(SignInFailed, match=words) as caught:
        make(pool.url, auth=Cognito("ann", PASSWORD)).health()
    assert PASSWORD not in str(caught.value)


def test_a_deployment_without_a_pool_gets_no_password(make: Make, server: Server) -> None:
    server.always["GET /api/v1/openapi.json"] = {"components": {}}
    with pytest.raises(SignInFailed, match="no Cognito user pool"):
        make(server.url, auth=Cognito("ann", PASSWORD)).health()
    pool = {"url": "http://elsewhere.example", "clientId": "c"}
    server.always["GET /api/v1/openapi.json"] = {"components": {"securitySchemes": {"token": {"x-cognito": pool}}}}
    with pytest.raises(SettingsError, match="plain http"):
        make(server.url, auth=Cognito("ann", PASSWORD)).health()


def test_no_secret_travels_over_plain_http(make: Make) -> None:
    with pytest.raises(SettingsError, match="plain http"):
        make("http://farm.example", auth=Token("abc"))
    make("http://farm.example")
    make("https://farm.example", auth=Token("abc"))


def test_requests_are_signed_for_aws(make: Make, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session")
    server.always["GET /api/v1/jobs"] = []
    client = make(server.url, auth=SigV4(region="eu-west-1"))
    assert list(client.jobs(text="a b/é")) == []
    headers = server.seen[-1].headers
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/execute-api/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == "a-session"
    with pytest.raises(NotFound):
        client.remove_preset("a b~é+/c")
    server.always["POST /api/v1/jobs/retry"] = {"retried": 1}
    client.retry_failed(batch_id="b")
    assert all(is_signed(request) for request in server.seen)
    region = SigV4()._region_of("https://abc.execute-api.eu-north-1.amazonaws.com/api/v1")
    assert region == "eu-north-1"


def is_signed(request: Seen) -> bool:
    """Whether the signature of a request is that of what came over the wire, as AWS computes it."""
    scope, names, signature = re.findall(
        r"Credential=AKIDEXAMPLE/(\S+), SignedHeaders=(\S+), Signature=(\w+)", request.headers["authorization"]
    )[0]
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        [
            request.method,
            quote(path, safe="/~"),
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{request.headers[name]}" for name in names.split(";")),
            "",
            names,
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    text = (
        f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = b"AWS4a-secret-key"
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return bool(key.hex() == signature)


def test_secrets_are_in_no_text_and_no_log(make: Make, pool: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pool.replies["POST /cognito"] = [tokens(1)]
    for auth in (Token("a-token-of-mine"), Cognito("ann", PASSWORD)):
        client = make(pool.url, auth=auth)
        client.health()
        texts = [repr(auth), str(auth), repr(client), repr(client.exchange), caplog.text]
        for secret in ("a-token-of-mine", PASSWORD, token(1)[:20], "signature"):
            assert not any(secret in text for text in texts), secret
