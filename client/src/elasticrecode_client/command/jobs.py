"""Commands for jobs that exist: watch, status, list, logs, cancel, retry."""

from __future__ import annotations

import re
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from elasticrecode_client.command.displays import Lines, event_line, progress_line, score_line
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.faults import Refusal
from elasticrecode_client.command.following import cancel_all, follow, outcome
from elasticrecode_client.command.frame import Command, Option, with_session
from elasticrecode_client.command.output import Output, clock, name_of, size, when
from elasticrecode_client.command.session import Session
from elasticrecode_client.states import ENDED, STATES

if TYPE_CHECKING:
    from elasticrecode_client.types import JobRecord

_JOBS = click.Argument(["jobs"], nargs=-1, metavar="JOB…")
_SINCE = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_ago(text: str | None) -> float | None:
    """The Unix second of `30m`, `2h`, `7d`, of a date, or of a number. Raises Refusal."""
    if text is None:
        return None
    if ago := re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd])", text):
        return time.time() - float(ago[1]) * _SINCE[ago[2]]
    if re.fullmatch(r"\d{9,12}(\.\d+)?", text):
        return float(text)
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise Refusal(f"{text!r} is no time: write 30m, 2h, 7d, 2026-05-31 or 2026-05-31T18:00.") from None


@click.command(
    cls=Command,
    params=[
        _JOBS,
        Option(["--batch"], metavar="BATCH", help="Only events of this batch."),
        Option(["--on", "actions"], multiple=True, metavar="ACTION", help="Only these actions, such as JobFailed."),
        Option(["--since"], metavar="TIME", help="Begin with events after 30m, 2h, or a date; without JOB."),
        Option(["--cursor"], metavar="TEXT", help="Begin behind the event with this cursor; without JOB."),
        Option(["--for", "seconds"], type=float, metavar="SECONDS", help="End after so long."),
    ],
    short_help="Follow jobs as they move.",
    examples=(
        "elasticrecode watch JOB",
        "elasticrecode watch --for 2",
        "elasticrecode watch --batch BATCH --on BatchFinished --for 2",
        "elasticrecode watch --since 1h --for 2 --json | jq .action",
    ),
)
@with_session
def watch(session: Session, **given: Any) -> int:
    """Follow jobs until they have ended, or without JOB all events of yours, without end.

    On a terminal jobs have bars; in a pipe each event is a line. With --json each event is a line of JSON.
    """
    if given["jobs"]:
        return int(follow(session, given["jobs"], streams=True, timeout=given["seconds"]).status)
    user = session.user or session.client.version()["userID"]
    since = seconds_ago(given["since"])
    lines = Lines(session.out)
    session.be_patient()
    until = None if given["seconds"] is None else time.monotonic() + given["seconds"]
    with session.client.watch(
        user_id=user, batch_id=given["batch"], actions=given["actions"], cursor=given["cursor"], since=since
    ) as events:
        while until is None or time.monotonic() < until:
            left = 60.0 if until is None else max(0.05, until - time.monotonic())
            event = events.next_event(left)
            if event is not None:
                lines.event(event)
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[click.Argument(["jobs"], nargs=-1, required=True, metavar="JOB…")],
    short_help="Show jobs.",
    examples=("elasticrecode status JOB", "elasticrecode status JOB --json | jq .state"),
)
@with_session
def status(session: Session, jobs: tuple[str, ...]) -> int:
    """Show jobs. The exit status is that of a job that has ended: 0 finished, 1 failed, 3 below its bar."""
    records = [session.client.job(job) for job in jobs]
    session.out.json(records[0] if len(records) == 1 else records)
    for number, record in enumerate(records):
        if number:
            session.out.text()
        _show(session.out, record)
    return int(outcome(record for record in records if record["state"] in ENDED))


def _show(out: Output, record: JobRecord) -> None:
    waited = record["queuedAt"] and (record["startedAt"] or time.time()) - record["queuedAt"]
    took = record["startedAt"] and (record["endedAt"] or time.time()) - record["startedAt"]
    is_over = record["endedAt"] is not None
    out.fields(
        {
            "job": record["jobID"],
            "state": record["state"],
            "progress": progress_line(record["progress"]) if record["progress"] and not is_over else None,
            "kind": record["kind"],
            "input": record["input"],
            "origin": record["origin"],
            "output": record["output"],
            "batch": record["batchID"],
            "queue": record["queue"] or (None if is_over else "none yet: held"),
            "why there": record["queueReason"],
            "created": when(record["createdAt"]),
            "waited": clock(waited or None),
            "took": clock(took or None),
            "attempt": record["attempt"] if record["attempt"] > 1 else None,
            "dollars": None if record["dollars"] is None else f"{record['dollars']:.4f}",
            "score": score_line(record["quality"]) if record["quality"] else None,
            "copy of": record["copyOf"],
        }
    )
    for output in record["outputs"] or ():
        about = [size(output["bytes"])]
        if output.get("width"):
            about.append(f"{output['width']}x{output['height']}")
        about += [str(output[field]) for field in ("videoCodec", "language") if output.get(field)]
        out.text(f"  → {output['uri']}  {', '.join(about)}")
    for notice in record["warnings"] or ():
        out.text(f"  ! {notice['message']}")
    if error := record["error"]:
        out.text(f"  ✗ {error['code']}: {error['message']}")
        out.text(f"    `elasticrecode logs {record['jobID']}` has the encoder's last lines.")


