"""The stack's tables and queues on moto, and its functions over them."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from msgspec import structs

from elasticrecode.contract import settings
from elasticrecode.contract.tables import (
    BATCHES_KEYS,
    CONNECTION_INDEX,
    CONNECTION_KEYS,
    CONNECTIONS_KEYS,
    DUE_INDEX,
    DUE_KEYS,
    ENDING_INDEX,
    ENDING_KEYS,
    FEED_KEYS,
    JOBS_KEYS,
    OWNER_INDEX,
    OWNER_KEYS,
    REGISTRY_KEYS,
    STATE_INDEX,
    STATE_KEYS,
    USER_INDEX,
    USER_KEYS,
)
from elasticrecode.jobs import streams
from elasticrecode.workers.registry import Registry
from tests import described
from tests.fakes.wiring import Handler, wired
from tests.support import function

PRESETS: settings.Presets = {
    "house": {"ffmpeg": {"codec": "h265", "scale": "480p", "bitrate": "2M"}},
    "h264-360p": {"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1200K"}},
}
"""The deployment's: one of its own, and one in place of one that is built in."""


_DESCRIBED = {"ffmpeg_job": described.job, "vmaf_job": described.job, "control_plane": described.report}
"""Queue → the check of its messages."""


class Stack:
    """What is deployed, in memory. `calls` lists every AWS call as (service, operation)."""

    def __init__(self, user_prefixes: settings.UserPrefixes | None = None) -> None:
        self.dynamodb = boto3.client("dynamodb")
        self.sqs = boto3.client("sqs")
        jobs_indexes = {USER_INDEX: USER_KEYS, STATE_INDEX: STATE_KEYS, DUE_INDEX: DUE_KEYS}
        streamed = {
            "jobs": self._table("jobs", JOBS_KEYS, jobs_indexes),
            "feed": self._table("feed", FEED_KEYS, {}),
            "connections": self._table(
                "connections",
                CONNECTIONS_KEYS,
                {CONNECTION_INDEX: CONNECTION_KEYS, ENDING_INDEX: ENDING_KEYS},
            ),
        }
        self._table("registry", REGISTRY_KEYS, {})
        self._table("batches", BATCHES_KEYS, {OWNER_INDEX: OWNER_KEYS})
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket="media")
        queue = {name: self.sqs.create_queue(QueueName=name)["QueueUrl"] for name in
                 ("ffmpeg_job", "vmaf_job", "control_plane", "dead", "events-dead", "surveys", "pages", "tallies")
                 }  # fmt: skip
        self.queue = queue
        self.queues: settings.Queues = {
            "cpu": {"ffmpeg_job": queue["ffmpeg_job"]},
            "gpu": {},
            "vmaf": {"vmaf_job": queue["vmaf_job"]},
        }
        # The stream's default address is one that moto does not know.
        self._streams = boto3.client("dynamodbstreams", endpoint_url="https://streams.dynamodb.us-east-1.amazonaws.com")
        self._behind: dict[str, dict[str, Any]] = {}
        for table, stream in streamed.items():
            (shard,) = self._streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
            place = {"ShardIteratorType": "TRIM_HORIZON", "StreamArn": stream, "ShardId": shard["ShardId"]}
            self._behind[table] = place
        self.wiring = wired(
            queues=self.queues,
            control_queue=queue["control_plane"],
            dead_letter_queue=queue["dead"],
            events_dead_letter_queue=queue["events-dead"],
            surveys_queue=queue["surveys"],
            pages_queue=queue["pages"],
            tally_queue=queue["tallies"],
            presets=PRESETS,
            user_prefixes=user_prefixes or [],
        )
        self.submit, self.vmaf, self.schema = self.build("submit"), self.build("vmaf"), self.build("schema")
        self.plans = self.build("plans")
        self.logs, self.jobs, self.presets = self.build("logs"), self.build("jobs"), self.build("presets")
        self.batch, self.survey, self.expand = self.build("batch"), self.build("survey"), self.build("expand")
        self.tally, self.workers, self.reconcile = self.build("tally"), self.build("workers"), self.build("reconcile")
        self._dispatch, self._events = self.build("dispatch"), self.build("consume")
        self.registry = Registry("registry", self.queues)

    def build(self, name: str, **changes: Any) -> Handler:
        """The handler of a function over these tables and queues, with some settings changed."""
        handler: Handler = function(name).build(structs.replace(self.wiring, **changes).settings_of(name))
        return handler

    def flow(self) -> None:
        """Hand what the stream has to `dispatch`, with the filters of the stack."""
        batch = selected(self.changes(), streams.DISPATCH)
        if batch:
            self._dispatch({"Records": batch}, None)

    def say(self, *events: dict[str, Any] | str) -> list[str]:
        """Let the consumer read messages; the ids of those it wants again."""
        records = [
            {"messageId": f"m{n}", "body": event if isinstance(event, str) else json.dumps(event)}
            for n, event in enumerate(events)
        ]
        answer = self._events({"Records": records}, None)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Take everything from a queue: jobs and reports as the AsyncAPI document describes them."""
        taken: list[dict[str, Any]] = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue[queue], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            if not answer.get("Messages"):
                return taken
            for message in answer["Messages"]:
                taken.append(dict(message))
                if check := _DESCRIBED.get(queue):
                    check(message["Body"])
                self.sqs.delete_message(QueueUrl=self.queue[queue], ReceiptHandle=message["ReceiptHandle"])

    def items(self) -> list[dict[str, Any]]:
        """Everything in the jobs table."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName="jobs")
        return [item for page in pages for item in page["Items"]]

    def changes(self, table: str = "jobs") -> list[dict[str, Any]]:
        """What a table's stream has had since the last look."""
        behind = self._behind[table]
        iterator = self._streams.get_shard_iterator(**behind)["ShardIterator"]
        records: list[dict[str, Any]] = []
        while True:
            answer = self._streams.get_records(ShardIterator=iterator)
            if not answer["Records"]:
                return records
            records += map(_as_json, answer["Records"])
            iterator = answer["NextShardIterator"]
            last = records[-1]["dynamodb"]["SequenceNumber"]
            behind |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last}

    def _table(self, name: str, keys: tuple[str, str], indexes: Mapping[str, tuple[str, ...]]) -> str:
        numbers = {DUE_KEYS[1], FEED_KEYS[1], ENDING_KEYS[1]}
        attributes = {key for pair in (keys, *indexes.values()) for key in pair}
        extra: dict[str, Any] = {}
        if indexes:
            extra["GlobalSecondaryIndexes"] = [
                {"IndexName": index, "KeySchema": _schema(pair), "Projection": {"ProjectionType": "ALL"}}
                for index, pair in indexes.items()
            ]
        made = self.dynamodb.create_table(
            TableName=name,
            KeySchema=_schema(keys),
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": "N" if key in numbers else "S"} for key in sorted(attributes)
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            **extra,
        )
        return made["TableDescription"]["LatestStreamArn"]


def _as_json(record: dict[str, Any]) -> dict[str, Any]:
    """A record as Lambda hands it over, with its time in Unix seconds."""
    stored = record["dynamodb"]
    created = int(stored["ApproximateCreationDateTime"].timestamp())
    return record | {"dynamodb": stored | {"ApproximateCreationDateTime": created}}


def _schema(keys: tuple[str, ...]) -> Any:
    """The last key is the sort key; the others are the partition key."""
    return [{"AttributeName": key, "KeyType": "RANGE" if key == keys[-1] else "HASH"} for key in keys]


def selected(records: list[dict[str, Any]], filters: streams.Filters) -> list[dict[str, Any]]:
    """The records that one of a function's filters lets through."""
    return [record for record in records if any(_matches(record, pattern) for pattern in filters)]


def _matches(found: Any, pattern: Any) -> bool:
    if isinstance(pattern, Mapping):
        return all(key in found and _matches(found[key], below) for key, below in pattern.items())
    prefixes = [each["prefix"] for each in pattern if isinstance(each, Mapping) and "prefix" in each]
    return found in pattern or {"exists": True} in pattern or str(found).startswith(tuple(prefixes))
