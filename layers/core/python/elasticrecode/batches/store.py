"""The batches table: what each batch is, the pages of its inputs, and the strips that count its jobs.

    batchID   item             what                                                     written by
    ────────  ───────────────  ───────────────────────────────────────────────────────  ─────────────────────
    id        batch            the batch, and how far it is                             batch, survey, tally
    id        page#<run>#<n>   inputs that become jobs together, and who is at it       survey, batch, expand
    id        strip#<n>        how often 10,000 of its jobs have moved, and to where    tally

A page is one function's at a time, by a lease that ends later than the function can run. Everything has a TTL.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from elasticrecode import ids
from elasticrecode.aws.clients import pauses
from elasticrecode.aws.dynamodb import (
    TRY_AGAIN,
    ConditionFailed,
    Conflict,
    Item,
    Table,
    document,
    is_current,
    key_of,
    number,
    refused,
    text,
)
from elasticrecode.batches.counting import Change, Strip
from elasticrecode.batches.progress import Counts, Sample, Standing, counted
from elasticrecode.batches.request import Batch
from elasticrecode.batches.survey import Findings, Line, Page, Survey
from elasticrecode.batches.tasks import Task
from elasticrecode.contract.tables import BATCHES_KEYS, TTL
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Failure

_BATCH = "batch"
_STRIP = "strip#"
_WRITE_LIMIT = 25
_SAVING_ROUNDS = 10
"""The pages of a large batch may be more than a partition takes at once."""


class Held(NamedTuple):
    """A page that is the caller's until its lease ends. `tries` counts how often it has been, this time included."""

    page: Page
    tries: int
    settled: bool


class Saved(NamedTuple):
    """A look through the inputs of a batch that has stored its pages under its name."""

    run: str
    found: Findings


