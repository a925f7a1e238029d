"""`elasticrecode doctor` on the deployed stack: nothing wrong when all is well, and each of twelve faults by its name.

Every break is undone, and doctor then finds nothing more. A stream that is off has no test here: a new stream has
another ARN, and the stack would stay broken. `tests/unit/test_doctor_judging.py` has it, with recorded answers.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from unittest.mock import patch

import boto3
import pytest
from click.testing import CliRunner

from elasticrecode_client import Token
from elasticrecode_client.doctor import CHECKS, Finding, Options, Report, Status, diagnose
from elasticrecode_client.doctor.command import doctor
from local import users
from tests.conftest import ROOT
from tests.e2e.conftest import Deployed, wait_for

_NOWHERE = "http://127.0.0.1:1/"
_SKEW_SECONDS = 3600
_MISNAMED = {
    "lambda:GetEventSourceMapping": "lambda:ListEventSourceMappings",
    "budgets:ViewBudget": "budgets:DescribeBudgets",
}
"""Action of the page, as the Service Authorization Reference has it → what the embedded AWS calls it."""


@pytest.fixture(scope="module", autouse=True)
def _environment(deployed: Deployed) -> Iterator[None]:
    with patch.dict(os.environ, AWS_ENDPOINT_URL=deployed.place.aws_url):
        yield


def examine(deployed: Deployed, *only: str, **options: Any) -> Report:
    """Doctor's report, as an operator."""
    token = Token(lambda: deployed.signed()["Authorization"].removeprefix("Bearer "))
    return diagnose(replace(Options(url=deployed.place.url, auth=token), **options), only)


def faults(report: Report) -> list[Finding]:
    """What failed or is warned of, but for alarms that other tests have set off."""
    worst = report.findings(Status.FAILED, Status.WARNING)
    return [finding for _, finding in worst if "gone off" not in finding.wrong]


def client(deployed: Deployed, service: str) -> Any:
    return boto3.client(service, endpoint_url=deployed.place.aws_url)  # type: ignore[call-overload]


@contextmanager
def with_the_rights_of_the_page(deployed: Deployed) -> Iterator[None]:
    """Work as a user of AWS with the policy of docs/how-to/doctor.md alone; the embedded AWS enforces it."""
    (policy,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "how-to" / "doctor.md").read_text(), re.DOTALL)
    for action, name in _MISNAMED.items():
        assert f'"{action}"' in policy
        policy = policy.replace(f'"{action}"', f'"{name}"')
    iam, name = client(deployed, "iam"), "doctor"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="doctor", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        with patch.dict(os.environ, AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"]):
            yield
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="doctor")
        iam.delete_user(UserName=name)


def test_all_is_well_with_the_rights_of_the_page_and_nothing_of_it_stays(deployed: Deployed) -> None:
    def left() -> list[Any]:
        hooks = deployed.call("GET", f"/api/v1/webhooks?userID={users.OPERATOR}")[1]
        return [hooks, [key for key in deployed.keys("") if "doctor" in key]]

    before = left()
    with with_the_rights_of_the_page(deployed):
        report = examine(deployed)
        assert [result.check for result in report.results] == [each.id for each in CHECKS]
        failed = {result.check for result, _ in report.findings(Status.FAILED)} - {"alarms"}
        results = {result.check: result for result in report.results}
        if failed:  # other tests leave work behind, which ends by itself
            again = lambda: (seen := examine(deployed, *failed)).exit_code == 0 and seen  # noqa: E731
            results |= {result.check: result for result in wait_for(again, f"an end of the faults of {failed}").results}
    assert [one for _, one in report.findings(Status.SKIPPED) if "may not call" in one.wrong] == []
    summaries = {check: result.verdict.summary for check, result in results.items()}
    assert "user/doctor" in summaries["identity"]
    assert summaries["functions"].startswith(f"{len(deployed.functions)} of {len(deployed.functions)} answer")
    assert "ffmpeg_job" in summaries["jobs"]
    assert "vmaf_job" in summaries["jobs"]
    assert "policy simulator" in summaries["grants"]
    assert left() == before


