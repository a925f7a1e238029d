"""`submit`: files, local ones or in S3, become jobs."""

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
        *profiles.options(profiles.OF_FILES, "A profile with a name, such as web-1080p: `presets list` shows all."),
        *SENDING,
        Option(["--plan"], is_flag=True, help="Say what the job would make and cost; make nothing."),
        Option(["--plan-id"], metavar="ID", help="Carry out the plan that --plan has made."),
    ],
    short_help="Transcode files, local ones or in S3.",
    examples=(
        "elasticrecode submit film.mov --preset web-1080p --wait",
        "elasticrecode submit film.mov -c:v libx265 -crf 24 -preset slow -vf scale=-2:720 -c:a aac -b:a 128k",
        "elasticrecode submit -ss 2 -to 4 -i film.mov -c:v libx264 -b:v 2M -r 30 -g 60 -an --wait --download out/",
        "elasticrecode submit s3://films/in/film.mov --vmaf 93 --scale 720p --output s3://films/small/",
        "elasticrecode submit film.mov clip.mp4 --preset h264-720p --score 720p --min-vmaf 80 --wait --json",
        "elasticrecode submit film.mov --profile profile.json --plan",
    ),
)
@with_session
def submit(session: Session, **given: Any) -> int:
    """Transcode files: upload local ones, and make a job of each.

    The profile is a preset, a file, or options: those below, or ffmpeg's own, such as -c:v libx265 -b:v 3M
    -vf scale=-2:720 -c:a aac -ss 10 -to 20. Options of ffmpeg that a profile cannot say are named, each with the
    nearest thing that works. Options beside --preset or --profile change that profile.

    Uploads go on where they broke off. Without --output, outputs of uploads go to the deployment's own bucket.
    """
    return send(session, profiles.OF_FILES, words(), given)
