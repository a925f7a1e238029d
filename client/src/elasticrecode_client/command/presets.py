"""`presets`: profiles with a name."""

from __future__ import annotations

import json
from typing import Any

import click

from elasticrecode_client.command import profile_options as profiles
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.frame import Command, Entry, Group, Option, with_session, words
from elasticrecode_client.command.session import Session


@click.group(
    cls=Group,
    entries={
        "list": Entry(__name__, "list_presets", "List presets."),
        "show": Entry(__name__, "show", "Show the profile of a preset."),
        "put": Entry(__name__, "put", "Store a preset, or replace it."),
        "remove": Entry(__name__, "remove", "Remove a stored preset."),
    },
    examples=("elasticrecode presets list", "elasticrecode presets put tiny -c:v libx264 -crf 30 -vf scale=-2:360"),
)
def presets() -> None:
    """List, store and remove presets."""


@click.command(
    "list",
    cls=Command,
    short_help="List presets.",
    examples=("elasticrecode presets list", "elasticrecode presets list --json | jq -r '.[].name'"),
)
@with_session
def list_presets(session: Session) -> int:
    """List the presets by name."""
    records = list(session.client.presets())
    session.out.json(records)
    rows = [(one["name"], one["source"], json.dumps(one["profile"], separators=(",", ":"))) for one in records]
    session.out.table(("preset", "source", "profile"), rows)
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[click.Argument(["name"], metavar="NAME")],
    short_help="Show the profile of a preset.",
    examples=("elasticrecode presets show web-1080p", "elasticrecode presets show web-1080p --json"),
)
@with_session
def show(session: Session, name: str) -> int:
    """Show the profile of a preset, to change it: `submit --profile FILE.json` takes it."""
    profile = profiles.preset_profile(session, name)
    session.out.json(profile)
    for line in json.dumps(profile, indent=2).splitlines():
        session.out.text(line)
    return int(Exit.DONE)


@click.command(
    cls=Command,
    words=True,
    params=[
        click.Argument(["name"], metavar="NAME"),
        *profiles.options((*profiles.OF_FILES, *profiles.ONLY_PACKAGES), "Begin with the profile of this preset."),
    ],
    short_help="Store a preset, or replace it.",
    examples=(
        "elasticrecode presets put tiny -c:v libx264 -crf 30 -vf scale=-2:360 -ac 1",
        "elasticrecode presets put house --profile profile.json",
        "elasticrecode presets put loud --preset web-720p --loudness -14",
    ),
)
@with_session
def put(session: Session, **given: Any) -> int:
    """Store a preset, for all users of the deployment. For operators.

    The profile comes from a file, or from options as those of `submit`.
    """
    fields = (*profiles.OF_FILES, *profiles.ONLY_PACKAGES)
    profile, _, notes = profiles.wanted(session, fields, words(), given, is_stored=True)
    for note in notes:
        session.out.message(note)
    stored: Any = profile
    record = session.client.put_preset(given["name"], stored)
    session.out.json(record)
    session.out.text(f"stored {record['name']}")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[click.Argument(["name"], metavar="NAME"), Option(["--missing-ok"], is_flag=True, help="Also without it.")],
    short_help="Remove a stored preset.",
    examples=("elasticrecode presets remove tiny", "elasticrecode presets remove tiny --missing-ok"),
)
@with_session
def remove(session: Session, name: str, missing_ok: bool) -> int:
    """Remove a stored preset. For operators. Jobs that exist keep their profile."""
    from elasticrecode_client.problems import NotFound

    try:
        answer = session.client.remove_preset(name)
    except NotFound:
        if not missing_ok:
            raise
        answer = {"name": name}
    session.out.json(answer)
    session.out.text(f"removed {name}")
    return int(Exit.DONE)
