"""Two linters on the template, in every mode; `make check` runs them. Findings that stay have a reason here.

cfn-lint knows CloudFormation's own schemas, limits and Regions, and IAM's actions. parliament reads policies: for each
action the kinds of resource and the conditions that it takes, and privileges that a caller could extend. (Of the other
linters of IAM on PyPI, policy-sentry writes policies, and cloudsplaining reads those of a living account.)

cdk-nag (`test_nag.py`) has a reason for each wildcard in a policy of a role, resource by resource.
"""

import json
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pytest
from cfnlint.api import lint

from tests.infra.test_nag import NAGGED
from tests.infra.test_stack import template

with warnings.catch_warnings():  # its own code, of before Python 3.12, causes some
    warnings.simplefilter("ignore")
    from parliament import analyze_policy_string

REGIONS = ("us-east-1", "eu-west-1")
OTHER_PARTITIONS = ("cn-north-1", "us-gov-west-1")
ELSEWHERE = {"auth": "iam", "frontDoor": "none"}
"""The mode for partitions that lack Cognito or parts of CloudFront."""
CFN_LINT = {"W3005": "CDK has functions wait for their roles and policies, also where a reference says so already."}
"""Rule → why its findings stay."""
CDKS = "CDK's own function, which empties the site's bucket or fills it; CDK writes its policy."
PARLIAMENT = {
    ("FrontDoorSitePolicy*.PolicyDocument", "PERMISSIONS_MANAGEMENT_ACTIONS"): CDKS,
    ("FrontDoorSitePolicy*.PolicyDocument", "RESOURCE_MISMATCH"): CDKS,
    ("FrontDoorSitePolicy*.PolicyDocument", "RESOURCE_POLICY_PRIVILEGE_ESCALATION"): CDKS,
    ("CustomCDKBucketDeployment*.PolicyDocument", "RESOURCE_MISMATCH"): CDKS,
    ("CustomCDKBucketDeployment*.PolicyDocument", "RESOURCE_STAR"): CDKS,
    ("StorageSealing*.KeyPolicy", "PERMISSIONS_MANAGEMENT_ACTIONS"): "The account administers its key.",
    ("StorageSealing*.KeyPolicy", "RESOURCE_STAR"): "In a key's policy `*` is that key.",
    ("StorageWorkerPolicy*.PolicyDocument", "CREDENTIALS_EXPOSURE"): (
        "Workers take credentials for one job from one role, with a session policy (docs/explanation/security.md)."
    ),
    ("*.AssumeRolePolicyDocument", "CREDENTIALS_EXPOSURE"): "Handing out a role's credentials is what it is for.",
}
"""Pattern of a resource's logical id with the property, and the issue → why it stays."""
ARNS = {
    "AWS::Cognito::UserPool": "cognito-idp:us-east-1:123456789012:userpool/{}",
    "AWS::DynamoDB::Table": "dynamodb:us-east-1:123456789012:table/{}",
    "AWS::Events::EventBus": "events:us-east-1:123456789012:event-bus/{}",
    "AWS::IAM::Role": "iam::123456789012:role/{}",
    "AWS::KMS::Key": "kms:us-east-1:123456789012:key/{}",
    "AWS::Lambda::Function": "lambda:us-east-1:123456789012:function:{}",
    "AWS::Logs::LogGroup": "logs:us-east-1:123456789012:log-group:{}:*",
    "AWS::S3::Bucket": "s3:::{}",
    "AWS::SQS::Queue": "sqs:us-east-1:123456789012:{}",
}
POLICIES = {"PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument"}
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}


class Issue(NamedTuple):
    """One issue of parliament at a policy, by its resource's logical id and property."""

    policy: str
    kind: str
    detail: str


