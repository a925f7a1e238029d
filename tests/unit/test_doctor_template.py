"""Doctor reads the parts of a stack from its template: references become names and ARNs, policies become grants."""

from typing import Any

import pytest

from elasticrecode_client.doctor.template import UNKNOWN, Template

_STREAM = "arn:aws:dynamodb:eu-west-1:1:table/jobs-1/stream/today"


def resource(kind: str, path: str = "", **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties, "Metadata": {"aws:cdk:path": f"Farm/{path}/Resource"}}


def template(**resources: dict[str, Any]) -> Template:
    names = {
        "Jobs": "jobs-1",
        "Queue": "https://sqs.eu-west-1.amazonaws.com/1/work",
        "Role": "role-1",
        "Site": "site-1",
    }
    base = {
        "Jobs": resource("DynamoDB::Table"),
        "Queue": resource("SQS::Queue"),
        "Role": resource("IAM::Role", "Functions/TallyRole"),
        "Site": resource("CloudFront::Distribution"),
    }
    own = {logical: f"{logical.lower()}-name" for logical in resources}
    return Template({"Resources": base | resources}, names | own, "eu-west-1", "1", streams={"jobs-1": _STREAM})


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("plain", "plain"),
        ({"Ref": "Jobs"}, "jobs-1"),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Fn::GetAtt": ["Jobs", "Arn"]}, "arn:aws:dynamodb:eu-west-1:1:table/jobs-1"),
        ({"Fn::GetAtt": "Jobs.StreamArn"}, _STREAM),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:aws:sqs:eu-west-1:1:work"),
        ({"Fn::GetAtt": ["Queue", "QueueName"]}, "work"),
        ({"Fn::GetAtt": ["Role", "Arn"]}, "arn:aws:iam::1:role/role-1"),
        ({"Fn::GetAtt": ["Site", "DomainName"]}, UNKNOWN),
        ({"Fn::Join": ["", [{"Fn::GetAtt": ["Role", "Arn"]}, "/*"]]}, "arn:aws:iam::1:role/role-1/*"),
        ({"Fn::Sub": "arn:${AWS::Partition}:s3:::${Jobs}"}, "arn:aws:s3:::jobs-1"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", "a/b"]}]}, "b"),
        ({"Fn::ImportValue": "other"}, UNKNOWN),
        ([{"Ref": "AWS::NoValue"}, {"Ref": "Queue"}], ["https://sqs.eu-west-1.amazonaws.com/1/work"]),
        ({"nested": {"Ref": "Nothing"}}, {"nested": UNKNOWN}),
    ],
)  # fmt: skip
def test_references_become_names_and_arns_and_others_are_unknown(value: Any, resolved: Any) -> None:
    (one,) = template(One=resource("Test::One", field=value)).resources("AWS::Test::One")
    assert one.properties["field"] == resolved


def test_functions_are_told_by_their_folder_and_from_those_of_cdk() -> None:
    own = resource("Lambda::Function", "Functions/Tally", Environment={"Variables": {}})
    stack = template(FunctionsTally1=own, CustomResource2=resource("Lambda::Function", "Custom/Handler"))
    assert [(each.label, each.name) for each in stack.functions()] == [("tally", "functionstally1-name")]
    assert [each.logical for each in stack.helpers()] == ["CustomResource2"]


def test_each_statement_of_a_policy_is_a_grant_of_its_role() -> None:
    document = {
        "Statement": [
            {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": {"Fn::GetAtt": ["Jobs", "Arn"]}},
            {"Effect": "Deny", "Action": "s3:*", "Resource": "*"},
        ]
    }
    stack = template(
        Policy=resource("IAM::Policy", PolicyDocument=document, Roles=[{"Ref": "Role"}]),
        Managed=resource("IAM::ManagedPolicy", PolicyDocument=document),
    )
    granted = [(each.holder.label, each.actions, each.resources) for each in stack.grants()]
    arn = "arn:aws:dynamodb:eu-west-1:1:table/jobs-1"
    assert granted == [("TallyRole", ("dynamodb:Query",), (arn,)), ("Managed", ("dynamodb:Query",), (arn,))]
