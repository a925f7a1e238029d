"""The deployment options and the template they make."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from elasticrecode.api import headers
from elasticrecode.contract.metrics import (
    CLUSTERS_UNREACHABLE,
    DELIVERIES_GIVEN_UP,
    EVENTS_GIVEN_UP,
    JOBS_BURIED,
    UNREADABLE_MESSAGES,
)
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
        ({"cors": "maybe"}, "origins of web pages"),
        ({"cors": "https://app.example.com/"}, "origins"),
        ({"cors": "*,https://app.example.com"}, "origins"),
        ({"cors": "https://App.example.com"}, "origins"),
        ({"cors": "http://a.example:x"}, "origins"),
        ({"cors": "https://a.example?b"}, "origins"),
        ({"requestsPerMinute": -1}, "at least 0"),
        ({"requestsPerSecond": 0}, "at least 1"),
        ({"requestsBurst": "5001"}, "at most 5000"),
        ({"accessLogs": "some"}, "boolean"),
        ({"webAcls": "arn:aws:wafv2:us-east-1:123456789012:webacl"}, "WAF web ACLs"),
        ({"domains": "v.example.com"}, "must be empty while certificate is"),
        ({"certificate": "arn:aws:acm:us-east-1:123456789012:certificate/a"}, "must be empty while domains is"),
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
def test_a_wrong_option_is_reported_by_name(changes: dict[str, Any], said: str) -> None:
    found = faults(**changes)
    assert list(found) == list(changes)
    assert said in found[next(iter(changes))]


CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a-1b"
GLOBAL = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/front/0a-1b"
REGIONAL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/api/0a-1b"


def test_domains_need_a_certificate_in_us_east_1() -> None:
    elsewhere = CERTIFICATE.replace("us-east-1", "eu-west-1")
    found = faults(domains="video example", certificate=elsewhere)
    assert "domain names" in found["domains"]
    assert "us-east-1" in found["certificate"]
    assert "frontDoor" in faults(domains="v.example.com", certificate=CERTIFICATE, frontDoor="none")["domains"]
    (distribution,) = resources(
        "AWS::CloudFront::Distribution", domains="v.example.com,w.example.com", certificate=CERTIFICATE
    )
    told = distribution["Properties"]["DistributionConfig"]
    assert told["Aliases"] == ["v.example.com", "w.example.com"]
    assert told["ViewerCertificate"] == {
        "AcmCertificateArn": CERTIFICATE, "MinimumProtocolVersion": "TLSv1.2_2021", "SslSupportMethod": "sni-only",
    }  # fmt: skip


def test_web_acls_protect_the_front_door_and_the_rest_api() -> None:
    assert "WAF web ACLs" in faults(webAcls=f"{REGIONAL},{REGIONAL}")["webAcls"]
    asked = {"webAcls": f"{GLOBAL},{REGIONAL}"}
    (distribution,) = resources("AWS::CloudFront::Distribution", **asked)
    assert distribution["Properties"]["DistributionConfig"]["WebACLId"] == GLOBAL
    (association,) = resources("AWS::WAFv2::WebACLAssociation", **asked)
    assert association["Properties"]["WebACLArn"] == REGIONAL
    assert not resources("AWS::WAFv2::WebACLAssociation", webAcls=GLOBAL)


def test_discovery_off_and_no_queue_named_is_refused() -> None:
    assert "at least one of cpuQueues" in faults(cpuQueues="", gpuQueues="", vmafQueues="")["discovery"]


def test_a_queue_list_of_only_commas_is_empty() -> None:
    assert "at least one of cpuQueues" in faults(cpuQueues=" , ", vmafQueues="")["discovery"]


@pytest.mark.parametrize(
    ("changes", "option", "other"),
    [
        ({"gpuQueues": "ffmpeg_job"}, "gpuQueues", "cpuQueues"),
        ({"vmafQueues": "a,control_plane"}, "vmafQueues", "controlQueue"),
        ({"gpuQueues": "arn:aws:sqs:eu-west-1:123456789012:ffmpeg_job"}, "gpuQueues", "cpuQueues"),
    ],
)
def test_a_queue_cannot_be_in_two_options(changes: dict[str, str], option: str, other: str) -> None:
    found = faults(**changes)
    assert list(found) == [option]
    assert f"which is {other}'s already" in found[option]


def test_all_wrong_options_are_named_at_once() -> None:
    assert set(faults(cors="maybe", verbose=3, nonsense=1)) == {"cors", "verbose", "nonsense"}


def test_options_from_the_command_line_are_strings() -> None:
    told = options.read(CONTEXT | {"cors": "https://b, http://c:81", "retentionDays": "30", "gpuQueues": "a, b"})
    assert (told.wiring("")["cors"], told.retentionDays, told.queues["gpu"]) == (
        ("https://b", "http://c:81"),
        30,
        ["a", "b"],
    )


def test_a_wrong_option_stops_synth_with_a_sentence(tmp_path: Path) -> None:
    done = synth(tmp_path, cors="maybe")
    assert done.returncode != 0
    assert "option cors: must be origins" in done.stderr
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


def test_presets_are_json_text_on_the_command_line_and_an_object_in_cdk_json() -> None:
    assert options.read(CONTEXT | {"presets": json.dumps(HOUSE)}).presets == HOUSE
    assert options.read(CONTEXT | {"presets": HOUSE}).presets == HOUSE


def test_every_fault_of_every_preset_is_named_at_once() -> None:
    encode = {"codec": "no-such-codec", "scale": "720p", "bitrate": "99M"}
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
    assert "origins" in found["cors"]
    fine = json.dumps(HOUSE["house.v2"])
    assert faults(presets=f'{{"a": {fine}, "a": {fine}}}') == {"presets/a": "is given more than once"}


def test_presets_too_large_for_lambdas_environment_are_refused() -> None:
    many = {f"house-{n}": HOUSE["house.v2"] for n in range(40)}
    said = faults(presets=many)["presets"]
    assert "room for" in said
    assert "PUT /api/v1/presets/{name}" in said
    few = {name: many[name] for name in list(many)[:20]}
    queues = ",".join(f"queue-{n}-{'q' * 60}" for n in range(9))
    assert options.read(CONTEXT | {"presets": few}).presets == few
    assert "room for" in faults(presets=few, cpuQueues=queues)["presets"]


def test_accepted_presets_fit_lambdas_environment_with_the_longest_names() -> None:
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
    done = synth(tmp_path, presets={"house": {"ffmpeg": HOUSE["house.v2"]["ffmpeg"] | {"codec": "no-such-codec"}}})
    assert done.returncode != 0
    assert "option presets/house/ffmpeg/codec: must be one of" in done.stderr
    assert "Traceback" not in done.stderr
    assert synth(tmp_path, presets=HOUSE).returncode == 0


def synth(out: Path, more: dict[str, str] | None = None, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the app as the CDK CLI does, without credentials or a way to the network; `more` is in its environment."""
    nowhere = "http://127.0.0.1:9"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "CDK_CONTEXT_JSON": json.dumps(CONTEXT | changes),
        "CDK_OUTDIR": str(out),
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "AWS_EC2_METADATA_DISABLED": "true",
        **(more or {}),
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


