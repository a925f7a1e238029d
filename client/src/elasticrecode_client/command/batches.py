"""`batch`: up to a million files at once."""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elasticrecode_client.command import profile_options as profiles
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.faults import Refusal
from elasticrecode_client.command.following import wants_end
from elasticrecode_client.command.frame import Command, Entry, Group, Option, with_session, words
from elasticrecode_client.command.output import Output, clock, printable, when
from elasticrecode_client.command.session import Session
from elasticrecode_client.states import STATES

if TYPE_CHECKING:
    from elasticrecode_client.types import BatchRecord

_LOOK_SECONDS = (0.5, 5.0)


@click.group(
    cls=Group,
    entries={
        "submit": Entry(__name__, "submit", "Send a list, a manifest or a prefix."),
        "show": Entry(__name__, "show", "Show batches."),
        "list": Entry(__name__, "list_batches", "List batches."),
        "cancel": Entry(__name__, "cancel", "Cancel a batch."),
    },
    examples=("elasticrecode batch submit --prefix s3://films/in/ --preset h264-720p --output s3://films/small/",),
)
def batch() -> None:
    """Send up to a million files as one batch, and see how far it is."""


@click.command(
    cls=Command,
    words=True,
    params=[
        click.Argument(["inputs"], nargs=-1, metavar="s3://…"),
        Option(["--list", "file"], metavar="FILE", help="Inputs in a local file, one a line; - reads standard input."),
        Option(["--manifest"], metavar="s3://…", help="Inputs in an object, one a line."),
        Option(["--prefix"], metavar="s3://…/", help="Every object below a prefix."),
        Option(["--suffix"], multiple=True, metavar=".mp4", help="Beside --prefix: only keys that end so."),
        *profiles.options(profiles.OF_FILES, "A profile with a name, such as web-1080p."),
        Option(["--output"], metavar="s3://…/", required=True, help="Where outputs go."),
        Option(["--priority"], type=int, metavar="N", help="0 to 100; jobs of a higher one go first."),
        Option(["--wait"], is_flag=True, help="Wait until the batch has ended."),
        Option(["--key"], metavar="TEXT", help="Idempotency-Key: the same key and request give the same batch."),
    ],
    short_help="Send a list, a manifest or a prefix.",
    examples=(
        "elasticrecode batch submit --prefix s3://films/in/ --suffix .mov --preset h264-720p --output s3://films/small/",
        "elasticrecode batch submit --list inputs.txt -c:v libx264 -crf 23 --output s3://films/small/ --wait",
        "elasticrecode batch submit s3://films/in/film.mov --preset h264-720p --output s3://films/again/ --json",
    ),
)
@with_session
def submit(session: Session, **given: Any) -> int:
    """Send a batch: inputs here, in a list, in a manifest in S3, or below a prefix."""
    profile, _, notes = profiles.wanted(session, profiles.OF_FILES, words(), given)
    listed = [*given["inputs"], *(_lines(given["file"]) if given["file"] else ())]
    sources = {"inputs": listed or None, "manifest": given["manifest"], "prefix": given["prefix"]}
    if sum(source is not None for source in sources.values()) != 1:
        raise Refusal("Which inputs? Give s3://… URIs or --list, or --manifest, or --prefix: one of them.")
    for note in notes:
        session.out.message(note)
    wanted: Any = profile
    taken = session.client.submit_batch(
        given["output"],
        wanted,
        inputs=sources["inputs"],
        manifest=given["manifest"],
        prefix=given["prefix"],
        suffixes=given["suffix"] or None,
        priority=given["priority"],
        key=given["key"],
    )
    if not given["wait"]:
        session.out.json(taken)
        session.out.text(f"submitted {taken['batchID']}")
        session.out.text(f"`elasticrecode batch show {taken['batchID']} --wait` shows how far it is.")
        return int(Exit.DONE)
    return _wait(session, taken["batchID"])


def _lines(path: str) -> list[str]:
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]


@click.command(
    cls=Command,
    params=[
        click.Argument(["batch"], metavar="BATCH"),
        Option(["--wait"], is_flag=True, help="Wait until the batch has ended."),
    ],
    short_help="Show batches.",
    examples=("elasticrecode batch show BATCH", "elasticrecode batch show BATCH --wait --json"),
)
@with_session
def show(session: Session, batch: str, wait: bool) -> int:
    """Show how far a batch is, and what failed."""
    if wait:
        return _wait(session, batch)
    record = session.client.batch(batch)
    session.out.json(record)
    _show(session.out, record)
    return int(_outcome(record))


