"""Deploying the stack into the embedded AWS with the real CDK CLI."""

import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local import aws, sources
from local.place import ACCOUNT, REGION, ROOT, LocalError, Place
from local.processes import AWS, CLUSTER, FRONT, Supervisor, wait_for

_CDK = ROOT / "node_modules" / ".bin" / "cdk"
_START_SECONDS = 60


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Print the name of a step, and the time it took."""
    print(f"{doing} …", end=" ", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def wait_for_aws(place: Place, supervisor: Supervisor) -> None:
    """Wait until the embedded AWS answers. LocalError when it does not in time."""
    _wait_for(f"{place.aws_url}/_ministack/health", AWS, "The embedded AWS", supervisor)


def wait_for_front(place: Place, supervisor: Supervisor) -> None:
    """Wait until the front door answers. LocalError when it does not in time."""
    _wait_for(f"{place.url}/", FRONT, "The front door", supervisor)


def wait_for_cluster(place: Place, supervisor: Supervisor) -> None:
    """Wait until the cluster answers. LocalError when it does not in time."""
    trust = ssl.create_default_context(cafile=place.cluster_authority)
    _wait_for(f"{place.kubernetes_url}/readyz", CLUSTER, "The cluster", supervisor, trust)


def discover(place: Place) -> None:
    """Run discovery now instead of in a minute. LocalError when it fails."""
    lambdas = aws.client(place, "lambda")
    answer = lambdas.invoke(FunctionName=place.stack()["DiscoveryFunction"])
    result = json.load(answer["Payload"])
    if "FunctionError" in answer or result["unreachable"]:
        raise LocalError(f"Discovery of the cluster's workers failed: {result}.", place.logs / f"{AWS}.log")


def _wait_for(url: str, name: str, title: str, supervisor: Supervisor, trust: ssl.SSLContext | None = None) -> None:
    def answers() -> bool:
        if supervisor.state(name) == "FATAL":
            raise LocalError(f"{title} does not start.", supervisor.log(name))
        try:
            with urllib.request.urlopen(url, timeout=2, context=trust) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for(answers, _START_SECONDS, f"{title} did not answer", supervisor.log(name))


def refuse_other_port(place: Place) -> None:
    """LocalError when the data was created with another AWS_PORT, which the addresses of its queues contain."""
    kept = json.loads(place.stack_file.read_text()).get("AwsEndpoint") if place.stack_file.exists() else None
    if kept and kept != place.aws_url:
        port = kept.rpartition(":")[2]
        raise LocalError(
            f"The data in {place.state} was created with AWS_PORT={port}; use that port, or run `make clean` first."
        )


def is_current(place: Place) -> bool:
    """Whether the deployed stack is built from today's files and options."""
    return place.stack_file.exists() and sources.deployed(place) == sources.read(place)


def deploy(place: Place) -> dict[str, str]:
    """Deploy the stack unless it is current; its outputs. LocalError when CDK fails."""
    if is_current(place):
        return _noted(place, place.stack())
    files = sources.read(place)
    sources.note(place, None)
    log = place.logs / "deploy.log"
    log.unlink(missing_ok=True)
    if not (place.state / "bootstrapped").exists():
        with step("Bootstrapping the embedded AWS for CDK"):
            _cdk(place, log, "bootstrap", f"aws://{ACCOUNT}/{REGION}")
        (place.state / "bootstrapped").touch()
    with step("Deploying the stack"):
        outputs = place.state / "outputs.json"
        _cdk(place, log, "deploy", "--require-approval", "never", "--outputs-file", str(outputs))
    (outputs_of_stack,) = json.loads(outputs.read_text()).values()
    stack = _noted(place, outputs_of_stack)
    sources.note(place, files)
    return stack


def _noted(place: Place, outputs: Mapping[str, str]) -> dict[str, str]:
    """The stack's outputs and the addresses of this environment, after writing them to the stack file."""
    stack = {
        **outputs,
        "Url": place.url,
        "AwsEndpoint": place.aws_url,
        "Region": REGION,
        "KubernetesUrl": place.kubernetes_url,
        "Kubeconfig": str(place.kubeconfig),
    }
    place.stack_file.write_text(json.dumps(stack, indent=2) + "\n")
    return stack


def _cdk(place: Place, log: Path, *arguments: str) -> None:
    options = [word for name, value in place.options().items() for word in ("-c", f"{name}={value}")]
    command = [str(_CDK), *arguments, *options, "--output", str(place.state / "cdk.out"), "--no-color", "--no-notices"]
    with log.open("ab") as file:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **place.aws_environment()},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise LocalError(f"`cdk {arguments[0]}` failed.", log)