def test_the_stages_are_api_and_ws() -> None:
    (rest,) = resources("AWS::ApiGateway::Stage")
    (sockets,) = resources("AWS::ApiGatewayV2::Stage")
    assert (rest["Properties"]["StageName"], sockets["Properties"]["StageName"]) == ("api", "ws")


@pytest.mark.parametrize(("keep", "policy"), [(True, "RetainExceptOnCreate"), (False, "Delete")])
def test_resources_with_users_data_are_retained_unless_the_option_says_otherwise(keep: bool, policy: str) -> None:
    kept = [*resources("AWS::SQS::Queue", keepData=keep, frontDoor="none")]
    kept += resources("AWS::S3::Bucket", keepData=keep, frontDoor="none")
    kept += [
        table
        for table in resources("AWS::DynamoDB::Table", keepData=keep, frontDoor="none")
        if table["Properties"].get("TableName") == "elasticrecode_logs"
    ]
    assert len(kept) == 14
    assert {resource["DeletionPolicy"] for resource in kept} == {policy}


def test_every_table_has_a_ttl() -> None:
    for table in resources("AWS::DynamoDB::Table"):
        assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}


def test_alarms_notify_the_topic() -> None:
    told = {
        alarm["Properties"]["MetricName"] for alarm in resources("AWS::CloudWatch::Alarm")
    }  # fmt: skip
    assert told == {
        JOBS_BURIED, UNREADABLE_MESSAGES, EVENTS_GIVEN_UP, DELIVERIES_GIVEN_UP,
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
        "dynamodb:UpdateItem", "kms:Encrypt",
    },
    "vmaf": {
        "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
    },
    "logs": {"dynamodb:BatchGetItem", "dynamodb:Query"},
    "jobs": {
        "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
    },
    "files": {
        "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
        "s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject",
    },
    "batch": {
        "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query",
        "dynamodb:UpdateItem", "kms:Encrypt", "sqs:SendMessage",
    },
    "survey": {
        "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:ListBucket",
        "sqs:ChangeMessageVisibility", "sqs:SendMessage",
    },
    "expand": {
        "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query",
        "dynamodb:UpdateItem", "sqs:SendMessage",
    },
    "tally": {
        "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
    },
    "dispatch": {
        "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sqs:GetQueueAttributes",
        "sqs:SendMessage",
    },
    "discover": {
        "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "eks:DescribeCluster", "sqs:GetQueueUrl",
    },
    "consume": {"dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "sqs:SendMessage"},
    "sockets": {
        "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "execute-api:ManageConnections",
    },
    "tickets": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
    "authorize": {"dynamodb:DeleteItem"},
    "disconnect": {"dynamodb:DeleteItem", "dynamodb:Query", "execute-api:ManageConnections"},
    "publish": {
        "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "events:PutEvents", "sqs:SendMessage",
    },
    "append": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
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
    "deliver": {
        "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "events:PutEvents",
        "sqs:ChangeMessageVisibility",
    },
    "reconcile": {
        "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
        "sqs:SendMessage",
    },
}  # fmt: skip
WRITING_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
STREAMS = {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}
QUEUES = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
SOURCES = dict.fromkeys(("dispatch", "append", "publish", "push", "replay"), STREAMS) | dict.fromkeys(
    ("deliver", "consume", "expand", "survey", "tally"), QUEUES
)
"""What Lambda needs to read what a function is started by."""


