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
from elasticrecode.aws.clients import client, pauses, refusals
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
_TRY_AGAIN = "Try again in a moment."

Item = dict[str, dict[str, Any]]


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
        self._name = name
        self._retention_seconds = retention_seconds
        self._dynamodb = client("dynamodb")

    # The batch

    def create(self, batch: Batch, survey: Saved | None = None) -> None:
        """Store a new batch, with its pages where they are saved already. One that is there stays as it is."""
        item = {**_key(batch.batchID, _BATCH), "asked": _json(batch), "settled": _number(0)}
        item |= {"unmade": _number(0), "round": _number(0)}
        item |= {"run": _text(survey.run), "findings": _json(survey.found)} if survey else {}
        with refusals("storing the batch"), suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.put_item(
                TableName=self._name,
                Item={**item, **self._ttl()},
                ConditionExpression=f"attribute_not_exists({BATCHES_KEYS[0]})",
            )

    def standing(self, batch_id: str) -> Standing | None:
        """How far a batch is; None when there is none, or its time of retention has passed."""
        with refusals("reading the batch"):
            answer = self._dynamodb.get_item(TableName=self._name, Key=_key(batch_id, _BATCH), ConsistentRead=True)
        item = answer.get("Item")
        return _standing(item) if item and float(item[TTL]["N"]) > time.time() else None

    def surveyed(self, batch_id: str, saved: Saved) -> bool:
        """Note what a look through the inputs has brought; False where another was first, or it is not wanted."""
        return self._update(
            batch_id,
            "SET #run = :run, findings = :findings",
            "attribute_not_exists(findings) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":run": _text(saved.run), ":findings": _json(saved.found)},
            {"#run": "run"},
        )

    def fail(self, batch_id: str, failure: Failure, found: Findings) -> bool:
        """Let a batch be failed that no job was made of; False where some were, or will be, or it is not wanted."""
        return self._update(
            batch_id,
            "SET failure = :failure, findings = :findings",
            "attribute_not_exists(findings) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":failure": _json(failure), ":findings": _json(found)},
        )

    def cancel(self, batch_id: str, now_ms: int) -> bool:
        """Let a batch be cancelled that has not ended; False where it has, or was cancelled before."""
        return self._update(
            batch_id,
            "SET cancelledMs = :now",
            "attribute_not_exists(endedMs) AND attribute_not_exists(cancelledMs) AND attribute_not_exists(failure)",
            {":now": _number(now_ms)},
        )

    def sample(self, batch_id: str, samples: Sequence[Sample]) -> None:
        """Note how many jobs had ended when."""
        self._update(batch_id, "SET samples = :samples", "", {":samples": _json(samples)})

    def end(self, standing: Standing, counts: Counts, now_ms: int, event: Mapping[str, Any]) -> bool:
        """Let a batch have ended and store the event that tells of it, both or neither; False where it has before."""
        update = {
            "TableName": self._name,
            "Key": _key(standing.batch.batchID, _BATCH),
            "UpdateExpression": "SET endedMs = :now, moves = :moves REMOVE samples ADD #round :one",
            "ConditionExpression": "attribute_not_exists(endedMs) AND #round = :round",
            "ExpressionAttributeNames": {"#round": "round"},
            "ExpressionAttributeValues": {
                ":now": _number(now_ms),
                ":one": _number(1),
                ":round": _number(standing.round),
                ":moves": _number(counts.moves),
            },
        }
        try:
            with refusals("ending the batch"):
                self._dynamodb.transact_write_items(TransactItems=[{"Update": update}, event])
        except self._dynamodb.exceptions.TransactionCanceledException as error:
            codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
            if "ConditionalCheckFailed" in codes:
                return False
            raise Unavailable(f"The batch is being changed by others. {_TRY_AGAIN}") from error
        return True

    def reopen(self, standing: Standing) -> None:
        """Let a batch that had ended go on, as jobs of it do again."""
        self._update(
            standing.batch.batchID,
            "REMOVE endedMs",
            "attribute_exists(endedMs) AND #round = :round",
            {":round": _number(standing.round)},
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
        return {**_key(batch.batchID, _page(run, n)), "first": _number(page.first), "inputs": inputs, **self._ttl()}

    def hold(self, task: Task, now_ms: int, until_ms: int) -> Held | None:
        """Take a page for as long as a function may be at it; None while another is. A settled one is nobody's."""
        try:
            with refusals("taking a page of the batch"):
                answer = self._dynamodb.update_item(
                    TableName=self._name,
                    Key=_key(task.batchID, _page(task.run, task.page)),
                    UpdateExpression="SET #lease = :until ADD tries :one",
                    ConditionExpression="attribute_exists(inputs) AND attribute_not_exists(settled) AND "
                    "(attribute_not_exists(#lease) OR #lease < :now)",
                    ExpressionAttributeNames={"#lease": "lease"},
                    ExpressionAttributeValues={
                        ":until": _number(until_ms),
                        ":now": _number(now_ms),
                        ":one": _number(1),
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            item = answer["Attributes"]
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            item = error.response["Item"]
            if "settled" not in item:
                return None
        inputs = msgspec.json.decode(zlib.decompress(item["inputs"]["B"]), type=list[str])
        tries = int(item["tries"]["N"]) if "tries" in item else 0
        return Held(Page(int(item["first"]["N"]), inputs), tries, "settled" in item)

    def settle(self, task: Task, unmade: int = 0) -> None:
        """Note that a page has been made jobs, or how many of its inputs will not be; once."""
        page = {
            "TableName": self._name,
            "Key": _key(task.batchID, _page(task.run, task.page)),
            "UpdateExpression": "SET settled = :one REMOVE #lease",
            "ConditionExpression": "attribute_not_exists(settled)",
            "ExpressionAttributeNames": {"#lease": "lease"},
            "ExpressionAttributeValues": {":one": _number(1)},
        }
        batch = {
            "TableName": self._name,
            "Key": _key(task.batchID, _BATCH),
            "UpdateExpression": "ADD settled :one, unmade :unmade",
            "ExpressionAttributeValues": {":one": _number(1), ":unmade": _number(unmade)},
        }
        for pause in pauses():
            try:
                with refusals("settling a page of the batch"):
                    self._dynamodb.transact_write_items(TransactItems=[{"Update": page}, {"Update": batch}])
            except self._dynamodb.exceptions.TransactionCanceledException as error:
                if "ConditionalCheckFailed" in [reason["Code"] for reason in error.response["CancellationReasons"]]:
                    return
                time.sleep(pause)  # others settle pages of the same batch
            else:
                return
        raise Unavailable(f"The batch is being changed by others. {_TRY_AGAIN}")

    # Strips

    def count(self, batch_id: str, number: int, changes: Sequence[Change]) -> Strip:
        """Let a strip take over changes; the strip as it is then, whoever was first to tell of them."""
        key = _key(batch_id, f"{_STRIP}{number:03d}")
        for pause in pauses():
            with refusals("reading the counts of the batch"):
                item = self._dynamodb.get_item(TableName=self._name, Key=key, ConsistentRead=True).get("Item")
            strip = _strip(item) if item else Strip(number)
            if not strip.merge(changes):
                return strip
            version = int(item["version"]["N"]) if item else 0
            counted = {"version": _number(version + 1), "cells": {"B": strip.pack()}, "codes": _json(strip.codes)}
            with (
                refusals("writing the counts of the batch"),
                suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
            ):
                self._dynamodb.put_item(
                    TableName=self._name,
                    Item={**key, **counted, **self._ttl()},
                    ConditionExpression="version = :version" if item else "attribute_not_exists(version)",
                    **({"ExpressionAttributeValues": {":version": _number(version)}} if item else {}),
                )
                return strip
            time.sleep(pause)
        raise Unavailable(f"The batch is being counted by others. {_TRY_AGAIN}")

    def strips(self, batch_id: str) -> list[Strip]:
        """All strips of a batch that have counted anything, in order."""
        asked: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": "#batch = :batch AND begins_with(#item, :strip)",
            "ExpressionAttributeNames": {"#batch": BATCHES_KEYS[0], "#item": BATCHES_KEYS[1]},
            "ExpressionAttributeValues": {":batch": _text(batch_id), ":strip": _text(_STRIP)},
            "ConsistentRead": True,
        }
        found: list[Strip] = []
        while True:
            with refusals("reading the counts of the batch"):
                answer = self._dynamodb.query(**asked)
            found += map(_strip, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return found
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

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
            with refusals("changing the batch"):
                self._dynamodb.update_item(
                    TableName=self._name,
                    Key=_key(batch_id, _BATCH),
                    UpdateExpression=change,
                    ConditionExpression=f"{exists} AND {condition}" if condition else exists,
                    **arguments,
                )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _write(self, items: Sequence[Item]) -> None:
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in items]
        for pause in pauses(_SAVING_ROUNDS):
            with refusals("storing the inputs of the batch"):
                answer = self._dynamodb.batch_write_item(RequestItems={self._name: requests})
            requests = answer["UnprocessedItems"].get(self._name, [])
            if not requests:
                return
            time.sleep(pause)
        raise Unavailable(f"AWS could not take it while storing the inputs of the batch. {_TRY_AGAIN}")

    def _ttl(self) -> Item:
        return {TTL: _number(int(time.time()) + self._retention_seconds)}


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
    return {BATCHES_KEYS[0]: _text(batch_id), BATCHES_KEYS[1]: _text(item)}


def _page(run: str, n: int) -> str:
    return f"page#{run}#{n:04d}"


def _text(text: str) -> dict[str, str]:
    return {"S": text}


def _number(number: int) -> dict[str, str]:
    return {"N": str(number)}


def _json(content: object) -> dict[str, str]:
    return {"S": msgspec.json.encode(content).decode()}
