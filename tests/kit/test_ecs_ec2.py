"""The kits for ECS and EC2: AWS takes their documents, the worker their environments; a Spot notice stops a worker."""

import configparser
import json
import os
import re
import string
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.conftest import ROOT
from tests.docs.blocks import read
from worker.settings import Settings

ECS, EC2 = ROOT / "deploy" / "ecs", ROOT / "deploy" / "ec2"
PAGES = [ROOT / "docs" / "how-to" / name for name in ("ecs.md", "ec2.md")]
VALUES = {
    "ACCOUNT": "111122223333",
    "AWS_REGION": "us-east-1",
    "VERSION": "1.0.0",
    "JOB_ROLE": "arn:aws:iam::111122223333:role/jobs",
    "PARTS_BUCKET": "parts-111122223333",
}


def filled(path: Path) -> str:
    """The file as `envsubst` makes it."""
    return string.Template(path.read_text()).substitute(VALUES)


def commands(page: Path) -> str:
    return "\n".join(block.text for block in read(page) if block.language == "bash")


@mock_aws
def test_ecs_takes_the_task_and_the_worker_its_environment() -> None:
    task = json.loads(filled(ECS / "task.json"))
    made = boto3.client("ecs").register_task_definition(**task)["taskDefinition"]
    (container,) = made["containerDefinitions"]
    settings = Settings.read({pair["name"]: pair["value"] for pair in container["environment"]})
    assert (settings.queue, settings.job_role) == ("ffmpeg_job", VALUES["JOB_ROLE"])
    assert settings.limits.disk_bytes < task["ephemeralStorage"]["sizeInGiB"] * 2**30
    assert 10 < container["stopTimeout"] <= 120


@mock_aws
def test_the_service_grows_while_messages_wait_and_ends_only_where_none_is_in_flight() -> None:
    scaling = boto3.client("application-autoscaling")
    service: dict[str, Any] = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/elasticrecode/worker-cpu",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName="elasticrecode")
    ecs.register_task_definition(**json.loads(filled(ECS / "task.json")))
    ecs.create_service(cluster="elasticrecode", serviceName="worker-cpu", taskDefinition="elasticrecode-worker-cpu")
    scaling.register_scalable_target(**service, MinCapacity=0, MaxCapacity=20)
    for name in ("scale-out", "scale-in"):
        policy = json.loads((ECS / f"{name}.json").read_text())
        arguments = {"PolicyName": name, "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": policy}
        assert scaling.put_scaling_policy(**service, **arguments)["PolicyARN"]
        steps = policy["StepAdjustments"]
        assert [step.get("MetricIntervalUpperBound") for step in steps[:-1]] == [
            step["MetricIntervalLowerBound"] for step in steps[1:]
        ]
    metrics = json.loads((ECS / "idle.json").read_text())
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName="in", Metrics=metrics, EvaluationPeriods=5, Threshold=0,
        ComparisonOperator="LessThanOrEqualToThreshold",
    )  # fmt: skip
    assert {one["MetricStat"]["Metric"]["MetricName"] for one in metrics if "MetricStat" in one} == {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
    }


def test_the_worker_takes_the_environment_of_an_instance() -> None:
    lines = [line for line in filled(EC2 / "worker.env").splitlines() if not line.startswith("#")]
    assert Settings.read(dict(line.split("=", 1) for line in lines)).parts_bucket == VALUES["PARTS_BUCKET"]


@pytest.mark.parametrize("path", sorted(EC2.glob("*.service")), ids=lambda path: path.name)
def test_units_give_a_worker_time_to_return_its_job(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(re.sub(r"\\\n\s*", "", path.read_text()))
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    if "ExecStop" in unit["Service"]:
        (stops,) = re.findall(r"--timeout (\d+)", unit["Service"]["ExecStop"])
        assert 10 < int(stops) < int(unit["Service"]["TimeoutStopSec"])


def test_pages_name_files_and_outputs_that_exist() -> None:
    outputs = (ROOT / "docs" / "reference" / "options.md").read_text().partition("## Outputs")[2]
    for page in PAGES:
        shell = commands(page)
        named = re.findall(r"deploy/ec[s2]/([\w.-]+)", shell) + re.findall(r"^  file (\S+)", shell, re.MULTILINE)
        assert all((ECS / name).exists() or (EC2 / name).exists() for name in named)
        assert all(f"`{name}`" in outputs for name in re.findall(r"\$\(output (\w+)\)", shell))


def test_user_data_is_bash_with_all_files(tmp_path: Path) -> None:
    (block,) = [block for block in read(PAGES[1]) if "user-data.sh" in block.text and "dnf" in block.text]
    (tmp_path / "bin").mkdir()
    program = "import os, string, sys\nprint(string.Template(sys.stdin.read()).safe_substitute(os.environ), end='')"
    substitute = f"#!{sys.executable}\n{program}\n"
    (tmp_path / "bin" / "envsubst").write_text(substitute)
    (tmp_path / "bin" / "envsubst").chmod(0o755)
    path = tmp_path / "user-data.sh"
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"} | VALUES
    script = block.text.replace("/tmp/user-data.sh", str(path))
    subprocess.run(["bash", "-eu", "-c", script], cwd=ROOT, env=environment, check=True)
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    assert "$JOB_ROLE" not in text
    assert "${IMAGE}" in text
    assert all(line in text for line in (EC2 / "elasticrecode-spot").read_text().splitlines())


class Metadata(BaseHTTPRequestHandler):
    """The metadata of an instance: 404 for the notice until the third time that it is read."""

    asked = 0

    def do_PUT(self) -> None:
        self._answer(200, b"a-token")

    def do_GET(self) -> None:
        Metadata.asked += self.headers["X-aws-ec2-metadata-token"] == "a-token"
        self._answer(200 if Metadata.asked >= 3 else 404, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_the_notice_of_an_interruption_stops_the_worker(tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text(f'#!/bin/bash\necho "$@" > {tmp_path / "stopped"}\n')
    (tmp_path / "systemctl").chmod(0o755)
    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "METADATA": f"http://127.0.0.1:{server.server_port}",
            "SECONDS_BETWEEN": "0.1",
        }
        subprocess.run([EC2 / "elasticrecode-spot"], env=environment, check=True, timeout=120)
        server.shutdown()
    assert (tmp_path / "stopped").read_text() == "stop elasticrecode-worker\n"
    assert Metadata.asked == 3
