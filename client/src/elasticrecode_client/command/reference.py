"""`python -m elasticrecode_client.command.reference`: docs/reference/command.md, made of the commands' own help."""

from collections.abc import Iterator

import click

from elasticrecode_client.command.exits import MEANINGS
from elasticrecode_client.command.root import root

PAGE = "docs/reference/command.md"
_HEAD = """\
# The command

`elasticrecode` comes with the Python package in `client/`: `pip install ./client`, or `pip install './client[compare]'`
for scores of local files. [How to use it](../how-to/command.md). This page is made of the commands' own help:
`python -m elasticrecode_client.command.reference > {page}`.

Results go to standard output, messages to standard error. `--json` writes one JSON document, `watch --json` a line of
JSON for each event, and an error is then a line of JSON on standard error. On a terminal running jobs have bars; in a
pipe each event is a line without escape sequences. `NO_COLOR` turns colours off. Characters of names and messages that
end a line, move the cursor or turn the writing are shown as �; JSON has them as they are.

## Exit status

| status | meaning |
|---|---|
{statuses}

## Configuration

| variable | meaning |
|---|---|
| `ELASTICRECODE_URL` | the deployment, as `--url` |
| `ELASTICRECODE_TOKEN` | a token to sign in with; `elasticrecode login` keeps it in a file |
| `ELASTICRECODE_USERNAME`, `ELASTICRECODE_PASSWORD` | a user of Cognito |
| `ELASTICRECODE_AUTH` | `none`, `cognito`, `jwt` or `iam`; else by what is there |
| `ELASTICRECODE_REGION`, `ELASTICRECODE_SOCKET_URL` | for `iam`: the Region, and the URL of the WebSocket API |
| `ELASTICRECODE_PROFILE` | the kept deployment to use, as `--deployment` |
| `ELASTICRECODE_USER` | the user whose jobs are meant, as `--user` |
| `ELASTICRECODE_OUTPUT` | where outputs go without `--output` |
| `ELASTICRECODE_DEBUG` | `1` shows the traceback of a fault of the command itself |

Without `--output` and `ELASTICRECODE_OUTPUT`, outputs of an uploaded file go to `outputs/` in the bucket that it was
uploaded to.
"""


def render() -> str:
    """The page."""
    statuses = "\n".join(f"| {int(status)} | {meaning} |" for status, meaning in MEANINGS.items())
    parts = [_HEAD.format(statuses=statuses, page=PAGE)]
    for path, command in _commands(root, "elasticrecode"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        parts.append(f"## {path.removeprefix('elasticrecode ')}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        elif command is not None:
            yield f"{path} {name}", command


if __name__ == "__main__":
    click.echo(render(), nl=False)
