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

from elasticrecode.contract import settings
from infra import kept
from infra.functions import Functions
from infra.options import Options, listed
from infra.sources import take_from
from infra.storage import Storage

_ANNOUNCE_SECONDS, _DELIVER_SECONDS = 20, 60
_ANNOUNCING, _DELIVERING = 4, 50
"""Invocations at once: few that could overtake each other, many that wait for receivers."""
_SORTING_SECONDS = 2
"""So long a delivery is held back, for what happened before it and comes behind it on the bus."""


class Webhooks(Construct):
    """`function` serves the routes."""

    def __init__(self, scope: Construct, id_: str, options: Options, storage: Storage, functions: Functions) -> None:
        super().__init__(scope, id_)
        self._outlives = RemovalPolicy.RETAIN if options.keepData else RemovalPolicy.DESTROY
        self.bus = aws_events.EventBus(self, "Bus", event_bus_name=Stack.of(self).stack_name)
        self.events = self._queue("Events", _ANNOUNCE_SECONDS)
        self.deliveries = self._queue("Deliveries", _DELIVER_SECONDS, fifo=True)
        aws_events.Rule(
            self,
            "Told",
            event_bus=self.bus,
            event_pattern=aws_events.EventPattern(source=[settings.EVENT_SOURCE]),
            targets=[targets.SqsQueue(self.events)],
        )

        table, queue, networks = storage.webhooks, self.deliveries.queue_url, listed(options.webhookNetworks)
        self.function = functions.make(
            "webhooks",
            settings.WebhooksSettings(
                **options.api,
                rate=storage.rate,
                webhooks_table=table.table_name,
                deliveries_queue=queue,
                networks=networks,
            ),
        )
        table.grant(
            self.function,
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        announce = functions.make(
            "announce",
            settings.AnnounceSettings(webhooks_table=table.table_name, deliveries_queue=queue),
            seconds=_ANNOUNCE_SECONDS,
        )
        table.grant(announce, "dynamodb:Query")
        for sending in (self.function, announce):
            self.deliveries.grant(sending, "sqs:SendMessage")
        take_from(announce, self.events, batch_size=100, window=Duration.seconds(1), at_once=_ANNOUNCING)
        deliver = functions.make(
            "deliver",
            settings.DeliverSettings(webhooks_table=table.table_name, deliveries_queue=queue, networks=networks),
            seconds=_DELIVER_SECONDS,
        )
        table.grant(deliver, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        self.deliveries.grant(deliver, "sqs:ChangeMessageVisibility")
        take_from(deliver, self.deliveries, batch_size=2, at_once=_DELIVERING)

    def let_tell(self, function: lambda_.Function) -> None:
        """Let a function put events on the bus."""
        self.bus.grant_put_events_to(function)

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
