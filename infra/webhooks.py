"""Webhooks: the bus that tells of events, and the way from there to users' addresses.

bus ─rule─▶ queue ─▶ announce ─▶ deliveries (FIFO by webhook and job) ─▶ deliver ─▶ users' addresses
                         └──── webhooks table ────┘     ▲
                                     └── webhooks ──────┘
"""

from aws_cdk import Duration, RemovalPolicy, Stack, aws_events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from elasticrecode.contract.settings import EVENT_SOURCE
from elasticrecode.watch.streams import CHUNKS
from infra import kept
from infra.functions import Functions
from infra.options import Options
from infra.sources import follow, take_from
from infra.storage import Storage

_ANNOUNCE_SECONDS, _DELIVER_SECONDS, _PUBLISH_SECONDS = 20, 60, 60
_ANNOUNCING, _DELIVERING = 4, 50
"""Invocations at once: few that could overtake each other, many that wait for receivers."""
_SORTING_SECONDS = 2
"""So long a delivery is held back, for what happened before it and comes behind it on the bus."""


class Webhooks(Construct):
    """The bus and the queues of webhooks."""

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        self._outlives = RemovalPolicy.RETAIN if options.keepData else RemovalPolicy.DESTROY
        self.bus = aws_events.EventBus(self, "Bus", event_bus_name=Stack.of(self).stack_name)
        self.events = self._queue("Events", _ANNOUNCE_SECONDS)
        self.deliveries = self._queue("Deliveries", _DELIVER_SECONDS, fifo=True)
        aws_events.Rule(
            self,
            "Told",
            event_bus=self.bus,
            event_pattern=aws_events.EventPattern(source=[EVENT_SOURCE]),
            targets=[targets.SqsQueue(self.events)],
        )

    def serve(self, functions: Functions, storage: Storage) -> dict[str, lambda_.Function]:
        """Make the functions; returns those that answer requests, by name."""
        table = storage.webhooks
        webhooks = functions.make("webhooks")
        storage.let_count(webhooks)
        table.grant(
            webhooks,
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        announce = functions.make("announce", seconds=_ANNOUNCE_SECONDS)
        table.grant(announce, "dynamodb:Query")
        for sender in (webhooks, announce):
            self.deliveries.grant(sender, "sqs:SendMessage")
        take_from(announce, self.events, batch_size=100, window=Duration.seconds(1), at_once=_ANNOUNCING)
        deliver = functions.make("deliver", seconds=_DELIVER_SECONDS)
        table.grant(deliver, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        self.deliveries.grant(deliver, "sqs:ChangeMessageVisibility")
        take_from(deliver, self.deliveries, batch_size=2, at_once=_DELIVERING)

        self.publish = functions.make("publish", seconds=_PUBLISH_SECONDS)
        storage.jobs.grant(self.publish, "dynamodb:BatchGetItem")
        self.bus.grant_put_events_to(self.publish)
        follow(self.publish, storage.feed, CHUNKS)
        return {"webhooks": webhooks}

    def _queue(self, id_: str, seconds: int, *, fifo: bool = False) -> sqs.Queue:
        """A queue whose consumer takes so long at most. A delivery is tried for a day, so all is kept for longer."""
        return kept.queue(
            self,
            id_,
            visibility_timeout=Duration.seconds(6 * seconds),
            retention_period=Duration.days(14),
            removal_policy=self._outlives,
            delivery_delay=Duration.seconds(_SORTING_SECONDS) if fifo else None,
            fifo=fifo or None,
            content_based_deduplication=fifo or None,
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP if fifo else None,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID if fifo else None,
        )
