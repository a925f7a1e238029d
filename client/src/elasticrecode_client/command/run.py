"""Runs the command: from arguments to an exit status, with every error as words for a person."""

import io
import json
import os
import sys
from collections.abc import Sequence

import click

from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.output import printable
from elasticrecode_client.command.root import root

PROGRAM = "elasticrecode"
DEBUG = "ELASTICRECODE_DEBUG"
"""The variable that shows the traceback of a fault of the command itself."""


def run(arguments: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises nothing."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # what the encoding of a terminal lacks is no fault
        if completed := _completed():
            return completed.value
        status = root.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
        return int(status or Exit.DONE)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return _usage(error, "--json" in arguments)
    except (click.Abort, KeyboardInterrupt):
        return int(Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 a person gets no traceback
        return _failed(error, "--json" in arguments)


def _completed() -> Exit | None:
    """Answer the question of a shell that completes a command line; None where there is none."""
    question = os.environ.get("_ELASTICRECODE_COMPLETE")
    if not question:
        return None
    from click.shell_completion import shell_complete

    return Exit(shell_complete(root, {}, PROGRAM, "_ELASTICRECODE_COMPLETE", question))


def _usage(error: click.UsageError, as_json: bool) -> int:
    path = error.ctx.command_path if error.ctx else PROGRAM
    message = error.format_message()
    if as_json:
        _write(json.dumps({"error": {"exit": int(Exit.REFUSED), "message": message}}))
    else:
        _write(printable(f"{path}: {' '.join(message.split())}"))
        _write(f"`{path} --help` shows how it is used.")
    return int(Exit.REFUSED)


def _failed(error: Exception, as_json: bool) -> int:
    from elasticrecode_client.command.faults import explained

    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exception(error)
    explanation = explained(error)
    _write(explanation.json if as_json else explanation.text)
    return int(explanation.status)


def _write(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