@pytest.mark.parametrize("name", GRANTS)
def test_each_function_has_exactly_the_actions_that_it_uses(name: str) -> None:
    granted = {action for statement in statements(name) for action in statement["Action"]}
    assert granted == GRANTS[name] | SOURCES.get(name, set()) | WRITING_LOGS


def test_no_function_has_a_managed_policy() -> None:
    roles = [found["Properties"] for found in resources("AWS::IAM::Role", frontDoor="none", accessLogs=False)]
    assert [role for role in roles if "ManagedPolicyArns" in role] == []


def test_no_function_has_an_action_on_all_resources() -> None:
    wide = {
        action
        for name in GRANTS
        for statement in statements(name)
        for action in statement["Action"]
        if "*" in statement["Resource"]
    }
    assert wide == {"dynamodb:ListStreams"}


def test_only_functions_that_query_an_index_may() -> None:
    asking = {
        name: sorted(set(re.findall(r"/index/(\w+|\*)", json.dumps([entry["Resource"] for entry in statements(name)]))))
        for name in GRANTS
    }
    assert {name: found for name, found in asking.items() if found} == {
        "logs": ["user"],
        "jobs": ["state", "user"],
        "batch": ["owner"],
        "reconcile": ["due"],
        "sockets": ["connection"],
        "disconnect": ["ending"],
    }


def test_workers_have_the_documented_actions_on_the_stacks_resources() -> None:
    (policy,) = resources("AWS::IAM::ManagedPolicy", **DISCOVERING)
    granted = policy["Properties"]["PolicyDocument"]["Statement"]
    (told,) = re.findall(
        r"## What it may do\n(.*?)\n## ", (ROOT / "docs" / "reference" / "workers.md").read_text(), re.DOTALL
    )
    actions = {action for statement in granted for action in listed(statement["Action"])}
    assert actions == set(re.findall(r"`([a-z0-9]+:\w+)`", told))
    assert '"*"' not in json.dumps([statement["Resource"] for statement in granted])


def test_a_queue_that_matches_a_pattern_is_granted_once() -> None:
    told = resources_of("dispatch", "sqs:SendMessage", cpuQueues="ffmpeg_job,film", vmafQueues="vmaf_job")
    assert ":ffmpeg*" in told
    assert "StorageCpufilm" in told
    assert "StorageCpuffmpegjob" not in told
    assert "StorageCpuffmpegjob" in resources_of("dispatch", "sqs:SendMessage", discovery=False, clusters="")


