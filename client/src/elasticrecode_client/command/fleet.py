"""`queues` and `workers`: the fleet."""

from __future__ import annotations

from typing import Any

import click

from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.frame import Command, Entry, Group, with_session
from elasticrecode_client.command.output import clock
from elasticrecode_client.command.session import Session

_QUEUES = click.Argument(["queues"], nargs=-1, required=True, metavar="QUEUE…")


@click.group(
    cls=Group,
    entries={
        "list": Entry(__name__, "list_queues", "List the worker queues."),
        "pause": Entry(__name__, "pause", "Send no new jobs to queues."),
        "resume": Entry(__name__, "resume", "Send jobs to paused queues again."),
    },
    examples=("elasticrecode queues list", "elasticrecode queues pause QUEUE"),
)
def queues() -> None:
    """List, pause and resume worker queues."""


@click.command(
    "list",
    cls=Command,
    short_help="List the worker queues.",
    examples=("elasticrecode queues list", "elasticrecode queues list --json"),
)
@with_session
def list_queues(session: Session) -> int:
    """List the names of the worker queues by group."""
    groups: Any = session.client.queues()
    session.out.json(groups)
    rows = [(group, name) for group, names in groups.items() for name in names or ("none",)]
    session.out.table(("group", "queue"), rows)
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[_QUEUES],
    short_help="Send no new jobs to queues.",
    examples=("elasticrecode queues pause QUEUE",),
)
@with_session
def pause(session: Session, queues: tuple[str, ...]) -> int:
    """Send no new jobs to queues; what they have is done. For operators."""
    return _set(session, [session.client.pause(queue) for queue in queues])


@click.command(
    cls=Command,
    params=[_QUEUES],
    short_help="Send jobs to paused queues again.",
    examples=("elasticrecode queues resume QUEUE",),
)
@with_session
def resume(session: Session, queues: tuple[str, ...]) -> int:
    """Send jobs to paused queues again. For operators."""
    return _set(session, [session.client.resume(queue) for queue in queues])


def _set(session: Session, answers: list[Any]) -> int:
    session.out.json(answers)
    for answer in answers:
        session.out.text(f"{'paused' if answer['paused'] else 'resumed'} {answer['queue']}")
    return int(Exit.DONE)


@click.group(
    cls=Group,
    entries={
        "backlog": Entry(__name__, "backlog", "Show the load of each queue."),
        "deployments": Entry(__name__, "deployments", "List the discovered Deployments."),
    },
    examples=("elasticrecode workers backlog", "elasticrecode workers deployments"),
)
def workers() -> None:
    """Show the load of the fleet, and its Deployments."""


@click.command(
    cls=Command,
    short_help="Show the load of each queue.",
    examples=("elasticrecode workers backlog", "elasticrecode workers backlog --json | jq -r '.[].queue'"),
)
@with_session
def backlog(session: Session) -> int:
    """Show each queue: its messages, its workers, and how long a job sent now would wait. For operators."""
    records = list(session.client.backlog())
    session.out.json(records)
    rows = [
        (
            one["queue"],
            one["kind"],
            one["platform"],
            one["visible"],
            one["inFlight"],
            one["readyReplicas"],
            clock(one["expectedSeconds"]),
            "paused" if one["paused"] else one["fault"] or one["outage"] or "ready",
        )
        for one in records
    ]
    session.out.table(("queue", "kind", "platform", "waiting", "running", "workers", "wait", "state"), rows)
    return int(Exit.DONE)


@click.command(
    cls=Command,
    short_help="List the discovered Deployments.",
    examples=("elasticrecode workers deployments", "elasticrecode workers deployments --json"),
)
@with_session
def deployments(session: Session) -> int:
    """List the discovered Deployments of workers. For operators."""
    records: dict[str, Any] = dict(session.client.deployments())
    session.out.json(records)
    rows = [
        (name, one["Queue"], one["workerType"], one["Platform"], one["Replicas"], one["desiredReplicas"])
        for name, one in records.items()
    ]
    session.out.table(("deployment", "queue", "kind", "platform", "ready", "wanted"), rows)
    if not records:
        session.out.message("No Deployment is discovered.")
    return int(Exit.DONE)