def resolved(value: Any, resources: dict[str, Any]) -> Any:
    """A part of a template with names and ARNs in place of CloudFormation's functions."""
    match value:
        case {"Ref": name}:
            return PSEUDO.get(name, name.lower())
        case {"Fn::GetAtt": [name, "StreamArn"]}:  # real ones end in a time, whose colons parliament cannot read
            return resolved({"Fn::GetAtt": [name, "Arn"]}, resources) + "/stream/2026"
        case {"Fn::GetAtt": [name, "Arn"]}:
            return f"arn:aws:{ARNS[resources[name]['Type']]}".format(name.lower())
        case {"Fn::Join": [separator, parts]}:
            return separator.join(resolved(part, resources) for part in parts)
        case {"Fn::Sub": text}:
            return text
        case dict():
            return {key: resolved(each, resources) for key, each in value.items()}
        case list():
            return [resolved(each, resources) for each in value]
    return value


def policies(resources: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every policy of a template, by its resource's logical id and property."""
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        inline = properties.get("Policies", [])
        for holder in (properties, *(inline if isinstance(inline, list) else [])):
            for key in POLICIES & holder.keys():
                document = resolved(holder[key], resources)
                if key == "AssumeRolePolicyDocument":  # parliament expects the resource, which is the role
                    for statement in document["Statement"]:
                        statement["Resource"] = resolved({"Fn::GetAtt": [name, "Arn"]}, resources)
                yield f"{name}.{key}", document


def issues(resources: dict[str, Any]) -> Iterator[Issue]:
    for name, document in policies(resources):
        found = analyze_policy_string(json.dumps(document), include_community_auditors=True).findings
        yield from (Issue(name, each.issue, str(each.detail)) for each in found)


def faults(changes: dict[str, Any], regions: tuple[str, ...]) -> set[tuple[str, str]]:
    """Rule and message of what cfn-lint has against a template."""
    found = lint(json.dumps(template(**changes)), None, list(regions))
    return {(each.rule.id, each.message) for each in found}


@pytest.mark.parametrize("mode", NAGGED)
def test_cfn_lint_finds_only_what_has_a_reason(mode: str) -> None:
    found = faults(NAGGED[mode], REGIONS)
    assert [each for each in sorted(found) if each[0] not in CFN_LINT] == []
    assert {rule for rule, _ in found} == CFN_LINT.keys(), "a reason without a finding"


def test_without_cognito_and_front_door_every_resource_exists_in_china_and_govcloud() -> None:
    found = faults(ELSEWHERE, OTHER_PARTITIONS)
    assert [each for each in sorted(found) if each[0] not in CFN_LINT] == []


@pytest.mark.parametrize("mode", NAGGED)
def test_parliament_finds_only_what_has_a_reason(mode: str) -> None:
    found = list(issues(template(**NAGGED[mode])["Resources"]))
    known = {
        each: (pattern, kind)
        for each in found
        for pattern, kind in PARLIAMENT
        if each.kind == kind and fnmatchcase(each.policy, pattern)
    }
    assert [each for each in found if each not in known] == []
    assert set(known.values()) == PARLIAMENT.keys(), "a reason without a finding"


def test_parliament_reads_every_policy_of_the_template() -> None:
    """A kind of resource with a policy that the walk does not know would go unread."""
    resources = template(**NAGGED["everything"])["Resources"]
    written = json.dumps(resources).count('"Statement"')
    assert len(list(policies(resources))) == written


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ({"Action": "sqs:SendMessages", "Resource": "*"}, "UNKNOWN_ACTION"),
        ({"Action": "dynamodb:PutItem", "Resource": "arn:aws:sqs:us-east-1:123456789012:q"}, "RESOURCE_MISMATCH"),
        ({"Action": "sqs:SendMessage", "Resource": "*"}, "RESOURCE_STAR"),
    ],
)
def test_parliament_notices_faults_of_a_policy(statement: dict[str, Any], kind: str) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    policy = {"Type": "AWS::IAM::Policy", "Properties": {"PolicyDocument": document}}
    assert kind in {each.kind for each in issues({"Policy": policy})}
