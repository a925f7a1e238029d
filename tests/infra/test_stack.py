"""The deployment options and the template they make."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from elasticrecode import settings
from elasticrecode.errors import Invalid
from infra import options
from infra.clusters import GROUP
from infra.control_plane import ControlPlane
from tests.conftest import ROOT

CONTEXT: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]


@cache
def template(**changes: Any) -> dict[str, Any]:
    app = App(context=CONTEXT | changes)
    stack = ControlPlane(app, options.read(app.node.get_all_context()))
    return dict(Template.from_stack(stack).to_json())


def resources(kind: str, **changes: Any) -> list[dict[str, Any]]:
    return [resource for resource in template(**changes)["Resources"].values() if resource["Type"] == kind]


def function(name: str, **changes: Any) -> str:
    """The logical id of a function."""
    start = f"Functions{name.capitalize()}"
    found: str
    (found,) = [
        key
        for key, resource in template(**changes)["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function" and key.startswith(start)
    ]
    return found


def faults(**changes: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        options.read(CONTEXT | changes)
    return {fault.pointer.strip("/"): fault.detail for fault in caught.value.faults}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cpuQueue": "a"}, "not a known field"),
        ({"cors": "maybe"}, "boolean"),
        ({"cpuQueues": "a b"}, "SQS queue names"),
        ({"cpuQueues": "a,a"}, "different"),
        ({"retentionDays": 0}, "at least 1"),
        ({"retentionDays": "many"}, "whole number"),
        ({"maxAttempts": 99}, "at most 20"),
        ({"jobsTable": "x"}, "table name"),
        ({"alarmTopic": "pager"}, "ARN of an SNS topic"),
        ({"controlQueue": ""}, "queue name"),
        ({"stackName": "1"}, "stack name"),
        ({"siteFolder": "docs"}, "index.html"),
        ({"frontDoor": "nginx"}, "cloudfront"),
        ({"lambdaRuntime": "python2.7"}, "python3.13"),
        ({"executeApi": "https://example.com"}, "{apiId}"),
        ({"clusters": "a"}, "must be empty"),
        ({"discoveredQueues": "a/*"}, "patterns of SQS queue names"),
        ({"discoveredQueues": "*"}, "patterns of SQS queue names"),
        ({"accessEntries": "perhaps"}, "boolean"),
        ({"webhookNetworks": "10.0.0.1/8"}, "CIDR"),
        ({"batchBuckets": "films, s3://films"}, "names of S3 buckets"),
        ({"presets": '{"a": '}, "a JSON object"),
        ({"presets": "[]"}, "an object"),
        ({"presets": 7}, "an object"),
    ],
)
def test_a_wrong_option_is_named(changes: dict[str, Any], said: str) -> None:
    found = faults(**changes)
    assert list(found) == list(changes)
    assert said in found[next(iter(changes))]


def test_discovery_off_and_no_queue_named_is_refused() -> None:
    assert "at least one of cpuQueues" in faults(cpuQueues="", gpuQueues="", vmafQueues="")["discovery"]


def test_a_list_of_commas_names_no_queue() -> None:
    assert "at least one of cpuQueues" in faults(cpuQueues=" , ", vmafQueues="")["discovery"]


@pytest.mark.parametrize(
    ("changes", "option", "other"),
    [
        ({"gpuQueues": "ffmpeg_job"}, "gpuQueues", "cpuQueues"),
        ({"vmafQueues": "a,control_plane"}, "vmafQueues", "controlQueue"),
        ({"gpuQueues": "arn:aws:sqs:eu-west-1:123456789012:ffmpeg_job"}, "gpuQueues", "cpuQueues"),
    ],
)
def test_a_queue_has_one_purpose(changes: dict[str, str], option: str, other: str) -> None:
    found = faults(**changes)
    assert list(found) == [option]
    assert f"which is {other}'s already" in found[option]


def test_all_wrong_options_are_named_at_once() -> None:
    assert set(faults(cors="maybe", verbose=3, nonsense=1)) == {"cors", "verbose", "nonsense"}


def test_options_from_the_command_line_are_strings() -> None:
    told = options.read(CONTEXT | {"cors": "false", "retentionDays": "30", "gpuQueues": "a, b"})
    assert (told.cors, told.retentionDays, told.queues["gpu"]) == (False, 30, ["a", "b"])


def test_a_wrong_option_stops_synth_with_a_sentence(tmp_path: Path) -> None:
    done = synth(tmp_path, cors="maybe")
    assert done.returncode != 0
    assert "option cors: must be boolean" in done.stderr
    assert "Traceback" not in done.stderr


HOUSE = {"house.v2": {"ffmpeg": {"codec": "h265", "scale": "720p", "bitrate": "2M"}, "vmaf": {"scale": "720p"}}}


def environment(name: str, **changes: Any) -> dict[str, Any]:
    """The environment of a function."""
    found: dict[str, Any] = template(**changes)["Resources"][function(name, **changes)]["Properties"]["Environment"]
    return dict(found["Variables"])


@pytest.mark.parametrize("name", ["submit", "vmaf", "presets"])
def test_the_deployments_presets_reach_the_functions_that_need_them(name: str) -> None:
    told = environment(name, presets=json.dumps(HOUSE))
    assert json.loads(told["PRESETS"]) == HOUSE
    assert json.loads(environment(name)["PRESETS"]) == {}


def test_presets_are_json_on_the_command_line_and_plain_in_cdk_json() -> None:
    assert options.read(CONTEXT | {"presets": json.dumps(HOUSE)}).presets == HOUSE
    assert options.read(CONTEXT | {"presets": HOUSE}).presets == HOUSE


def test_every_fault_of_every_preset_is_named_at_once() -> None:
    encode = {"codec": "vp9", "scale": "720p", "bitrate": "99M"}
    wrong = {
        "Big": {"ffmpeg": encode},
        "both": {"preset": "h264-720p"},
        "none": {"ec2": {"platform": "cpu"}},
        "word": "h264-720p",
        "fine": HOUSE["house.v2"],
    }
    found = faults(presets=wrong, cors="maybe")
    assert {name for name in found if name.startswith("presets/")} == {
        "presets/Big", "presets/Big/ffmpeg/codec", "presets/Big/ffmpeg/bitrate", "presets/both/preset",
        "presets/none", "presets/word",
    }  # fmt: skip
    assert "lower-case" in found["presets/Big"]
    assert "boolean" in found["cors"]
    fine = json.dumps(HOUSE["house.v2"])
    assert faults(presets=f'{{"a": {fine}, "a": {fine}}}') == {"presets/a": "is given more than once"}


def test_presets_that_lambdas_environment_has_no_room_for_are_refused_with_a_way_out() -> None:
    many = {f"house-{n}": HOUSE["house.v2"] for n in range(40)}
    said = faults(presets=many)["presets"]
    assert "room for" in said
    assert "PUT /api/v1/presets/{name}" in said
    few = {name: many[name] for name in list(many)[:20]}
    queues = ",".join(f"queue-{n}-{'q' * 60}" for n in range(9))
    assert options.read(CONTEXT | {"presets": few}).presets == few
    assert "room for" in faults(presets=few, cpuQueues=queues)["presets"]


def test_what_fits_is_what_lambda_takes() -> None:
    """With the longest names of tables, and addresses of queues as they are on AWS."""

    def longest(value: Any) -> str:
        match value:
            case {"Ref": _}:
                return "t" * 255
            case {"Fn::Join": [_, parts]}:
                host = "https://sqs.ap-southeast-1.amazonaws.com/123456789012/"
                return "".join(part if isinstance(part, str) else host + "q" * 20 for part in parts)
        return str(value)

    queues = {"cpuQueues": f"a{'q' * 19},b{'q' * 19}"}
    chosen: dict[str, Any] = {}
    for n in range(100):
        more = chosen | {f"house-{n}": HOUSE["house.v2"]}
        try:
            options.read(CONTEXT | queues | {"presets": more})
        except Invalid:
            break
        chosen = more
    told = environment("submit", presets=json.dumps(chosen), **queues)
    assert 3600 < sum(len(name) + len(longest(value)) for name, value in told.items()) <= 4096


def test_a_wrong_preset_stops_synth_with_a_sentence(tmp_path: Path) -> None:
    done = synth(tmp_path, presets={"house": {"ffmpeg": HOUSE["house.v2"]["ffmpeg"] | {"codec": "vp9"}}})
    assert done.returncode != 0
    assert "option presets/house/ffmpeg/codec: must be one of" in done.stderr
    assert "Traceback" not in done.stderr
    assert synth(tmp_path, presets=HOUSE).returncode == 0


def synth(out: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the app as the CDK CLI does, without credentials or a way to the network."""
    nowhere = "http://127.0.0.1:9"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "CDK_CONTEXT_JSON": json.dumps(CONTEXT | changes),
        "CDK_OUTDIR": str(out),
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_two_syntheses_give_the_same_bytes_without_network_or_credentials(tmp_path: Path) -> None:
    template()  # has the layer's wheels on disk
    texts = []
    for name in ("one", "two"):
        done = synth(tmp_path / name)
        assert done.returncode == 0, done.stderr
        texts.append((tmp_path / name / "ElasticRecode.template.json").read_bytes())
    assert texts[0] == texts[1]


