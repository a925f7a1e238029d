"""Batches: from a list of inputs to jobs, and from jobs that change to counts.

batch ─▶ surveys ─▶ survey ─▶ pages ─▶ expand ─▶ jobs table ─stream─▶ dispatch ─▶ tallies ─▶ tally
  │                   ▲         ▲ └──▶ cancels                                       ▲         │
  │                   S3        └──────── expand and survey set the total ───────────┘         │
  └───────────────────── batches table: the batch, its pages, its counts ◀─────────────────────┘
"""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from elasticrecode.contract import tables
from infra import kept
from infra.functions import Functions
from infra.options import Options, listed
from infra.sources import take_from
from infra.storage import Storage

_SURVEY_SECONDS, EXPAND_SECONDS, _TALLY_SECONDS = 600, 30, 30
SURVEY_MIB = 512
EXPAND_MIB = 256
"""Its CPU stores some 1,200 jobs a second. Two invocations leave room for other writes in a new table."""
_SURVEYING, EXPANDING, TALLYING = 10, 2, 2
"""Concurrent invocations of survey, expand and tally."""


class Batches(Construct):
    """The queues of batches; `tallies` takes what has changed about their jobs."""

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        self._outlives = kept.outlives(options)
        self._buckets = listed(options.batchBuckets)
        self.surveys = self._queue("Surveys", _SURVEY_SECONDS)
        self.pages = self._queue("Pages", EXPAND_SECONDS + 10)
        self.tallies = self._queue("Tallies", 6 * _TALLY_SECONDS)

    def serve(self, functions: Functions, storage: Storage) -> dict[str, lambda_.Function]:
        """Make the functions; returns those that answer requests, by name."""
        table = storage.batches
        batch = functions.make("batch")
        storage.jobs.grant(batch, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        storage.registry.grant(batch, "dynamodb:Query")
        table.grant(
            batch,
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        table.let_query(batch, tables.OWNER_INDEX)
        storage.let_seal(batch)
        storage.let_count(batch)

        survey = functions.make("survey", memory_mib=SURVEY_MIB, seconds=_SURVEY_SECONDS)
        table.grant(survey, "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:UpdateItem")
        self._let_read(survey, storage)
        take_from(survey, self.surveys, batch_size=1, at_once=_SURVEYING, reports_failures=False)
        self.surveys.grant(survey, "sqs:ChangeMessageVisibility")

        expand = functions.make("expand", memory_mib=EXPAND_MIB, seconds=EXPAND_SECONDS)
        storage.jobs.grant(
            expand, "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"
        )
        storage.registry.grant(expand, "dynamodb:Query")
        table.grant(expand, "dynamodb:GetItem", "dynamodb:UpdateItem")
        take_from(expand, self.pages, batch_size=1, at_once=EXPANDING, reports_failures=False)

        tally = functions.make("tally", seconds=_TALLY_SECONDS)
        storage.jobs.grant(tally, "dynamodb:PutItem")
        table.grant(
            tally,
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        take_from(tally, self.tallies, batch_size=100, window=Duration.seconds(1), at_once=TALLYING)

        self.surveys.grant(batch, "sqs:SendMessage")
        for sender in (batch, survey, expand):
            self.pages.grant(sender, "sqs:SendMessage")
        for sender in (survey, expand):
            self.tallies.grant(sender, "sqs:SendMessage")
        return {"batch": batch}

    def _let_read(self, function: lambda_.Function, storage: Storage) -> None:
        """Let a function list and read the media bucket and those of the option `batchBuckets`."""
        arns = [
            Stack.of(self).format_arn(
                service="s3", region="", account="", resource=name, arn_format=ArnFormat.NO_RESOURCE_NAME
            )
            for name in self._buckets
        ]
        arns.append(storage.media.bucket_arn)
        function.add_to_role_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=arns))
        function.add_to_role_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[f"{arn}/*" for arn in arns])
        )

    def _queue(self, id_: str, seconds: int) -> sqs.Queue:
        """A queue with a visibility timeout of so many seconds, and no dead letters: a batch waits for each message."""
        return kept.queue(
            self,
            id_,
            visibility_timeout=Duration.seconds(seconds),
            retention_period=Duration.days(14),
            removal_policy=self._outlives,
        )