def test_the_command_prints_a_table_or_json_and_says_by_its_exit_code_whether_a_check_failed(
    deployed: Deployed,
) -> None:
    token = deployed.signed()["Authorization"].removeprefix("Bearer ")
    runner, checks = CliRunner(), ["--only", "reach", "--only", "sign-in"]
    with patch.dict(os.environ, ELASTICRECODE_URL=deployed.place.url, ELASTICRECODE_TOKEN=token):
        table = runner.invoke(doctor, checks)
        content = json.loads(runner.invoke(doctor, [*checks, "--json"]).output)
    assert table.exit_code == 0, table.output
    assert "2 checks: 2 ok." in table.output
    assert [each["check"] for each in content["checks"]] == ["reach", "sign-in"]
    assert token not in table.output
    with patch.dict(os.environ, ELASTICRECODE_URL=deployed.place.url, ELASTICRECODE_TOKEN="wrong"):
        refused = runner.invoke(doctor, checks)
    assert refused.exit_code == 1
    assert "does not take these credentials" in refused.output
    assert "make -s token" in refused.output
    assert runner.invoke(doctor, ["--only", "nothing"]).exit_code == 2


class Break(NamedTuple):
    """A way to break the stack while in a context, and what doctor then says: of which part, what, and what to type."""

    name: str
    broken: Callable[[Deployed], AbstractContextManager[dict[str, Any]]]
    checks: tuple[str, ...]
    where: str
    wrong: str
    remedy: str
    again: bool = True
    """Whether doctor looks again once it is undone: not where the stack itself was not broken."""


@contextmanager
def without_setting(deployed: Deployed) -> Iterator[dict[str, Any]]:
    lambdas, name = client(deployed, "lambda"), deployed.functions["tally"]
    kept = lambdas.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    fewer = {key: value for key, value in kept.items() if key != "BATCHES_TABLE"}
    lambdas.update_function_configuration(FunctionName=name, Environment={"Variables": fewer})
    try:
        yield {}
    finally:
        lambdas.update_function_configuration(FunctionName=name, Environment={"Variables": kept})


@contextmanager
def without_event_source(deployed: Deployed) -> Iterator[dict[str, Any]]:
    lambdas = client(deployed, "lambda")
    (mapping,) = lambdas.list_event_source_mappings(FunctionName=deployed.functions["survey"])["EventSourceMappings"]
    lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield {}
    finally:
        lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@contextmanager
def without_grant(deployed: Deployed) -> Iterator[dict[str, Any]]:
    iam = client(deployed, "iam")
    (role,) = (name for name in deployed.resources("AWS::IAM::Role").values() if "PresetsRole" in name)
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    statements = [each for each in document["Statement"] if "dynamodb:PutItem" not in each["Action"]]
    fewer = json.dumps(document | {"Statement": statements})
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=fewer)
    try:
        yield {}
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


@contextmanager
def without_queue(deployed: Deployed) -> Iterator[dict[str, Any]]:
    (url,) = (url for name, url in deployed.resources("AWS::SQS::Queue").items() if name.startswith("BatchesSurveys"))
    attributes = deployed.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    computed = ("QueueArn", "Approximate", "CreatedTimestamp", "LastModifiedTimestamp")
    own = {key: value for key, value in attributes.items() if not key.startswith(computed)}
    deployed.sqs.delete_queue(QueueUrl=url)
    try:
        yield {}
    finally:
        deployed.sqs.create_queue(QueueName=url.rsplit("/", 1)[-1], Attributes=own)


@contextmanager
def without_receiver(deployed: Deployed) -> Iterator[dict[str, Any]]:
    yield {"webhook_url": _NOWHERE}


@contextmanager
def without_workers(deployed: Deployed) -> Iterator[dict[str, Any]]:
    names = [name for name in deployed.supervisor.pids() if name.startswith("worker-")]
    for name in names:
        deployed.supervisor._ask("stopProcess", name)
    try:
        yield {"job_seconds": 3}
    finally:
        for name in names:
            deployed.supervisor._ask("startProcess", name)


@contextmanager
def with_paused_queue(deployed: Deployed) -> Iterator[dict[str, Any]]:
    deployed.call("POST", "/api/v1/worker/queues/ffmpeg_job/pause")
    try:
        yield {}
    finally:
        deployed.call("POST", "/api/v1/worker/queues/ffmpeg_job/resume")


