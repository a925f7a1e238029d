"""Deployment options: the context keys of cdk.json, each overridden with `cdk deploy -c name=value`."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from elasticrecode import addresses, drops, jobs
from elasticrecode.drops import Drop
from elasticrecode.errors import Fault, Invalid
from elasticrecode.validation import Reader

ROOT = Path(__file__).resolve().parent.parent

_QUEUE_ARN = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[\w-]{1,80}", re.ASCII)
_CLUSTER = re.compile(r"(arn:aws[a-z-]*:eks:[a-z0-9-]+:\d{12}:cluster/)?[0-9A-Za-z][\w-]{0,99}", re.ASCII)
_TAG = re.compile(r"tag:[^=,]{1,128}=[^,]{0,256}")
_QUEUE_NAME = re.compile(r"[\w-]{1,80}", re.ASCII)


def _is_queue_list(text: str) -> bool:
    names = [name.rsplit(":", 1)[-1] for name in listed(text)]
    return len(set(names)) == len(names) and all(
        _QUEUE_NAME.fullmatch(entry) or _QUEUE_ARN.fullmatch(entry) for entry in listed(text)
    )


def _is_network_list(text: str) -> bool:
    try:
        addresses.networks(listed(text))
    except ValueError:
        return False
    return True


def listed(text: str) -> list[str]:
    """The entries of a comma-separated option."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


FORMATS = {
    **jobs.FORMATS,
    **drops.FORMATS,
    "queue-name": (lambda text: _QUEUE_NAME.fullmatch(text) is not None, "an SQS queue name"),
    "queue-list": (
        _is_queue_list,
        "different SQS queue names (made here) or ARNs (existing queues), with commas between",
    ),
    "queue-patterns": (
        lambda text: all(re.fullmatch(r"[\w-][\w*-]{0,79}", entry, re.ASCII) for entry in listed(text)),
        "patterns of SQS queue names that begin with a letter, digit, - or _, * standing for any characters",
    ),
    "cluster-list": (
        lambda text: (
            _TAG.fullmatch(text) is not None
            or (len(set(listed(text))) == len(listed(text)) and all(map(_CLUSTER.fullmatch, listed(text))))
        ),
        "different names or ARNs of EKS clusters, with commas between, or one tag:key=value for all that have it",
    ),
    "topic": (
        lambda text: re.fullmatch(r"(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256})?", text, re.ASCII) is not None,
        "the ARN of an SNS topic, or empty",
    ),
    "network-list": (_is_network_list, "networks in CIDR notation such as 10.1.0.0/16, with commas between"),
    "table-name": (lambda text: re.fullmatch(r"[\w.-]{3,255}", text, re.ASCII) is not None, "a DynamoDB table name"),
    "stack-name": (
        lambda text: re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,100}", text) is not None,
        "a CloudFormation stack name",
    ),
    "site-folder": (
        lambda text: (ROOT / text / "index.html").is_file() and (ROOT / text / "static").is_dir(),
        "a folder with index.html and static/ in it",
    ),
    "execute-api": (
        lambda text: re.fullmatch(r"https?://\S*\{apiId\}\S*", text) is not None,
        "a URL with {apiId} where an API's id belongs",
    ),
}

Text = str
QueueList = Annotated[str, Meta(extra_json_schema={"format": "queue-list"})]


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Every option. The first generation's switch stands behind each that replaces one."""

    stackName: Annotated[str, Meta(extra_json_schema={"format": "stack-name"})]
    controlQueue: Annotated[str, Meta(extra_json_schema={"format": "queue-name"})]
    cpuQueues: QueueList
    gpuQueues: QueueList
    vmafQueues: QueueList
    discovery: bool  # -disableAutoDiscovery
    clusters: Annotated[str, Meta(extra_json_schema={"format": "cluster-list"})]  # -disableInCluster, -kubeconfig
    accessEntries: bool
    discoveredQueues: Annotated[str, Meta(extra_json_schema={"format": "queue-patterns"})]
    jobLogs: bool
    jobsTable: Annotated[str, Meta(extra_json_schema={"format": "table-name"})]
    cors: bool  # -disableCORS
    verbose: bool  # -verbose
    retentionDays: Annotated[int, Meta(ge=1, le=3650)]
    idempotencyDays: Annotated[int, Meta(ge=1, le=365)]
    maxAttempts: Annotated[int, Meta(ge=1, le=20)]
    drops: list[Drop]
    webhookNetworks: Annotated[str, Meta(extra_json_schema={"format": "network-list"})]
    alarmTopic: Annotated[str, Meta(extra_json_schema={"format": "topic"})]
    keepData: bool
    frontDoor: Literal["cloudfront", "none"]
    siteFolder: Annotated[str, Meta(extra_json_schema={"format": "site-folder"})]
    executeApi: Annotated[str, Meta(extra_json_schema={"format": "execute-api"})]
    lambdaRuntime: Literal["python3.11", "python3.12", "python3.13", "python3.14"]
    lambdaPlatform: Annotated[str, Meta(pattern="^(aarch64|x86_64)-[a-z0-9_-]+$")]

    @property
    def queues(self) -> dict[str, list[str]]:
        """Group of workers → the queues named for it."""
        return {"cpu": listed(self.cpuQueues), "gpu": listed(self.gpuQueues), "vmaf": listed(self.vmafQueues)}


