"""The users of this machine, where callers are asked who they are: one like others, and an operator."""

import json
import os
import secrets
from typing import Any

from elasticrecode.access.callers import OPERATORS
from local import aws
from local.place import LocalError, Place

USER, OPERATOR = "local", "operator"


def prepare(place: Place) -> None:
    """Make the two, once."""
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
    """A user with a password, who need not change it."""
    try:
        client.admin_create_user(UserPoolId=pool, Username=name, MessageAction="SUPPRESS")
    except client.exceptions.UsernameExistsException:
        return
    client.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
    for group in groups:
        client.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)


def token(place: Place, name: str, password: str = "") -> str:
    """An ID token of a user, signed in as any client does. LocalError when nothing is deployed or he is not there."""
    stack, known = place.stack(), _passwords(place)
    if "UserPoolClient" not in stack or not (password or name in known):
        raise LocalError(f"There is no user {name}: `make up AUTH=cognito` makes {USER} and {OPERATOR}.")
    answer = cognito(place).initiate_auth(
        ClientId=stack["UserPoolClient"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": password or known[name]},
    )
    found: str = answer["AuthenticationResult"]["IdToken"]
    return found


def headers(place: Place, name: str = OPERATOR) -> dict[str, str]:
    """What a request needs to be this user's; nothing where nobody is asked."""
    return {} if place.auth == "none" else {"Authorization": f"Bearer {token(place, name)}"}


def option(place: Place) -> str:
    """What makes requests of curl and wscat an operator's, in a shell that knows nothing of this one."""
    return f'-H "Authorization: $(make -s token{place.chosen})"'


def _passwords(place: Place) -> dict[str, str]:
    found: dict[str, str] = json.loads(place.users.read_text()) if place.users.exists() else {}
    return found


def cognito(place: Place) -> Any:
    """A client of the embedded AWS's Cognito, as its administrator."""
    return aws.client(place, "cognito-idp")
