"""A first deployment creates everything at once: it may fail and be repeated, and it stays within AWS's rate limits."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.test_nag import NAGGED
from tests.infra.test_stack import template

NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::Cognito::UserPool": "UserPoolName",
    "AWS::Events::EventBus": "Name",
}
OUTLIVING = {"AWS::Cognito::UserPool", "AWS::ApiGateway::Account", "AWS::IAM::Role"}
"""Kinds that may stay after a first deployment that failed: a pool that is protected from deletion, and the account's
setting for API Gateway's logs with its role. None has a name that the next deployment needs."""
AT_ONCE = {
    "AWS::CloudWatch::Alarm": 3,
    "AWS::Lambda::Function": 9,
    "AWS::Lambda::Permission": 9,
    "AWS::Logs::LogGroup": 6,
    "AWS::ApiGatewayV2::Route": 5,
    "AWS::ApiGatewayV2::Integration": 5,
    "AWS::ApiGateway::RestApi": 1,
    "AWS::ApiGateway::Deployment": 1,
}
"""Kinds whose creation AWS limits to a few a second in an account, and how many the stack may create at once."""


@pytest.mark.parametrize("mode", NAGGED)
def test_no_resource_with_a_name_outlives_a_first_deployment_that_failed(mode: str) -> None:
    resources = template(**NAGGED[mode])["Resources"].values()
    assert {each["Type"] for each in resources if each.get("DeletionPolicy") == "Retain"} <= OUTLIVING
    named = [each for each in resources if each["Properties"].get(NAMES.get(each["Type"], "")) is not None]
    assert {each["Type"] for each in named} >= {"AWS::DynamoDB::Table", "AWS::SQS::Queue"}
    for resource in named:
        assert resource.get("DeletionPolicy") != "Retain", resource


@pytest.mark.parametrize("mode", NAGGED)
def test_what_a_failed_deployment_gives_up_is_kept_when_the_stack_is_removed(mode: str) -> None:
    for key, resource in template(**NAGGED[mode])["Resources"].items():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            assert resource["UpdateReplacePolicy"] == "Retain", key


@pytest.mark.parametrize("mode", NAGGED)
def test_a_deployment_creates_limited_resources_a_few_at_a_time(mode: str) -> None:
    most: Counter[str] = Counter()
    for wave in waves(template(**NAGGED[mode])["Resources"]):
        most |= Counter(wave)
    found = {kind: most[kind] for kind in AT_ONCE}
    assert all(1 <= found[kind] <= limit for kind, limit in AT_ONCE.items()), found


def waves(resources: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    """The kinds of resources that are created together, if each is created as soon as those that it needs are there."""
    needed = {key: needs(resource) & resources.keys() for key, resource in resources.items()}
    created: set[str] = set()
    while len(created) < len(resources):
        ready = [key for key in resources if key not in created and needed[key] <= created]
        assert ready, "resources wait for each other"
        yield [resources[key]["Type"] for key in ready]
        created.update(ready)


def needs(value: Any) -> set[str]:
    """The logical ids that a resource refers to or depends on."""
    if isinstance(value, list):
        return {key for each in value for key in needs(each)}
    if not isinstance(value, dict):
        return set()
    found = {key for each in value.values() for key in needs(each)}
    found |= {value["Ref"]} if "Ref" in value else set()
    found |= {value["Fn::GetAtt"][0]} if "Fn::GetAtt" in value else set()
    depends = value.get("DependsOn", [])
    return found | set(depends if isinstance(depends, list) else [depends])
