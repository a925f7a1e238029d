"""Doctor's judgement of what AWS and the API answer: each fault by its part, in words, and what to type."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.api import Answer
from elasticrecode_client.doctor.checks import (
    alarms,
    clocks,
    configuration,
    exposure,
    flow,
    functions,
    grants,
    identity,
    quotas,
    sign_in,
)
from elasticrecode_client.doctor.results import Finding, Status, Verdict
from elasticrecode_client.doctor.template import UNKNOWN, Grant, Resource

_AWS = Advice("eu-west-1", "Farm", "ops", ["BootstrapVersion"])
_HERE = Advice("us-east-1", is_embedded=True)
_FUNCTION = Resource(
    "AWS::Lambda::Function",
    "FunctionsTally",
    "Farm-Tally",
    "tally",
    {
        "Environment": {"Variables": {"JOBS_TABLE": "jobs", "QUEUES": "{}"}},
        "LoggingConfig": {"LogGroup": "/tally"},
        "Role": UNKNOWN,
    },
)
_TABLE = Resource(
    "AWS::DynamoDB::Table",
    "StorageFeed",
    "feed",
    "Storage/Feed",
    {"StreamSpecification": {"StreamViewType": "NEW_IMAGE"}},
)
_STREAM = "arn:aws:dynamodb:eu-west-1:1:table/feed/stream/2026-11-27T00:00:00.000"
_MAPPING = Resource(
    "AWS::Lambda::EventSourceMapping",
    "FromFeed",
    "uuid-1",
    "Functions/Push/From",
    {"FunctionName": "Farm-Tally", "EventSourceArn": _STREAM},
)
_RULE = Resource("AWS::Events::Rule", "EveryMinute", "Farm-EveryMinute", "EveryMinute", {"Targets": [{}, {}]})
_ALARM = Resource("AWS::CloudWatch::Alarm", "Buried", "Farm-Buried", "Alarms/JobsBuried", {})
_BUCKET = Resource("AWS::S3::Bucket", "Media", "media-1", "Storage/Media", {})
_ROLE = Resource("AWS::IAM::Role", "Role", "Farm-TallyRole", "TallyRole", {})
_GRANT = Grant(_ROLE, ("dynamodb:GetItem", "dynamodb:PutItem"), ("arn:aws:dynamodb:eu-west-1:1:table/jobs",))
_CLOSED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
_TLS_ONLY = {"Effect": "Deny", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def answer(status: int, content: Any = None) -> Answer:
    return Answer(status, content, {}, 0.1)


# Well


def test_nothing_is_found_where_all_is_well() -> None:
    policy = {"Statement": [_TLS_ONLY]}
    deployed = {"State": "Active", "Environment": {"Variables": {"JOBS_TABLE": "jobs", "QUEUES": "{}", "MORE": "1"}}}
    alarm = {"StateValue": "OK", "AlarmActions": ["arn:aws:sns:…"], "ActionsEnabled": True}
    table = {"TableStatus": "ACTIVE", "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
    mapping = {"State": "Enabled", "EventSourceArn": _STREAM, "LastProcessingResult": "OK"}
    well = [
        identity.judge_bootstrap(30, ""),
        identity.judge_stack({"StackName": "Farm", "StackStatus": "UPDATE_COMPLETE", "Outputs": [_output()]}, ""),
        identity.judge_version("v1.0.3", "1.0.0"),
        identity.judge_commit("abc", "abc"),
        identity.judge_address("https://a.example/", {"Url": "https://a.example"}),
        configuration.judge_function(_FUNCTION, deployed, ""),
        functions.judge_answer(
            _FUNCTION, functions.Invoked({"status": "ok", "version": "1.0.0"}, "", 200), lambda: "", _AWS
        ),
        flow.judge_mapping(_MAPPING, mapping, _FUNCTION, _AWS),
        flow.judge_rule(_RULE, {"State": "ENABLED"}, 2, _AWS),
        flow.judge_queue("https://sqs/1/q", "q", {"ApproximateNumberOfMessages": "9"}, False, _AWS),
        flow.judge_table(_TABLE, table, _AWS),
        grants.judge_grant(grants.Tried(_GRANT, ()), _AWS),
        sign_in.judge_nobody("cognito", 401),
        sign_in.judge_caller("cognito", answer(200, {"operator": True}), False),
        clocks.judge_skew("AWS", 1.4),
        quotas.judge_concurrency(900, 14, 151, ""),
        quotas.judge_api(1000, 10_000, True, _AWS),
        quotas.judge_capacity(40_000, _AWS),
        quotas.judge_sign_ins(100_000, 120, _AWS),
        alarms.judge_alarms([_ALARM], {"Farm-Buried": alarm}, _AWS),
        alarms.judge_costs(0, 1, ""),
        alarms.judge_retention(["/tally"], {"/tally": 30}, _AWS),
        exposure.judge_bucket(_BUCKET, _CLOSED, policy, _AWS),
        exposure.judge_tls("TLSv1.3", 90),
    ]
    assert [list(findings) for findings in well] == [[]] * len(well)


def _output() -> dict[str, str]:
    return {"OutputKey": "Url", "OutputValue": "https://a.example"}


# Faults


@pytest.mark.parametrize(
    ("findings", "status", "wrong", "remedy"),
    [
        (identity.judge_bootstrap(0, "npx cdk bootstrap"), "warning", "not been bootstrapped", "npx cdk bootstrap"),
        (identity.judge_bootstrap(5, "npx cdk bootstrap"), "failed", "version 5", "npx cdk bootstrap"),
        (identity.judge_version("v2.0.0", "1.0.0"), "warning", "v2.0.0", "pip install 'elasticrecode==2.0.0'"),
        (identity.judge_version("", "1.0.0"), "failed", "does not tell its version", "elasticrecode doctor"),
        (identity.judge_commit("aaaa", "bbbb"), "warning", "commit aaaa", "make deploy"),
        (identity.judge_address("https://b", {"Url": "https://a"}), "warning", "not the address", "--url https://a"),
        (configuration.judge_function(_FUNCTION, None, "restore"), "failed", "does not exist", "restore"),
        (flow.judge_mapping(_MAPPING, None, _FUNCTION, _AWS), "failed", "does not exist", "REVERT_DRIFT"),
        (flow.judge_rule(_RULE, None, 0, _AWS), "failed", "does not exist", "REVERT_DRIFT"),
        (flow.judge_rule(_RULE, {"State": "DISABLED"}, 2, _AWS), "failed", "disabled", "events enable-rule --name F"),
        (flow.judge_rule(_RULE, {"State": "ENABLED"}, 1, _AWS), "failed", "1 of its 2 targets", "REVERT_DRIFT"),
        (flow.judge_queue("u/q", "q", None, False, _AWS), "failed", "does not exist", "REVERT_DRIFT"),
        (
            flow.judge_queue("u/q", "q", {"ApproximateNumberOfMessages": "2"}, True, _AWS),
            "warning",
            "2 dead letters",
            "sqs receive-message",
        ),
        (
            flow.judge_queue("u/q", "q", {"ApproximateNumberOfMessagesNotVisible": "110000"}, False, _AWS),
            "warning",
            "110000 messages are in flight",
            "cpuQueues=one,two",
        ),
        (flow.judge_table(_TABLE, None, _AWS), "failed", "does not exist", "REVERT_DRIFT"),
        (
            flow.judge_table(_TABLE, {"TableStatus": "ACTIVE"}, _AWS),
            "failed",
            "stream of the table is off",
            "aws dynamodb update-table --table-name feed --stream-specification "
            "StreamEnabled=true,StreamViewType=NEW_IMAGE --region eu-west-1 --profile ops",
        ),
        (sign_in.judge_nobody("none", 200), "warning", "Anyone who reaches the API", "-c auth=cognito"),
        (sign_in.judge_nobody("jwt", 200), "failed", "lets in callers without credentials", "make deploy"),
        (sign_in.judge_caller("jwt", answer(401, {}), False), "failed", "does not take", "ELASTICRECODE_TOKEN"),
        (sign_in.judge_caller("cognito", answer(200, {"operator": False}), False), "warning", "no operator", "Sign in"),
        (sign_in.judge_pool("p", {"ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"]}, False, False, _AWS), "warning",
         "no users", "admin-create-user --user-pool-id p"),
        (clocks.judge_skew("AWS", 20), "warning", "20 s ahead of", "timedatectl"),
        (clocks.judge_skew("AWS", -400), "failed", "refuses signatures", "timedatectl"),
        (quotas.judge_concurrency(10, 14, 151, "ask"), "failed", "starve the API", "ask"),
        (quotas.judge_concurrency(100, 14, 151, "ask"), "warning", "is throttled", "ask"),
        (quotas.judge_api(20_000, 10_000, True, _AWS), "warning", "20000 requests a second", "requestsPerSecond=5000"),
        (quotas.judge_api(1, 10_000, False, _AWS), "failed", "no role", "REVERT_DRIFT"),
        (quotas.judge_capacity(100, _AWS), "warning", "100 units", "service-quotas"),
        (quotas.judge_sign_ins(1_000_000, 120, _AWS), "warning", "1000000 users", "service-quotas"),
        (alarms.judge_alarms([_ALARM], {"x": {"AlarmActions": [""]}}, _AWS), "failed", "does not exist", "REVERT"),
        (alarms.judge_costs(0, 0, "aws budgets create-budget"), "warning", "no budget", "aws budgets create-budget"),
        (alarms.judge_retention(["/l"], {"/l": None}, _AWS), "warning", "for ever", "put-retention-policy"),
        (alarms.judge_retention(["/l"], {}, _AWS), "failed", "does not exist", "REVERT_DRIFT"),
        (exposure.judge_bucket(_BUCKET, None, None, _AWS), "failed", "does not exist", "REVERT_DRIFT"),
        (exposure.judge_bucket(_BUCKET, _CLOSED, {}, _AWS), "warning", "without TLS", "REVERT_DRIFT"),
        (exposure.judge_tls("TLSv1.1", 90), "failed", "TLSv1.1", "make deploy"),
        (exposure.judge_tls("TLSv1.3", 3), "warning", "ends in 3 days", "acm list-certificates"),
    ],
)  # fmt: skip
def test_each_fault_has_a_sentence_and_a_remedy(
    findings: Iterable[Finding], status: str, wrong: str, remedy: str
) -> None:
    finding = only(findings)
    assert finding.status == status
    assert wrong in finding.wrong
    assert remedy in finding.remedy
    assert finding.wrong.endswith(".")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ROLLBACK_COMPLETE", Status.FAILED),
        ("UPDATE_ROLLBACK_FAILED", Status.FAILED),
        ("UPDATE_ROLLBACK_COMPLETE", Status.WARNING),
        ("UPDATE_IN_PROGRESS", Status.WARNING),
    ],
)
def test_a_stack_is_judged_by_its_state(state: str, status: Status) -> None:
    described = {"StackName": "Farm", "StackStatus": state, "Outputs": [_output()]}
    assert only(identity.judge_stack(described, "aws … describe-stack-events")).status is status


def test_an_alarm_that_has_gone_off_says_what_it_means_and_alarms_without_actions_tell_nobody() -> None:
    alarm = {"StateValue": "ALARM", "AlarmDescription": "Push is behind its stream.", "AlarmActions": []}
    ringing, silent = alarms.judge_alarms([_ALARM], {"Farm-Buried": alarm}, _AWS)
    assert (ringing.where, ringing.status) == ("alarm JobsBuried", Status.FAILED)
    assert "Push is behind its stream." in ringing.wrong
    assert "-c alarmTopic=ARN" in silent.remedy


def test_a_mapping_that_reads_an_earlier_stream_of_the_table_is_named() -> None:
    earlier = {"State": "Enabled", "EventSourceArn": _STREAM.replace("2026", "2025"), "LastProcessingResult": "OK"}
    finding = only(flow.judge_mapping(_MAPPING, earlier, _FUNCTION, _AWS))
    assert finding.where == "event source of tally"
    assert "2025-11-27" in finding.wrong


def test_a_disabled_mapping_is_enabled_by_its_id() -> None:
    off = {"State": "Disabled", "EventSourceArn": _STREAM}
    finding = only(flow.judge_mapping(_MAPPING, off, _FUNCTION, _AWS))
    assert finding.remedy.startswith("aws lambda update-event-source-mapping --uuid uuid-1 --enabled")


@pytest.mark.parametrize(
    ("environment", "status", "wrong"),
    [
        ({"JOBS_TABLE": "jobs"}, Status.FAILED, "lacks QUEUES"),
        ({"JOBS_TABLE": "others", "QUEUES": "{}"}, Status.WARNING, "other values of JOBS_TABLE"),
    ],
)
def test_settings_are_compared_with_the_template_and_not_printed(
    environment: dict[str, str], status: Status, wrong: str
) -> None:
    finding = only(configuration.judge_function(_FUNCTION, {"Environment": {"Variables": environment}}, "restore"))
    assert finding.status is status
    assert wrong in finding.wrong
    assert "others" not in finding.wrong


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("Runtime.ImportModuleError: No module named 'msgspec'", "make deploy"),
        ("KeyError: 'JOBS_TABLE'", "REVERT_DRIFT"),
        ("it does not exist", "REVERT_DRIFT"),
        ("Runtime.HandlerError: 'Records'", "does not know the health event"),
        ("Task timed out after 20.02 seconds", "aws logs tail /tally --since 15m"),
    ],
)
def test_a_function_that_fails_is_shown_with_its_log_and_a_remedy_for_its_error(error: str, remedy: str) -> None:
    invoked = functions.Invoked({}, error, 200)
    finding = only(functions.judge_answer(_FUNCTION, invoked, lambda: "the last line", _AWS))
    assert error in finding.wrong
    assert "the last line" in finding.wrong
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("line", "short"),
    [
        (
            '{"level": "ERROR", "message": "no such table", "exception_name": "Unavailable"}',
            "no such table Unavailable",
        ),
        ("2026-11-27T00:00:00Z \n Task timed out", "2026-11-27T00:00:00Z Task timed out"),
        ("[1]", "[1]"),
    ],
)
def test_log_lines_are_shortened_to_their_message(line: str, short: str) -> None:
    assert functions.in_short(line) == short


# Grants


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"EvalDecision": "implicitDeny"}, "no policy allows it"),
        ({"EvalDecision": "explicitDeny"}, "a policy denies it"),
        (
            {
                "EvalDecision": "implicitDeny",
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            "the permissions boundary of the role does not allow it",
        ),
        (
            {"EvalDecision": "explicitDeny", "OrganizationsDecisionDetail": {"AllowedByOrganizations": False}},
            "a policy of your AWS organization denies it",
        ),
    ],
)
def test_the_simulator_says_who_denies(result: Mapping[str, Any], reason: str) -> None:
    assert grants.reason_of(result) == reason


def test_a_denied_grant_is_given_back_by_its_own_statement() -> None:
    resource = _GRANT.resources[0]
    denied = (
        (_GRANT.actions[0], resource, "no policy allows it"),
        (_GRANT.actions[1], resource, "no policy allows it"),
    )
    finding = only(grants.judge_grant(grants.Tried(_GRANT, denied), _HERE))
    assert finding.where == "role TallyRole"
    assert "dynamodb:GetItem, dynamodb:PutItem" in finding.wrong
    assert finding.remedy.startswith("aws iam put-role-policy --role-name Farm-TallyRole")


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        ("*", "*"),
        ("arn:aws:sqs:eu-west-1:1:ffmpeg*", "arn:aws:sqs:eu-west-1:1:ffmpegdoctor"),
        ("arn:aws:s3:::m/${aws:PrincipalTag/userID}/*", "arn:aws:s3:::m/doctor/doctor"),
    ],
)
def test_wildcards_of_a_policy_become_names_that_a_request_could_have(resource: str, named: str) -> None:
    assert grants.concrete(resource) == named


def test_without_the_simulator_the_text_of_policies_is_read() -> None:
    allow = {"Effect": "Allow", "Action": "s3:Get*", "Resource": ["arn:aws:s3:::m/*"]}
    deny = {"Effect": "Deny", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::m/secret"}
    assert grants.allowed_by([allow], "s3:GetObject", "arn:aws:s3:::m/a")
    assert not grants.allowed_by([allow], "s3:PutObject", "arn:aws:s3:::m/a")
    assert not grants.allowed_by([allow, deny], "s3:GetObject", "arn:aws:s3:::m/secret")


# Quotas, clusters, buckets


@pytest.mark.parametrize(
    ("mode", "entries", "wrong"),
    [
        ("CONFIG_MAP", [], "takes no access entries"),
        ("API", ["arn:aws:iam::1:role/other"], "has no access entry"),
    ],
)
def test_a_cluster_without_access_for_discovery_is_named(mode: str, entries: list[str], wrong: str) -> None:
    cluster = {"name": "farm", "status": "ACTIVE", "accessConfig": {"authenticationMode": mode}}
    finding = only(quotas.judge_cluster(cluster, entries, "arn:aws:iam::1:role/discover", _AWS))
    assert wrong in finding.wrong
    assert "aws eks" in finding.remedy
    assert not list(
        quotas.judge_cluster(
            {"name": "farm", "status": "ACTIVE", "accessConfig": {"authenticationMode": "API"}}, ["r"], "r", _AWS
        )
    )


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": ["*"]}])
def test_a_policy_that_lets_anyone_in_is_public(principal: Any) -> None:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject"}
    assert exposure.is_public({"Statement": statement})
    assert not exposure.is_public({"Statement": [statement | {"Condition": {"StringEquals": {}}}]})
    assert not exposure.is_public({"Statement": [_TLS_ONLY]})


def test_workers_that_discovery_has_not_seen_lately_and_pods_that_are_not_ready_are_named() -> None:
    one = {"name": "cpu", "namespace": "er", "cluster": "c", "Replicas": 1, "desiredReplicas": 3}
    unready = only(clocks.judge_workers([one | {"seenAt": 999.0}], 1000.0))
    stale = only(clocks.judge_workers([one | {"seenAt": 100.0}], 1000.0))
    assert (unready.status, stale.status) == (Status.WARNING, Status.FAILED)
    assert "1 of 3 workers are ready." in unready.wrong
    assert "15 minutes ago" in stale.wrong


# Verdicts and advice


def test_the_worst_finding_is_the_status_of_a_verdict() -> None:
    of = [Finding(status, "", "") for status in (Status.SKIPPED, Status.FAILED, Status.WARNING)]
    assert Verdict.of("", of).status is Status.FAILED
    assert Verdict.of("", of[:1]).status is Status.SKIPPED
    assert Verdict("").status is Status.OK


def test_on_a_real_account_a_change_set_takes_drift_back_and_on_one_machine_a_new_stack_does() -> None:
    command = _AWS.restore()
    assert "create-change-set --stack-name Farm --change-set-name doctor --use-previous-template" in command
    assert "ParameterKey=BootstrapVersion,UsePreviousValue=true" in command
    assert command.count("--region eu-west-1 --profile ops") == 3
    assert _HERE.restore().startswith("make clean && make up")
