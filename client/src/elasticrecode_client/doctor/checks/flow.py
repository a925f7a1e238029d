"""What carries events between functions: event sources, schedules, queues, streams."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.checks.functions import side_by_side
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, warning
from elasticrecode_client.doctor.template import UNKNOWN, Resource

IN_FLIGHT = {False: 120_000, True: 120_000}
"""Messages in flight that SQS allows in a queue, and in a FIFO queue."""
_NEARLY = 0.8


@check("sources", "Event sources of functions")
def sources(deployment: Deployment) -> Verdict:
    """Whether each event source mapping is enabled, reads today's stream, and what came of its latest batch."""
    client, template = deployment.client("lambda"), deployment.template
    mappings = template.resources("AWS::Lambda::EventSourceMapping")

    def describe(mapping: Resource) -> Mapping[str, Any] | None:
        try:
            described: Mapping[str, Any] = client.get_event_source_mapping(UUID=mapping.name)
        except client.exceptions.ResourceNotFoundException:
            return None
        return described

    findings = [
        finding
        for mapping, described in side_by_side(describe, mappings)
        for finding in judge_mapping(
            mapping,
            described,
            template.by_name("AWS::Lambda::Function", mapping.properties["FunctionName"]),
            deployment.advice,
        )
    ]
    return Verdict.of(f"{len(mappings)} event sources", findings)


def judge_mapping(
    mapping: Resource, described: Mapping[str, Any] | None, owner: Resource | None, advice: Advice
) -> Iterator[Finding]:
    """The faults of an event source mapping of the function `owner`, as Lambda describes it; None for none."""
    source = str(mapping.properties["EventSourceArn"])
    where = f"event source of {owner.label if owner else mapping.label}"
    if described is None:
        yield failed(where, f"The mapping from {source} does not exist.", advice.restore())
        return
    if described["State"] not in ("Enabled", "Enabling", "Creating", "Updating"):
        sentence = (
            f"The mapping from {described['EventSourceArn']} is {described['State'].lower()}, so nothing arrives."
        )
        remedy = advice.cli(f"lambda update-event-source-mapping --uuid {mapping.name} --enabled")
        yield failed(where, sentence, remedy)
    if UNKNOWN not in source and described["EventSourceArn"] != source:
        sentence = f"It reads {described['EventSourceArn']}, and the source is now {source}."
        yield failed(where, sentence, advice.restore())
    result = str(described.get("LastProcessingResult", ""))
    if result.startswith(("PROBLEM", "FAILED")):
        log = advice.cli(f"logs tail {owner.properties['LoggingConfig']['LogGroup']} --since 1h") if owner else ""
        yield warning(where, f"Its latest batch failed: {result}.", log)


@check("schedules", "Schedules")
def schedules(deployment: Deployment) -> Verdict:
    """Whether the rules that run functions each minute are enabled, and have targets."""
    events, findings = deployment.client("events"), list[Finding]()
    rules = deployment.template.resources("AWS::Events::Rule")
    for rule in rules:
        name = rule.name.rsplit("|", 1)[-1]
        try:
            described = events.describe_rule(Name=name)
            targets = events.list_targets_by_rule(Rule=name)["Targets"]
        except events.exceptions.ResourceNotFoundException:
            described, targets = None, []
        findings += judge_rule(rule, described, len(targets), deployment.advice)
    return Verdict.of(f"{len(rules)} schedules", findings)


def judge_rule(rule: Resource, described: Mapping[str, Any] | None, targets: int, advice: Advice) -> Iterator[Finding]:
    """The faults of a rule as EventBridge describes it; None for one that does not exist."""
    where, name = f"schedule {rule.label}", rule.name.rsplit("|", 1)[-1]
    expected = len(rule.properties.get("Targets", ()))
    if described is None:
        yield failed(where, "The rule does not exist, so lost jobs and workers are not noticed.", advice.restore())
    elif described["State"] == "DISABLED":
        sentence = "The rule is disabled, so lost jobs and workers are not noticed."
        yield failed(where, sentence, advice.cli(f"events enable-rule --name {name}"))
    elif targets < expected:
        yield failed(where, f"The rule has {targets} of its {expected} targets.", advice.restore())