@click.command(
    "list",
    cls=Command,
    params=[
        Option(["--state"], type=click.Choice(STATES), help="Only jobs in this state."),
        Option(["--kind"], metavar="WORD", help="Only jobs of this kind, such as ffmpeg or vmaf."),
        Option(["--batch", "batch_id"], metavar="BATCH", help="Only jobs of this batch."),
        Option(["--since"], metavar="TIME", help="Only jobs created after 30m, 2h, 7d, or a date."),
        Option(["--until"], metavar="TIME", help="Only jobs created before that."),
        Option(["--text"], metavar="TEXT", help="Only jobs with this in a URI, or at the start of their id."),
        Option(["--code"], metavar="CODE", help="Only jobs that failed with this code."),
        Option(["--order"], type=click.Choice(("newest", "oldest")), help="Which come first; by default the newest."),
        Option(["--limit"], type=click.IntRange(1), default=50, show_default=True, help="At most so many."),
        Option(["--all", "is_all"], is_flag=True, help="All, page after page."),
    ],
    short_help="List jobs.",
    examples=(
        "elasticrecode list",
        "elasticrecode list --state failed --since 2h",
        "elasticrecode list --text film --order oldest --limit 10",
        "elasticrecode list --all --json | jq -r '.[].jobID'",
    ),
)
@with_session
def list_jobs(session: Session, **given: Any) -> int:
    """List your jobs, the newest first. All filters hold together."""
    limit, is_all = given.pop("limit"), given.pop("is_all")
    given["since"], given["until"] = seconds_ago(given["since"]), seconds_ago(given["until"])
    listed = session.client.jobs(**given, limit=min(limit, 1000) if not is_all else 1000)
    records = list(listed if is_all else islice(listed, limit))
    session.out.json(records)
    rows = [
        (
            record["jobID"],
            record["state"],
            "" if not record["progress"] or record["endedAt"] else progress_line(record["progress"]),
            record["kind"],
            when(record["createdAt"]),
            record["error"]["code"] if record["error"] else "",
            name_of(record["input"]),
        )
        for record in records
    ]
    session.out.table(("job", "state", "progress", "kind", "created", "code", "input"), rows)
    if not records:
        session.out.message("No job matches.")
    elif not is_all and len(records) == limit:
        session.out.message(f"The first {limit}; --all or --limit shows more.")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[click.Argument(["job"], metavar="JOB"), Option(["--progress"], is_flag=True, help="Show progress, too.")],
    short_help="Show the events of a job, and why it failed.",
    examples=("elasticrecode logs JOB", "elasticrecode logs JOB --json | jq -r '.[-1].error.log[]'"),
)
@with_session
def logs(session: Session, job: str, progress: bool) -> int:
    """Show the events of a job, oldest first, and the last lines of its encoder where it has failed."""
    events = [event for event in session.client.job_events(job) if progress or event["action"] != "JobProgress"]
    session.out.json(events)
    for event in events:
        session.out.text(event_line(event))
        for line in error.get("log", ()) if (error := event.get("error")) else ():
            session.out.text(f"    | {line}")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[click.Argument(["jobs"], nargs=-1, required=True, metavar="JOB…")],
    short_help="Cancel jobs.",
    examples=("elasticrecode cancel JOB", "elasticrecode cancel JOB JOB2 --json"),
)
@with_session
def cancel(session: Session, jobs: tuple[str, ...]) -> int:
    """Cancel jobs. One that has ended stays as it is."""
    cancelled = cancel_all(session, jobs)
    session.out.json(cancelled)
    return int(Exit.DONE if len(cancelled) == len(jobs) else Exit.REFUSED)


@click.command(
    cls=Command,
    params=[
        _JOBS,
        Option(["--failed"], is_flag=True, help="All failed jobs of yours, in place of JOB."),
        Option(["--batch"], metavar="BATCH", help="The failed jobs of a batch, in place of JOB."),
        Option(["--wait"], is_flag=True, help="Wait until the jobs have ended."),
    ],
    short_help="Run failed jobs again.",
    examples=("elasticrecode retry JOB --wait", "elasticrecode retry --batch BATCH", "elasticrecode retry --failed"),
)
@with_session
def retry(session: Session, **given: Any) -> int:
    """Run failed or cancelled jobs again: some, or all failed ones of yours or of a batch."""
    if bool(given["jobs"]) == bool(given["failed"] or given["batch"]):
        raise Refusal("Which jobs? Give JOB…, or --failed, or --batch BATCH.")
    if given["jobs"]:
        records = [session.client.retry(job) for job in given["jobs"]]
        for record in records:
            session.out.message(f"retried {record['jobID']}")
        if not given["wait"]:
            session.out.json(records)
            return int(Exit.DONE)
        following = follow(session, given["jobs"])
        session.out.json(following.records)
        return int(following.status)
    count, has_more = 0, True
    while has_more:
        answer = session.client.retry_failed(batch_id=given["batch"])
        count += answer["retried"]
        has_more = answer.get("more", False)
    session.out.json({"retried": count})
    session.out.text(f"retried {count} jobs")
    return int(Exit.DONE)
