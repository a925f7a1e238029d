"""Queues, buckets and log groups as all constructs make them: encrypted, reached by TLS only, logs with a retention.

Beside them, what becomes of resources with data when a stack ends, and how many resources are created at once.
"""

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnResource, Duration, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.options import Options

LOGS_KEPT = logs.RetentionDays.ONE_MONTH
_LOG_DAYS = 30
_UNFINISHED_DAYS = 7
_AT_ONCE = {"AWS::CloudWatch::Alarm": 3, "AWS::Logs::LogGroup": 5}
"""Kind of resource → how many are created at once. CloudWatch takes 3 new alarms a second, and 10 log groups, of all
that deploys in an account; functions wait for their log groups, and Lambda takes 15 calls a second."""


def outlives(options: Options) -> RemovalPolicy:
    """The policy of resources with users' data, by the option `keepData`.

    A first deployment that fails takes them along: with their names still in use, the next one would fail, too.
    """
    return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if options.keepData else RemovalPolicy.DESTROY


def queue(scope: Construct, id_: str, **properties: Any) -> sqs.Queue:
    """A queue that encrypts its messages and refuses requests without TLS."""
    return sqs.Queue(scope, id_, encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True, **properties)


def bucket(scope: Construct, id_: str, **properties: Any) -> s3.Bucket:
    """A bucket that cannot be made public. Unfinished uploads are removed after a week."""
    new = s3.Bucket(
        scope,
        id_,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        **properties,
    )
    new.add_lifecycle_rule(abort_incomplete_multipart_upload_after=Duration.days(_UNFINISHED_DAYS))
    return new


def log_bucket(scope: Construct, id_: str, removal_policy: RemovalPolicy) -> s3.Bucket:
    """A bucket for the access logs of other buckets. Its own requests are not logged: each line would cause another."""
    new = bucket(scope, id_, removal_policy=removal_policy)
    new.add_lifecycle_rule(expiration=Duration.days(_LOG_DAYS))
    return new


def log_group(scope: Construct, id_: str, name: str | None = None) -> logs.LogGroup:
    """A log group that keeps its lines for a month."""
    return logs.LogGroup(scope, id_, log_group_name=name, retention=LOGS_KEPT, removal_policy=RemovalPolicy.DESTROY)


def bound_helpers(stack: Stack) -> None:
    """Give CDK's own functions a log group with a retention; by themselves they keep their logs for ever."""
    helpers = [
        node
        for node in stack.node.find_all()
        if isinstance(node, CfnResource)
        and node.cfn_resource_type == "AWS::Lambda::Function"
        and not node.node.path.startswith(f"{stack.node.path}/Functions/")
    ]
    if helpers:
        group = log_group(stack, "HelperLogs")
        for helper in helpers:
            helper.add_property_override("LoggingConfig", {"LogGroup": group.log_group_name})


def pace(stack: Stack) -> None:
    """Let CloudFormation create resources of limited kinds a few at a time."""
    for kind, at_once in _AT_ONCE.items():
        limited = [
            node
            for node in stack.node.find_all()
            if isinstance(node, CfnResource) and node.cfn_resource_type == kind and not _waits_already(node)
        ]
        a_few_at_a_time(limited, at_once)


def a_few_at_a_time(resources: Sequence[CfnResource], at_once: int) -> None:
    """Let CloudFormation create so many of the resources at once: each waits for one before it."""
    for earlier, later in zip(resources, resources[at_once:], strict=False):
        later.add_resource_dependency(earlier)


def _waits_already(resource: CfnResource) -> bool:
    """Whether a resource is a log group with a name, which holds the id of an API that needs all functions first."""
    return isinstance(resource, logs.CfnLogGroup) and resource.stack.resolve(resource.log_group_name) is not None