def test_every_route_has_its_method_and_its_preflight() -> None:
    methods = [resource["Properties"]["HttpMethod"] for resource in resources("AWS::ApiGateway::Method")]
    routes = [route for served in settings.ROUTES.values() for route in served]
    assert sorted(method for method in methods if method != "OPTIONS") == sorted(r.split(" ")[0] for r in routes)
    paths = {route.split(" ")[1] for route in routes}
    assert methods.count("OPTIONS") >= len(paths)
    assert "OPTIONS" not in [
        resource["Properties"]["HttpMethod"] for resource in resources("AWS::ApiGateway::Method", cors=False)
    ]


def test_the_stages_make_the_paths() -> None:
    (rest,) = resources("AWS::ApiGateway::Stage")
    (sockets,) = resources("AWS::ApiGatewayV2::Stage")
    assert (rest["Properties"]["StageName"], sockets["Properties"]["StageName"]) == ("api", "ws")


def test_what_api_gateway_answers_itself_is_a_problem_too_and_in_the_deployment() -> None:
    found = template()["Resources"]
    answers = {key for key, resource in found.items() if resource["Type"] == "AWS::ApiGateway::GatewayResponse"}
    (deployment,) = resources("AWS::ApiGateway::Deployment")
    assert answers <= set(deployment["DependsOn"])
    for key in answers:
        properties = found[key]["Properties"]
        body = json.loads(properties["ResponseTemplates"]["application/json"])
        assert set(body) == {"type", "title", "status", "detail", "instance"}
        assert str(body["status"]) == properties["StatusCode"]