class Ledger:
    """Reads and writes of the batches table. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str, retention_seconds: int = 0) -> None:
        self._table = Table(name)
        self._retention_seconds = retention_seconds

    # The batch

    def create(self, batch: Batch, survey: Saved | None = None) -> None:
        """Store a new batch, with its pages where they are saved already. One that is there stays as it is."""
        item = {**_key(batch.batchID, _BATCH), "asked": document(batch), "settled": number(0)}
        item |= {"unmade": number(0), "round": number(0)}
        item |= {"run": text(survey.run), "findings": document(survey.found)} if survey else {}
        with suppress(ConditionFailed):
            self._table.put(
                {**item, **self._ttl()},
                "storing the batch",
                ConditionExpression=f"attribute_not_exists({BATCHES_KEYS[0]})",
            )

    def standing(self, batch_id: str) -> Standing | None:
        """How far a batch is; None when there is none, or its time of retention has passed."""
        item = self._table.get(_key(batch_id, _BATCH), "reading the batch")
        return _standing(item) if item and is_current(item) else None

    def surveyed(self, batch_id: str, saved: Saved) -> bool:
        """Note what a look through the inputs has brought; False where another was first, or it is not wanted."""
        return self._update(
            batch_id,
            "SET #run = :run, findings = :findings",
            "attribute_not_exists(findings) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":run": text(saved.run), ":findings": document(saved.found)},
            {"#run": "run"},
        )

    def fail(self, batch_id: str, failure: Failure, found: Findings) -> bool:
        """Let a batch be failed that no job was made of; False where some were, or will be, or it is not wanted."""
        return self._update(
            batch_id,
            "SET failure = :failure, findings = :findings",
            "attribute_not_exists(findings) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":failure": document(failure), ":findings": document(found)},
        )

    def cancel(self, batch_id: str, now_ms: int) -> bool:
        """Let a batch be cancelled that has not ended; False where it has, or was cancelled before."""
        return self._update(
            batch_id,
            "SET cancelledMs = :now",
            "attribute_not_exists(endedMs) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":now": number(now_ms)},
        )

    def sample(self, batch_id: str, samples: Sequence[Sample]) -> None:
        """Note how many jobs had ended when."""
        self._update(batch_id, "SET samples = :samples", "", {":samples": document(samples)})

    def end(self, standing: Standing, counts: Counts, now_ms: int, event: Mapping[str, Any]) -> bool:
        """Let a batch have ended and store the event that tells of it, both or neither; False where it has before."""
        update = {
            "TableName": self._table.name,
            "Key": _key(standing.batch.batchID, _BATCH),
            "UpdateExpression": "SET endedMs = :now, moves = :moves REMOVE samples ADD #round :one",
            "ConditionExpression": "attribute_not_exists(endedMs) AND #round = :round",
            "ExpressionAttributeNames": {"#round": "round"},
            "ExpressionAttributeValues": {
                ":now": number(now_ms),
                ":one": number(1),
                ":round": number(standing.round),
                ":moves": number(counts.moves),
            },
        }
        try:
            self._table.transact([{"Update": update}, event], "ending the batch")
        except ConditionFailed:
            return False
        return True

    def reopen(self, standing: Standing) -> None:
        """Let a batch that had ended go on, as jobs of it do again."""
        self._update(
            standing.batch.batchID,
            "REMOVE endedMs",
            "attribute_exists(endedMs) AND #round = :round",
            {":round": number(standing.round)},
            {"#round": "round"},
        )

    # Pages

    def save(self, batch: Batch, lines: Iterable[Line], beat: Callable[[], None] = lambda: None) -> Saved:
        """Look through inputs and store them page by page, under a name of their own.

        `beat` is called now and then. Unreadable where they are more than a batch may have.
        """
        run, survey = ids.new(), Survey(batch)
        pages = survey.pages(lines)
        while some := list(islice(pages, _WRITE_LIMIT)):
            self._write([self._page_item(batch, run, n, page) for n, page in some])
            beat()
        return Saved(run, survey.found)

    def _page_item(self, batch: Batch, run: str, n: int, page: Page) -> Item:
        inputs = {"B": zlib.compress(msgspec.json.encode(page.inputs))}
        return {**_key(batch.batchID, _page(run, n)), "first": number(page.first), "inputs": inputs, **self._ttl()}

    def hold(self, task: Task, now_ms: int, until_ms: int) -> Held | None:
        """Take a page for as long as a function may be at it; None while another is. A settled one is nobody's."""
        try:
            item = self._table.update(
                _key(task.batchID, _page(task.run, task.page)),
                "taking a page of the batch",
                UpdateExpression="SET #lease = :until ADD tries :one",
                ConditionExpression="attribute_exists(inputs) AND attribute_not_exists(settled) AND "
                "(attribute_not_exists(#lease) OR #lease < :now)",
                ExpressionAttributeNames={"#lease": "lease"},
                ExpressionAttributeValues={":until": number(until_ms), ":now": number(now_ms), ":one": number(1)},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )["Attributes"]
        except ConditionFailed as failed:
            item = failed.item
            if "settled" not in item:
                return None
        inputs = msgspec.json.decode(zlib.decompress(item["inputs"]["B"]), type=list[str])
        tries = int(item["tries"]["N"]) if "tries" in item else 0
        return Held(Page(int(item["first"]["N"]), inputs), tries, "settled" in item)

    def settle(self, task: Task, unmade: int = 0) -> None:
        """Note that a page has been made jobs, or how many of its inputs will not be; once."""
        page = {
            "TableName": self._table.name,
            "Key": _key(task.batchID, _page(task.run, task.page)),
            "UpdateExpression": "SET settled = :one REMOVE #lease",
            "ConditionExpression": "attribute_not_exists(settled)",
            "ExpressionAttributeNames": {"#lease": "lease"},
            "ExpressionAttributeValues": {":one": number(1)},
        }
        batch = {
            "TableName": self._table.name,
            "Key": _key(task.batchID, _BATCH),
            "UpdateExpression": "ADD settled :one, unmade :unmade",
            "ExpressionAttributeValues": {":one": number(1), ":unmade": number(unmade)},
        }
        for pause in pauses():
            try:
                self._table.transact([{"Update": page}, {"Update": batch}], "settling a page of the batch")
            except ConditionFailed:
                return
            except Conflict:
                time.sleep(pause)  # others settle pages of the same batch
            else:
                return
        raise refused("settling a page of the batch")

    # Strips

    def count(self, batch_id: str, strip_number: int, changes: Sequence[Change]) -> Strip:
        """Let a strip take over changes; the strip as it is then, whoever was first to tell of them."""
        key = _key(batch_id, f"{_STRIP}{strip_number:03d}")
        for pause in pauses():
            item = self._table.get(key, "reading the counts of the batch")
            strip = _strip(item) if item else Strip(strip_number)
            if not strip.merge(changes):
                return strip
            version = int(item["version"]["N"]) if item else 0
            counted = {"version": number(version + 1), "cells": {"B": strip.pack()}, "codes": document(strip.codes)}
            with suppress(ConditionFailed):
                self._table.put(
                    {**key, **counted, **self._ttl()},
                    "writing the counts of the batch",
                    ConditionExpression="version = :version" if item else "attribute_not_exists(version)",
                    **({"ExpressionAttributeValues": {":version": number(version)}} if item else {}),
                )
                return strip
            time.sleep(pause)
        raise Unavailable(f"Other invocations are counting the batch. {TRY_AGAIN}")

    def strips(self, batch_id: str) -> list[Strip]:
        """All strips of a batch that have counted anything, in order."""
        items = self._table.query_all(
            "reading the counts of the batch",
            KeyConditionExpression="#batch = :batch AND begins_with(#item, :strip)",
            ExpressionAttributeNames={"#batch": BATCHES_KEYS[0], "#item": BATCHES_KEYS[1]},
            ExpressionAttributeValues={":batch": text(batch_id), ":strip": text(_STRIP)},
            ConsistentRead=True,
        )
        return list(map(_strip, items))

    def counts(self, batch_id: str) -> Counts:
        """What all strips of a batch come to."""
        return counted(self.strips(batch_id))

    # What they share

    def _update(
        self, batch_id: str, change: str, condition: str, values: Item, names: Mapping[str, str] | None = None
    ) -> bool:
        """Change a batch that there is; False where the condition does not hold."""
        exists = f"attribute_exists({BATCHES_KEYS[0]})"
        arguments: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        arguments |= {"ExpressionAttributeNames": names} if names else {}
        try:
            self._table.update(
                _key(batch_id, _BATCH),
                "changing the batch",
                UpdateExpression=change,
                ConditionExpression=f"{exists} AND {condition}" if condition else exists,
                **arguments,
            )
        except ConditionFailed:
            return False
        return True

    def _write(self, items: Sequence[Item]) -> None:
        if self._table.write(items, "storing the inputs of the batch", _SAVING_ROUNDS):
            raise refused("storing the inputs of the batch")

    def _ttl(self) -> Item:
        return {TTL: number(int(time.time()) + self._retention_seconds)}


