"""`login` and `completion`: what this machine keeps."""

from __future__ import annotations

import sys
from typing import Any

import click

from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.frame import Command, Option, with_session
from elasticrecode_client.command.session import Session


@click.command(
    cls=Command,
    local=True,
    params=[
        click.Argument(["url"], required=False, metavar="URL"),
        Option(["--name"], metavar="NAME", default="default", show_default=True, help="What to call the deployment."),
        Option(["--username"], metavar="NAME", help="A user of the deployment's Cognito user pool."),
        Option(["--token"], is_flag=True, help="Read a token from standard input, and keep that."),
        Option(["--iam"], is_flag=True, help="Sign requests with the credentials of AWS."),
        Option(["--region"], metavar="REGION", help="The Region for --iam."),
        Option(["--as", "user"], metavar="ID", help="The user whose jobs are meant, by default you."),
        Option(["--show"], is_flag=True, help="Show what is kept, without secrets."),
    ],
    short_help="Keep the address of a deployment, and how to sign in.",
    examples=(
        "elasticrecode login http://localhost:8080",
        "elasticrecode login https://d111111abcdef8.cloudfront.net --username ann",
        "echo $TOKEN | elasticrecode login https://d111111abcdef8.cloudfront.net --name farm --token",
        "elasticrecode login --show",
    ),
)
@with_session
def login(session: Session, **given: Any) -> int:
    """Keep the address of a deployment, and how to sign in, after one call that shows that it works.

    The file is ~/.config/elasticrecode/config.toml, which only you can read. The latest login is the default;
    --deployment NAME of other commands takes another one. A password is asked for, and read from standard input in a
    pipe. ELASTICRECODE_URL, _USERNAME, _PASSWORD and _TOKEN need no file.
    """
    from elasticrecode_client import settings

    if given["show"]:
        kept = {
            name: {field: value for field, value in fields.items() if field not in settings.SECRETS}
            for name, fields in settings.read_profiles().items()
        }
        session.out.json(kept)
        session.out.table(
            ("name", "url", "auth", "username"),
            [(name, one.get("url"), one.get("auth"), one.get("username")) for name, one in kept.items()],
        )
        if not kept:
            session.out.message("Nothing is kept.")
        return int(Exit.DONE)
    fields = _fields(given)
    server = _tried(fields)
    path = settings.write_profile(given["name"], fields, default=True)
    session.out.json({"name": given["name"], "url": fields["url"], "server": server, "file": str(path)})
    session.out.text(f"Signed in at {fields['url']} as {server['userID']}; kept in {path} as {given['name']}.")
    return int(Exit.DONE)


def _fields(given: dict[str, Any]) -> dict[str, str]:
    """The fields to keep; asks for what is missing. Raises click.Abort."""
    from elasticrecode_client import settings

    fields = {"url": given["url"] or click.prompt("URL of the deployment", default=settings.LOCAL_URL, err=True)}
    if given["iam"]:
        fields["auth"] = "iam"
    elif given["token"]:
        fields |= {"auth": "jwt", "token": _secret("Token")}
    elif given["username"]:
        fields |= {"auth": "cognito", "username": given["username"], "password": _secret("Password")}
    else:
        fields["auth"] = "none"
    optional = {"user": given["user"], "region": given["region"]}
    return fields | {name: value for name, value in optional.items() if value}


def _secret(name: str) -> str:
    text: str = click.prompt(name, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    return text.strip()


def _tried(fields: dict[str, str]) -> Any:
    """What the deployment says of the caller. Raises a Problem, SignInFailed or ConnectionFailed."""
    from elasticrecode_client.auth import Auth, Cognito, NoAuth, SigV4, Token
    from elasticrecode_client.client import Client

    auth: Auth = NoAuth()
    if fields["auth"] == "iam":
        auth = SigV4(region=fields.get("region"))
    elif fields["auth"] == "jwt":
        auth = Token(fields["token"])
    elif fields["auth"] == "cognito":
        auth = Cognito(fields["username"], fields["password"], challenge=lambda *of: _answer(fields, *of))
    with Client(fields["url"], auth=auth, user_id=fields.get("user"), patience=5.0) as client:
        return client.version()


def _answer(fields: dict[str, str], name: str, _: Any) -> str:
    """The answer to a challenge of Cognito; a new password is the one to keep."""
    if name == "NEW_PASSWORD_REQUIRED":
        fields["password"] = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
        return fields["password"]
    code: str = click.prompt("Code of your authenticator", err=True)
    return code


@click.command(
    cls=Command,
    local=True,
    params=[click.Argument(["shell"], type=click.Choice(("bash", "zsh", "fish")))],
    short_help="Print the completion of a shell.",
    examples=(
        'eval "$(elasticrecode completion bash)"',
        "elasticrecode completion zsh > ~/.zfunc/_elasticrecode",
        "elasticrecode completion fish > ~/.config/fish/completions/elasticrecode.fish",
    ),
)
@with_session
def completion(session: Session, shell: str) -> int:
    """Print what makes a shell complete commands and options of elasticrecode."""
    from click.shell_completion import get_completion_class

    from elasticrecode_client.command.root import root

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    script = kind(root, {}, "elasticrecode", "_ELASTICRECODE_COMPLETE").source()
    session.out.json({"shell": shell, "script": script})
    if not session.out.as_json:
        click.echo(script)
    return int(Exit.DONE)
