"""Deployment options: context keys of the CDK app, set in cdk.json or with `cdk deploy -c name=value`.

A field of `Options` is the one place that an option's name, type, default and description are written. The table in
docs/reference/options.md is made of it by `python -m infra.option_table`.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, structs

from elasticrecode.access.prefixes import UPLOADS, UserPrefix
from elasticrecode.contract.auth import Auth, Kind
from elasticrecode.contract.settings import Prices
from elasticrecode.drops.rules import Drop
from elasticrecode.errors import Invalid
from elasticrecode.validation import Reader
from infra import option_faults
from infra.option_formats import FORMATS, ROOT, listed

__all__ = ["ROOT", "Options", "explain", "listed", "read"]

_DAY_SECONDS = 86_400
_WITHOUT_LOGS_SECONDS = 3_600
"""Seconds for which events are stored without job logs: long enough to push them."""


def _option(description: str, *, format_: str = "", before: str = "", **limits: Any) -> Meta:
    """What an option does, the format of its text, its flag in the first generation, and limits of its value."""
    schema = {"format": format_} if format_ else {}
    return Meta(description=description, extra_json_schema=schema, extra={"before": before}, **limits)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every option with its default. A description may use Markdown; links are from docs/reference/."""

    stackName: Annotated[str, _option("CloudFormation's name of the stack", format_="stack-name")] = "ElasticRecode"
    controlQueue: Annotated[str, _option("the queue on which workers report", format_="queue-name", before="`-q`")] = (
        "control_plane"
    )
    cpuQueues: Annotated[
        str,
        _option(
            "queues of cpu workers, comma-separated; a name creates a queue, an ARN names an existing one",
            format_="queue-list",
            before="`-cpuQ`",
        ),
    ] = "ffmpeg_job"
    gpuQueues: Annotated[
        str, _option("queues of gpu workers, in the same form", format_="queue-list", before="`-gpuQ`")
    ] = ""
    vmafQueues: Annotated[
        str, _option("queues of vmaf workers, in the same form", format_="queue-list", before="`-vmafQ`")
    ] = "vmaf_job"
    firstGenerationQueues: Annotated[
        str,
        _option(
            "names of those of these queues, comma-separated, whose workers are of the first generation: they get only "
            "jobs that these can do ([generations](../explanation/routing.md#generations))",
            format_="queue-names",
        ),
    ] = ""
    discovery: Annotated[
        bool,
        _option(
            "`true`: a function lists workers in the clusters every minute. `false`: at least one queue must be named",
            before="`-disableAutoDiscovery`",
        ),
    ] = False
    clusters: Annotated[
        str,
        _option(
            "EKS clusters in which discovery looks: names or ARNs, comma-separated, or one `tag:key=value` for all "
            "clusters of the account and Region with that tag",
            format_="cluster-list",
            before="`-disableInCluster`, `-kubeconfig`",
        ),
    ] = ""
    accessEntries: Annotated[
        bool,
        _option(
            "create an access entry for discovery in each cluster that is named by its name; `false` where you map "
            "its role yourself ([EKS](../how-to/eks.md))"
        ),
    ] = True
    discoveredQueues: Annotated[
        str,
        _option(
            "patterns of the names of queues that discovered workers may use, beginning with a letter or digit. "
            "Other queues show this as their fault and get no jobs. Functions may send to, measure and receive from "
            "every queue that matches, so name no other queue like that",
            format_="queue-patterns",
        ),
    ] = "ffmpeg*,vmaf*"
    jobLogs: Annotated[
        bool,
        _option(
            "`false`: events are kept for an hour, for watchers, and the log routes refuse",
            before="`-disableWriteJobLogs`",
        ),
    ] = True
    jobsTable: Annotated[
        str, _option("name of the table of jobs and events", format_="table-name", before="`-LogsTableName`")
    ] = "elasticrecode_logs"
    cors: Annotated[
        str,
        _option(
            "origins whose pages may call the API beside its own, such as `https://app.example.com`, "
            "comma-separated; `*` for any",
            format_="origin-list",
            before="`-disableCORS`",
        ),
    ] = ""
    requestsPerMinute: Annotated[
        int,
        _option(
            "how many changing requests (all but GET) and new WebSockets a user may make in a minute; 429 beyond. "
            "Operators are not counted; `0` counts nobody",
            ge=0,
            le=1_000_000,
        ),
    ] = 600
    requestsPerSecond: Annotated[
        int,
        _option(
            "how many requests API Gateway takes a second, by route, of all users together, and how many WebSockets "
            "are opened. The account has a quota of 10,000 for all its APIs",
            ge=1,
            le=10_000,
        ),
    ] = 500
    requestsBurst: Annotated[int, _option("how many of these may come at once", ge=1, le=5_000)] = 1000
    accessLogs: Annotated[
        bool,
        _option(
            "log each request to CloudWatch for a month. Needs API Gateway's account-wide role for logs, which the "
            "stack creates and leaves; `false` does not touch it"
        ),
    ] = True
    auth: Annotated[
        Kind,
        _option(
            "how callers prove who they are: `cognito`, `jwt`, `iam`, or `none`, which lets everyone do everything "
            "and must be chosen: [below](#who-may-call)"
        ),
    ] = "cognito"
    userPool: Annotated[
        str,
        _option(
            "with `auth` `cognito`: the id of an existing user pool; without it the stack creates one",
            format_="user-pool",
        ),
    ] = ""
    jwtIssuer: Annotated[
        str, _option("with `auth` `jwt`: the URL of the OpenID issuer, as in its tokens", format_="issuer")
    ] = ""
    jwtAudience: Annotated[str, _option("with `auth` `jwt`: accepted audiences, comma-separated", max_length=256)] = ""
    jwtUserClaim: Annotated[str, _option("the claim with the user's id", min_length=1, max_length=128)] = "sub"
    jwtGroupsClaim: Annotated[
        str, _option("the claim with the user's groups, a list", min_length=1, max_length=128)
    ] = "groups"
    operators: Annotated[
        str,
        _option(
            "with `auth` `iam`: names of the roles and users that are operators, comma-separated",
            format_="principal-list",
        ),
    ] = ""
    verbose: Annotated[bool, _option("functions log at DEBUG", before="`-verbose`")] = False
    retentionDays: Annotated[int, _option("how long jobs and events are kept", ge=1, le=3650)] = 90
    idempotencyDays: Annotated[
        int, _option("how long an `Idempotency-Key` is remembered, at most `retentionDays`", ge=1, le=365)
    ] = 7
    maxAttempts: Annotated[
        int, _option("how often a job may be lost, or returned with an error of its own, before it fails", ge=1, le=20)
    ] = 3
    workerPrice: Annotated[
        float,
        _option(
            "what one cpu worker costs in US dollars per hour, for [plans and budgets](../how-to/plan.md). The default "
            "is a c7i.xlarge in us-east-1, on demand, for each worker",
            gt=0,
        ),
    ] = 0.1785
    spotPrice: Annotated[float, _option("the same for the price model `spot`; spot prices change: set yours", gt=0)] = (
        0.071
    )
    batchBuckets: Annotated[
        str,
        _option(
            "S3 buckets, comma-separated, that [batches](../how-to/batches.md) may list and read manifests from, "
            "beside the media bucket",
            format_="bucket-list",
        ),
    ] = ""
    presets: Annotated[
        dict[str, Any], _option("profiles by name, beside the built-in ones or in their place: [below](#presets)")
    ] = {}
    drops: Annotated[
        list[Drop],
        _option(
            "buckets and prefixes whose objects become jobs, each with a profile: a list of objects, as JSON on the "
            "command line ([drops](../how-to/drops.md))"
        ),
    ] = []
    userPrefixes: Annotated[
        list[UserPrefix],
        _option(
            "which objects users may read and write: a list of objects, as JSON on the command line: "
            "[below](#user-prefixes). Without it nothing is checked"
        ),
    ] = []
    webhookNetworks: Annotated[
        str,
        _option(
            "networks in CIDR notation, comma-separated, that webhooks may reach although they are not public, also "
            "over http ([webhooks](../how-to/webhooks.md))",
            format_="network-list",
        ),
    ] = ""
    alarmTopic: Annotated[
        str,
        _option(
            "ARN of an SNS topic for the alarms on jobs and events that were given up, and on work that stalls",
            format_="topic",
        ),
    ] = ""
    keepData: Annotated[
        bool,
        _option(
            "tables, buckets and queues with users' data outlive `cdk destroy`; a later deployment then needs other "
            "names or an import. A first deployment that fails removes them in any case"
        ),
    ] = True
    frontDoor: Annotated[
        Literal["cloudfront", "none"], _option("`none`: no CloudFront distribution; bring your own front")
    ] = "cloudfront"
    domains: Annotated[
        str,
        _option(
            "domain names of the front door, comma-separated. CloudFront's own name also accepts TLS 1.0; these "
            "accept TLS 1.2 and newer",
            format_="domain-list",
        ),
    ] = ""
    certificate: Annotated[
        str, _option("ARN of the domains' certificate in ACM in us-east-1", format_="certificate")
    ] = ""
    webAcls: Annotated[
        str,
        _option(
            "ARNs of WAF web ACLs, comma-separated: a global one protects the front door, a regional one the REST API",
            format_="web-acls",
        ),
    ] = ""
    serveMedia: Annotated[
        str,
        _option(
            "`public:<prefix>` or `signed:<prefix>`: a CloudFront distribution serves the media bucket's objects under "
            "a prefix such as `out/`, to everybody or to holders of signed cookies "
            "([packages](../how-to/serve-packages.md)); the bucket stays private",
            format_="serving",
        ),
    ] = "off"
    mediaKey: Annotated[
        str,
        _option(
            "with `serveMedia` `signed:`: the public key that verifies cookies, in PEM",
            format_="public-key",
        ),
    ] = ""
    mediaDomain: Annotated[
        str,
        _option(
            "with `serveMedia`: domain name of that distribution, which `certificate` covers", format_="domain-list"
        ),
    ] = ""
    siteFolder: Annotated[
        str,
        _option(
            "the home page: a folder with `index.html` and `static/`", format_="site-folder", before="static folder"
        ),
    ] = "web"
    executeApi: Annotated[str, _option("URL of an API, with `{apiId}` in it", format_="execute-api")] = (
        "https://{apiId}.execute-api.{region}.amazonaws.com"
    )
    cognitoIdp: Annotated[
        str, _option("URL of Cognito's user pools, with `{region}` in it", pattern="^https?://[^/]+$")
    ] = "https://cognito-idp.{region}.amazonaws.com"
    s3Url: Annotated[
        str,
        _option(
            "URL of S3 as browsers reach it, with `{region}` in it. Without `{bucket}.` before the host, the path "
            "begins with the bucket",
            pattern=r"^https?://(\{bucket\}\.)?[^/{]+(\{region\}[^/{]+)?$",
        ),
    ] = "https://{bucket}.s3.{region}.amazonaws.com"
    lambdaRuntime: Annotated[
        Literal["python3.11", "python3.12", "python3.13", "python3.14"], _option("`python3.12` and newer on AWS")
    ] = "python3.14"
    lambdaPlatform: Annotated[
        str,
        _option(
            "platform of the wheels; its first word chooses the architecture: `aarch64-manylinux_2_28` or "
            "`x86_64-manylinux_2_28`",
            format_="lambda-platform",
        ),
    ] = "aarch64-manylinux_2_28"

    @property
    def queues(self) -> dict[str, list[str]]:
        """Group of workers → the queues named for it."""
        return {"cpu": listed(self.cpuQueues), "gpu": listed(self.gpuQueues), "vmaf": listed(self.vmafQueues)}

    def web_acl(self, scope: Literal["global", "regional"]) -> str | None:
        """The ARN of the web ACL of a scope."""
        return next((arn for arn in listed(self.webAcls) if f":{scope}/" in arn), None)

    def prefixes(self, media_bucket: str) -> list[UserPrefix]:
        """The user prefixes as whole URIs, that of uploads among them; none where the option names none."""
        return [each.with_bucket(media_bucket) for each in (*self.userPrefixes, UPLOADS)] if self.userPrefixes else []

    def wiring(self, media_bucket: str) -> dict[str, Any]:
        """The fields of `Wiring` that follow from options; `media_bucket` is the name of the product's own bucket."""
        return {
            "cors": tuple(listed(self.cors)),
            "auth": Auth(self.auth, tuple(listed(self.operators))),
            "presets": self.presets,
            "prices": Prices(self.workerPrice, self.spotPrice),
            "media_bucket": media_bucket,
            "user_prefixes": [msgspec.to_builtins(each) for each in self.prefixes(media_bucket)],
            "drops": [msgspec.to_builtins(drop.with_bucket(media_bucket)) for drop in self.drops],
            "job_logs": self.jobLogs,
            "first_generation": listed(self.firstGenerationQueues),
            "discovery": self.discovery,
            "clusters": listed(self.clusters),
            "allowed": listed(self.discoveredQueues),
            "networks": listed(self.webhookNetworks),
            "retention_days": self.retentionDays,
            "event_retention_seconds": self.retentionDays * _DAY_SECONDS if self.jobLogs else _WITHOUT_LOGS_SECONDS,
            "idempotency_days": self.idempotencyDays,
            "max_strikes": self.maxAttempts,
        }


