"""Drops: objects that become jobs when they are put.

bucket ─notification─▶ queue ─▶ collect ─▶ jobs table
                         └─▶ dead letters
"""

from typing import cast

from aws_cdk import Aws, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from elasticrecode.drops.rules import Drop
from infra import kept
from infra.functions import Functions
from infra.options import Options
from infra.sources import take_from
from infra.storage import Storage

_SECONDS = 20
_TRIES = 720
"""Receives before a notification is a dead letter: a day of them."""
_CREATED = "s3:ObjectCreated:*"


class Drops(Construct):
    """The function `collect`, and `queues`: notifications and dead letters by their names in alarms."""

    def __init__(self, scope: Construct, id_: str, options: Options, storage: Storage, functions: Functions) -> None:
        super().__init__(scope, id_)
        outlives = kept.outlives(options)
        dead_letters = kept.queue(self, "DeadLetters", retention_period=Duration.days(14), removal_policy=outlives)
        queue = kept.queue(
            self,
            "Files",
            visibility_timeout=Duration.seconds(6 * _SECONDS),
            retention_period=Duration.days(10),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=_TRIES),
            removal_policy=outlives,
        )
        self.queues = {"Drops": queue, "DropDeadLetters": dead_letters}

        own = storage.media
        function = functions.make("collect", seconds=_SECONDS)
        storage.jobs.grant(function, "dynamodb:PutItem")
        storage.registry.grant(function, "dynamodb:Query")
        buckets = {"": own} | {
            name: s3.Bucket.from_bucket_name(self, name, name)
            for name in sorted({drop.bucket for drop in options.drops if drop.bucket})
        }
        for drop in options.drops:
            bucket = buckets[drop.bucket]
            covered = [bucket.arn_for_objects(f"{drop.prefix}*{end}") for end in drop.ends]
            function.add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=covered))
            # Without ListBucket S3 answers 403 instead of 404 for an object that is gone.
            function.add_to_role_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]))
            for end in drop.ends if drop.bucket else ():
                chosen = {name: value for name, value in (("prefix", drop.prefix), ("suffix", end)) if value}
                bucket.add_event_notification(
                    s3.EventType.OBJECT_CREATED,
                    notifications.SqsDestination(queue),
                    *([s3.NotificationKeyFilter(**chosen)] if chosen else ()),
                )
        self._notify(own, queue, [drop for drop in options.drops if not drop.bucket])
        take_from(function, queue, batch_size=100, window=Duration.seconds(1))

    def _notify(self, own: s3.Bucket, queue: sqs.Queue, drops: list[Drop]) -> None:
        """Send notifications of the product's own bucket to the queue.

        They are a property of the bucket, so no custom resource is needed. S3 tests the queue when the bucket is
        created, before its name is known, so the queue's policy names the account as the source.
        """
        if not drops:
            return
        allowed = iam.PolicyStatement(
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
        policy = queue.add_to_resource_policy(allowed).policy_dependable
        bucket = cast(s3.CfnBucket, own.node.default_child)
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event=_CREATED, queue=queue.queue_arn, filter=_filter(drop, end)
                )
                for drop in drops
                for end in drop.ends
            ]
        )
        if policy:
            bucket.node.add_dependency(policy)


def _filter(drop: Drop, end: str) -> s3.CfnBucket.NotificationFilterProperty | None:
    rules = [
        s3.CfnBucket.FilterRuleProperty(name=name, value=value)
        for name, value in (("prefix", drop.prefix), ("suffix", end))
        if value
    ]
    return (
        s3.CfnBucket.NotificationFilterProperty(s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=rules)) if rules else None
    )
