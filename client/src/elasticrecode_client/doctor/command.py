"""The command `elasticrecode doctor`."""

import json
import sys

import click
from rich.console import Console

from elasticrecode_client import settings
from elasticrecode_client.doctor import CHECKS, Options, diagnose
from elasticrecode_client.doctor.report import MARKS, show
from elasticrecode_client.doctor.results import Result
from elasticrecode_client.problems import SettingsError


@click.command(
    epilog="""\b
Examples:
  elasticrecode doctor --url https://d111111abcdef8.cloudfront.net
  elasticrecode doctor --stack ElasticRecode --region eu-west-1 --json
  elasticrecode doctor --only functions --only grants

Exit code: 0 when no check failed, 1 when one did or none could be made, 2 for a wrong option."""
)
@click.option("--stack", default="", help="Name of the stack in CloudFormation. Default: the one of the Region.")
@click.option("--url", default="", help="Address of the deployment. Default: ELASTICRECODE_URL, else the output Url.")
@click.option("--deployment", default="", metavar="NAME", help="A deployment that `elasticrecode login` has kept.")
@click.option("--region", default="", help="AWS Region. Default: that of your AWS configuration.")
@click.option("--aws-profile", default="", help="Profile of your AWS configuration.")
@click.option("--webhook-url", default="", help="A web server of yours that answers 2xx, to which events are posted.")
@click.option("--job-seconds", default=120.0, show_default=True, help="How long a job may take.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run this check alone; may be repeated.")
@click.option("--list", "list_", is_flag=True, help="List the checks.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def doctor(
    stack: str,
    url: str,
    deployment: str,
    region: str,
    aws_profile: str,
    webhook_url: str,
    job_seconds: float,
    only: tuple[str, ...],
    list_: bool,
    as_json: bool,
) -> None:
    """Check a deployment end to end, and say what is wrong and what to type.

    It needs AWS credentials with the policy of docs/how-to/doctor.md, and signs in as all commands do.
    """
    if list_:
        for each in CHECKS:
            click.echo(f"{each.id:<16} {each.title}")
        return
    try:
        given = settings.load(url or None, deployment or None)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    options = Options(
        stack=stack,
        url=url or ("" if given.url == settings.LOCAL_URL else given.url),
        region=region,
        profile=aws_profile,
        auth=given.auth,
        webhook_url=webhook_url,
        job_seconds=job_seconds,
    )
    try:
        report = diagnose(options, only, _progress if sys.stderr.isatty() else lambda _: None)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        show(report, Console())
    sys.stdout.flush()
    sys.exit(report.exit_code)


def _progress(result: Result) -> None:
    click.echo(f"{MARKS[result.status]:<8} {result.check}", err=True)
