"""The table of all commands."""

import click

from elasticrecode_client.command.frame import Entry, Group
from elasticrecode_client.version import __version__

_HERE = "elasticrecode_client.command"

COMMANDS = {
    "submit": Entry(f"{_HERE}.submit", "submit", "Transcode files, local ones or in S3."),
    "package": Entry(f"{_HERE}.package", "package", "Make packages for HLS and DASH."),
    "vmaf": Entry(f"{_HERE}.scores", "vmaf", "Score a file against its origin on the fleet."),
    "compare": Entry(f"{_HERE}.scores", "compare", "Score two local files on this machine."),
    "watch": Entry(f"{_HERE}.jobs", "watch", "Follow jobs as they move."),
    "status": Entry(f"{_HERE}.jobs", "status", "Show jobs."),
    "list": Entry(f"{_HERE}.jobs", "list_jobs", "List jobs."),
    "logs": Entry(f"{_HERE}.jobs", "logs", "Show the events of a job, and why it failed."),
    "download": Entry(f"{_HERE}.download", "download", "Get the outputs of finished jobs."),
    "cancel": Entry(f"{_HERE}.jobs", "cancel", "Cancel jobs."),
    "retry": Entry(f"{_HERE}.jobs", "retry", "Run failed jobs again."),
    "batch": Entry(f"{_HERE}.batches", "batch", "Send up to a million files as one batch."),
    "presets": Entry(f"{_HERE}.presets", "presets", "List, store and remove presets."),
    "queues": Entry(f"{_HERE}.fleet", "queues", "List, pause and resume worker queues."),
    "workers": Entry(f"{_HERE}.fleet", "workers", "Show the load of the fleet and its Deployments."),
    "webhooks": Entry(f"{_HERE}.webhooks", "webhooks", "Manage webhooks."),
    "doctor": Entry("elasticrecode_client.doctor.command", "doctor", "Check a deployment end to end."),
    "login": Entry(f"{_HERE}.account", "login", "Keep the address of a deployment, and how to sign in."),
    "completion": Entry(f"{_HERE}.account", "completion", "Print the completion of a shell."),
}
"""Name of a command → where it is, and its line in the help."""


@click.group(
    cls=Group,
    entries=COMMANDS,
    name="elasticrecode",
    examples=(
        "elasticrecode submit film.mov --preset web-1080p --wait --download out/",
        "elasticrecode submit film.mov -c:v libx265 -crf 24 -vf scale=-2:720 -c:a aac -b:a 128k",
        "elasticrecode list --state failed",
        "elasticrecode compare out/film.mp4 film.mov --min-vmaf 93",
    ),
)
@click.version_option(__version__, prog_name="elasticrecode", message="%(prog)s %(version)s")
def root() -> None:
    """ElasticRecode from a shell: transcode and score video on a fleet of workers.

    Every command has --json, and --help with examples. Commands find the deployment by --url, ELASTICRECODE_URL, or
    what `elasticrecode login` has kept; without any of them, at http://localhost:8080.
    """
