"""The option `drops` and what it makes in the template."""

import json
from typing import Any

import msgspec
import pytest

from elasticrecode.contract.metrics import FILES_LEFT_OUT
from infra import options
from tests.infra.test_stack import (
    CONTEXT,
    QUEUES,
    WRITING_LOGS,
    faults,
    function,
    resources,
    statements,
    synth,
    template,
)
from tests.unit.test_drops import PROFILE, given_drop

OWN = [given_drop(suffixes=[".mp4", ".mov"])]
MIXED = [*OWN, given_drop(bucket="theirs", prefix="", output="s3://theirs-out/"), given_drop(prefix="more/")]


def as_text(*drops: dict[str, Any]) -> str:
    """As on the command line."""
    return json.dumps(drops)


def properties(kind: str, **changes: Any) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources(kind, **changes)]


def logical_id(kind: str, start: str, **changes: Any) -> str:
    found: str
    (found,) = [
        key
        for key, resource in template(**changes)["Resources"].items()
        if resource["Type"] == kind and key.startswith(start)
    ]
    return found


def bucket(**changes: Any) -> dict[str, Any]:
    """The media bucket."""
    found: dict[str, Any]
    found = template(**changes)["Resources"][logical_id("AWS::S3::Bucket", "StorageMedia", **changes)]
    return found


def test_without_drops_the_template_has_no_resource_of_drops() -> None:
    text = json.dumps(template())
    assert "Drops" not in text
    assert '"s3.amazonaws.com"' not in text
    assert "NotificationConfiguration" not in text
    assert FILES_LEFT_OUT not in text
    assert template(drops="[]") == template()


def test_drops_are_read_from_cdk_json_and_from_the_command_line() -> None:
    told = options.read(CONTEXT | {"drops": OWN})
    assert told == options.read(CONTEXT | {"drops": as_text(*OWN)})
    assert [(drop.prefix, drop.suffixes, drop.priority) for drop in told.drops] == [("in/", [".mp4", ".mov"], 0)]


def test_a_drop_names_a_preset_and_an_unknown_name_is_refused() -> None:
    named = given_drop(profile={"preset": "ours"}), given_drop(prefix="more/", profile={"preset": "h264-360p"})
    ours = {"ours": PROFILE}
    (first, second) = options.read(CONTEXT | {"drops": as_text(*named), "presets": ours}).drops
    assert msgspec.to_builtins(first.profile) == PROFILE | msgspec.to_builtins(first.profile)
    assert msgspec.to_builtins(second.profile)["ffmpeg"]["scale"] == "360p"
    found = faults(drops=as_text(*named))
    assert list(found) == ["drops/0/profile/preset"]
    assert "must be one of" in found["drops/0/profile/preset"]