@check("queues", "Queues and dead letters")
def queues(deployment: Deployment) -> Verdict:
    """Whether each queue exists and has room, and whether a dead letter waits."""
    template = deployment.template
    own = template.resources("AWS::SQS::Queue")
    urls = {each.name: each.label for each in own} | worker_queues(template.functions())
    letters = {
        arn.rsplit(":", 1)[-1]
        for each in own
        if (arn := str((each.properties.get("RedrivePolicy") or {}).get("deadLetterTargetArn", "")))
    }
    client = deployment.client("sqs")

    def attributes(url: str) -> Mapping[str, str] | None:
        try:
            described: Mapping[str, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
                "Attributes"
            ]
        except client.exceptions.QueueDoesNotExist:
            return None
        return described

    findings = [
        finding
        for url, described in side_by_side(attributes, urls)
        for finding in judge_queue(url, urls[url], described, url.rsplit("/", 1)[-1] in letters, deployment.advice)
    ]
    return Verdict.of(f"{len(urls)} queues, {len(letters)} of dead letters", findings)


def worker_queues(functions: list[Resource]) -> dict[str, str]:
    """URL → name of the queues of workers, also those that the stack does not create."""
    for function in functions:
        groups = function.properties["Environment"]["Variables"].get("QUEUES")
        if groups and UNKNOWN not in groups:
            return {url: f"worker queue {name}" for group in json.loads(groups).values() for name, url in group.items()}
    return {}


def judge_queue(
    url: str, label: str, described: Mapping[str, str] | None, is_letters: bool, advice: Advice
) -> Iterator[Finding]:
    """The faults of a queue by its attributes; None for one that does not exist."""
    name = url.rsplit("/", 1)[-1]
    where = f"queue {name}"
    if described is None:
        sentence = f"The queue ({label}) does not exist, so all that is sent to it is lost or waits."
        yield failed(where, sentence, advice.restore())
        return
    waiting, held = (int(described.get(f"ApproximateNumberOfMessages{kind}", 0)) for kind in ("", "NotVisible"))
    if is_letters and waiting + held:
        peek = advice.cli(f"sqs receive-message --queue-url {url} --max-number-of-messages 10 --visibility-timeout 0")
        again = advice.cli(f"sqs start-message-move-task --source-arn {described.get('QueueArn', '')}")
        sentence = f"{waiting + held} dead letters wait: messages that nothing could handle."
        yield warning(where, sentence, f"{peek}   shows them;   {again}   tries them again")
    most = IN_FLIGHT[name.endswith(".fifo")]
    if held > _NEARLY * most:
        sentence = f"{held} messages are in flight; SQS gives out no more than {most}."
        yield warning(where, sentence, "Use more queues for workers: -c cpuQueues=one,two (docs/reference/options.md)")


@check("streams", "Tables and their streams")
def streams(deployment: Deployment) -> Verdict:
    """Whether each table is active, and has the stream that functions follow."""
    tables = deployment.template.resources("AWS::DynamoDB::Table")
    described = side_by_side(lambda each: deployment.described_table(each.name), tables)
    findings = [finding for table, one in described for finding in judge_table(table, one, deployment.advice)]
    followed = sum("StreamSpecification" in each.properties for each in tables)
    return Verdict.of(f"{len(tables)} tables, {followed} streams", findings)


def judge_table(table: Resource, described: Mapping[str, Any] | None, advice: Advice) -> Iterator[Finding]:
    """The faults of a table as DynamoDB describes it; None for one that does not exist."""
    where = f"table {table.name}"
    if described is None:
        yield failed(where, f"The table ({table.label}) does not exist.", advice.restore())
        return
    if described.get("TableStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
        yield failed(
            where,
            f"The table is {described['TableStatus']}.",
            advice.cli(f"dynamodb describe-table --table-name {table.name}"),
        )
    expected = table.properties.get("StreamSpecification")
    if not expected:
        return
    view = expected["StreamViewType"]
    actual = described.get("StreamSpecification") or {}
    if not actual.get("StreamEnabled"):
        switch = f"--stream-specification StreamEnabled=true,StreamViewType={view}"
        on = advice.cli(f"dynamodb update-table --table-name {table.name} {switch}")
        sentence = "The stream of the table is off, so no job is sent and no event arrives."
        yield failed(where, sentence, f"{on}   then, as the new stream has another ARN:   {advice.restore()}")
    elif actual.get("StreamViewType") != view:
        sentence = f"The stream has the view {actual.get('StreamViewType')}, and functions need {view}."
        yield failed(where, sentence, advice.restore())