@pytest.mark.parametrize(("keep", "policy"), [(True, "Retain"), (False, "Delete")])
def test_what_holds_users_data_outlives_the_stack_unless_an_option_says_otherwise(keep: bool, policy: str) -> None:
    kept = [*resources("AWS::SQS::Queue", keepData=keep, frontDoor="none")]
    kept += resources("AWS::S3::Bucket", keepData=keep, frontDoor="none")
    kept += [
        table
        for table in resources("AWS::DynamoDB::Table", keepData=keep, frontDoor="none")
        if table["Properties"].get("TableName") == "elasticrecode_logs"
    ]
    assert len(kept) == 12
    assert {resource["DeletionPolicy"] for resource in kept} == {policy}


def test_queues_give_consumers_time_and_dead_letters_longer_life() -> None:
    queues = {
        resource["Properties"].get("QueueName", ""): resource["Properties"] for resource in resources("AWS::SQS::Queue")
    }
    (consumer,) = [
        resource["Properties"]
        for key, resource in template()["Resources"].items()
        if key == function("events")
    ]  # fmt: skip
    assert queues["control_plane"]["VisibilityTimeout"] >= 6 * consumer["Timeout"]
    for name in ("control_plane", "ffmpeg_job", "vmaf_job"):
        assert queues[name]["RedrivePolicy"]["maxReceiveCount"] >= 5
        assert queues[name]["MessageRetentionPeriod"] < queues[""]["MessageRetentionPeriod"]


