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

from msgspec.structs import asdict

from elasticrecode.contract import settings

_ROOT = Path(__file__).resolve().parent.parent
_RUNS = 9
_QUEUES: settings.Queues = {"cpu": {"q": "http://localhost/q"}, "gpu": {}, "vmaf": {}}
_SUBMIT = settings.SubmitSettings(
    jobs_table="t",
    registry_table="r",
    queues=_QUEUES,
    presets={},
    user_prefixes=[],
    retention_days=1,
    idempotency_days=1,
)
_WATCHERS = settings.WatchersSettings(
    jobs_table="t", feed_table="f", connections_table="c", socket_management_url="http://localhost/ws"
)
_FUNCTIONS: dict[str, tuple[settings.Settings, tuple[str, ...]]] = {
    "submit": (_SUBMIT, ("dynamodb",)),
    "vmaf": (_SUBMIT, ("dynamodb",)),
    "logs": (settings.LogsSettings(jobs_table="t", job_logs=True), ("dynamodb",)),
    "jobs": (
        settings.JobsSettings(jobs_table="t", batches_table="b", registry_table="r", queues=_QUEUES, retention_days=1),
        ("dynamodb",),
    ),
    "dispatch": (
        settings.DispatchSettings(jobs_table="t", registry_table="r", queues=_QUEUES, tally_queue="http://q"),
        ("dynamodb", "sqs"),
    ),
    "batch": (
        settings.BatchSettings(**asdict(_SUBMIT), batches_table="b", surveys_queue="http://q", pages_queue="http://q"),
        ("dynamodb", "sqs"),
    ),
    "survey": (
        settings.SurveySettings(
            batches_table="b",
            surveys_queue="http://q",
            pages_queue="http://q",
            tally_queue="http://q",
            user_prefixes=[],
            retention_days=1,
        ),
        ("dynamodb", "s3", "sqs"),
    ),
    "expand": (
        settings.ExpandSettings(
            jobs_table="t",
            batches_table="b",
            registry_table="r",
            queues=_QUEUES,
            pages_queue="http://q",
            tally_queue="http://q",
            retention_days=1,
            event_retention_seconds=1,
            time_limit=30,
        ),
        ("dynamodb", "sqs"),
    ),
    "tally": (
        settings.TallySettings(jobs_table="t", batches_table="b", retention_days=7, event_retention_seconds=1),
        ("dynamodb",),
    ),
    "workers": (
        settings.WorkersSettings(registry_table="r", queues=_QUEUES, discovery=True),
        ("dynamodb", "sqs"),
    ),
    "presets": (settings.PresetsSettings(registry_table="r", presets={}), ("dynamodb",)),
    "consume": (
        settings.ConsumeSettings(
            jobs_table="t", events_dead_letter_queue="http://q", event_retention_seconds=1, max_strikes=3
        ),
        ("dynamodb", "sqs"),
    ),
    "sockets": (
        settings.SocketsSettings(connections_table="c", socket_management_url="http://localhost/ws"),
        ("dynamodb",),
    ),
    "append": (settings.AppendSettings(feed_table="f", event_retention_seconds=1), ("dynamodb",)),
    "webhooks": (
        settings.WebhooksSettings(webhooks_table="w", deliveries_queue="http://q", networks=[]),
        ("dynamodb", "sqs"),
    ),
    "deliver": (
        settings.DeliverSettings(webhooks_table="w", deliveries_queue="http://q", event_bus="b", networks=[]),
        ("dynamodb", "sqs", "events"),
    ),
    "collect": (
        settings.CollectSettings(jobs_table="t", registry_table="r", queues=_QUEUES, retention_days=1, drops=[]),
        ("dynamodb", "s3"),
    ),
    "publish": (
        settings.PublishSettings(jobs_table="t", webhooks_table="w", deliveries_queue="http://q", event_bus="b"),
        ("dynamodb", "sqs", "events"),
    ),
    "push": (_WATCHERS, ("dynamodb", "apigatewaymanagementapi")),
    "replay": (_WATCHERS, ("dynamodb", "apigatewaymanagementapi")),
}
_FREE: dict[str, settings.Settings] = {
    "schema": settings.SchemaSettings(build="b", commit="c"),
}
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
    for name, told in _FREE.items():
        measured = statistics.median(_cpu("import handler", told.environ(), name) for _ in range(_RUNS))
        yield (
            f"import {name}: ms above a bare interpreter",
            f"{measured:.0f} ms",
            f"{bare:.0f} ms bare",
            measured - bare,
            60,
        )
    for name, (told, services) in _FUNCTIONS.items():
        alone = f"import boto3\n[boto3.client(name) for name in {services!r}]"
        pairs = [(_cpu("import handler", told.environ(), name), _cpu(alone, {})) for _ in range(_RUNS)]
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        yield f"import {name}", f"{ours:.0f} ms", f"boto3 + {len(services)} alone {theirs:.0f} ms", ours / theirs, 1.25
    told, _ = _FUNCTIONS["submit"]
    pairs = [(_cpu("import handler", told.environ(), "submit"), _cpu(_USUAL, {})) for _ in range(_RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    yield "import submit beside the usual stack", f"{ours:.0f} ms", f"usual stack {theirs:.0f} ms", ours / theirs, 1.0


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