def _standing(item: Item) -> Standing:
    return Standing(
        batch=msgspec.json.decode(item["asked"]["S"], type=Batch),
        run=item["run"]["S"] if "run" in item else "",
        found=msgspec.json.decode(item["findings"]["S"], type=Findings) if "findings" in item else None,
        settled=int(item["settled"]["N"]),
        unmade=int(item["unmade"]["N"]),
        cancelledMs=int(item["cancelledMs"]["N"]) if "cancelledMs" in item else None,
        endedMs=int(item["endedMs"]["N"]) if "endedMs" in item else None,
        failure=msgspec.json.decode(item["failure"]["S"], type=Failure) if "failure" in item else None,
        round=int(item["round"]["N"]),
        moves=int(item["moves"]["N"]) if "moves" in item else 0,
        samples=msgspec.json.decode(item["samples"]["S"], type=tuple[Sample, ...]) if "samples" in item else (),
    )


def _strip(item: Item) -> Strip:
    number = int(item[BATCHES_KEYS[1]]["S"].removeprefix(_STRIP))
    return Strip(number, item["cells"]["B"], msgspec.json.decode(item["codes"]["S"], type=list[str]))


def _key(batch_id: str, item: str) -> Item:
    return key_of(BATCHES_KEYS, batch_id, item)


def _page(run: str, n: int) -> str:
    return f"page#{run}#{n:04d}"