def test_everything_stored_expires() -> None:
    for table in resources("AWS::DynamoDB::Table"):
        assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}


def test_what_is_given_up_or_late_raises_an_alarm_that_a_topic_hears_of() -> None:
    told = {
        alarm["Properties"]["MetricName"] for alarm in resources("AWS::CloudWatch::Alarm")
    }  # fmt: skip
    assert told == {
        settings.JOBS_BURIED, settings.UNREADABLE_MESSAGES, settings.EVENTS_GIVEN_UP, settings.DELIVERIES_GIVEN_UP,
        "Errors", "IteratorAge", "ApproximateAgeOfOldestMessage",
    }  # fmt: skip
    topic = "arn:aws:sns:eu-west-1:123456789012:pager"
    heard = [alarm["Properties"].get("AlarmActions") for alarm in resources("AWS::CloudWatch::Alarm", alarmTopic=topic)]
    assert heard == [[topic]] * len(resources("AWS::CloudWatch::Alarm"))


def test_an_existing_queue_is_used_by_its_arn() -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:theirs"
    names = [queue["Properties"].get("QueueName") for queue in resources("AWS::SQS::Queue", gpuQueues=arn)]
    assert "theirs" not in names
    assert arn in json.dumps(template(gpuQueues=arn))


def test_a_front_door_is_optional() -> None:
    assert len(resources("AWS::CloudFront::Distribution")) == 1
    assert resources("AWS::CloudFront::Distribution", keepData=True, frontDoor="none") == []


