"""Imports the log of the first generation: its rows become events of the jobs table, which the log routes show.

    python -m migration.import_log FILE --table elasticrecode_jobs [--retention-days 90] [--dry-run]

FILE is an export of the old table: DynamoDB's own (`.json.gz`), the answer of `aws dynamodb scan`, a JSON array of
events as the old API answered it, or one event a line. An event's key follows from its row, so an import that is
repeated changes nothing. FILE.imported remembers how many rows are done: an import that was interrupted goes on there.
"""

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from boto3.dynamodb.types import TypeDeserializer
from msgspec import Raw, structs

from elasticrecode.errors import UnreadableEvent
from elasticrecode.jobs import events
from elasticrecode.jobs.events import Event
from elasticrecode.jobs.items import Entry
from elasticrecode.jobs.store import JobsTable

Row = dict[str, Any]
_DAY = 86400
_ROWS = 500
_TYPES = TypeDeserializer()


class Imported(NamedTuple):
    """How many rows were read, how many of them were done before, and the faults of rows that are no events."""

    rows: int
    before: int
    faults: list[str]


def main(arguments: list[str] | None = None) -> int:
    """Run the command. 1 when rows were left out."""
    parser = argparse.ArgumentParser(prog="python -m migration.import_log", description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--table", required=True, help="the jobs table: the output JobsTable of the stack")
    parser.add_argument("--retention-days", type=int, default=90, help="how long the events are kept from now on")
    parser.add_argument("--dry-run", action="store_true", help="read and check every row, and write nothing")
    chosen = parser.parse_args(arguments)
    table = None if chosen.dry_run else JobsTable(chosen.table)
    done = import_log(chosen.file, table, chosen.retention_days * _DAY)
    for fault in done.faults:
        print(fault, file=sys.stderr)
    stored = done.rows - done.before - len(done.faults)
    print(f"{done.rows} rows: {done.before} done before, {stored} {'can be ' if chosen.dry_run else ''}imported, "
          f"{len(done.faults)} left out")  # fmt: skip
    return 1 if done.faults else 0


def import_log(path: Path, table: JobsTable | None, retention_seconds: int) -> Imported:
    """Store the rows of a file as events, or only check them without a table. Raises Unavailable when AWS refuses."""
    mark = path.with_name(f"{path.name}.imported")
    before = int(mark.read_text()) if table and mark.exists() else 0
    rows, faults = before, []
    following = islice(read_rows(path), before, None)
    while some := list(islice(following, _ROWS)):
        entries = []
        for row in some:
            rows += 1
            try:
                entries.append(Entry(event_of(row), is_live=False))
            except (UnreadableEvent, ValueError) as error:
                faults.append(f"row {rows}: {error}")
        if table:
            while left := table.log(entries, retention_seconds):
                entries = [entry for entry in entries if entry.event.eventID in left]
            mark.write_text(str(rows))
    return Imported(rows, min(before, rows), faults)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, in its order. Raises ValueError for a file that is not JSON."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        first = file.readline()
        try:
            line = json.loads(first)
        except ValueError:  # the first line of a document of many lines
            line = None
        if isinstance(line, dict) and "Items" not in line:
            yield _plain(line)
            yield from (_plain(json.loads(text)) for text in file if text.strip())
            return
        document = json.loads(first + file.read())
    yield from map(_plain, document["Items"] if isinstance(document, dict) else document)


def event_of(row: Row) -> Event:
    """The event of a row, with its job. Raises UnreadableEvent, or ValueError for a job that is no JSON."""
    job = row.get("job") or {}
    job = json.loads(job) if isinstance(job, str) else dict(job)
    job.setdefault("userid", row.get("userID"))
    job.setdefault("jobid", row.get("jobID"))
    text = msgspec.json.encode(row | {"job": job})
    name = hashlib.blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=16).hexdigest()
    return structs.replace(events.read(text), eventID=name, job=Raw(msgspec.json.encode(job)))


def _plain(row: Row) -> Row:
    """A row without DynamoDB's types, where it has them."""
    item = row.get("Item", row)
    if all(isinstance(value, dict) and len(value) == 1 and len(next(iter(value))) <= 4 for value in item.values()):
        item = {name: _TYPES.deserialize(value) for name, value in item.items()}
    plain: Row = json.loads(json.dumps(item, default=_number))
    return plain


def _number(value: Any) -> int | float:
    """A number of DynamoDB as JSON has it. Raises TypeError for other values, such as binary."""
    if not isinstance(value, Decimal):
        raise TypeError(f"a {type(value).__name__} is not JSON")
    return int(value) if value == value.to_integral_value() else float(value)


if __name__ == "__main__":
    sys.exit(main())
