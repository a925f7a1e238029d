"""moto's CloudFormation creates the template, but for the kinds that it has no resource for."""

import json
from collections import Counter
from typing import Any

from elasticrecode.contract.routes import ROUTES
from infra.api_body import ANSWERS
from tests.infra.test_api import invoked
from tests.infra.test_linters import resolved
from tests.second.moto_aws import Json, Second, is_left_out

LEFT_OUT = {
    "AWS::ApiGateway::Account", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage", "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Stage", "AWS::CloudWatch::Alarm",
    "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy",
}  # fmt: skip
"""docs/reference/second-opinion.md has them."""


def of_kind(synthesised: Json, kind: str) -> dict[str, Json]:
    return {name: each for name, each in synthesised["Resources"].items() if each["Type"] == kind}


def test_every_resource_is_created_but_for_named_kinds(second: Second, synthesised: Json) -> None:
    needed = Counter(each["Type"] for each in synthesised["Resources"].values())
    created = Counter(each["ResourceType"] for each in second.resources)
    assert {kind for kind in needed if is_left_out(kind)} == LEFT_OUT
    assert created == Counter({kind: count for kind, count in needed.items() if kind not in LEFT_OUT})
    stack = second.client("cloudformation").describe_stacks(StackName="second")["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_tables_have_their_keys_indexes_and_streams(second: Second, synthesised: Json) -> None:
    for name, table in of_kind(synthesised, "AWS::DynamoDB::Table").items():
        found = second.client("dynamodb").describe_table(TableName=second.physical[name])["Table"]
        wanted = table["Properties"]
        assert found["KeySchema"] == wanted["KeySchema"]
        indexes = {each["IndexName"]: each["KeySchema"] for each in found.get("GlobalSecondaryIndexes", [])}
        assert indexes == {each["IndexName"]: each["KeySchema"] for each in wanted.get("GlobalSecondaryIndexes", [])}
        streamed = wanted.get("StreamSpecification", {}).get("StreamViewType")
        assert found.get("StreamSpecification", {}).get("StreamViewType") == streamed


def test_queues_have_their_limits_and_their_dead_letters(second: Second, synthesised: Json) -> None:
    sqs = second.client("sqs")
    for name, queue in of_kind(synthesised, "AWS::SQS::Queue").items():
        found = sqs.get_queue_attributes(QueueUrl=second.physical[name], AttributeNames=["All"])["Attributes"]
        wanted = queue["Properties"]
        for attribute in {"VisibilityTimeout", "MessageRetentionPeriod"} & wanted.keys():
            assert int(found[attribute]) == wanted[attribute]
        if "RedrivePolicy" in wanted:
            redrive = json.loads(found["RedrivePolicy"])
            assert int(redrive["maxReceiveCount"]) == wanted["RedrivePolicy"]["maxReceiveCount"]
            (target,) = [
                each for each in of_kind(synthesised, "AWS::SQS::Queue")
                if wanted["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0] == each
            ]  # fmt: skip
            assert redrive["deadLetterTargetArn"].rpartition(":")[2] == second.physical[target].rpartition("/")[2]


def test_functions_have_their_runtime_and_a_whole_environment(second: Second, synthesised: Json) -> None:
    """What CloudFormation puts in place of references: names, addresses and ARNs, none left as they were."""
    assert len(second.functions) == len(of_kind(synthesised, "AWS::Lambda::Function"))
    for name, wanted in of_kind(synthesised, "AWS::Lambda::Function").items():
        found = second.functions[second.physical[name]]
        assert (found["Runtime"], found["MemorySize"]) == (
            wanted["Properties"]["Runtime"], wanted["Properties"].get("MemorySize", 128),
        )  # fmt: skip
        if name.startswith("Functions"):
            variables = found["Environment"]["Variables"]
            assert variables.keys() == wanted["Properties"]["Environment"]["Variables"].keys()
            assert not [text for text in variables.values() if "Fn::" in text or "Ref" in text]


def test_every_stream_and_queue_has_its_reader(second: Second, synthesised: Json) -> None:
    wanted = of_kind(synthesised, "AWS::Lambda::EventSourceMapping").values()
    assert len(second.mappings) == len(wanted)
    given = Counter(json.dumps(each["Properties"].get("FilterCriteria"), sort_keys=True) for each in wanted)
    found = Counter(json.dumps(each.get("FilterCriteria"), sort_keys=True) for each in second.mappings.values())
    assert found == given


def test_the_minute_has_its_functions(second: Second) -> None:
    events = second.client("events")
    (rule,) = events.list_rules()["Rules"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    arns = {each["Arn"].rpartition(":")[2] for each in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]}
    assert arns <= second.functions.keys()
    assert arns


def test_api_gateway_imports_the_body_in_one_call(second: Second, synthesised: Json) -> None:
    """A reader of OpenAPI that is not the embedded AWS's finds every route, its function and the answers."""
    (api,) = of_kind(synthesised, "AWS::ApiGateway::RestApi").values()
    body = api["Properties"]["Body"]
    gateway = second.client("apigateway")
    described = body | {"info": body["info"] | {"description": "moto demands one"}}
    text = json.dumps(resolved(described, synthesised["Resources"])).encode()
    imported = gateway.import_rest_api(body=text, failOnWarnings=True)["id"]
    found: dict[str, Any] = {}
    for resource in gateway.get_resources(restApiId=imported, limit=500)["items"]:
        for method, each in resource.get("resourceMethods", {}).items():
            found[f"{method} {resource['path']}"] = each
    wanted = {route: name for name, routes in ROUTES.items() for route in routes}
    assert found.keys() >= wanted.keys()
    for route, name in wanted.items():
        method, path = route.split(" ")
        assert found[route]["methodIntegration"]["type"].lower() == "aws_proxy"
        assert invoked(body["paths"][path][method.lower()]["x-amazon-apigateway-integration"]["uri"]).lower() == name
    assert body[ANSWERS]
