"""Findings of cdk-nag's AwsSolutions pack that stay, acknowledged for one resource each.

A finding without an acknowledgement fails the test, and so does an acknowledgement without a finding.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aws_cdk import App, Validations
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from infra import options
from infra.control_plane import ControlPlane
from infra.options import Options
from tests.infra.test_serving import KEY
from tests.infra.test_stack import CERTIFICATE, CONTEXT, GLOBAL, MODES, REGIONAL

STACK = "ElasticRecode"
JWT = {"auth": "jwt", "jwtIssuer": "https://issuer.example.com", "jwtAudience": "video"}
OWN = {"domains": "video.example.com", "certificate": CERTIFICATE, "webAcls": f"{GLOBAL},{REGIONAL}"}
NAGGED: dict[str, dict[str, Any]] = {
    "default": MODES[0],
    "everything": MODES[1] | JWT | OWN,
    "iam": {"auth": "iam", "serveMedia": "signed:out/", "mediaKey": KEY},
    "none": {"auth": "none"},
}


class Acknowledged(NamedTuple):
    """A finding of a rule at a resource, by its path below the stack, and the reason why it stays."""

    rule: str
    path: str
    reason: str


def acknowledged(chosen: Options) -> Iterator[Acknowledged]:
    yield from at_the_apis(chosen)
    yield from at_the_front_door(chosen)
    if chosen.serveMedia != "off":
        yield from at_the_media(chosen)
    yield from at_what_is_stored(chosen)
    yield from in_policies(chosen)
    if chosen.auth == "cognito":
        pool = "Auth/Pool/Resource"
        yield Acknowledged(
            "COG2",
            pool,
            "Users can switch on a second factor. Services and scripts sign in here, too, and cannot give one. To "
            "require it of all users, name your own pool with userPool.",
        )
        yield Acknowledged(
            "COG8",
            pool,
            "The Plus plan is billed by user. The pool has no sign-up; name a pool with that plan with userPool.",
        )


def at_the_apis(chosen: Options) -> Iterator[Acknowledged]:
    sockets = "SocketApi/Sockets/${}-Route/Resource"
    yield Acknowledged(
        "APIG2",
        "Api/Rest/Resource",
        "The functions validate bodies, queries and paths and report every fault with its pointer. API Gateway's "
        "validator reports one sentence without a pointer.",
    )
    if not chosen.webAcls:
        yield Acknowledged(
            "APIG3",
            "Api/Rest/DeploymentStage.api/Resource",
            "A web ACL is billed by month and request, and its owner writes its rules. Option webAcls takes its "
            "ARN. Requests are limited by user, and by API Gateway for all users together.",
        )
    for name in ("disconnect", "default"):
        yield Acknowledged(
            "APIG4",
            sockets.format(name),
            "API Gateway authenticates at $connect only; a connection belongs to one caller.",
        )
    if chosen.auth == "none":
        open_ = "Option auth=none has to be chosen, and synthesis warns of it."
        yield Acknowledged("APIG4", sockets.format("connect"), open_)
    yield Acknowledged(
        "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
        "Api/Rest/CloudWatchRole/Resource",
        "API Gateway has one role for the logs of all APIs of the account, with AWS's own policy. A narrower one would "
        "end the logs of other APIs.",
    )


def at_the_front_door(chosen: Options) -> Iterator[Acknowledged]:
    distribution = "FrontDoor/Distribution/Resource"
    yield Acknowledged("CFR1", distribution, "No country is excluded; a web ACL can do that.")
    yield Acknowledged(
        "CFR3",
        distribution,
        "CloudFront's standard logs contain the query, and with it the tickets that open WebSockets. Both APIs and the "
        "site's bucket log each request without the query.",
    )
    if not chosen.webAcls:
        yield Acknowledged(
            "CFR2",
            distribution,
            "A web ACL is billed by month and request, and its owner writes its rules. Option webAcls takes its ARN.",
        )
    if not chosen.domains:
        yield Acknowledged(
            "CFR4",
            distribution,
            "The certificate of CloudFront's own domain name allows no other setting. With the options domains and "
            "certificate the minimum is TLS 1.2.",
        )
    helper = "Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C"
    role, policy = f"{helper}/ServiceRole/Resource", f"{helper}/ServiceRole/DefaultPolicy/Resource"
    why = "CDK's own function that copies the site's files during the deployment. It may change the site's bucket"
    yield Acknowledged("L1", f"{helper}/Resource", f"{why}; CDK chooses its runtime.")
    yield Acknowledged(BASIC_EXECUTION, role, f"{why} and write logs; CDK creates its role.")
    for found in (
        "Action::s3:Abort*",
        "Action::s3:DeleteObject*",
        "Action::s3:GetBucket*",
        "Action::s3:GetObject*",
        "Action::s3:List*",
        "Resource::<FrontDoorSite30DBD1FB.Arn>/*",
        "Resource::arn:<AWS::Partition>:s3:::cdk-hnb659fds-assets-<AWS::AccountId>-<AWS::Region>/*",
    ):
        yield Acknowledged(f"IAM5[{found}]", policy, f"{why}, and read the files that the deployment uploaded.")
    yield Acknowledged(
        "IAM5[Resource::*]",
        policy,
        f"{why}, and invalidate CloudFront's cache, which CDK grants for all distributions.",
    )


def at_the_media(chosen: Options) -> Iterator[Acknowledged]:
    distribution = "Serving/Distribution/Resource"
    yield Acknowledged("CFR1", distribution, "No country is excluded; a web ACL can do that.")
    yield Acknowledged(
        "CFR3",
        distribution,
        "S3 logs each request that CloudFront makes of it. CloudFront's logs would hold the addresses of viewers and "
        "what they watch, which the owner of the distribution has to decide on.",
    )
    if not chosen.webAcls:
        yield Acknowledged(
            "CFR2",
            distribution,
            "A web ACL is billed by month and request, and its owner writes its rules. Option webAcls takes its ARN.",
        )
    if not chosen.mediaDomain:
        yield Acknowledged(
            "CFR4",
            distribution,
            "The certificate of CloudFront's own domain name allows no other setting. With the options mediaDomain and "
            "certificate the minimum is TLS 1.2.",
        )


def at_what_is_stored(chosen: Options) -> Iterator[Acknowledged]:
    yield Acknowledged(
        "DDB3",
        "Storage/Connections/Resource",
        "It holds WebSocket connections, which last two hours, and tickets, which last a minute.",
    )
    if chosen.auth != "none":
        yield Acknowledged("DDB3", "Storage/Rates/Resource", "It holds the counts of the current minute.")
    for name, why in {
        "Batches/Surveys": "A batch waits for each message. It is retried until the inputs are surveyed, or are "
        "unreadable, which fails the batch. The alarm SurveysLate reports delays.",
        "Batches/Pages": "A page among dead letters would be jobs that are never created. The alarm PagesLate reports "
        "delays.",
        "Batches/Tallies": "A count among dead letters would be a batch that never ends. The alarm TalliesLate reports "
        "delays.",
    }.items():
        yield Acknowledged("SQS3", f"{name}/Resource", why)


BASIC_EXECUTION = "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
WORKERS = "Storage/WorkerPolicy/Resource"


def in_policies(chosen: Options) -> Iterator[Acknowledged]:
    def wildcard(resource: str, functions: Iterable[str], why: str) -> Iterator[Acknowledged]:
        for name in functions:
            yield Acknowledged(f"IAM5[Resource::{resource}]", f"Functions/{name}Role/DefaultPolicy/Resource", why)

    ending = ["Disconnect"] if chosen.auth in ("cognito", "jwt") else []
    socket = "arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>:<SocketApiSocketsCE085576>/ws"
    connections = (
        "API Gateway creates the id of a connection when it is opened; the pattern matches those of this stage."
    )
    yield from wildcard(f"{socket}/POST/@connections/*", ("Push", "Replay", "Sockets"), connections)
    yield from wildcard(f"{socket}/DELETE/@connections/*", ("Replay", *ending), connections)
    yield from wildcard(
        "*",
        ("Dispatch", "Append", "Publish", "Push", "Replay"),
        "dynamodb:ListStreams takes no resource; only one stream may be read.",
    )
    files = "Objects under configured prefixes, whose names their owners choose."
    yield from wildcard("<StorageMedia9333CB25.Arn>/*", ["Survey"], files)
    for objects in most(chosen):
        yield Acknowledged(
            f"IAM5[Resource::arn:<AWS::Partition>:s3:::{objects}*]",
            "JobAccess/Role/DefaultPolicy/Resource",
            "The most that any job may do; a session policy names the objects of each job.",
        )
        yield from wildcard(
            f"arn:<AWS::Partition>:s3:::{objects}*", ["Files"], "Links may lead to all that jobs may read or write."
        )
    yield Acknowledged(
        "IAM5[Resource::arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:elasticrecode/*]",
        "JobAccess/Role/DefaultPolicy/Resource",
        "The secrets that any job may name; a session policy names that of each job.",
    )
    yield Acknowledged(
        "IAM5[Resource::<StorageParts173C7F41.Arn>/*]",
        "JobAccess/Role/DefaultPolicy/Resource",
        "The results of all parts; a session policy names those of each job.",
    )
    yield from wildcard("<StorageMedia9333CB25.Arn>/uploads/*", ["Files"], "Files that users upload.")
    dropping = ["Collect"] if chosen.drops else []
    if chosen.batchBuckets:
        yield from wildcard("arn:<AWS::Partition>:s3:::films/*", ["Survey"], files)
    if chosen.drops:
        yield from wildcard("<StorageMedia9333CB25.Arn>/in/*", dropping, files)
        yield from wildcard("arn:<AWS::Partition>:s3:::theirs/*", dropping, files)
        yield Acknowledged(
            BASIC_EXECUTION,
            "BucketNotificationsHandler050a0587b7544547bf325f094a3db834/Role/Resource",
            "CDK's own function that adds a notification to an existing bucket during the deployment; CDK creates its "
            "role.",
        )
    if chosen.discovery:
        queues = "arn:<AWS::Partition>:sqs:<AWS::Region>:<AWS::AccountId>"
        why = "Queues of discovered workers are unknown at synthesis; discoveredQueues has the patterns of their names."
        for pattern in options.listed(chosen.discoveredQueues):
            yield Acknowledged(f"IAM5[Resource::{queues}:{pattern}]", WORKERS, why)
            yield from wildcard(f"{queues}:{pattern}", ("Discover", "Dispatch", "Reconcile", "Workers"), why)


def most(chosen: Options) -> set[str]:
    """The prefixes of all objects that jobs may read or write."""
    own = "<StorageMedia9333CB25>"
    drops = [drop.with_bucket(own) for drop in chosen.drops]
    named = {f"{name}/" for name in options.listed(chosen.batchBuckets)}
    named |= {f"{drop.bucket}/{drop.prefix}" for drop in drops} | {drop.output.removeprefix("s3://") for drop in drops}
    return {f"{own}/"} | {each for each in named if not each.startswith(own)}


@pytest.mark.parametrize("mode", NAGGED)
def test_cdk_nag_finds_only_what_is_acknowledged_with_a_reason(mode: str, tmp_path: Path) -> None:
    app = App(context=CONTEXT | NAGGED[mode] | {"aws:cdk:bundling-stacks": []}, outdir=str(tmp_path))
    chosen = options.read(app.node.get_all_context())
    stack = ControlPlane(app, chosen)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError):
        Template.from_stack(stack)
    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    found = {
        (violation["ruleName"].removeprefix("AwsSolutions-"), place["constructPath"].removeprefix(f"{STACK}/"))
        for violation in report["violations"]
        for place in violation["violatingConstructs"]
    }
    known = list(acknowledged(chosen))
    assert len(known) == len({(each.rule, each.path) for each in known})
    print(f"{mode}: {len(found)} findings, {len(known)} acknowledged")
    expected = {(each.rule, each.path) for each in known}
    assert (sorted(found - expected), sorted(expected - found)) == ([], []), (
        "findings without an acknowledgement, and acknowledgements without a finding"
    )
