"""Authorization by tokens of an OpenID issuer and by tickets, and connections that end with their tokens."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.access.tickets import LIFETIME_SECONDS, Tickets
from elasticrecode.access.tokens import Tokens
from elasticrecode.contract import routes
from elasticrecode.contract.auth import Auth
from elasticrecode.errors import Unauthorized, Unavailable
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.watch.subscription import Cursor, Start, Watch
from tests.fakes.gateway import Gateway
from tests.fakes.issuer import AUDIENCE, Issuer
from tests.fakes.stack import Stack
from tests.support import call

REST = "arn:aws:execute-api:us-east-1:123456789012:api1/api/GET/v1/jobs"
SOCKET = "arn:aws:execute-api:us-east-1:123456789012:api2/ws/$connect"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    server = Issuer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Authorize = Callable[..., dict[str, Any]]


@pytest.fixture
def authorize(stack: Stack, issuer: Issuer) -> Authorize:
    handler = stack.build("authorize", issuer=issuer.url, audience=[AUDIENCE])

    def request(arn: str, authorization: str = "", **query: str) -> dict[str, Any]:
        event = {
            "methodArn": arn,
            "headers": {"authorization": authorization} if authorization else None,
            "queryStringParameters": query or None,
            "requestContext": {"connectionId": "c1"} if arn == SOCKET else {},
        }
        answer: dict[str, Any] = handler(event, None)
        return answer

    return request


def effect(answer: dict[str, Any]) -> str:
    (statement,) = answer["policyDocument"]["Statement"]
    return str(statement["Effect"])


@pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer "])
@pytest.mark.parametrize(("arn", "whole"), [(REST, "api1/api/*"), (SOCKET, "api2/ws/*")])
def test_a_valid_token_is_allowed_on_the_whole_stage(
    authorize: Authorize, issuer: Issuer, arn: str, whole: str, scheme: str
) -> None:
    answer = authorize(arn, scheme + issuer.token(groups=["operators"]))
    assert effect(answer) == "Allow"
    assert answer["policyDocument"]["Statement"][0]["Resource"].endswith(whole)
    caller = Caller.of_context(answer["context"])
    assert (caller.userID, caller.operator) == ("ann", True)
    assert caller.expires > time.time()


def wrong_tokens(issuer: Issuer) -> dict[str, str]:
    other = rsa.generate_private_key(65537, 2048)
    public = issuer.keys["one"].public_key()
    claims = {"sub": "ann", "iss": issuer.url, "exp": 9e9}
    good = issuer.token()
    head, payload, signature = good.split(".")
    return {
        "nothing": "",
        "no token": "x.y.z",
        "of another key": issuer.token(key=other),
        "unsigned": jwt.encode({**claims, "aud": AUDIENCE}, "", algorithm="none", headers={"kid": "one"}),
        "signed with the public key": jwt.encode(
            {"sub": "ann", "iss": issuer.url, "aud": AUDIENCE, "exp": 9e9},
            str(public.public_numbers().n),
            algorithm="HS256",
            headers={"kid": "one"},
        ),
        "of a key that is not the issuer's": issuer.token(kid="two", key=other),
        "of no key": jwt.encode({"sub": "ann", "iss": issuer.url, "exp": 9e9}, other, algorithm="RS256"),
        "of another issuer": issuer.token(iss="https://example.com"),
        "for another audience": issuer.token(aud="other"),
        "for no audience": issuer.token(aud=None),
        "expired": issuer.token(exp=int(time.time()) - 1),
        "without an end": issuer.token(exp=None),
        "not yet": issuer.token(nbf=int(time.time()) + 600),
        "nobody's": issuer.token(sub=None),
        "of a user that can't be": issuer.token(sub="a b/c"),
        "altered": f"{head}.{payload[:-4]}AAAA.{signature}",
        "cut": f"{head}.{payload}.",
        "huge": "a" * 100_000,
    }


def test_any_other_token_is_denied(authorize: Authorize, issuer: Issuer) -> None:
    for case, token in wrong_tokens(issuer).items():
        with pytest.raises(Exception, match=r"^Unauthorized$"):
            authorize(REST, token)
        assert effect(authorize(SOCKET, token)) == "Deny", case


def test_a_ticket_opens_a_websocket_only(authorize: Authorize, stack: Stack) -> None:
    ticket, _ = Tickets("connections").issue(Caller("ann"))
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorize(REST, ticket=ticket)
    answer = authorize(SOCKET, ticket=ticket)
    assert (effect(answer), answer["context"]["userID"]) == ("Allow", "ann")
    assert effect(authorize(SOCKET, ticket=ticket)) == "Deny"


def test_a_new_key_of_the_issuer_is_fetched_at_most_every_30_seconds(issuer: Issuer, monkeypatch: Any) -> None:
    tokens = Tokens(issuer.url, [AUDIENCE])
    assert tokens.claims(issuer.token())["sub"] == "ann"
    fetched = issuer.served
    issuer.keys["two"] = ec.generate_private_key(ec.SECP256R1())
    for _ in range(20):
        with pytest.raises(Unauthorized, match="not the issuer's"):
            tokens.claims(issuer.token("two", "ES256"))
    assert issuer.served == fetched
    now = time.monotonic()
    monkeypatch.setattr("elasticrecode.access.tokens.time.monotonic", lambda: now + 31)
    assert tokens.claims(issuer.token("two", "ES256"))["sub"] == "ann"


def test_known_keys_stay_in_use_while_the_issuer_is_unreachable(issuer: Issuer, monkeypatch: Any) -> None:
    issuer.broken = True
    tokens = Tokens(issuer.url, [AUDIENCE])
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be fetched"):
            tokens.claims(issuer.token())
    issuer.broken = False
    assert tokens.claims(issuer.token())
    issuer.broken = True
    now = time.monotonic()
    monkeypatch.setattr("elasticrecode.access.tokens.time.monotonic", lambda: now + 7200)
    assert tokens.claims(issuer.token())


def test_the_key_and_not_the_token_decides_the_algorithm(issuer: Issuer) -> None:
    tokens = Tokens(issuer.url, [AUDIENCE])
    with pytest.raises(Unauthorized):
        tokens.claims(issuer.token(algorithm="RS512"))


def test_only_one_of_many_callers_redeems_a_ticket(stack: Stack) -> None:
    tickets = Tickets("connections")
    ticket, expires = tickets.issue(Caller("ann", expires=10**10))
    assert 0 < expires - time.time() <= LIFETIME_SECONDS
    assert ticket not in json.dumps(stack.dynamodb.scan(TableName="connections")["Items"])
    got: list[Caller] = []
    lost: list[str] = []

    def redeem() -> None:
        try:
            got.append(tickets.redeem(ticket))
        except Unauthorized as error:
            lost.append(error.detail)

    threads = [threading.Thread(target=redeem) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [Caller("ann", expires=10**10)]
    assert len(lost) == 7


@pytest.mark.parametrize("wrong", ["x", "", "ticket", "a" * 10_000, "\x00"])
def test_an_unknown_ticket_is_refused(stack: Stack, wrong: str) -> None:
    with pytest.raises(Unauthorized):
        Tickets("connections").redeem(wrong)


def test_a_ticket_expires_after_a_minute_or_with_its_token(stack: Stack, monkeypatch: Any) -> None:
    tickets, now = Tickets("connections"), time.time()
    monkeypatch.setattr("elasticrecode.access.tickets.time.time", lambda: now)
    late, _ = tickets.issue(Caller("ann", expires=10**10))
    soon, ends = tickets.issue(Caller("ann", expires=int(now) + 5))
    assert ends == int(now) + 5
    monkeypatch.setattr("elasticrecode.access.tickets.time.time", lambda: now + 6)
    with pytest.raises(Unauthorized):
        tickets.redeem(soon)
    monkeypatch.setattr("elasticrecode.access.tickets.time.time", lambda: now + 62)
    with pytest.raises(Unauthorized):
        tickets.redeem(late)


def test_the_route_answers_a_ticket_for_the_caller(stack: Stack) -> None:
    handler = stack.build("tickets")
    answer = call(handler, routes.SOCKET_TICKET)
    assert (answer.status, set(answer.body)) == (200, {"ticket", "expiresAt"})
    assert Tickets("connections").redeem(answer.body["ticket"]) == ANYBODY


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_connections_end_when_their_tokens_expire(stack: Stack, gateway: Gateway, monkeypatch: Any) -> None:
    connections, now = ConnectionsTable("connections"), time.time()
    for number in range(120):
        connections.add(f"over-{number}", Watch(userID="ann"), Start("now"), int(now) - 1)
    connections.add("soon", Watch(userID="ann"), Start("now"), int(now) + 100)
    connections.add("always", Watch(userID="ann"), Start("now"))
    disconnect = stack.build("disconnect", socket_management_url=gateway.url)
    disconnect({}, None)
    assert set(gateway.ended) == {f"over-{number}" for number in range(120)}
    assert connections.get("userID#ann", "soon")
    assert connections.get("userID#ann", "always")
    ended = len(gateway.ended)
    disconnect({}, None)
    assert len(gateway.ended) == ended
    monkeypatch.setattr("elasticrecode.watch.connections.time.time", lambda: now + 100)
    assert not connections.get("userID#ann", "soon"), "nothing is sent to it from that second on"
    disconnect({}, None)
    assert gateway.ended[-1] == "soon"


def test_an_expired_watcher_does_not_hide_others_of_the_topic(stack: Stack, monkeypatch: Any) -> None:
    connections, now = ConnectionsTable("connections"), time.time()
    connections.add("long", Watch(userID="ann"), Start("now"))
    connections.add("short", Watch(userID="ann"), Start("now"), int(now) + 60)
    for watcher in ("long", "short"):
        connection = connections.get("userID#ann", watcher)
        assert connection
        connections.join(connection, Cursor(1))
    monkeypatch.setattr("elasticrecode.watch.connections.time.time", lambda: now + 60)
    assert [watcher.connection_id for watcher in connections.watching(["userID#ann"])] == ["long"]


def test_a_websocket_without_an_authorizers_context_is_not_opened(stack: Stack) -> None:
    sockets = stack.build("sockets", auth=Auth("jwt"))
    request: dict[str, Any] = {"eventType": "CONNECT", "connectionId": "c"}
    event: dict[str, Any] = {"requestContext": request, "queryStringParameters": None}
    assert sockets(event, None)["statusCode"] == 401
    request["authorizer"] = Caller("ann").context()
    assert sockets(event, None) == {"statusCode": 200}
    event["queryStringParameters"] = {"userID": "bob"}
    assert sockets(event, None)["statusCode"] == 403
