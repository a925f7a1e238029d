"""Alarms of the stack, alarms on costs, and how long logs are kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, warning
from elasticrecode_client.doctor.template import Resource

_BILLING_REGION = "us-east-1"


@check("alarms", "Alarms")
def alarms(deployment: Deployment) -> Verdict:
    """Whether each alarm exists and tells somebody, and which have gone off."""
    expected = deployment.template.resources("AWS::CloudWatch::Alarm")
    names = [each.name for each in expected]
    client = deployment.client("cloudwatch")
    described: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(names), 100):
        pages = client.get_paginator("describe_alarms").paginate(AlarmNames=names[start : start + 100])
        described |= {each["AlarmName"]: each for page in pages for each in page["MetricAlarms"]}
    ringing = sum(each["StateValue"] == "ALARM" for each in described.values())
    return Verdict.of(
        f"{len(described)} of {len(names)}, {ringing} gone off", judge_alarms(expected, described, deployment.advice)
    )


def judge_alarms(
    expected: Sequence[Resource], described: Mapping[str, Mapping[str, Any]], advice: Advice
) -> Iterator[Finding]:
    """The faults of alarms, described by name."""
    for each in expected:
        alarm, where = described.get(each.name), f"alarm {each.label.removeprefix('Alarms/')}"
        if alarm is None:
            yield failed(where, f"The alarm {each.name} does not exist.", advice.restore())
        elif alarm["StateValue"] == "ALARM":
            history = advice.cli(f"cloudwatch describe-alarm-history --alarm-name {each.name} --max-items 5")
            sentence = f"It has gone off: {alarm.get('AlarmDescription', '')} {alarm.get('StateReason', '')}"[:300]
            yield failed(where, sentence, f"{history}   (docs/how-to/operate.md: what to do)")
        elif alarm.get("AlarmActions") and not alarm.get("ActionsEnabled", True):
            yield warning(
                where,
                "Its actions are off.",
                advice.cli(f"cloudwatch enable-alarm-actions --alarm-names {each.name}"),
            )
    if expected and not any(alarm.get("AlarmActions") for alarm in described.values()):
        topic = advice.cli("sns create-topic --name elasticrecode-alarms")
        remedy = f'{topic}   then   make deploy ARGS="-c alarmTopic=ARN"'
        yield warning("alarms", "No alarm tells anybody: the option alarmTopic is not set.", remedy)


@check("costs", "Alarm on costs")
def costs(deployment: Deployment) -> Verdict:
    """Whether a budget or an alarm on charges tells somebody before costs grow."""
    account = deployment.template.account
    budgets = deployment.client("budgets", _BILLING_REGION).describe_budgets(AccountId=account).get("Budgets", [])
    client = deployment.client("cloudwatch", _BILLING_REGION)
    billing = client.describe_alarms_for_metric(MetricName="EstimatedCharges", Namespace="AWS/Billing")["MetricAlarms"]
    create = (
        f"aws budgets create-budget --account-id {account} --budget "
        "'BudgetName=elasticrecode,BudgetLimit={Amount=100,Unit=USD},TimeUnit=MONTHLY,BudgetType=COST' "
        '--notifications-with-subscribers \'[{"Notification":{"NotificationType":"FORECASTED",'
        '"ComparisonOperator":"GREATER_THAN","Threshold":100},"Subscribers":[{"SubscriptionType":"EMAIL",'
        '"Address":"you@example.com"}]}]\''
    )
    return Verdict.of(f"{len(budgets)} budgets, {len(billing)} alarms", judge_costs(len(budgets), len(billing), create))


def judge_costs(budgets: int, alarms: int, create: str) -> Iterator[Finding]:
    """The fault of an account without budgets and alarms on charges."""
    if not budgets + alarms:
        yield warning("costs", "Nothing tells you when costs grow: no budget, no alarm on charges.", create)


@check("retention", "Retention of logs")
def retention(deployment: Deployment) -> Verdict:
    """Whether each log group exists and forgets."""
    expected = [each.name for each in deployment.template.resources("AWS::Logs::LogGroup")]
    pages = deployment.client("logs").get_paginator("describe_log_groups").paginate()
    days = {each["logGroupName"]: each.get("retentionInDays") for page in pages for each in page["logGroups"]}
    return Verdict.of(f"{len(expected)} log groups", judge_retention(expected, days, deployment.advice))


def judge_retention(expected: Sequence[str], days: Mapping[str, int | None], advice: Advice) -> Iterator[Finding]:
    """The faults of log groups, with the days that AWS keeps their lines; None is for ever."""
    for name in expected:
        if name not in days:
            yield failed(f"log group {name}", "It does not exist, so errors are not seen.", advice.restore())
        elif days[name] is None:
            put = advice.cli(f"logs put-retention-policy --log-group-name {name} --retention-in-days 30")
            yield warning(f"log group {name}", "Its lines are kept for ever, and cost.", put)
