"""The users of `AUTH=cognito` on this machine: an ordinary one and an operator."""

import json
import os
import secrets
from typing import Any

from elasticrecode.access.callers import OPERATORS
from local import aws
from local.place import LocalError, Place

USER, OPERATOR = "local", "operator"


def prepare(place: Place) -> None:
    """Create the two users once, with random passwords in the file of users."""
    if place.auth == "none":
        return
    pool = place.stack()["UserPool"]
    known = _passwords(place)
    for name in (USER, OPERATOR):
        known.setdefault(name, f"{secrets.token_urlsafe(18)}-aA1")
    with os.fdopen(os.open(place.users, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(known, file, indent=2)
    for name, password in known.items():
        make(cognito(place), pool, name, password, [OPERATORS] if name == OPERATOR else [])


def make(client: Any, pool: str, name: str, password: str, groups: list[str]) -> None:
    """Create a user with a permanent password, in groups, unless it exists."""
    try:
        client.admin_create_user(UserPoolId=pool, Username=name, MessageAction="SUPPRESS")
    except client.exceptions.UsernameExistsException:
        return
    client.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
    for group in groups:
        client.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)


def token(place: Place, name: str, password: str = "") -> str:
    """An ID token of a user, from a sign-in. LocalError when nothing is deployed or the user does not exist."""
    stack, known = place.stack(), _passwords(place)
    if "UserPoolClient" not in stack or not (password or name in known):
        raise LocalError(f"There is no user {name}; `make up AUTH=cognito` creates {USER} and {OPERATOR}.")
    answer = cognito(place).initiate_auth(
        ClientId=stack["UserPoolClient"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": password or known[name]},
    )
    id_token: str = answer["AuthenticationResult"]["IdToken"]
    return id_token


def headers(place: Place, name: str = OPERATOR) -> dict[str, str]:
    """The headers that authenticate a user; none with AUTH=none."""
    return {} if place.auth == "none" else {"Authorization": f"Bearer {token(place, name)}"}


def option(place: Place) -> str:
    """The option of curl and wscat that authenticates the operator, for any shell."""
    return f'-H "Authorization: $(make -s token{place.chosen})"'


def _passwords(place: Place) -> dict[str, str]:
    passwords: dict[str, str] = json.loads(place.users.read_text()) if place.users.exists() else {}
    return passwords


def cognito(place: Place) -> Any:
    """A client of Cognito in the embedded AWS, as its administrator."""
    return aws.client(place, "cognito-idp")