_ENVIRONMENT_BYTES = 4096 - 1024
"""What Lambda takes as a function's environment, less its other settings."""
_BUCKET_NAME = 63
_QUEUE_BYTES = 80
"""About what a queue's address takes beside its name, twice."""
_QUEUE_LISTS = ("cpuQueues", "gpuQueues", "vmafQueues")
_NUMBERS = ("retentionDays", "idempotencyDays", "maxAttempts")
_reader = Reader(Options, FORMATS)


def read(context: Mapping[str, Any]) -> Options:
    """The options in an app's context. Invalid with every fault; CDK's own keys, with ':' or '/', are left out."""
    given = {name: _typed(name, value) for name, value in context.items() if not re.search("[:/]", name)}
    return _reader.convert(given, _faults(given))


def explain(error: Invalid) -> str:
    """The faults as sentences, for the terminal."""
    lines = (f"  option {fault.pointer.strip('/')}: {fault.detail}" for fault in error.faults)
    return "\n".join(["The deployment options are wrong (cdk.json, or -c name=value):", *lines])


def _typed(name: str, value: Any) -> Any:
    """A value from the command line, which is always a string, as what the option is."""
    kind = Options.__annotations__.get(name)
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if name in _NUMBERS and isinstance(value, str) and value.isdigit():
        return int(value)
    if name == "drops" and isinstance(value, str):
        with suppress(msgspec.DecodeError):  # what is no JSON is no list, which the schema tells
            return msgspec.json.decode(value)
    return value


def _faults(given: Mapping[str, Any]) -> list[Fault]:
    """What no single option can say of itself."""
    faults = []
    discovering = given.get("discovery") is True
    control = str(given.get("controlQueue"))
    if discovering and any(fnmatchcase(control, pattern) for pattern in listed(str(given.get("discoveredQueues", "")))):
        faults.append(Fault("/discoveredQueues", f"must not fit {control}, which is controlQueue's"))
    if discovering and not listed(str(given.get("clusters", ""))):
        faults.append(Fault("/clusters", "must name a cluster, or a tag of clusters, while discovery is true"))
    if not discovering and given.get("clusters"):
        faults.append(Fault("/clusters", "must be empty while discovery is false"))
    if not discovering and not any(listed(str(given.get(name, ""))) for name in _QUEUE_LISTS):
        faults.append(
            Fault("/discovery", "is false, so at least one of cpuQueues, gpuQueues and vmafQueues must name a queue")
        )
    taken = {str(given.get("controlQueue")): "controlQueue"}
    for option in _QUEUE_LISTS:
        for name in {entry.rsplit(":", 1)[-1] for entry in listed(str(given.get(option, "")))}:
            other = taken.setdefault(name, option)
            if other != option:
                faults.append(Fault(f"/{option}", f"must not name {name}, which is {other}'s already"))
    return faults + [Fault(f"/drops{fault.pointer}", fault.detail) for fault in _drop_faults(given)]


def _drop_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Drops that can't stand beside each other, or that don't fit into the environment of their function."""
    yield from drops.faults(given.get("drops"))
    try:
        asked = msgspec.convert(given.get("drops", []), list[Drop])
    except msgspec.ValidationError:
        return  # told by the schema
    named = [entry.rsplit(":", 1)[-1] for option in _QUEUE_LISTS for entry in listed(str(given.get(option, "")))]
    size = len(msgspec.json.encode([drop.placed("-" * _BUCKET_NAME) for drop in asked]))
    size += sum(2 * len(name) + _QUEUE_BYTES for name in named)
    if asked and size > _ENVIRONMENT_BYTES:
        detail = f"take {size} bytes with the addresses of queues; a function's settings take {_ENVIRONMENT_BYTES}"
        yield Fault("", f"{detail}: name fewer, or with shorter profiles")