def listed(value: Any) -> list[Any]:
    """One or several, as several."""
    return value if isinstance(value, list) else [value]


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
        {key: listed(statement[key]) for key in ("Action", "Resource")}
        for statement in (entry for policy in policies for entry in policy)
    ]


@pytest.mark.parametrize("name", GRANTS)
def test_each_function_may_write_only_its_own_log(name: str) -> None:
    found = template(**DISCOVERING)["Resources"]
    made = found[function(name, **DISCOVERING)]["Properties"]
    role = found[made["Role"]["Fn::GetAtt"][0]]["Properties"]
    assert "ManagedPolicyArns" not in role
    group = made["LoggingConfig"]["LogGroup"]["Ref"]
    assert found[group]["Properties"]["RetentionInDays"] <= 31
    (writing,) = [entry for entry in statements(name) if set(entry["Action"]) & WRITING_LOGS]
    assert writing == {"Action": sorted(WRITING_LOGS), "Resource": [{"Fn::GetAtt": [group, "Arn"]}]}


MODES: list[dict[str, Any]] = [
    {},
    {
        "discovery": True,
        "clusters": "prod",
        "drops": json.dumps(
            [
                {"prefix": "in/", "userid": "ann", "output": "s3://out/", "profile": {"preset": "h264-360p"}},
                {
                    "bucket": "theirs",
                    "prefix": "",
                    "userid": "ann",
                    "output": "s3://out/",
                    "profile": {"preset": "h264-360p"},
                },
            ]
        ),
        "batchBuckets": "films",
        "cors": "https://app.example.com",
    },
]
"""What is deployed by itself, and with everything that brings resources along."""