def test_the_media_bucket_notifies_the_queue_without_a_custom_resource() -> None:
    changes = {"drops": as_text(*OWN)}
    told = bucket(**changes)
    queues = told["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    rules = [{rule["Name"]: rule["Value"] for rule in queue["Filter"]["S3Key"]["Rules"]} for queue in queues]
    assert rules == [{"prefix": "in/", "suffix": ".mp4"}, {"prefix": "in/", "suffix": ".mov"}]
    assert {queue["Event"] for queue in queues} == {"s3:ObjectCreated:*"}
    policy = logical_id("AWS::SQS::QueuePolicy", "DropsFiles", **changes)
    assert policy in told["DependsOn"]  # S3 tries the queue when it is told of it
    stated = template(**changes)["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"]
    (statement,) = [each for each in stated if each["Effect"] == "Allow"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert "Custom::" not in json.dumps(template(frontDoor="none", **changes))


def test_an_existing_bucket_keeps_its_notifications_beside_those_of_drops() -> None:
    (told,) = properties("Custom::S3BucketNotifications", drops=as_text(*MIXED))
    assert (told["BucketName"], told["Managed"]) == ("theirs", False)
    (queue,) = told["NotificationConfiguration"]["QueueConfigurations"]
    assert queue["Events"] == ["s3:ObjectCreated:*"]
    assert "Filter" not in queue
    assert len(bucket(drops=as_text(*MIXED))["Properties"]["NotificationConfiguration"]["QueueConfigurations"]) == 3


def test_the_function_has_each_drop_with_the_names_of_its_buckets() -> None:
    changes = {"drops": as_text(*MIXED)}
    found = template(**changes)["Resources"][function("collect", **changes)]["Properties"]
    text = json.dumps(found["Environment"]["Variables"]["DROPS"])
    media = next(key for key in template()["Resources"] if key.startswith("StorageMedia"))
    assert text.count(f'{{"Ref": "{media}"}}') == 4
    assert "s3://theirs-out/" in text
    queue = template(**changes)["Resources"][logical_id("AWS::SQS::Queue", "DropsFiles", **changes)]
    assert queue["Properties"]["VisibilityTimeout"] >= 6 * found["Timeout"]
    assert queue["Properties"]["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert queue["DeletionPolicy"] == "RetainExceptOnCreate"


def test_the_function_may_read_only_what_its_drops_cover() -> None:
    changes = {"drops": as_text(*MIXED)}
    granted = {action for entry in statements("collect", **changes) for action in entry["Action"]}
    used = {"dynamodb:PutItem", "dynamodb:Query", "s3:GetObject", "s3:ListBucket"}
    assert granted == used | QUEUES | WRITING_LOGS
    looked = [entry["Resource"] for entry in statements("collect", **changes) if "s3:GetObject" in entry["Action"]]
    ends = sorted(json.dumps(resource).rsplit('"', 2)[1] for resources in looked for resource in resources)
    assert ends == sorted(["/in/*.mp4", "/in/*.mov", ":s3:::theirs/*", "/more/*"])


def test_files_that_are_left_out_or_late_raise_an_alarm() -> None:
    told, before = (
        {alarm["AlarmDescription"] for alarm in properties("AWS::CloudWatch::Alarm", drops=drops)}
        for drops in (as_text(*OWN), "[]")
    )
    assert {text.partition(" could")[0] for text in told - before} == {
        "A file under a drop",
        "The oldest message of Drops is not consumed.",
        "The oldest message of DropDeadLetters is not consumed.",
    }


@pytest.mark.parametrize(
    ("drop", "pointer", "said"),
    [
        ({"bucket": "No_Bucket"}, "bucket", "the name of a bucket"),
        ({"prefix": "in"}, "prefix", "ends in '/'"),
        ({"prefix": "in put/"}, "prefix", "letters, digits"),
        ({"prefix": "/"}, "prefix", "letters, digits"),
        ({"suffixes": ".mp4"}, "suffixes", "must be an array"),
        ({"suffixes": ["*.mp4"]}, "suffixes/0", "letters, digits"),
        ({"userid": "a b"}, "userid", "without white space"),
        ({"output": "out"}, "output", "ends in '/'"),
        ({"output": "s3:/theirs/"}, "output", "an s3://bucket/prefix/ URI, or a prefix"),
        ({"output": "in/made/"}, "output", "into this drop, in/, where they become jobs again"),
        ({"priority": 101}, "priority", "at most 100"),
        ({"profil": {}}, "profil", "not a known field"),
        ({"profile": {"ffmpeg": PROFILE["ffmpeg"] | {"codec": "no-such-codec"}}}, "profile/ffmpeg/codec",
         "h264, h264_nvenc, h265"),
        ({"profile": PROFILE | {"ec2": {"platform": "gpu"}, "ffmpeg": PROFILE["ffmpeg"] | {"platform": "cpu"}}},
         "profile/ec2/platform", "must agree with"),
    ],
)  # fmt: skip
def test_a_fault_of_a_drop_has_its_pointer(drop: dict[str, Any], pointer: str, said: str) -> None:
    found = faults(drops=[*MIXED[1:], given_drop(**drop)])
    assert list(found) == [f"drops/2/{pointer}"]
    assert said in found[f"drops/2/{pointer}"]


def test_all_faults_of_all_drops_are_reported_at_once() -> None:
    wrong = [
        given_drop(priority=-1),
        {"prefix": 3},
        given_drop(output="in/"),
        given_drop(output="in/", suffixes=[".mp4", "p4"]),
    ]
    assert set(faults(drops=as_text(*wrong), cors="maybe")) == {
        "cors", "drops/0/priority", "drops/1/prefix", "drops/1/userid", "drops/1/output", "drops/1/profile",
        "drops/2/output", "drops/3/output", "drops/3/prefix", "drops/3/suffixes/1",
    }  # fmt: skip


@pytest.mark.parametrize("drops", ["in/", '[{"prefix": "in/",}]', "{}", 3, [[]], ["x"], [None]])
def test_a_value_that_is_no_list_of_drops_is_refused(drops: Any) -> None:
    (pointer,) = faults(drops=drops)
    assert pointer in ("drops", "drops/0")
    assert "must be an " in faults(drops=drops)[pointer]


def test_drops_too_large_for_a_functions_environment_are_refused() -> None:
    few, many = ([given_drop(prefix=f"{n}/") for n in range(count)] for count in (10, 14))
    assert options.read(CONTEXT | {"drops": few}).drops
    (pointer,) = faults(drops=many)
    assert pointer == "drops"
    assert "a function's settings take 3072: name fewer" in faults(drops=many)["drops"]
    queues = ",".join(f"{'q' * 40}{n}" for n in range(12))
    assert list(faults(drops=few, gpuQueues=queues)) == ["drops"]


def test_accepted_drops_fit_the_environment_with_the_longest_names() -> None:
    few = as_text(*(given_drop(prefix=f"{n}/") for n in range(10)))
    found = template(drops=few, jobsTable="j" * 255)["Resources"]
    longest = {"AWS::Region": "us-gov-west-1", "AWS::AccountId": "1" * 12, "AWS::URLSuffix": "amazonaws.com.cn"}
    variables = found[function("collect", drops=few, jobsTable="j" * 255)]["Properties"]["Environment"]["Variables"]

    def resolved(value: Any) -> str:
        if isinstance(value, str):
            return value
        if "Fn::Join" in value:
            return "".join(map(resolved, value["Fn::Join"][1]))
        return longest.get(value["Ref"]) or "x" * {"AWS::S3::Bucket": 63}.get(found[value["Ref"]]["Type"], 160)

    assert sum(len(name) + len(resolved(value)) for name, value in variables.items()) < 4096


def test_a_loop_stops_synth_with_a_sentence(tmp_path: Any) -> None:
    done = synth(tmp_path, drops=[given_drop(output="next/"), given_drop(prefix="next/", output="in/")])
    assert done.returncode != 0
    assert "option drops/0/output: would put outputs into drop 1, next/," in done.stderr
    assert "option drops/1/output: would put outputs into drop 0, in/," in done.stderr
    assert "Traceback" not in done.stderr
