"""A first deployment that fails at its end and is repeated, in the embedded AWS, with the stack's own resources."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.place import TOOLS
from local.processes import wait_for
from tests.conftest import ROOT
from tests.e2e.conftest import free_ports
from tests.infra.test_stack import template

STACK = "First"
STORED = ("AWS::DynamoDB::Table", "AWS::Events::EventBus", "AWS::Logs::LogGroup", "AWS::S3::Bucket", "AWS::SQS::Queue")
FAILING = {"Type": "AWS::CloudFront::Function", "Properties": {}}
NAMED = {"elasticrecode_logs", "control_plane", "ffmpeg_job", "vmaf_job"}


class Account:
    """An account of the embedded AWS in which nothing is deployed."""

    def __init__(self, url: str) -> None:
        self.stacks: Any = boto3.client("cloudformation", endpoint_url=url)
        self._dynamodb: Any = boto3.client("dynamodb", endpoint_url=url)
        self._sqs: Any = boto3.client("sqs", endpoint_url=url)

    def deploy(self, resources: dict[str, Any]) -> str:
        """Create the stack; its state at the end."""
        self.stacks.create_stack(StackName=STACK, TemplateBody=json.dumps({"Resources": resources}))
        state = ""

        def ended() -> bool:
            nonlocal state
            (stack,) = self.stacks.describe_stacks(StackName=STACK)["Stacks"]
            state = str(stack["StackStatus"])
            return not state.endswith("IN_PROGRESS")

        wait_for(ended, 180, "The deployment did not end", Path(os.devnull))
        return state

    def remove(self) -> None:
        self.stacks.delete_stack(StackName=STACK)
        self.stacks.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})

    def names(self) -> set[str]:
        """The names of its tables and queues."""
        queues = self._sqs.list_queues().get("QueueUrls", [])
        return {*self._dynamodb.list_tables()["TableNames"], *(url.rsplit("/", 1)[-1] for url in queues)}


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    (port,) = free_ports(1)
    environment = {
        "PATH": os.defpath,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "false",
        "TMPDIR": str(tmp_path),
    }
    program = [str(TOOLS / "aws" / "bin" / "python"), str(ROOT / "local" / "ministack_patched.py")]
    log = tmp_path / "aws.log"
    with log.open("wb") as file:
        process = subprocess.Popen(program, env=environment, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/_ministack/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(answers, 180, "The embedded AWS did not answer", log)
        yield Account(url)
    finally:
        process.terminate()
        process.wait()


def stored(policy: str | None = None) -> dict[str, Any]:
    """The stack's resources with data and names, as they are or with one policy in place of RetainExceptOnCreate."""
    found = {key: each for key, each in template()["Resources"].items() if each["Type"] in STORED}
    named = {key: each for key, each in found.items() if "LogGroupName" not in each["Properties"]}
    text = json.dumps(named)
    loaded: dict[str, Any] = json.loads(text.replace('"RetainExceptOnCreate"', f'"{policy}"') if policy else text)
    return loaded


def and_then_fail(resources: dict[str, Any]) -> dict[str, Any]:
    return {**resources, "Last": {**FAILING, "DependsOn": list(resources)}}


def test_a_first_deployment_that_failed_is_repeated_under_the_same_names(account: Account) -> None:
    assert account.deploy(and_then_fail(stored())) == "ROLLBACK_COMPLETE"
    assert not account.names() & NAMED
    account.remove()
    assert account.deploy(stored()) == "CREATE_COMPLETE"
    assert account.names() >= NAMED
    account.remove()
    assert account.names() >= NAMED, "users' data outlive the stack"


def test_plain_retain_would_leave_the_names_of_a_failed_deployment_in_use(account: Account) -> None:
    """On AWS, the next deployment would fail on them; the embedded AWS lets a stack take a name that is in use."""
    assert account.deploy(and_then_fail(stored("Retain"))) == "ROLLBACK_COMPLETE"
    assert account.names() >= NAMED
