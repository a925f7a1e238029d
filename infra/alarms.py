"""Alarms on jobs, events and deliveries that failed for good, and on work that stalls."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from elasticrecode.contract.metrics import (
    CLUSTERS_UNREACHABLE,
    DELIVERIES_GIVEN_UP,
    EVENTS_GIVEN_UP,
    FILES_LEFT_OUT,
    JOBS_BURIED,
    METRICS,
    UNREADABLE_MESSAGES,
)

_PERIOD = Duration.minutes(5)
_LATE = Duration.minutes(10)
_GIVEN_UP = {
    JOBS_BURIED: "A job's message was received too often; the job failed as dead-letter.",
    UNREADABLE_MESSAGES: "A message on a worker queue is not a job; the log of reconcile shows it.",
    EVENTS_GIVEN_UP: "A worker's event could not be read or stored; the log of reconcile shows it.",
}


class Alarms(Construct):
    """CloudWatch alarms, which notify the SNS topic of the option `alarmTopic`."""

    def __init__(self, scope: Construct, id_: str, topic_arn: str) -> None:
        super().__init__(scope, id_)
        self._action = actions.SnsAction(sns.Topic.from_topic_arn(self, "Topic", topic_arn)) if topic_arn else None

    def when_given_up(self, function: lambda_.Function) -> None:
        """Alarms on jobs, events and deliveries that fail for good, and on `reconcile` when it keeps failing."""
        for name, meaning in _GIVEN_UP.items():
            self._alarm(name, _own(name, "reconcile"), 1, meaning)
        undelivered = _own(DELIVERIES_GIVEN_UP, "deliver")
        self._alarm(
            DELIVERIES_GIVEN_UP,
            undelivered,
            1,
            "A delivery failed for good; the failed deliveries of its webhook say why.",
        )
        failing = function.metric_errors(period=_PERIOD, statistic="Sum")
        self._alarm("ReconcileFails", failing, 3, "reconcile fails, so lost messages and dead letters are not handled.")

    def when_blind(self) -> None:
        """An alarm on clusters that `discover` cannot reach three times in five minutes."""
        metric = _own(CLUSTERS_UNREACHABLE, "discover")
        meaning = "A cluster cannot be reached, so its last known workers are used; the log of discover says why."
        self._alarm(CLUSTERS_UNREACHABLE, metric, 3, meaning)

    def when_left_out(self) -> None:
        """An alarm on files under a drop that cannot become jobs."""
        metric = _own(FILES_LEFT_OUT, "collect")
        meaning = "A file under a drop could not become a job; the log of collect says which and why."
        self._alarm(FILES_LEFT_OUT, metric, 1, meaning)

    def when_late(self, queues: Mapping[str, sqs.Queue], followers: Mapping[str, lambda_.Function]) -> None:
        """Alarms on messages of queues, and stream records, that are not consumed for ten minutes."""
        for name, queue in queues.items():
            age = queue.metric_approximate_age_of_oldest_message(period=_PERIOD, statistic="Maximum")
            self._alarm(f"{name}Late", age, _LATE.to_seconds(), f"The oldest message of {name} is not consumed.")
        for name, function in followers.items():
            age = function.metric("IteratorAge", period=_PERIOD, statistic="Maximum")
            self._alarm(f"{name}Late", age, _LATE.to_milliseconds(), f"{name} is behind its stream.")

    def _alarm(self, name: str, metric: cloudwatch.Metric, threshold: float, meaning: str) -> None:
        alarm = metric.create_alarm(
            self,
            name,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=meaning,
        )
        if self._action:
            alarm.add_alarm_action(self._action)


def _own(name: str, service: str) -> cloudwatch.Metric:
    """One of the product's own metrics."""
    return cloudwatch.Metric(
        namespace=METRICS,
        metric_name=name,
        dimensions_map={"service": service},
        statistic="Sum",
        period=_PERIOD,
    )