DEFAULTS = structs.asdict(Options())
_TYPES = get_type_hints(Options)
_reader = Reader(Options, FORMATS)


def read(context: Mapping[str, Any]) -> Options:
    """The options in an app's context, without CDK's own keys, which have : or /. Raises Invalid with every fault."""
    given = {name: _typed(name, value) for name, value in context.items() if not re.search("[:/]", name)}
    chosen: dict[str, Any] = {**DEFAULTS, **given}
    faults = option_faults.parse_presets(chosen) if isinstance(chosen["presets"], str) else []
    faults += option_faults.in_all(chosen)
    return _reader.convert(chosen, faults)


def explain(error: Invalid) -> str:
    """The faults as sentences, for the terminal."""
    lines = (f"  option {fault.pointer.strip('/')}: {fault.detail}" for fault in error.faults)
    return "\n".join(["The deployment options are wrong (cdk.json, or -c name=value):", *lines])


def _typed(name: str, value: Any) -> Any:
    """A value in the type of its option: on the command line all values are strings."""
    kind = _TYPES.get(name)
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if kind is int and isinstance(value, str) and value.isdigit():
        return int(value)
    if kind is float and isinstance(value, str) and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value, re.ASCII):
        return float(value)
    if get_origin(kind) is list and isinstance(value, str):
        with suppress(msgspec.DecodeError):  # the schema reports text that is no JSON
            return msgspec.json.decode(value)
    return value
