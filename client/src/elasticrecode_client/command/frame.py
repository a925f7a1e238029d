"""The frame of every command: its examples, the options that all have, and help in sections."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from importlib import import_module
from typing import Any, NamedTuple

import click

from elasticrecode_client.command.ffmpeg_reading import Flag
from elasticrecode_client.command.ffmpeg_words import split
from elasticrecode_client.command.session import Session

_EVERYWHERE = "Connection and output"
_WORDS = f"{__name__}.words"
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Option(click.Option):
    """An option that stands in a section of the help."""

    def __init__(self, *declarations: Any, section: str = "Options", **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.section = section


class Command(click.Command):
    """A command with examples. A `local` one needs no deployment, one with `words` takes options of ffmpeg, too."""

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str] = (),
        local: bool = False,
        words: bool = False,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **{**attributes, "context_settings": SETTINGS})
        self.examples = tuple(examples)
        self.takes_words = words
        self.params += _common(local)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the options of ffmpeg out of the arguments, and parse the rest."""
        if self.takes_words:
            ctx.meta[_WORDS], args = split(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", _EVERYWHERE), []).append(record)
        for name, records in sorted(sections.items(), key=lambda item: item[0] == _EVERYWHERE):
            with formatter.section(name):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _write_examples(self.examples, formatter)


class Entry(NamedTuple):
    """A command that is imported when it is needed: its module and name there, and its line in the help."""

    module: str
    attribute: str
    summary: str


class Group(click.Group):
    """Commands by name, which are imported one by one: help of the group needs none of them."""

    def __init__(
        self, *arguments: Any, entries: dict[str, Entry], examples: Sequence[str] = (), **attributes: Any
    ) -> None:
        super().__init__(*arguments, **{**attributes, "context_settings": SETTINGS})
        self.entries = entries
        self.examples = tuple(examples)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None where there is none."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry.module), entry.attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that arguments name. Says which is close to an unknown one."""
        from difflib import get_close_matches

        if args and args[0] not in self.entries and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.entries, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names with their lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _write_examples(self.examples, formatter)


def with_session(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """The function with the session of its command as first argument, closed behind it. It returns an exit status."""

    @wraps(function)
    def run(**options: object) -> int | None:
        try:
            with Session.of(click.get_current_context()) as session:
                return function(session, **options)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; so does the command
            return None

    return run


def words() -> list[Flag]:
    """The options of ffmpeg that the running command got."""
    flags: list[Flag] = click.get_current_context().meta.get(_WORDS, [])
    return flags


def _common(local: bool) -> Iterable[click.Parameter]:
    def store(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        ctx.meta[f"{Session.__module__}.{parameter.name}"] = value  # so that no name clashes with a command's own

    def option(*declarations: str, **attributes: Any) -> Option:
        shared = {"section": _EVERYWHERE, "expose_value": False, "callback": store}
        return Option(declarations, **{**attributes, **shared})

    yield option("--json", "at_json", is_flag=True, help="Write JSON to standard output, and nothing else.")
    if not local:
        yield option(
            "--url", "at_url", metavar="URL", help="The deployment; else $ELASTICRECODE_URL, or the configuration."
        )
        yield option(
            "--deployment",
            "at_deployment",
            metavar="NAME",
            help="A deployment of the configuration; `login` writes it.",
        )
        yield option(
            "--user", "at_user", metavar="ID", help="The user whose jobs are meant, by default you. For operators."
        )


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
