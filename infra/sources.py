"""Event sources of functions, queues and streams, with the rights that Lambda needs to read them and no more."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, aws_sqs
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources


def take_from(
    function: lambda_.Function,
    queue: aws_sqs.Queue,
    *,
    batch_size: int,
    at_once: int | None = None,
    window: Duration | None = None,
    reports_failures: bool = True,
) -> None:
    """Let a queue's messages invoke a function. CDK's own event source grants more actions on the queue."""
    queue.grant(function, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    function.add_event_source_mapping(
        f"From{queue.node.id}",
        event_source_arn=queue.queue_arn,
        batch_size=batch_size,
        max_batching_window=window,
        max_concurrency=at_once,
        report_batch_item_failures=reports_failures or None,
    )


def follow(
    function: lambda_.Function,
    table: dynamodb.ITable,
    filters: Sequence[Mapping[str, object]],
    at_once: int = 1,
) -> None:
    """Let a table's stream invoke a function, in the order of each partition, again until it succeeds."""
    function.add_event_source(
        sources.DynamoEventSource(
            table,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=500,
            parallelization_factor=at_once,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            filters=[lambda_.FilterCriteria.filter(pattern) for pattern in filters],
        )
    )
