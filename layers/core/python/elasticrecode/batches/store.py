"""The batches table: batches with their progress, the pages of their inputs, and the strips that count their jobs.

    batchID   item             content                                                  written by
    ────────  ───────────────  ───────────────────────────────────────────────────────  ─────────────────────
    id        batch            the batch and its progress                               batch, survey, tally, jobs
    id        page#<run>#<n>   inputs that become jobs together, and a lease            survey, batch, expand
    id        strip#<n>        how often 10,000 of its jobs have moved, and to where    tally, jobs
    jobs#…                     the counts of the overview (`overview.store`)            tally

One invocation at a time holds the lease of a page, which ends later than the invocation can run. Every item has a TTL.
The index `owner` (userID, at) lists the batches of a user by time; those stored before it was there are not in it.
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
from elasticrecode.batches.counting import Change, Strip, by_strip
from elasticrecode.batches.messages import PageMessage
from elasticrecode.batches.progress import JobCounts, Sample, StoredBatch, count_jobs, has_ended
from elasticrecode.batches.request import Batch
from elasticrecode.batches.survey import Line, Page, Survey, SurveyResult
from elasticrecode.contract.tables import BATCHES_KEYS, OWNER_INDEX, OWNER_KEYS, TTL
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Failure

_BATCH = "batch"
_STRIP = "strip#"
_WRITE_LIMIT = 25
_SAVING_ROUNDS = 10
"""A large batch has more pages than a partition takes at once."""


class LeasedPage(NamedTuple):
    """A page that the caller holds until its lease ends.

    `tries` counts how often it was leased, this time included. A settled page is done, and has no lease.
    """

    page: Page
    tries: int
    settled: bool


class StoredSurvey(NamedTuple):
    """A complete survey, whose pages are stored under the name `run`."""

    run: str
    result: SurveyResult


class BatchesTable:
    """Reads and writes the batches table. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str, retention_seconds: int = 0) -> None:
        self._table = Table(name)
        self._retention_seconds = retention_seconds

    # The batch

    def create(self, batch: Batch, survey: StoredSurvey | None = None) -> None:
        """Store a new batch, with its survey where it is complete already. A batch with the same id stays as it is."""
        item = {**_key(batch.batchID, _BATCH), "asked": document(batch), "settled": number(0)}
        item |= dict(zip(OWNER_KEYS, (text(batch.userID), text(batch.place)), strict=True))
        item |= {"unmade": number(0), "round": number(0)}
        item |= {"run": text(survey.run), "findings": document(survey.result)} if survey else {}
        with suppress(ConditionFailed):
            self._table.put(
                {**item, **self._ttl()},
                "storing the batch",
                ConditionExpression=f"attribute_not_exists({BATCHES_KEYS[0]})",
            )

    def get(self, batch_id: str) -> StoredBatch | None:
        """A batch with its progress; None when it does not exist, or its retention has ended."""
        item = self._table.get(_key(batch_id, _BATCH), "reading the batch")
        return _stored_batch(item) if item and is_current(item) else None

    def of_user(self, user_id: str, limit: int, after: str) -> tuple[list[StoredBatch], str]:
        """Up to `limit` batches of a user, the newest ones behind the cursor `after`, and the cursor of the next."""
        owner, at = OWNER_KEYS
        names, values = {"#owner": owner, "#ttl": TTL}, {":owner": text(user_id), ":now": number(int(time.time()))}
        if after:
            names["#at"], values[":after"] = at, text(after)
        rows: list[Item] = []
        for some in self._table.query_pages(
            "listing batches",
            IndexName=OWNER_INDEX,
            KeyConditionExpression="#owner = :owner AND #at < :after" if after else "#owner = :owner",
            FilterExpression="#ttl > :now",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
            Limit=limit + 1,
        ):
            rows += some
            if len(rows) > limit:
                break
        keys = [{name: row[name] for name in BATCHES_KEYS} for row in rows[:limit]]
        batches = map(_stored_batch, self._table.get_all(keys, "listing batches"))
        newest_first = sorted(batches, key=lambda stored: stored.batch.place, reverse=True)
        return newest_first, rows[limit - 1][at]["S"] if len(rows) > limit else ""

    def complete_survey(self, batch_id: str, survey: StoredSurvey) -> bool:
        """Let a survey be the one that counts. False where another was first, or the batch was cancelled or failed."""
        return self._update(
            batch_id,
            "SET #run = :run, findings = :findings",
            "attribute_not_exists(findings) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":run": text(survey.run), ":findings": document(survey.result)},
            {"#run": "run"},
        )

    def fail(self, batch_id: str, failure: Failure, result: SurveyResult) -> bool:
        """Fail a batch that has no jobs. False where a survey was completed, or the batch was cancelled or failed."""
        return self._update(
            batch_id,
            "SET failure = :failure, findings = :findings",
            "attribute_not_exists(findings) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":failure": document(failure), ":findings": document(result)},
        )

    def cancel(self, batch_id: str, now_ms: int) -> bool:
        """Cancel a batch. False where it has ended, or was cancelled before."""
        return self._update(
            batch_id,
            "SET cancelledMs = :now",
            "attribute_not_exists(endedMs) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":now": number(now_ms)},
        )

    def sample(self, batch_id: str, samples: Sequence[Sample]) -> None:
        """Store the samples of how many jobs have ended."""
        self._update(batch_id, "SET samples = :samples", "", {":samples": document(samples)})

    def end(self, stored: StoredBatch, counts: JobCounts, now_ms: int, event: Mapping[str, Any]) -> bool:
        """Mark a batch as ended and store its event, both or neither. False where it has changed since it was read.

        `event` is the write of a TransactWriteItems call.
        """
        update = {
            "TableName": self._table.name,
            "Key": _key(stored.batch.batchID, _BATCH),
            "UpdateExpression": "SET endedMs = :now, moves = :moves, counts = :counts REMOVE samples ADD #round :one",
            "ConditionExpression": "attribute_not_exists(endedMs) AND #round = :round AND "
            + ("retries = :retries" if stored.retries else "(attribute_not_exists(retries) OR retries = :retries)"),
            "ExpressionAttributeNames": {"#round": "round"},
            "ExpressionAttributeValues": {
                ":retries": number(stored.retries),
                ":now": number(now_ms),
                ":one": number(1),
                ":round": number(stored.round),
                ":moves": number(counts.moves),
                ":counts": document(counts),
            },
        }
        try:
            self._table.transact([{"Update": update}, event], "ending the batch")
        except ConditionFailed:
            return False
        return True

    def reopen(self, stored: StoredBatch) -> bool:
        """Mark a batch as not ended, because a job of it was retried. False where it has ended since it was read.

        An end that another invocation has computed from counts without the retry is refused: `end` names `retries`.
        """
        return self._update(
            stored.batch.batchID,
            "REMOVE endedMs ADD retries :one",
            "(attribute_not_exists(endedMs) OR #round = :round)",
            {":one": number(1), ":round": number(stored.round)},
            {"#round": "round"},
        )

    def recount(self, batch_id: str, changes: Sequence[Change]) -> None:
        """Count the changes of retried jobs, and reopen their batch unless all its jobs have ended again already."""
        for pause in pauses():
            stored = self.get(batch_id)
            if not stored:
                return
            with suppress(Unavailable):  # `end` may be changing the same item
                self.count_all(batch_id, changes)
                if has_ended(stored, self.counts(batch_id)) or self.reopen(stored):
                    return
            time.sleep(pause)
        raise refused("counting the batch's jobs")

    # Pages

    def store_pages(
        self, batch: Batch, lines: Iterable[Line], heartbeat: Callable[[], None] = lambda: None
    ) -> StoredSurvey:
        """Survey inputs and store them page by page, under a run of their own.

        `heartbeat` is called after every 25 pages. Raises Unreadable when there are more inputs than JOBS_LIMIT.
        """
        run, survey = ids.new(), Survey(batch)
        pages = survey.pages(lines)
        while some := list(islice(pages, _WRITE_LIMIT)):
            self._write([self._page_item(batch, run, n, page) for n, page in some])
            heartbeat()
        return StoredSurvey(run, survey.result)

    def _page_item(self, batch: Batch, run: str, n: int, page: Page) -> Item:
        inputs = {"B": zlib.compress(msgspec.json.encode(page.inputs))}
        return {**_key(batch.batchID, _page(run, n)), "first": number(page.first), "inputs": inputs, **self._ttl()}

    def lease_page(self, message: PageMessage, now_ms: int, until_ms: int) -> LeasedPage | None:
        """Lease the page that a message names until `until_ms`; None while another invocation holds it.

        A settled page is answered without a lease. Times are in Unix milliseconds.
        """
        try:
            item = self._table.update(
                _key(message.batchID, _page(message.run, message.page)),
                "leasing a page of the batch",
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
        return LeasedPage(Page(int(item["first"]["N"]), inputs), tries, "settled" in item)

    def settle_page(self, message: PageMessage, skipped: int = 0) -> None:
        """Mark a page as done and count it, once. `skipped` of its inputs did not become jobs."""
        page = {
            "TableName": self._table.name,
            "Key": _key(message.batchID, _page(message.run, message.page)),
            "UpdateExpression": "SET settled = :one REMOVE #lease",
            "ConditionExpression": "attribute_not_exists(settled)",
            "ExpressionAttributeNames": {"#lease": "lease"},
            "ExpressionAttributeValues": {":one": number(1)},
        }
        batch = {
            "TableName": self._table.name,
            "Key": _key(message.batchID, _BATCH),
            "UpdateExpression": "ADD settled :one, unmade :unmade",
            "ExpressionAttributeValues": {":one": number(1), ":unmade": number(skipped)},
        }
        for pause in pauses():
            try:
                self._table.transact([{"Update": page}, {"Update": batch}], "settling a page of the batch")
            except ConditionFailed:
                return
            except Conflict:
                time.sleep(pause)  # other invocations settle pages of the same batch
            else:
                return
        raise refused("settling a page of the batch")

    # Strips

    def count_all(self, batch_id: str, changes: Iterable[Change]) -> list[Strip]:
        """Merge changes into the strips of a batch. Answers those strips."""
        return [self.count(batch_id, strip_number, some) for strip_number, some in by_strip(changes)]

    def count(self, batch_id: str, strip_number: int, changes: Sequence[Change]) -> Strip:
        """Merge changes into a strip and store it. Answers the strip, also where it had all changes already."""
        key = _key(batch_id, f"{_STRIP}{strip_number:03d}")
        for pause in pauses():
            item = self._table.get(key, "reading the counts of the batch")
            strip = _strip(item) if item else Strip(strip_number)
            if not strip.merge(changes):
                return strip
            version = int(item["version"]["N"]) if item else 0
            content = {"version": number(version + 1), "cells": {"B": strip.pack()}, "codes": document(strip.codes)}
            with suppress(ConditionFailed):
                self._table.put(
                    {**key, **content, **self._ttl()},
                    "writing the counts of the batch",
                    ConditionExpression="version = :version" if item else "attribute_not_exists(version)",
                    **({"ExpressionAttributeValues": {":version": number(version)}} if item else {}),
                )
                return strip
            time.sleep(pause)
        raise Unavailable(f"Other invocations are counting the batch. {TRY_AGAIN}")

    def strips(self, batch_id: str) -> list[Strip]:
        """The strips of a batch with a change, in ascending order."""
        items = self._table.query_all(
            "reading the counts of the batch",
            KeyConditionExpression="#batch = :batch AND begins_with(#item, :strip)",
            ExpressionAttributeNames={"#batch": BATCHES_KEYS[0], "#item": BATCHES_KEYS[1]},
            ExpressionAttributeValues={":batch": text(batch_id), ":strip": text(_STRIP)},
            ConsistentRead=True,
        )
        return list(map(_strip, items))

    def counts(self, batch_id: str) -> JobCounts:
        """The counts of all jobs of a batch."""
        return count_jobs(self.strips(batch_id))

    # Shared by all items

    def _update(
        self, batch_id: str, change: str, condition: str, values: Item, names: Mapping[str, str] | None = None
    ) -> bool:
        """Change an existing batch. False where the condition does not hold."""
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


def _stored_batch(item: Item) -> StoredBatch:
    return StoredBatch(
        batch=msgspec.json.decode(item["asked"]["S"], type=Batch),
        run=item["run"]["S"] if "run" in item else "",
        survey=msgspec.json.decode(item["findings"]["S"], type=SurveyResult) if "findings" in item else None,
        settled=int(item["settled"]["N"]),
        skipped=int(item["unmade"]["N"]),
        cancelledMs=int(item["cancelledMs"]["N"]) if "cancelledMs" in item else None,
        endedMs=int(item["endedMs"]["N"]) if "endedMs" in item else None,
        failure=msgspec.json.decode(item["failure"]["S"], type=Failure) if "failure" in item else None,
        round=int(item["round"]["N"]),
        retries=int(item["retries"]["N"]) if "retries" in item else 0,
        moves=int(item["moves"]["N"]) if "moves" in item else 0,
        counts=msgspec.json.decode(item["counts"]["S"], type=JobCounts) if "counts" in item else None,
        samples=msgspec.json.decode(item["samples"]["S"], type=tuple[Sample, ...]) if "samples" in item else (),
    )


def _strip(item: Item) -> Strip:
    number = int(item[BATCHES_KEYS[1]]["S"].removeprefix(_STRIP))
    return Strip(number, item["cells"]["B"], msgspec.json.decode(item["codes"]["S"], type=list[str]))


def _key(batch_id: str, item: str) -> Item:
    return key_of(BATCHES_KEYS, batch_id, item)


def _page(run: str, n: int) -> str:
    return f"page#{run}#{n:04d}"
