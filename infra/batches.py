"""Batches: from a list of inputs to jobs, and from jobs that change to counts.

batch ─▶ surveys ─▶ survey ─▶ pages ─▶ expand ─▶ jobs table ─stream─▶ dispatch ─▶ tallies ─▶ tally
  │                   ▲         ▲ └──▶ cancels                                       ▲         │
  │                   S3        └──────── expand and survey say when the end may ────┘         │
  └───────────────────── batches table: the batch, its pages, its counts ◀─────────────────────┘
"""

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct
from msgspec.structs import asdict

from elasticrecode.contract import settings
from infra import kept
from infra.functions import Functions
from infra.options import Options, listed
from infra.sources import take_from
from infra.storage import Storage

_SURVEY_SECONDS, _EXPAND_SECONDS, _TALLY_SECONDS = 600, 30, 30
SURVEY_MIB = 512
EXPAND_MIB = 256
"""The CPU that comes with it stores some 1,200 jobs a second. Two at once leave room for others in a new table."""
_SURVEYING, EXPANDING, TALLYING = 10, 2, 2
"""Invocations at once."""


class Batches(Construct):
    """`function` serves the routes; `tallies` is the queue for what becomes of jobs."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        options: Options,
        storage: Storage,
        functions: Functions,
        *,
        submitting: settings.SubmitSettings,
        event_retention_seconds: int,
    ) -> None:
        super().__init__(scope, id_)
        self._outlives = RemovalPolicy.RETAIN if options.keepData else RemovalPolicy.DESTROY
        self.surveys = self._queue("Surveys", _SURVEY_SECONDS)
        self.pages = self._queue("Pages", _EXPAND_SECONDS + 10)
        self.tallies = self._queue("Tallies", 6 * _TALLY_SECONDS)

        table, jobs = storage.batches, storage.jobs.table_name
        surveys, pages, tallies = (queue.queue_url for queue in (self.surveys, self.pages, self.tallies))
        self.function = functions.make(
            "batch",
            settings.BatchSettings(
                **asdict(submitting), batches_table=table.table_name, surveys_queue=surveys, pages_queue=pages
            ),
        )
        storage.jobs.grant(self.function, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        storage.registry.grant(self.function, "dynamodb:Query")
        table.grant(
            self.function,
            "dynamodb:BatchWriteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        survey = functions.make(
            "survey",
            settings.SurveySettings(
                batches_table=table.table_name,
                surveys_queue=surveys,
                pages_queue=pages,
                tally_queue=tallies,
                user_prefixes=submitting.user_prefixes,
                retention_days=options.retentionDays,
            ),
            memory_mib=SURVEY_MIB,
            seconds=_SURVEY_SECONDS,
        )
        table.grant(survey, "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:UpdateItem")
        self._let_read(survey, storage, listed(options.batchBuckets))
        take_from(survey, self.surveys, batch_size=1, at_once=_SURVEYING, reports_failures=False)
        self.surveys.grant(survey, "sqs:ChangeMessageVisibility")

        expand = functions.make(
            "expand",
            settings.ExpandSettings(
                jobs_table=jobs,
                batches_table=table.table_name,
                registry_table=storage.registry.table_name,
                queues=submitting.queues,
                pages_queue=pages,
                tally_queue=tallies,
                retention_days=options.retentionDays,
                event_retention_seconds=event_retention_seconds,
                time_limit=_EXPAND_SECONDS,
            ),
            memory_mib=EXPAND_MIB,
            seconds=_EXPAND_SECONDS,
        )
        storage.jobs.grant(
            expand, "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"
        )
        storage.registry.grant(expand, "dynamodb:Query")
        table.grant(expand, "dynamodb:GetItem", "dynamodb:UpdateItem")
        take_from(expand, self.pages, batch_size=1, at_once=EXPANDING, reports_failures=False)

        tally = functions.make(
            "tally",
            settings.TallySettings(
                jobs_table=jobs,
                batches_table=table.table_name,
                retention_days=options.retentionDays,
                event_retention_seconds=event_retention_seconds,
            ),
            seconds=_TALLY_SECONDS,
        )
        storage.jobs.grant(tally, "dynamodb:PutItem")
        table.grant(tally, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem")
        take_from(tally, self.tallies, batch_size=100, window=Duration.seconds(1), at_once=TALLYING)

        self.surveys.grant(self.function, "sqs:SendMessage")
        for sending in (self.function, survey, expand):
            self.pages.grant(sending, "sqs:SendMessage")
        for telling in (survey, expand):
            self.tallies.grant(telling, "sqs:SendMessage")

    def _let_read(self, function: lambda_.Function, storage: Storage, buckets: list[str]) -> None:
        """Let a function list and read the media bucket and those that an option names."""
        arns = [
            Stack.of(self).format_arn(
                service="s3", region="", account="", resource=name, arn_format=ArnFormat.NO_RESOURCE_NAME
            )
            for name in buckets
        ]
        arns.append(storage.media.bucket_arn)
        function.add_to_role_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=arns))
        function.add_to_role_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[f"{arn}/*" for arn in arns])
        )

    def _queue(self, id_: str, seconds: int) -> sqs.Queue:
        """A queue whose messages another takes up so long after one has taken them, until it is done."""
        return kept.queue(
            self,
            id_,
            visibility_timeout=Duration.seconds(seconds),
            retention_period=Duration.days(14),
            removal_policy=self._outlives,
        )
