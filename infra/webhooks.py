"""From the feed to users' addresses, and the event bus for users' own rules.

feed ─stream─▶ publish ─▶ deliveries (FIFO by webhook and job) ─▶ deliver ─▶ users' addresses
                 │  ▲ webhooks table      ▲         │
                 │                        │         └──▶ dead letters
                 │                        └ webhooks
                 └──────▶ event bus
"""

from aws_cdk import Duration, Stack, aws_events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from elasticrecode.watch.streams import CHUNKS
from infra import kept
from infra.functions import Functions
from infra.options import Options
from infra.sources import follow, take_from
from infra.storage import Storage

_DELIVER_SECONDS, _PUBLISH_SECONDS = 60, 60
_ANSWER_SECONDS = 29
"""API Gateway's limit: a test waits for the resolver and then for the receiver."""
_DELIVERING = 50
"""Invocations of `deliver` at once: many, as they wait for receivers."""
_MAX_RECEIVES = 300
"""Receives before a message is a dead letter. `deliver` gives up sooner on every message that it can read."""
_KEPT = Duration.days(14)
"""A delivery is tried for a day, so all is kept for longer."""


class Webhooks(Construct):
    """The event bus, and the queue of deliveries with its dead letters."""

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        outlives = kept.outlives(options)
        self.bus = aws_events.EventBus(self, "Bus", event_bus_name=Stack.of(self).stack_name)
        self.dead_letters = kept.queue(self, "DeadLetters", fifo=True, retention_period=_KEPT, removal_policy=outlives)
        self.deliveries = kept.queue(
            self,
            "Deliveries",
            visibility_timeout=Duration.seconds(6 * _DELIVER_SECONDS),
            retention_period=_KEPT,
            removal_policy=outlives,
            fifo=True,
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=_MAX_RECEIVES),
        )

    def serve(self, functions: Functions, storage: Storage) -> dict[str, lambda_.Function]:
        """Make the functions; returns those that answer requests, by name."""
        table = storage.webhooks
        webhooks = functions.make("webhooks", seconds=_ANSWER_SECONDS)
        storage.let_count(webhooks)
        table.grant(
            webhooks,
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        self.publish = functions.make("publish", seconds=_PUBLISH_SECONDS)
        storage.jobs.grant(self.publish, "dynamodb:BatchGetItem")
        storage.feed.grant(self.publish, "dynamodb:BatchWriteItem", "dynamodb:UpdateItem")
        table.grant(self.publish, "dynamodb:Query")
        follow(self.publish, storage.feed, CHUNKS)

        deliver = functions.make("deliver", seconds=_DELIVER_SECONDS)
        table.grant(deliver, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        self.deliveries.grant(deliver, "sqs:ChangeMessageVisibility")
        take_from(deliver, self.deliveries, batch_size=2, at_once=_DELIVERING)

        for sender in (webhooks, self.publish):
            self.deliveries.grant(sender, "sqs:SendMessage")
        for publisher in (self.publish, deliver):
            self.bus.grant_put_events_to(publisher)
        return {"webhooks": webhooks}
