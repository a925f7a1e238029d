"""Options that contradict each other, or that AWS or the pinned packages do not have, are refused with a sentence."""

from pathlib import Path
from typing import Any

import pytest

from elasticrecode.contract.routes import ROUTES
from infra import options
from tests.infra.test_nag import NAGGED
from tests.infra.test_stack import CONTEXT, GLOBAL, REGIONAL, faults, function, resources, synth, template

ELSEWHERE = "arn:aws:sqs:us-west-2:123456789012:theirs"
EMBEDDED = {"executeApi": "http://localhost:4566/_aws/execute-api/{apiId}"}


@pytest.mark.parametrize(
    ("changes", "option", "words"),
    [
        ({"retentionDays": 3}, "idempotencyDays", "is 7, more than retentionDays, 3"),
        ({"firstGenerationQueues": "old"}, "firstGenerationQueues", "names old, which cpuQueues"),
        ({"firstGenerationQueues": "control_plane"}, "firstGenerationQueues", "names control_plane"),
        ({"frontDoor": "none", "webAcls": GLOBAL}, "webAcls", "it protects nothing"),
        ({"auth": "iam", "jwtUserClaim": "email"}, "jwtUserClaim", "is for auth=jwt, and auth is iam"),
        ({"jwtGroupsClaim": "roles"}, "jwtGroupsClaim", "is for auth=jwt, and auth is cognito"),
        (
            {"stackName": "ffmpeg-prod", "discovery": True, "clusters": "prod"},
            "discoveredQueues",
            "ffmpeg* fits queues of the stack, whose names begin with ffmpeg-prod-",
        ),
        (
            {"discovery": True, "clusters": "prod", "discoveredQueues": "Elastic*"},
            "discoveredQueues",
            "discovered workers could use them",
        ),
        (
            {"discovery": True, "clusters": "a", "discoveredQueues": "", "cpuQueues": "", "vmafQueues": ""},
            "discoveredQueues",
            "must have a pattern",
        ),
        (
            {"gpuQueues": ELSEWHERE, "userPool": "eu-west-1_abc"},
            "gpuQueues",
            "is in us-west-2, and userPool in eu-west-1: both must be in the stack's Region",
        ),
        ({"webAcls": f"{GLOBAL},{REGIONAL}", "gpuQueues": ELSEWHERE}, "webAcls", "both must be in the stack's Region"),
        ({"cpuQueues": f"{ELSEWHERE},{ELSEWHERE.replace('us-west-2', 'eu-west-1')}x"}, "cpuQueues", "Region"),
        ({"lambdaRuntime": "python3.11"}, "lambdaRuntime", "Choose python3.12 or newer"),
        ({"lambdaPlatform": "aarch64-apple-darwin"}, "lambdaPlatform", "must be a Linux on AWS"),
        ({"lambdaPlatform": "x86_64-pc-windows-msvc"}, "lambdaPlatform", "a Linux that runs the pinned packages"),
        ({"lambdaPlatform": "x86_64-unknown-linux-musl"}, "lambdaPlatform", "x86_64-manylinux_2_28"),
        ({"lambdaPlatform": "x86_64-manylinux2014"}, "lambdaPlatform", "glibc 2.28 to 2.34"),
        ({"lambdaPlatform": "aarch64-manylinux_2_39"}, "lambdaPlatform", "glibc 2.28 to 2.34"),
        ({"lambdaPlatform": "riscv64-manylinux_2_31"}, "lambdaPlatform", "aarch64 or x86_64"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict[str, Any], option: str, words: str) -> None:
    found = faults(**changes)
    assert list(found) == [option]
    assert words in found[option]


@pytest.mark.parametrize(
    "changes",
    [
        {"retentionDays": 3, "idempotencyDays": 3},
        {"firstGenerationQueues": "ffmpeg_job, vmaf_job"},
        {"stackName": "ffmpeg", "discovery": True, "clusters": "prod", "discoveredQueues": "ffmpeg_*"},
        {"discovery": True, "clusters": "a", "discoveredQueues": ""},
        {"webAcls": f"{GLOBAL},{REGIONAL}", "userPool": "eu-west-1_abc"},
        {"lambdaRuntime": "python3.11", **EMBEDDED},
        {"lambdaPlatform": "x86_64-apple-darwin", **EMBEDDED},
        {"lambdaPlatform": "x86_64-unknown-linux-gnu"},
    ],
)
def test_options_that_go_together_are_accepted(changes: dict[str, Any]) -> None:
    assert options.read(CONTEXT | changes)


def test_a_platform_that_no_wheel_fits_stops_synth_with_a_sentence(tmp_path: Path) -> None:
    done = synth(tmp_path, lambdaPlatform="x86_64-pc-windows-msvc")
    assert done.returncode != 0
    assert "option lambdaPlatform: must be aarch64 or x86_64 and a Linux" in done.stderr
    assert "Traceback" not in done.stderr


def test_wheels_that_are_out_of_reach_stop_synth_with_a_sentence(tmp_path: Path) -> None:
    offline = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "empty")}
    done = synth(tmp_path / "out", offline, lambdaPlatform="aarch64-manylinux_2_33")
    assert done.returncode != 0
    assert "cannot be installed for Python 3.14 on aarch64-manylinux_2_33" in done.stderr
    assert "lambdaPlatform" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", NAGGED)