@click.command(
    "list",
    cls=Command,
    params=[Option(["--limit"], type=click.IntRange(1), default=20, show_default=True, help="At most so many.")],
    short_help="List batches.",
    examples=("elasticrecode batch list", "elasticrecode batch list --limit 5 --json"),
)
@with_session
def list_batches(session: Session, limit: int) -> int:
    """List your batches, the newest first."""
    records = list(islice(session.client.batches(limit=min(limit, 100)), limit))
    session.out.json(records)
    heads = ("batch", "state", "created", "total", "finished", "failed", "output")
    rows = [
        (
            *(one["batchID"], one["state"], when(one["createdAt"])),
            *(one["total"], one["finished"], one["failed"], one["output"]),
        )
        for one in records
    ]
    session.out.table(heads, rows)
    if not records:
        session.out.message("There are no batches.")
    return int(Exit.DONE)


@click.command(
    cls=Command,
    params=[click.Argument(["batch"], metavar="BATCH")],
    short_help="Cancel a batch.",
    examples=("elasticrecode batch cancel BATCH",),
)
@with_session
def cancel(session: Session, batch: str) -> int:
    """Cancel every job of a batch that has not ended."""
    record = session.client.cancel_batch(batch)
    session.out.json(record)
    session.out.text(f"cancelled {record['batchID']}")
    return int(Exit.DONE)


def _wait(session: Session, batch_id: str) -> int:
    """Wait for a batch. Raises KeyboardInterrupt after the question of Ctrl-C."""
    try:
        record = _follow(session, batch_id)
    except KeyboardInterrupt:
        if wants_end("the batch", "it"):
            session.client.cancel_batch(batch_id)
            session.out.message(f"cancelled {batch_id}")
        else:
            session.out.message(f"The batch goes on: `elasticrecode batch show {batch_id} --wait` waits on.")
        raise
    session.out.json(record)
    _show(session.out, record)
    return int(_outcome(record))


def _follow(session: Session, batch_id: str) -> BatchRecord:
    """Show the batch until it has ended: a line for each change, or one that moves on a terminal."""
    shown, pause = "", _LOOK_SECONDS[0]
    while True:
        record = session.client.batch(batch_id)
        session.be_patient()
        line = _line(record)
        if session.out.is_terminal and not session.out.as_json:
            click.echo(f"\r\x1b[K{printable(line)}", nl=False)
        elif line != shown:
            session.out.text(line)
        shown = line
        if record["endedAt"] is not None or record["state"] in ("finished", "failed"):
            break
        time.sleep(pause)
        pause = min(pause * 1.5, _LOOK_SECONDS[1])
    if session.out.is_terminal and not session.out.as_json:
        click.echo()
    return record


def _line(record: BatchRecord) -> str:
    counts = ", ".join(f"{record[state]} {state}" for state in STATES if record[state])
    progress = record["progress"]
    percent = f"{progress['percent']:.0f} %  " if progress.get("percent") is not None else ""
    eta = f", {clock(progress['etaSeconds'])} left" if progress.get("etaSeconds") is not None else ""
    return f"{record['state']}  {percent}{counts or 'reading its inputs'}{eta}"


def _show(out: Output, record: BatchRecord) -> None:
    source = record["manifest"] or record["prefix"]
    out.fields(
        {
            "batch": record["batchID"],
            "state": _line(record),
            "inputs": source,
            "total": record["total"],
            "output": record["output"],
            "created": when(record["createdAt"]),
            "ended": when(record["endedAt"]),
        }
    )
    for code, count in record["failures"].items():
        out.text(f"  ✗ {count} {code}")
    for fault in record["faults"]:
        out.text(f"  ! line {fault['line']}: {fault['detail']}")
    for warning in record["warnings"]:
        out.text(f"  ! {warning}")
    if error := record["error"]:
        out.text(f"  ✗ {error['code']}: {error['message']}")


def _outcome(record: BatchRecord) -> Exit:
    is_bad = record["state"] in ("failed", "cancelled") or record["failed"] or record["cancelled"]
    return Exit.JOB_FAILED if record["endedAt"] is not None and is_bad else Exit.DONE
