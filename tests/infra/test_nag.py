"""cdk-nag's AwsSolutions pack: what it finds and is not mended is acknowledged here, one resource at a time.

A finding that is not acknowledged fails, and so does an acknowledgement that nothing is found for.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aws_cdk import App, Validations
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from elasticrecode.contract.routes import PUBLIC_ROUTES, ROUTES
from infra import options
from infra.control_plane import ControlPlane
from infra.options import Options
from tests.infra.test_stack import CERTIFICATE, CONTEXT, GLOBAL, MODES, REGIONAL

STACK = "ElasticRecode"
JWT = {"auth": "jwt", "jwtIssuer": "https://issuer.example.com", "jwtAudience": "video"}
OWN = {"domains": "video.example.com", "certificate": CERTIFICATE, "webAcls": f"{GLOBAL},{REGIONAL}"}
NAGGED: dict[str, dict[str, Any]] = {
    "default": MODES[0],
    "everything": MODES[1] | JWT | OWN,
    "iam": {"auth": "iam"},
    "none": {"auth": "none"},
}


class Acknowledged(NamedTuple):
    """One finding at one resource, below the stack, and why it stays."""

    rule: str
    path: str
    reason: str


def acknowledged(chosen: Options) -> Iterator[Acknowledged]:
    yield from at_the_apis(chosen)
    yield from at_the_front_door(chosen)
    yield from at_what_is_stored(chosen)
    yield from in_policies(chosen)
    if chosen.auth == "cognito":
        pool = "Auth/Pool/Resource"
        yield Acknowledged(
            "COG2",
            pool,
            "A second factor is each user's to switch on. Services and scripts sign in here, too, and can't give one; "
            "who wants it of all names a pool of his own with userPool.",
        )
        yield Acknowledged(
            "COG8",
            pool,
            "The Plus plan is paid for each user. There is no sign-up, and a pool that has it can be named with "
            "userPool.",
        )


def at_the_apis(chosen: Options) -> Iterator[Acknowledged]:
    routes = [route for served in ROUTES.values() for route in served]
    paths = {route: "/".join(["Api/Rest/Default", *route.split(" /")[1].split("/")]).rstrip("/") for route in routes}
    methods = {f"{paths[route]}/{route.split(' ')[0]}/Resource" for route in routes}
    sockets = "SocketApi/Sockets/${}-Route/Resource"
    yield Acknowledged(
        "APIG2",
        "Api/Rest/Resource",
        "The functions check bodies, queries and paths themselves and name every fault with its place. API Gateway's "
        "validator would refuse with one sentence and no place.",
    )
    if not chosen.webAcls:
        yield Acknowledged(
            "APIG3",
            "Api/Rest/DeploymentStage.api/Resource",
            "A web ACL is paid for by the month and by the request, and its rules are its owner's. Its ARN goes into "
            "webAcls. What it would count is counted: by user, and by API Gateway for all.",
        )
    for name in ("disconnect", "default"):
        yield Acknowledged(
            "APIG4", sockets.format(name), "API Gateway asks who it is at $connect only; a connection is one caller's."
        )
    if chosen.auth == "none":
        open_ = "Option auth=none asks nobody. It has to be spelt out, and synthesis warns of it."
        for path in methods | {sockets.format("connect")}:
            yield Acknowledged("APIG4", path, open_)
    if chosen.auth != "cognito":
        for path in methods:
            yield Acknowledged("COG4", path, f"Option auth={chosen.auth} asks for something else than Cognito's users.")
    for path in {f"{path}/ANY/Resource" for path in paths.values()}:
        for rule in ("APIG4", "COG4"):
            yield Acknowledged(
                rule,
                path,
                "Methods that the path does not have are refused, and what browsers ask before another origin's page "
                "may ask has no token; nothing comes of either.",
            )
    for route in PUBLIC_ROUTES if chosen.auth != "none" else ():
        path = f"{paths[route]}/{route.split(' ')[0]}/Resource"
        public = "What the API is like, and that it is there, anybody may know; both answers are the same for all."
        yield Acknowledged("APIG4", path, public)
        if chosen.auth == "cognito":
            yield Acknowledged("COG4", path, public)
    yield Acknowledged(
        "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
        "Api/Rest/CloudWatchRole/Resource",
        "API Gateway has one role for the logs of all APIs of the account. It is what AWS's own policy for it says; a "
        "narrower one would take their logs from the others.",
    )


def at_the_front_door(chosen: Options) -> Iterator[Acknowledged]:
    distribution = "FrontDoor/Distribution/Resource"
    yield Acknowledged("CFR1", distribution, "No country is meant to be kept out; a web ACL can do it.")
    yield Acknowledged(
        "CFR3",
        distribution,
        "CloudFront's standard logs have the query in them, and with it the tickets that open WebSockets. Both APIs "
        "and the site's bucket log each request, without.",
    )
    if not chosen.webAcls:
        yield Acknowledged(
            "CFR2",
            distribution,
            "A web ACL is paid for by the month and by the request, and its rules are its owner's. Its ARN goes into "
            "webAcls.",
        )
    if not chosen.domains:
        yield Acknowledged(
            "CFR4",
            distribution,
            "The certificate of CloudFront's own name allows no other setting. With domains and certificate it is TLS "
            "1.2 and newer.",
        )
    helper = "Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C"
    role, policy = f"{helper}/ServiceRole/Resource", f"{helper}/ServiceRole/DefaultPolicy/Resource"
    why = "CDK's own function that copies the site's files while the stack is deployed. It may change the site's bucket"
    yield Acknowledged("L1", f"{helper}/Resource", f"{why}; its runtime is CDK's to choose.")
    yield Acknowledged(BASIC_EXECUTION, role, f"{why} and write logs; its role is CDK's to make.")
    for found in (
        "Action::s3:Abort*",
        "Action::s3:DeleteObject*",
        "Action::s3:GetBucket*",
        "Action::s3:GetObject*",
        "Action::s3:List*",
        "Resource::<FrontDoorSite30DBD1FB.Arn>/*",
        "Resource::arn:<AWS::Partition>:s3:::cdk-hnb659fds-assets-<AWS::AccountId>-<AWS::Region>/*",
    ):
        yield Acknowledged(f"IAM5[{found}]", policy, f"{why}, and read what the deployment uploaded.")
    yield Acknowledged(
        "IAM5[Resource::*]", policy, f"{why}, and make CloudFront forget what has changed, which CDK grants for all."
    )


def at_what_is_stored(chosen: Options) -> Iterator[Acknowledged]:
    yield Acknowledged(
        "DDB3",
        "Storage/Connections/Resource",
        "It holds WebSockets, which live two hours, and tickets, which live a minute. Brought back they were nobody's.",
    )
    if chosen.auth != "none":
        yield Acknowledged("DDB3", "Storage/Rates/Resource", "It holds counts of the present minute.")
    for name, why in {
        "Batches/Surveys": "A batch waits for it. It is tried until it is looked through, or found to be unreadable, "
        "which fails the batch; SurveysLate tells when that takes long.",
        "Batches/Pages": "Jobs wait for it: a page set aside would be jobs that never were. PagesLate tells when one "
        "does not come through.",
        "Batches/Tallies": "Counts wait for it: one set aside would be a batch that never ends. TalliesLate tells.",
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
    connections = "A connection's id is made when it is opened; only those of this API's stage fit."
    yield from wildcard(f"{socket}/POST/@connections/*", ("Push", "Replay", "Sockets"), connections)
    yield from wildcard(f"{socket}/DELETE/@connections/*", ("Replay", *ending), connections)
    yield from wildcard(
        "*",
        ("Dispatch", "Append", "Publish", "Push", "Replay"),
        "dynamodb:ListStreams, which knows no resource; what may be read is one stream.",
    )
    files = "Objects under what was configured; what they are called is their owners' to say."
    yield from wildcard("<StorageMedia9333CB25.Arn>/*", ["Survey"], files)
    for objects in most(chosen):
        yield Acknowledged(
            f"IAM5[Resource::arn:<AWS::Partition>:s3:::{objects}*]",
            "JobAccess/Role/DefaultPolicy/Resource",
            "The most that jobs may do; a session policy names the objects of each job.",
        )
    dropping = ["Collect"] if chosen.drops else []
    if chosen.batchBuckets:
        yield from wildcard("arn:<AWS::Partition>:s3:::films/*", ["Survey"], files)
    if chosen.drops:
        yield from wildcard("<StorageMedia9333CB25.Arn>/in/*", dropping, files)
        yield from wildcard("arn:<AWS::Partition>:s3:::theirs/*", dropping, files)
        yield Acknowledged(
            BASIC_EXECUTION,
            "BucketNotificationsHandler050a0587b7544547bf325f094a3db834/Role/Resource",
            "CDK's own function that adds a notification to a bucket that exists, while the stack is deployed; its "
            "role is CDK's to make.",
        )
    if chosen.discovery:
        queues = "arn:<AWS::Partition>:sqs:<AWS::Region>:<AWS::AccountId>"
        why = "Queues that workers bring along are not known yet; discoveredQueues says how they may be called."
        for pattern in options.listed(chosen.discoveredQueues):
            yield Acknowledged(f"IAM5[Resource::{queues}:{pattern}]", WORKERS, why)
            yield from wildcard(f"{queues}:{pattern}", ("Discover", "Dispatch", "Reconcile", "Workers"), why)


def most(chosen: Options) -> set[str]:
    """What begins the objects that jobs may read or write at the most."""
    own = "<StorageMedia9333CB25>"
    drops = [drop.with_bucket(own) for drop in chosen.drops]
    named = {f"{name}/" for name in options.listed(chosen.batchBuckets)}
    named |= {f"{drop.bucket}/{drop.prefix}" for drop in drops} | {drop.output.removeprefix("s3://") for drop in drops}
    return {f"{own}/"} | {each for each in named if not each.startswith(own)}


@pytest.mark.parametrize("mode", NAGGED)
def test_every_finding_is_mended_or_acknowledged_at_its_resource_with_a_reason(mode: str, tmp_path: Path) -> None:
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
    told = {(each.rule, each.path) for each in known}
    assert (sorted(found - told), sorted(told - found)) == ([], []), (
        "what is not acknowledged, and what is and was not found"
    )