@pytest.mark.parametrize("changes", MODES, ids=["default", "more"])
def test_data_is_encrypted_at_rest_and_in_transit_and_logs_expire(changes: dict[str, Any]) -> None:
    found = template(**changes)["Resources"]
    over_http = [
        json.dumps(statement["Resource"])
        for resource in found.values()
        if resource["Type"] in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy")
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and statement["Principal"] == {"AWS": "*"}
        and statement["Action"] in ("sqs:*", "s3:*")
    ]
    for key, resource in found.items():
        told = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::SQS::Queue":
                assert told["SqsManagedSseEnabled"] is True, key
                assert any(f'"{key}"' in text for text in over_http), key
            case "AWS::S3::Bucket":
                assert told["BucketEncryption"], key
                assert set(told["PublicAccessBlockConfiguration"].values()) == {True}, key
                assert any(f'"{key}"' in text for text in over_http), key
            case "AWS::Logs::LogGroup":
                assert told["RetentionInDays"] <= 31, key
            case "AWS::Lambda::Function":
                assert "LoggingConfig" in told, key
            case "AWS::CloudFront::Distribution":
                config = told["DistributionConfig"]
                behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
                assert {each["ViewerProtocolPolicy"] for each in behaviors} <= {"https-only", "redirect-to-https"}
                own = [origin["CustomOriginConfig"] for origin in config["Origins"] if "CustomOriginConfig" in origin]
                assert own
                for origin in own:
                    assert (origin["OriginProtocolPolicy"], origin["OriginSSLProtocols"]) == ("https-only", ["TLSv1.2"])
            case "AWS::ApiGateway::RestApi":
                assert told["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_2021_06"


def test_tables_with_users_data_have_point_in_time_recovery() -> None:
    passing = {"Connections", "Rates"}
    tables = {
        key: resource["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        for key, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table"
    }
    assert len(tables) > len(passing)
    for key, recoverable in tables.items():
        assert recoverable is not any(name in key for name in passing), key


def test_apis_are_throttled_and_log_each_request_without_secrets() -> None:
    changes = {"requestsPerSecond": "7", "requestsBurst": "9"}
    (rest,), (sockets,) = (
        [each["Properties"] for each in resources(kind, **changes)]
        for kind in ("AWS::ApiGateway::Stage", "AWS::ApiGatewayV2::Stage")
    )
    (everything,) = rest["MethodSettings"]
    assert (everything["ResourcePath"], everything["HttpMethod"]) == ("/*", "*")
    for throttled in (everything, sockets["DefaultRouteSettings"]):
        assert (throttled["ThrottlingRateLimit"], throttled["ThrottlingBurstLimit"]) == (7, 9)
    assert (everything["LoggingLevel"], everything["DataTraceEnabled"]) == ("ERROR", False)
    for logged in (rest["AccessLogSetting"], sockets["AccessLogSettings"]):
        told = json.loads(logged["Format"])
        assert told["request"] == "$context.requestId"
        for secret in ("header", "query", "token", "$context.error.message", 'claims"', 'authorizer"'):
            assert secret not in logged["Format"].replace("$context.tlsVersion", "").lower()
    (execution,) = [
        group
        for group in resources("AWS::Logs::LogGroup")
        if "API-Gateway-Execution-Logs_" in json.dumps(group["Properties"].get("LogGroupName", ""))
    ]
    assert execution["Properties"]["RetentionInDays"] <= 31


def test_without_access_logs_the_account_is_not_configured() -> None:
    assert len(resources("AWS::ApiGateway::Account")) == 1
    assert not resources("AWS::ApiGateway::Account", accessLogs=False)
    (rest,) = resources("AWS::ApiGateway::Stage", accessLogs=False)
    (sockets,) = resources("AWS::ApiGatewayV2::Stage", accessLogs=False)
    assert "AccessLogSetting" not in rest["Properties"]
    assert "AccessLogSettings" not in sockets["Properties"]


CHANGING = {"submit", "vmaf", "batch", "jobs", "files", "webhooks", "tickets", "sockets"}


@pytest.mark.parametrize("changes", [{}, {"auth": "none"}, {"requestsPerMinute": 0}], ids=["default", "none", "zero"])
def test_requests_are_counted_if_users_are_authenticated_and_limited(changes: dict[str, Any]) -> None:
    counting = not changes
    found = template(**changes)["Resources"]
    tables = [key for key in found if key.startswith("StorageRates")]
    assert len(tables) == counting
    for name in CHANGING:
        rate = json.dumps(environment(name, **changes)["RATE"])
        assert (tables[0] in rate) if tables else ('"perMinute\\":0' in rate.replace(" ", "")), rate


@pytest.mark.parametrize(
    ("changes", "sign_in_url", "media"),
    [
        ({"auth": "none", "s3Url": "http://localhost:4566"}, "", ["http://localhost:4566"]),
        (
            {"cognitoIdp": "https://cognito.example", "batchBuckets": "films,old.films"},
            "https://cognito.example",
            [f"https://{bucket}s3.<region>.amazonaws.com" for bucket in ("<media>.", "films.", "")],
        ),
    ],
    ids=["none", "cognito"],
)
def test_cloudfront_and_the_local_front_send_the_same_headers(
    changes: dict[str, str], sign_in_url: str, media: list[str]
) -> None:
    """And files are shown of the buckets alone that jobs may reach."""
    (policy,) = resources("AWS::CloudFront::ResponseHeadersPolicy", **changes)
    config = policy["Properties"]["ResponseHeadersPolicyConfig"]
    security = config["SecurityHeadersConfig"]
    told = {item["Header"]: item["Value"] for item in config["CustomHeadersConfig"]["Items"]} | {
        headers.CONTENT_SECURITY_POLICY: _joined(security["ContentSecurityPolicy"]["ContentSecurityPolicy"]),
        headers.CONTENT_TYPE_OPTIONS: "nosniff",
        headers.FRAME_OPTIONS: security["FrameOptions"]["FrameOption"],
        headers.REFERRER_POLICY: security["ReferrerPolicy"]["ReferrerPolicy"],
        headers.HSTS: f"max-age={security['StrictTransportSecurity']['AccessControlMaxAgeSec']}",
    }
    assert told == headers.page(sign_in_url, media)
    assert security["ContentTypeOptions"] == {"Override": True}


def _joined(value: Any) -> str:
    """A text of the template, with the names of the media bucket and the Region in <>."""
    names = {"AWS::Region": "<region>", "StorageMedia9333CB25": "<media>"}
    parts = [value] if isinstance(value, str) else value["Fn::Join"][1]
    return "".join(part if isinstance(part, str) else names[part["Ref"]] for part in parts)


def test_schema_has_the_address_of_the_sign_in() -> None:
    made = template()["Resources"].items()
    (client,) = (name for name, found in made if found["Type"] == "AWS::Cognito::UserPoolClient")
    told = json.dumps(environment("schema", cognitoIdp="https://cognito.example")["SIGN_IN"])
    assert client in told
    assert "https://cognito.example" in told
    assert environment("schema", auth="none")["SIGN_IN"] == "null"


def resources_of(name: str, action: str, **changes: Any) -> str:
    """The resources on which a function may take an action, as text."""
    return json.dumps([entry["Resource"] for entry in statements(name, **changes) if action in entry["Action"]])


def test_discover_may_describe_its_clusters_and_has_access_entries_in_this_region() -> None:
    described = resources_of("discover", "eks:DescribeCluster")
    assert ":cluster/prod" in described
    assert "arn:aws:eks:eu-west-1:123456789012:cluster/far" in described
    assert "cluster/*" not in described
    (entry,) = resources("AWS::EKS::AccessEntry", **DISCOVERING)
    assert entry["Properties"]["ClusterName"] == "prod"
    assert entry["Properties"]["KubernetesGroups"] == [GROUP]
    assert resources("AWS::EKS::AccessEntry", **DISCOVERING, accessEntries=False) == []


def test_discover_may_list_and_describe_clusters_of_a_tag() -> None:
    tagged = resources_of("discover", "eks:ListClusters", clusters="tag:video=yes")
    assert tagged == '[["*"]]'
    assert "cluster/*" in resources_of("discover", "eks:DescribeCluster", clusters="tag:video=yes")


@pytest.mark.parametrize(("name", "action"), [("dispatch", "sqs:SendMessage"), ("discover", "sqs:GetQueueUrl")])
def test_only_queues_that_match_a_pattern_are_granted(name: str, action: str) -> None:
    told = resources_of(name, action, discoveredQueues="film-*")
    assert ":film-*" in told
    assert "ffmpeg*" not in told
    assert '":*"' not in told


def test_batches_may_read_only_the_media_bucket_and_named_buckets() -> None:
    for action in ("s3:ListBucket", "s3:GetObject"):
        told = resources_of("survey", action, batchBuckets="films")
        assert told.count("StorageMedia") == 1
        assert told.count(":s3:::films") == 1
        assert ":s3:::" not in resources_of("survey", action)


def test_links_read_only_what_jobs_may_read_or_write() -> None:
    alone = resources_of("files", "s3:GetObject")
    assert (alone.count("StorageMedia"), alone.count(":s3:::")) == (1, 1)
    assert resources_of("files", "s3:GetObject", batchBuckets="films").count(":s3:::films/*") == 1
    prefixes = [{"prefix": "users/{userID}/"}, {"prefix": "s3://inbox/{userID}/", "access": "write"}]
    granted = resources_of("files", "s3:GetObject", userPrefixes=json.dumps(prefixes), batchBuckets="films", drops="[]")
    assert "films" not in granted
    assert [granted.count(each) for each in ("/users/*", "/uploads/*", ":s3:::inbox/*", "StorageMedia")] == [1, 1, 1, 2]


def test_uploads_are_written_to_one_folder_and_unfinished_ones_are_removed_after_two_days() -> None:
    for action in ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"):
        ((written,),) = [entry["Resource"] for entry in statements("files") if action in entry["Action"]]
        assert written["Fn::Join"][1][-1] == "/uploads/*"
        assert "StorageMedia" in json.dumps(written)
    media = template()["Resources"]["StorageMedia9333CB25"]["Properties"]
    (rule,) = (rule for rule in media["LifecycleConfiguration"]["Rules"] if "Prefix" in rule)
    assert rule == {
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}, "Prefix": "uploads/", "Status": "Enabled",
    }  # fmt: skip


def test_without_discovery_the_template_has_no_resource_of_it() -> None:
    assert not [key for key in template()["Resources"] if "Discover" in key]
    assert ":ffmpeg*" not in json.dumps(template())
    assert CLUSTERS_UNREACHABLE not in json.dumps(template())


def test_an_unreachable_cluster_raises_an_alarm() -> None:
    told = [alarm["Properties"]["MetricName"] for alarm in resources("AWS::CloudWatch::Alarm", **DISCOVERING)]
    assert CLUSTERS_UNREACHABLE in told


def test_discovery_without_a_cluster_is_refused() -> None:
    assert "must name a cluster" in faults(discovery=True)["clusters"]


def test_wrong_clusters_and_patterns_of_queues_are_refused() -> None:
    assert "different names or ARNs" in faults(discovery=True, clusters="a b")["clusters"]
    assert "different names" in faults(discovery=True, clusters="a,a")["clusters"]
    assert "controlQueue" in faults(discovery=True, clusters="a", discoveredQueues="contr*")["discoveredQueues"]
