"""The caller of a request, for each kind of authentication."""

import pytest

from elasticrecode.access.callers import ANYBODY, Caller, of_claims, of_connection, of_request
from elasticrecode.contract.auth import Auth
from elasticrecode.errors import Forbidden, Unauthorized

NOW = 1_000.0


def cognito(groups: object = None, **claims: object) -> dict[str, object]:
    all_claims = {"cognito:username": "ann", "exp": "2000", **claims} | ({"cognito:groups": groups} if groups else {})
    return {"authorizer": {"claims": all_claims}}


def iam(arn: object) -> dict[str, object]:
    return {"identity": {"userArn": arn}}


def test_without_authentication_every_caller_is_an_operator() -> None:
    assert of_request(Auth(), {}, NOW) is ANYBODY
    assert of_connection(Auth(), {}) is ANYBODY
    ANYBODY.act_for("ann")
    ANYBODY.operate()


@pytest.mark.parametrize(
    ("groups", "operator"),
    [
        (None, False), ("operators", True), ("[operators]", True), ("a,operators", True), ("[a operators b]", True),
        ("operators2", False), ("[]", False), ("my-operators,x", False),
    ],
)  # fmt: skip
def test_groups_are_read_as_api_gateway_writes_them(groups: str | None, operator: bool) -> None:
    assert of_request(Auth("cognito"), cognito(groups), NOW) == Caller("ann", operator, 2000)


@pytest.mark.parametrize("groups", [["operators"], ["a", "operators"]])
def test_a_token_may_list_several_groups(groups: list[str]) -> None:
    assert of_claims({"sub": "ann", "groups": groups}, "sub", "groups").operator


def test_a_token_may_hold_one_group_as_a_string() -> None:
    assert of_claims({"sub": "ann", "groups": "operators"}, "sub", "groups").operator


@pytest.mark.parametrize(
    "groups", [None, 7, "x operators", "operators]", "operators,x", {"operators": True}, [["operators"]], [7], "", []]
)
def test_a_malformed_groups_claim_makes_no_operator(groups: object) -> None:
    assert not of_claims({"sub": "ann", "groups": groups}, "sub", "groups").operator


@pytest.mark.parametrize("user", [None, 7, "", "a b", "a/b", "a?b", "a#b", "a%2e", "a\n", "x" * 129, ["ann"]])
def test_a_token_without_a_valid_user_id_is_refused(user: object) -> None:
    with pytest.raises(Unauthorized, match="sub must be a user's id"):
        of_claims({"sub": user}, "sub", "groups")


def test_an_access_token_of_cognito_is_refused() -> None:
    with pytest.raises(Unauthorized, match="ID token"):
        of_request(Auth("cognito"), {"authorizer": {"claims": {"username": "ann", "token_use": "access"}}}, NOW)


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:sts::123456789012:assumed-role/ingest/session", "ingest"),
        ("arn:aws:iam::123456789012:user/ann", "ann"),
        ("arn:aws:iam::123456789012:user/division/films/ann", "ann"),
    ],
)
def test_a_signature_names_a_role_or_an_iam_user(arn: str, name: str) -> None:
    assert of_request(Auth("iam"), iam(arn), NOW) == Caller(name)
    assert of_request(Auth("iam", (name,)), iam(arn), NOW).operator


@pytest.mark.parametrize("arn", [None, "", "arn:aws:iam::123456789012:root", "arn:aws:sts::1:federated-user/x", "user"])
def test_other_signatures_are_refused(arn: str | None) -> None:
    with pytest.raises(Unauthorized, match="IAM user or with a role"):
        of_request(Auth("iam"), iam(arn), NOW)


def test_an_authorizers_context_round_trips_and_expires_with_the_token() -> None:
    caller = Caller("ann", operator=True, expires=1001)
    assert of_request(Auth("jwt"), {"authorizer": caller.context()}, NOW) == caller
    assert of_connection(Auth("cognito"), {"authorizer": caller.context()}) == caller
    with pytest.raises(Unauthorized, match="expired"):
        of_request(Auth("jwt"), {"authorizer": caller.context()}, 1001.0)


@pytest.mark.parametrize("kind", ["cognito", "jwt", "iam"])
def test_a_request_without_an_authorizers_context_is_not_authorized(kind: str) -> None:
    auth = Auth(kind)  # type: ignore[arg-type]
    with pytest.raises(Unauthorized):
        of_request(auth, {}, NOW)
    with pytest.raises(Unauthorized):
        of_connection(auth, {})


def test_a_caller_may_act_for_itself_only() -> None:
    ann = Caller("ann")
    ann.act_for("ann")
    for user in ("bob", "Ann", "ann ", ""):
        assert not ann.may_act_for(user)
        with pytest.raises(Forbidden, match="You are ann"):
            ann.act_for(user)
    with pytest.raises(Forbidden, match="Only operators"):
        ann.operate()
    Caller("root", operator=True).act_for("bob")


def test_an_expiry_is_read_as_api_gateway_writes_it() -> None:
    caller = of_request(Auth("cognito"), cognito(exp="Mon May 06 21:23:32 UTC 2019"), NOW)
    assert caller.expires == 1_557_177_812


@pytest.mark.parametrize("exp", [None, "soon", "", -1, 1e300, [], {}, "9" * 400])
def test_a_token_with_an_unreadable_expiry_is_refused(exp: object) -> None:
    with pytest.raises(Unauthorized, match="exp"):
        of_request(Auth("cognito"), cognito(exp=exp), NOW)
