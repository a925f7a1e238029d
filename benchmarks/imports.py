"""CPU of a handler's import in a fresh interpreter, composed as Lambda does it.

Each is measured beside boto3 with the clients it makes, and beside the usual stack. Runs alternate, so that a change in
the machine's speed meets both; medians are compared.
"""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.wiring import WIRING

_ROOT = Path(__file__).resolve().parent.parent
_RUNS = 9
_CLIENTS = {
    "submit": ("dynamodb",),
    "vmaf": ("dynamodb",),
    "logs": ("dynamodb",),
    "jobs": ("dynamodb",),
    "dispatch": ("dynamodb", "sqs"),
    "batch": ("dynamodb", "sqs"),
    "survey": ("dynamodb", "s3", "sqs"),
    "expand": ("dynamodb", "sqs"),
    "tally": ("dynamodb",),
    "workers": ("dynamodb", "sqs"),
    "presets": ("dynamodb",),
    "consume": ("dynamodb", "sqs"),
    "sockets": ("dynamodb",),
    "append": ("dynamodb",),
    "webhooks": ("dynamodb", "sqs"),
    "deliver": ("dynamodb", "sqs", "events"),
    "collect": ("dynamodb", "s3"),
    "publish": ("dynamodb", "sqs", "events"),
    "push": ("dynamodb", "apigatewaymanagementapi"),
    "replay": ("dynamodb", "apigatewaymanagementapi"),
}
"""Function → the boto3 clients that it makes."""
_USUAL = """
import boto3, pydantic
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
class Job(pydantic.BaseModel):
    userid: str
    input: str
app = APIGatewayRestResolver(enable_validation=True)
logger, metrics, tracer = Logger(), Metrics(namespace="n"), Tracer()
[boto3.client(name) for name in ("dynamodb", "sqs")]
"""


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """For each function its CPU in ms, and the ratio to boto3 alone; for `schema` the ms above a bare interpreter."""
    bare = statistics.median(_cpu("pass", {}) for _ in range(_RUNS))
    schema = statistics.median(_handler("schema") for _ in range(_RUNS))
    yield "import schema: ms above a bare interpreter", f"{schema:.0f} ms", f"{bare:.0f} ms bare", schema - bare, 60
    for name, services in _CLIENTS.items():
        alone = f"import boto3\n[boto3.client(name) for name in {services!r}]"
        pairs = [(_handler(name), _cpu(alone, {})) for _ in range(_RUNS)]
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        yield f"import {name}", f"{ours:.0f} ms", f"boto3 + {len(services)} alone {theirs:.0f} ms", ours / theirs, 1.25
    pairs = [(_handler("submit"), _cpu(_USUAL, {})) for _ in range(_RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    yield "import submit beside the usual stack", f"{ours:.0f} ms", f"usual stack {theirs:.0f} ms", ours / theirs, 1.0


def _handler(name: str) -> float:
    """CPU milliseconds of a fresh interpreter that imports a function's handler."""
    return _cpu("import handler", WIRING.settings_of(name).environ(), name)


def _cpu(code: str, environ: dict[str, str], function: str = "") -> float:
    """CPU milliseconds of a fresh interpreter that runs the code."""
    path = [str(_ROOT / "layers" / "core" / "python"), *([str(_ROOT / "functions" / function)] if function else [])]
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(path),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "POWERTOOLS_SERVICE_NAME": "bench",
        "POWERTOOLS_TRACE_DISABLED": "true",
        **environ,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