@contextmanager
def with_fast_clock(deployed: Deployed) -> Iterator[dict[str, Any]]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", formatdate(time.time() + _SKEW_SECONDS, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"url": f"http://127.0.0.1:{server.server_address[1]}"}
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def without_alarm(deployed: Deployed) -> Iterator[dict[str, Any]]:
    watch = client(deployed, "cloudwatch")
    (name,) = (name for name in deployed.resources("AWS::CloudWatch::Alarm").values() if "JobsBuried" in name)
    (alarm,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    watch.delete_alarms(AlarmNames=[name])
    try:
        yield {}
    finally:
        settable = watch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
        watch.put_metric_alarm(**{key: value for key, value in alarm.items() if key in settable})


@contextmanager
def with_public_bucket(deployed: Deployed) -> Iterator[dict[str, Any]]:
    blocks = deployed.s3.get_public_access_block(Bucket=deployed.bucket)["PublicAccessBlockConfiguration"]
    kept = deployed.s3.get_bucket_policy(Bucket=deployed.bucket)["Policy"]
    open_ = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{deployed.bucket}/*",
    }
    content = json.loads(kept)
    content["Statement"].append(open_)
    deployed.s3.delete_public_access_block(Bucket=deployed.bucket)
    deployed.s3.put_bucket_policy(Bucket=deployed.bucket, Policy=json.dumps(content))
    try:
        yield {}
    finally:
        deployed.s3.put_bucket_policy(Bucket=deployed.bucket, Policy=kept)
        deployed.s3.put_public_access_block(Bucket=deployed.bucket, PublicAccessBlockConfiguration=blocks)


@contextmanager
def with_wrong_token(deployed: Deployed) -> Iterator[dict[str, Any]]:
    yield {"auth": Token("wrong")}


@contextmanager
def without_schedule(deployed: Deployed) -> Iterator[dict[str, Any]]:
    (name,) = deployed.resources("AWS::Events::Rule").values()
    events = client(deployed, "events")
    events.disable_rule(Name=name)
    try:
        yield {}
    finally:
        events.enable_rule(Name=name)


BREAKS = (
    Break("setting", without_setting, ("configuration",), "function tally", "lacks BATCHES_TABLE", "make up"),
    Break("answer", without_setting, ("functions",), "function tally", "does not work", "make up", again=False),
    Break(
        "event source",
        without_event_source,
        ("sources",),
        "event source of survey",
        "is disabl",
        "aws lambda update-event-source-mapping --uuid",
    ),
    Break(
        "grant", without_grant, ("grants",), "PresetsRole", "may not dynamodb:", "aws iam put-role-policy --role-name"
    ),
    Break("queue", without_queue, ("queues",), "queue ElasticRecode-BatchesSurveys", "does not exist", "make up"),
    Break(
        "webhook",
        without_receiver,
        ("webhook",),
        f"webhook {_NOWHERE}",
        "test did not arrive",
        "curl -i -X POST",
        again=False,
    ),
    Break("workers", without_workers, ("jobs",), "queue ffmpeg_job", "No worker has taken the job", "make up"),
    Break(
        "pause",
        with_paused_queue,
        ("jobs",),
        "queue ffmpeg_job",
        "is paused",
        "elasticrecode queues resume ffmpeg_job",
        again=False,
    ),
    Break(
        "clock", with_fast_clock, ("clocks",), "API", "s behind that of API", "timedatectl set-ntp true", again=False
    ),
    Break("alarm", without_alarm, ("alarms",), "alarm JobsBuried", "does not exist", "make up"),
    Break(
        "bucket", with_public_bucket, ("buckets",), "bucket elasticrecode-", "lets anyone in", "put-public-access-block"
    ),
    Break(
        "token",
        with_wrong_token,
        ("sign-in",),
        "credentials",
        "does not take these credentials",
        "make -s token",
        again=False,
    ),
    Break(
        "schedule", without_schedule, ("schedules",), "schedule EveryMinute", "is disabled", "aws events enable-rule"
    ),
)


@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_doctor_names_the_fault_and_the_remedy_and_finds_nothing_once_it_is_undone(
    deployed: Deployed, fault: Break
) -> None:
    def is_named(finding: Finding) -> bool:
        return fault.where in finding.where and fault.wrong in finding.wrong and fault.remedy in finding.remedy

    with fault.broken(deployed) as options:
        wait_for(
            lambda: any(map(is_named, faults(examine(deployed, *fault.checks, **options)))),
            f"doctor naming the {fault.name}",
        )
    if fault.again:
        wait_for(
            lambda: not any(map(is_named, faults(examine(deployed, *fault.checks)))), f"an end of the {fault.name}"
        )
