"""`webhooks`: URLs that get events."""

from __future__ import annotations

import click

from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.frame import Command, Entry, Group, Option, with_session
from elasticrecode_client.command.output import when
from elasticrecode_client.command.session import Session

_WEBHOOK = click.Argument(["webhook"], metavar="WEBHOOK")


@click.group(
    cls=Group,
    entries={
        "list": Entry(__name__, "list_webhooks", "List webhooks."),
        "add": Entry(__name__, "add", "Create a webhook."),
        "remove": Entry(__name__, "remove", "Remove a webhook."),
        "test": Entry(__name__, "test", "Post a test event now."),
        "failures": Entry(__name__, "failures", "List failed deliveries."),
        "retry": Entry(__name__, "retry", "Deliver failed deliveries again."),
    },
    examples=("elasticrecode webhooks add https://example.com/hook --on JobFinished --on JobFailed",),
)
def webhooks() -> None:
    """Manage webhooks."""


@click.command(
    "list",
    cls=Command,
    short_help="List webhooks.",
    examples=("elasticrecode webhooks list", "elasticrecode webhooks list --json"),
)
@with_session
def list_webhooks(session: Session) -> int:
    """List your webhooks, with their latest success and failure."""
    records = session.client.webhooks()
    session.out.json(records)
    rows = [
        (one["webhookID"], one["state"], _when(one["lastSuccessMs"]), one["reason"] or one["lastFailure"], one["url"])
        for one in records
    ]
    session.out.table(("webhook", "state", "last success", "fault", "url"), rows)
    if not records:
        session.out.message("There are no webhooks.")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[
        click.Argument(["url"], metavar="URL"),
        Option(["--on", "actions"], multiple=True, metavar="ACTION", help="Such as JobFinished; several allowed."),
        Option(["--secret"], metavar="whsec_…", help="The secret of signatures; else a new one."),
    ],
    short_help="Create a webhook.",
    examples=("elasticrecode webhooks add https://example.com/hook --on JobFinished --on JobFailed",),
)
@with_session
def add(session: Session, url: str, actions: tuple[str, ...], secret: str | None) -> int:
    """Create a webhook. Its secret is shown this once. Without --on it gets JobFinished and JobFailed."""
    record = session.client.add_webhook(url, actions or ("JobFinished", "JobFailed"), secret=secret)
    session.out.json(record)
    session.out.fields({"webhook": record["webhookID"], "secret": record["secret"], "on": ", ".join(record["actions"])})
    session.out.message("Keep the secret: nothing shows it again.")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[_WEBHOOK],
    short_help="Remove a webhook.",
    examples=("elasticrecode webhooks remove WEBHOOK",),
)
@with_session
def remove(session: Session, webhook: str) -> int:
    """Remove a webhook."""
    session.out.json(session.client.remove_webhook(webhook))
    session.out.text(f"removed {webhook}")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[_WEBHOOK],
    short_help="Post a test event now.",
    examples=("elasticrecode webhooks test WEBHOOK",),
)
@with_session
def test(session: Session, webhook: str) -> int:
    """Post one signed test event to a webhook now. The exit status is 1 where it did not arrive."""
    outcome = session.client.test_webhook(webhook)
    session.out.json(outcome)
    seconds = f"after {outcome['seconds']:.2f} s"
    session.out.text(f"failed {seconds}: {outcome['error']}" if outcome["error"] else f"{outcome['status']} {seconds}")
    return int(Exit.JOB_FAILED if outcome["error"] else Exit.DONE)


@click.command(
    cls=Command,
    params=[_WEBHOOK],
    short_help="List failed deliveries.",
    examples=("elasticrecode webhooks failures WEBHOOK", "elasticrecode webhooks failures WEBHOOK --json"),
)
@with_session
def failures(session: Session, webhook: str) -> int:
    """List failed deliveries of a webhook, with the reason."""
    records = list(session.client.webhook_failures(webhook))
    session.out.json(records)
    rows = [(_when(one["failedMs"]), one["event"]["action"], one["event"]["jobID"], one["reason"]) for one in records]
    session.out.table(("failed", "action", "job", "reason"), rows)
    if not records:
        session.out.message("No delivery has failed.")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[_WEBHOOK],
    short_help="Deliver failed deliveries again.",
    examples=("elasticrecode webhooks retry WEBHOOK",),
)
@with_session
def retry(session: Session, webhook: str) -> int:
    """Deliver all failed deliveries again, and enable the webhook."""
    count, has_more = 0, True
    while has_more:
        answer = session.client.retry_webhook(webhook)
        count += answer["sent"]
        has_more = answer.get("more", False)
    session.out.json({"sent": count})
    session.out.text(f"sent {count} deliveries again")
    return int(Exit.DONE)


def _when(milliseconds: int | None) -> str:
    return when(None if milliseconds is None else milliseconds / 1000)
