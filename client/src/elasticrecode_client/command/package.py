"""`package`: files become packages for players."""

from typing import Any

import click

from elasticrecode_client.command import profile_options as profiles
from elasticrecode_client.command.frame import Command, Option, with_session, words
from elasticrecode_client.command.sending import SENDING, send
from elasticrecode_client.command.session import Session


@click.command(
    cls=Command,
    words=True,
    params=[
        click.Argument(["files"], nargs=-1, metavar="FILE|s3://…"),
        *profiles.options(profiles.OF_PACKAGES, "A profile with a name; by default hls."),
        *SENDING,
        Option(["--plan"], is_flag=True, help="Say what the job would make and cost; make nothing."),
    ],
    short_help="Make packages for HLS and DASH.",
    examples=(
        "elasticrecode package film.mov --wait",
        "elasticrecode package film.mov --format hls,dash --ladder h264 --segment-seconds 4 --wait --download out/",
        "elasticrecode package s3://films/in/film.mov --ladder auto --speed fast --plan",
    ),
)
@with_session
def package(session: Session, **given: Any) -> int:
    """Make packages for HLS and DASH: a ladder of renditions, which players switch between.

    Without options the preset hls. Options change its fields; those of the sound may be ffmpeg's own words.
    """
    return send(session, profiles.OF_PACKAGES, words(), given, default="hls")
