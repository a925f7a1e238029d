"""Deployment options: the context keys of cdk.json, each overridden with `cdk deploy -c name=value`."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from elasticrecode.access import prefixes
from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.contract.auth import Auth, Kind
from elasticrecode.errors import Fault, Invalid, Malformed
from elasticrecode.jobs import drops, formats
from elasticrecode.jobs.drops import Drop
from elasticrecode.jobs.requests import read_preset
from elasticrecode.media import presets
from elasticrecode.media.presets import BUILT_IN, ProfileBody
from elasticrecode.validation import Body, Reader
from elasticrecode.webhooks import addresses

_DAY_SECONDS = 86_400
_WITHOUT_LOGS_SECONDS = 3_600
"""Seconds for which events are stored without job logs: long enough to push them."""
ROOT = Path(__file__).resolve().parent.parent

_QUEUE_ARN = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[\w-]{1,80}", re.ASCII)
_CLUSTER = re.compile(r"(arn:aws[a-z-]*:eks:[a-z0-9-]+:\d{12}:cluster/)?[0-9A-Za-z][\w-]{0,99}", re.ASCII)
_TAG = re.compile(r"tag:[^=,]{1,128}=[^,]{0,256}")
_ORIGIN = re.compile(r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:\d{1,5})?", re.ASCII)
"""As browsers write it, in small letters; a port only where it is not the scheme's own."""
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9-]+\.)+[a-z0-9-]+", re.ASCII)
_WEB_ACL = re.compile(r"arn:aws[a-z-]*:wafv2:[a-z0-9-]+:\d{12}:(global|regional)/webacl/[\w-]+/[\w-]+", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
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


def _is_acl_list(text: str) -> bool:
    found = [_WEB_ACL.fullmatch(entry) for entry in listed(text)]
    scopes = [match.group(1) for match in found if match]
    return None not in found and len(set(scopes)) == len(scopes)


def listed(text: str) -> list[str]:
    """The entries of a comma-separated option."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


FORMATS = {
    **formats.FORMATS,
    **drops.FORMATS,
    **prefixes.FORMATS,
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
    "origin-list": (
        lambda text: listed(text) == ["*"] or all(map(_ORIGIN.fullmatch, listed(text))),
        "origins of web pages, such as https://app.example.com, with commas between; * for any, or empty for none",
    ),
    "domain-list": (
        lambda text: all(_DOMAIN.fullmatch(entry) for entry in listed(text)),
        "domain names such as video.example.com, with commas between",
    ),
    "certificate": (
        lambda text: (
            re.fullmatch(r"(arn:aws[a-z-]*:acm:us-east-1:\d{12}:certificate/[\w-]+)?", text, re.ASCII) is not None
        ),
        "the ARN of a certificate of ACM in us-east-1, or empty",
    ),
    "web-acls": (
        _is_acl_list,
        "ARNs of WAF web ACLs, at most a global and a regional one, with a comma between",
    ),
    "bucket-list": (
        lambda text: all(_BUCKET.fullmatch(entry) for entry in listed(text)),
        "names of S3 buckets, with commas between",
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
    "user-pool": (
        lambda text: re.fullmatch(r"([a-z]{2}(-[a-z]+)+-\d_[0-9A-Za-z]{1,55})?", text, re.ASCII) is not None,
        "the id of a Cognito user pool of this Region, or empty",
    ),
    "issuer": (
        lambda text: re.fullmatch(r"(https://[^\s?#/]+(/[^\s?#]*)?)?", text, re.ASCII) is not None,
        "the https URL of an OpenID issuer as its tokens have it, or empty",
    ),
    "principal-list": (
        lambda text: all(re.fullmatch(r"[\w+=,.@-]{1,64}", entry, re.ASCII) for entry in listed(text)),
        "names of IAM roles and users, with commas between",
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
    cors: Annotated[str, Meta(extra_json_schema={"format": "origin-list"})]  # -disableCORS
    requestsPerMinute: Annotated[int, Meta(ge=0, le=1_000_000)]
    requestsPerSecond: Annotated[int, Meta(ge=1, le=10_000)]
    requestsBurst: Annotated[int, Meta(ge=1, le=5_000)]
    accessLogs: bool
    auth: Kind
    userPool: Annotated[str, Meta(extra_json_schema={"format": "user-pool"})]
    jwtIssuer: Annotated[str, Meta(extra_json_schema={"format": "issuer"})]
    jwtAudience: Annotated[str, Meta(max_length=256)]
    jwtUserClaim: Annotated[str, Meta(min_length=1, max_length=128)]
    jwtGroupsClaim: Annotated[str, Meta(min_length=1, max_length=128)]
    operators: Annotated[str, Meta(extra_json_schema={"format": "principal-list"})]
    verbose: bool  # -verbose
    retentionDays: Annotated[int, Meta(ge=1, le=3650)]
    idempotencyDays: Annotated[int, Meta(ge=1, le=365)]
    maxAttempts: Annotated[int, Meta(ge=1, le=20)]
    batchBuckets: Annotated[str, Meta(extra_json_schema={"format": "bucket-list"})]
    presets: dict[str, Any]
    drops: list[Drop]
    userPrefixes: list[UserPrefix]
    webhookNetworks: Annotated[str, Meta(extra_json_schema={"format": "network-list"})]
    alarmTopic: Annotated[str, Meta(extra_json_schema={"format": "topic"})]
    keepData: bool
    frontDoor: Literal["cloudfront", "none"]
    domains: Annotated[str, Meta(extra_json_schema={"format": "domain-list"})]
    certificate: Annotated[str, Meta(extra_json_schema={"format": "certificate"})]
    webAcls: Annotated[str, Meta(extra_json_schema={"format": "web-acls"})]
    siteFolder: Annotated[str, Meta(extra_json_schema={"format": "site-folder"})]
    executeApi: Annotated[str, Meta(extra_json_schema={"format": "execute-api"})]
    cognitoIdp: Annotated[str, Meta(pattern="^https?://[^/]+$")]
    lambdaRuntime: Literal["python3.11", "python3.12", "python3.13", "python3.14"]
    lambdaPlatform: Annotated[str, Meta(pattern="^(aarch64|x86_64)-[a-z0-9_-]+$")]

    @property
    def queues(self) -> dict[str, list[str]]:
        """Group of workers → the queues named for it."""
        return {"cpu": listed(self.cpuQueues), "gpu": listed(self.gpuQueues), "vmaf": listed(self.vmafQueues)}

    def web_acl(self, scope: Literal["global", "regional"]) -> str | None:
        """The ARN of the web ACL of a scope."""
        return next((arn for arn in listed(self.webAcls) if f":{scope}/" in arn), None)

    def wiring(self, media_bucket: str) -> dict[str, Any]:
        """The fields of `Wiring` that follow from options; `media_bucket` is the name of the product's own bucket."""
        return {
            "cors": tuple(listed(self.cors)),
            "auth": Auth(self.auth, tuple(listed(self.operators))),
            "presets": self.presets,
            "user_prefixes": [msgspec.to_builtins(each.with_bucket(media_bucket)) for each in self.userPrefixes],
            "drops": [msgspec.to_builtins(drop.with_bucket(media_bucket)) for drop in self.drops],
            "job_logs": self.jobLogs,
            "discovery": self.discovery,
            "clusters": listed(self.clusters),
            "allowed": listed(self.discoveredQueues),
            "networks": listed(self.webhookNetworks),
            "retention_days": self.retentionDays,
            "event_retention_seconds": self.retentionDays * _DAY_SECONDS if self.jobLogs else _WITHOUT_LOGS_SECONDS,
            "idempotency_days": self.idempotencyDays,
            "max_strikes": self.maxAttempts,
        }


_ENVIRONMENT_BYTES = 4096 - 1024
"""What Lambda takes as a function's environment, less what it has beside drops, presets, prefixes and queues."""
_PREFIX_BYTES = 2000
"""Of that for prefixes at the most, so that there is room for queues."""
_BUCKET_NAME = 63
_QUEUE_BYTES = 80
"""About what a queue's address takes beside its name, twice."""
_QUEUE_LISTS = ("cpuQueues", "gpuQueues", "vmafQueues")
_NUMBERS = (
    "retentionDays",
    "idempotencyDays",
    "maxAttempts",
    "requestsPerMinute",
    "requestsPerSecond",
    "requestsBurst",
)
_LISTS = ("drops", "userPrefixes")
_reader = Reader(Options, FORMATS)


def read(context: Mapping[str, Any]) -> Options:
    """The options in an app's context. Invalid with every fault; CDK's own keys, with ':' or '/', are left out."""
    given = {name: _typed(name, value) for name, value in context.items() if not re.search("[:/]", name)}
    faults: list[Fault] = []
    if isinstance(given.get("presets"), str):
        faults += _parse_presets(given)
    faults += [*_preset_faults(given), *_name_presets(given), *_faults(given)]
    return _reader.convert(given, faults)


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
    if name in _LISTS and isinstance(value, str):
        with suppress(msgspec.DecodeError):  # what is no JSON is no list, which the schema tells
            return msgspec.json.decode(value)
    return value


def _parse_presets(given: dict[str, Any]) -> list[Fault]:
    """Presets from the command line, which are JSON, put in their place."""
    try:
        body = Body(given["presets"].encode())
    except Malformed as error:
        given["presets"] = {}
        return [Fault("/presets", f"must be a JSON object, name to profile: {error.detail}")]
    given["presets"] = body.content
    return [Fault(f"/presets{fault.pointer}", fault.detail) for fault in body.faults]


def _preset_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with the deployment's presets."""
    named = given.get("presets")
    if not isinstance(named, dict):
        return
    for name, profile in named.items():
        if not presets.NAME.fullmatch(name):
            yield Fault(f"/presets/{name}", f"must be called by {presets.NAME_RULE}")
        try:
            read_preset(Body(json.dumps({"profile": profile}).encode()))
        except Invalid as error:
            for fault in error.faults:
                yield Fault(f"/presets/{name}{fault.pointer.removeprefix('/profile')}", fault.detail)
    size = len(json.dumps(named, separators=(",", ":")))
    queues = {entry.rsplit(":", 1)[-1] for option in _QUEUE_LISTS for entry in listed(str(given.get(option, "")))}
    room = _ENVIRONMENT_BYTES - len(str(given.get("cors", ""))) - _prefix_bytes(given)
    room -= sum(_QUEUE_BYTES + 2 * len(queue) for queue in queues)
    if named and size > room:
        detail = f"are {size} bytes, and Lambda's environment has room for {room} beside the queues and userPrefixes"
        yield Fault("/presets", f"{detail}: store some with PUT /api/v1/presets/{{name}} instead")


def _name_presets(given: dict[str, Any]) -> Iterator[Fault]:
    """Put the profiles of presets in the place of their names in drops; what is wrong with the names."""
    named, asked = given.get("presets"), given.get("drops")
    known = {**BUILT_IN, **(named if isinstance(named, dict) else {})}
    if not isinstance(asked, list):
        return
    given["drops"] = [dict(entry) if isinstance(entry, dict) else entry for entry in asked]
    for n, entry in enumerate(given["drops"]):
        profile = entry.get("profile") if isinstance(entry, dict) else None
        if not (isinstance(profile, dict) and "preset" in profile):
            continue
        body = ProfileBody(json.dumps({"profile": profile}).encode(), known)
        yield from (Fault(f"/drops/{n}{fault.pointer}", fault.detail) for fault in body.faults)
        # With a name that is wrong all else is still looked at, as if it were right.
        entry["profile"] = next(iter(BUILT_IN.values())) if body.faults else body.fields["profile"]


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
    faults += _auth_faults(given)
    for option, other in (("domains", "certificate"), ("certificate", "domains")):
        if given.get(option) and not given.get(other):
            faults.append(Fault(f"/{option}", f"must be empty while {other} is"))
    if given.get("frontDoor") == "none" and given.get("domains"):
        faults.append(Fault("/domains", "must be empty while frontDoor is none"))
    taken = {str(given.get("controlQueue")): "controlQueue"}
    for option in _QUEUE_LISTS:
        for name in {entry.rsplit(":", 1)[-1] for entry in listed(str(given.get(option, "")))}:
            other = taken.setdefault(name, option)
            if other != option:
                faults.append(Fault(f"/{option}", f"must not name {name}, which is {other}'s already"))
    faults += [
        Fault(f"/userPrefixes{fault.pointer}", fault.detail) for fault in prefixes.faults(given.get("userPrefixes"))
    ]
    size = _prefix_bytes(given)
    if size > _PREFIX_BYTES:
        faults.append(Fault("/userPrefixes", f"take {size} bytes; a function's settings have room for {_PREFIX_BYTES}"))
    return faults + [Fault(f"/drops{fault.pointer}", fault.detail) for fault in _drop_faults(given)]


def _prefix_bytes(given: Mapping[str, Any]) -> int:
    """What prefixes take of a function's environment."""
    named = prefixes.read(given.get("userPrefixes")).values()
    return len(msgspec.json.encode([each.with_bucket("-" * _BUCKET_NAME) for each in named]))


def _auth_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Options of one way to ask who calls, beside another."""
    auth = given.get("auth")
    for option, kind in (("userPool", "cognito"), ("jwtIssuer", "jwt"), ("jwtAudience", "jwt"), ("operators", "iam")):
        if given.get(option) and auth != kind:
            yield Fault(f"/{option}", f"is for auth={kind}, and auth is {auth}")
    for option in ("jwtIssuer", "jwtAudience"):
        if auth == "jwt" and not given.get(option):
            yield Fault(f"/{option}", "must be given with auth=jwt")


def _drop_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Drops that can't stand beside each other, or that don't fit into the environment of their function."""
    yield from drops.faults(given.get("drops"))
    try:
        asked = msgspec.convert(given.get("drops", []), list[Drop])
    except msgspec.ValidationError:
        return  # told by the schema
    allowed = Prefixes([each.with_bucket("") for each in prefixes.read(given.get("userPrefixes")).values()])
    for n, drop in enumerate(asked):
        place = drop.with_bucket("")
        yield from allowed.faults(drop.userid, "read", [(f"/{n}/prefix", f"s3://{place.bucket}/{place.prefix}")])
        yield from allowed.faults(drop.userid, "write", [(f"/{n}/output", place.output)])
    named = [entry.rsplit(":", 1)[-1] for option in _QUEUE_LISTS for entry in listed(str(given.get(option, "")))]
    size = len(msgspec.json.encode([drop.with_bucket("-" * _BUCKET_NAME) for drop in asked]))
    size += sum(2 * len(name) + _QUEUE_BYTES for name in named)
    if asked and size > _ENVIRONMENT_BYTES:
        detail = f"take {size} bytes with the addresses of queues; a function's settings take {_ENVIRONMENT_BYTES}"
        yield Fault("", f"{detail}: name fewer, or with shorter profiles")