DISCOVERING = {"discovery": True, "clusters": "prod,arn:aws:eks:eu-west-1:123456789012:cluster/far"}
GRANTS = {
    "schema": set(),
    "workers": {"dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "sqs:GetQueueAttributes"},
    "presets": {"dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"},
    "submit": {
        "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query",
        "dynamodb:UpdateItem",
    },
    "vmaf": {
        "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
    },
    "logs": {"dynamodb:BatchGetItem", "dynamodb:Query"},
    "jobs": {
        "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
    },
    "batch": {
        "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "sqs:SendMessage",
    },
    "survey": {
        "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:ListBucket",
        "sqs:SendMessage",
    },
    "expand": {
        "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query",
        "dynamodb:UpdateItem", "sqs:SendMessage",
    },
    "tally": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"},
    "dispatch": {"dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sqs:SendMessage"},
    "discovery": {
        "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "eks:DescribeCluster", "sqs:GetQueueUrl",
    },
    "events": {"dynamodb:BatchWriteItem", "dynamodb:UpdateItem", "sqs:SendMessage"},
    "sockets": {
        "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "execute-api:ManageConnections",
    },
    "authorize": {"dynamodb:DeleteItem"},
    "tickets": {"dynamodb:PutItem"},
    "hangup": {"dynamodb:DeleteItem", "dynamodb:Query", "execute-api:ManageConnections"},
    "publish": {"dynamodb:BatchGetItem", "events:PutEvents"},
    "feed": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
    "push": {
        "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "execute-api:ManageConnections",
    },
    "replay": {
        "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "execute-api:ManageConnections",
    },
    "webhooks": {
        "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "sqs:SendMessage",
    },
    "announce": {"dynamodb:Query", "sqs:SendMessage"},
    "deliver": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
    "reconcile": {
        "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sqs:DeleteMessage",
        "sqs:ReceiveMessage", "sqs:SendMessage",
    },
}  # fmt: skip
FROM_SOURCES = {
    "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
    "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
}  # fmt: skip
"""What CDK grants for reading an event source, beside receiving and deleting where that is a queue."""


@pytest.mark.parametrize("name", GRANTS)
def test_each_function_may_do_exactly_what_it_does(name: str) -> None:
    granted = {action for statement in statements(name) for action in statement["Action"]} - FROM_SOURCES
    if name in ("events", "announce", "deliver", "survey", "expand", "tally"):
        granted -= {"sqs:ReceiveMessage", "sqs:DeleteMessage"}
    assert granted == GRANTS[name] - FROM_SOURCES


def statements(name: str, **changes: Any) -> list[dict[str, Any]]:
    """What a function's role may do, with actions and resources always lists."""
    found = template(**DISCOVERING | changes)["Resources"]
    role = found[function(name, **DISCOVERING | changes)]["Properties"]["Role"]["Fn::GetAtt"][0]
    policies = [
        resource["Properties"]["PolicyDocument"]["Statement"]
        for resource in found.values()
        if resource["Type"] == "AWS::IAM::Policy" and {"Ref": role} in resource["Properties"]["Roles"]
    ]
    return [
        {
            key: statement[key] if isinstance(statement[key], list) else [statement[key]]
            for key in ("Action", "Resource")
        }
        for statement in (entry for policy in policies for entry in policy)
    ]


def resources_of(name: str, action: str, **changes: Any) -> str:
    """The resources on which a function may take an action, as text."""
    return json.dumps([entry["Resource"] for entry in statements(name, **changes) if action in entry["Action"]])


def test_discovery_describes_the_clusters_it_is_given_and_has_an_access_entry_in_each_of_this_region() -> None:
    described = resources_of("discovery", "eks:DescribeCluster")
    assert ":cluster/prod" in described
    assert "arn:aws:eks:eu-west-1:123456789012:cluster/far" in described
    assert "cluster/*" not in described
    (entry,) = resources("AWS::EKS::AccessEntry", **DISCOVERING)
    assert entry["Properties"]["ClusterName"] == "prod"
    assert entry["Properties"]["KubernetesGroups"] == [GROUP]
    assert resources("AWS::EKS::AccessEntry", **DISCOVERING, accessEntries=False) == []


def test_clusters_of_a_tag_may_be_listed_and_described() -> None:
    tagged = resources_of("discovery", "eks:ListClusters", clusters="tag:video=yes")
    assert tagged == '[["*"]]'
    assert "cluster/*" in resources_of("discovery", "eks:DescribeCluster", clusters="tag:video=yes")


@pytest.mark.parametrize(("name", "action"), [("dispatch", "sqs:SendMessage"), ("discovery", "sqs:GetQueueUrl")])
def test_only_queues_that_workers_may_bring_along_can_be_used(name: str, action: str) -> None:
    told = resources_of(name, action, discoveredQueues="film-*")
    assert ":film-*" in told
    assert "ffmpeg*" not in told
    assert '":*"' not in told


def test_batches_read_the_media_bucket_and_those_that_are_named_and_no_other() -> None:
    for action in ("s3:ListBucket", "s3:GetObject"):
        told = resources_of("survey", action, batchBuckets="films")
        assert told.count("StorageMedia") == 1
        assert told.count(":s3:::films") == 1
        assert ":s3:::" not in resources_of("survey", action)


def test_without_discovery_there_is_nothing_of_it() -> None:
    assert not [key for key in template()["Resources"] if "Discovery" in key]
    assert ":ffmpeg*" not in json.dumps(template())
    assert settings.CLUSTERS_UNREACHABLE not in json.dumps(template())


def test_a_cluster_that_stays_out_of_reach_raises_an_alarm() -> None:
    told = [alarm["Properties"]["MetricName"] for alarm in resources("AWS::CloudWatch::Alarm", **DISCOVERING)]
    assert settings.CLUSTERS_UNREACHABLE in told


def test_discovery_without_a_cluster_is_refused() -> None:
    assert "must name a cluster" in faults(discovery=True)["clusters"]


def test_no_cluster_a_cluster_named_twice_and_a_pattern_that_fits_the_control_queue_are_refused() -> None:
    assert "different names or ARNs" in faults(discovery=True, clusters="a b")["clusters"]
    assert "different names" in faults(discovery=True, clusters="a,a")["clusters"]
    assert "controlQueue" in faults(discovery=True, clusters="a", discoveredQueues="contr*")["discoveredQueues"]