def test_messages_stay_hidden_while_their_consumer_may_work(mode: str) -> None:
    found = template(**NAGGED[mode])["Resources"]
    mappings = [each["Properties"] for each in found.values() if each["Type"] == "AWS::Lambda::EventSourceMapping"]
    consumed = [
        each for each in mappings if found[each["EventSourceArn"]["Fn::GetAtt"][0]]["Type"] == "AWS::SQS::Queue"
    ]
    assert consumed
    for mapping in consumed:
        queue = found[mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        seconds = found[mapping["FunctionName"]["Ref"]]["Properties"]["Timeout"]
        several = mapping["BatchSize"] > 1 or "MaximumBatchingWindowInSeconds" in mapping
        assert queue["VisibilityTimeout"] >= seconds * (6 if several else 1)


@pytest.mark.parametrize("mode", NAGGED)
def test_dead_letters_are_kept_longer_than_the_queues_that_they_come_from(mode: str) -> None:
    """A dead letter keeps the time of its first sending; only that of a FIFO queue begins anew."""
    found = template(**NAGGED[mode])["Resources"]
    queues = [each["Properties"] for each in found.values() if each["Type"] == "AWS::SQS::Queue"]
    sources = [each for each in queues if "RedrivePolicy" in each and not each.get("FifoQueue")]
    assert len(sources) >= 3
    for queue in sources:
        letters = found[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["MessageRetentionPeriod"] < letters["MessageRetentionPeriod"]
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5


def test_functions_answer_before_api_gateway_gives_up_and_end_before_their_next_run() -> None:
    """API Gateway waits for 29 s; a rule starts a function each minute, and two runs must not meet."""
    discovering = {"discovery": True, "clusters": "prod"}
    found = template(**discovering)["Resources"]

    def seconds(name: str) -> int:
        return int(found[function(name, **discovering)]["Properties"]["Timeout"])

    assert max(map(seconds, ROUTES)) <= 29
    (rule,) = [each["Properties"] for each in found.values() if each["Type"] == "AWS::Events::Rule"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert 1 <= len(rule["Targets"]) <= 5
    for target in rule["Targets"]:
        assert found[target["Arn"]["Fn::GetAtt"][0]]["Properties"]["Timeout"] < 60


@pytest.mark.parametrize("attempts", [1, 20])
def test_a_job_uses_its_attempts_before_its_message_becomes_a_dead_letter(attempts: int) -> None:
    queues = [each["Properties"] for each in resources("AWS::SQS::Queue", maxAttempts=attempts)]
    receives = {
        each["QueueName"]: each["RedrivePolicy"]["maxReceiveCount"]
        for each in queues
        if each.get("QueueName") in ("ffmpeg_job", "vmaf_job")
    }
    assert receives == {"ffmpeg_job": attempts + 50, "vmaf_job": attempts + 50}
