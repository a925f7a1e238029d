"""The one way queues, buckets and log groups are made: encrypted, open to TLS alone, logs kept a bounded time."""

from typing import Any

from aws_cdk import CfnResource, Duration, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

LOGS_KEPT = logs.RetentionDays.ONE_MONTH
_LOG_DAYS = 30
_UNFINISHED_DAYS = 7


def queue(scope: Construct, id_: str, **asked: Any) -> sqs.Queue:
    """A queue whose messages are encrypted, and which takes no request that is not."""
    return sqs.Queue(scope, id_, encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True, **asked)


def bucket(scope: Construct, id_: str, **asked: Any) -> s3.Bucket:
    """A bucket that nothing can make public. Uploads that nobody finishes are paid for a week."""
    made = s3.Bucket(
        scope,
        id_,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        **asked,
    )
    made.add_lifecycle_rule(abort_incomplete_multipart_upload_after=Duration.days(_UNFINISHED_DAYS))
    return made


def log_bucket(scope: Construct, id_: str, removal_policy: RemovalPolicy) -> s3.Bucket:
    """A bucket for what S3 tells of requests to the others. Its own are not logged: each line would make another."""
    made = bucket(scope, id_, removal_policy=removal_policy)
    made.add_lifecycle_rule(expiration=Duration.days(_LOG_DAYS))
    return made


def log_group(scope: Construct, id_: str, name: str | None = None) -> logs.LogGroup:
    """A log group that forgets."""
    return logs.LogGroup(scope, id_, log_group_name=name, retention=LOGS_KEPT, removal_policy=RemovalPolicy.DESTROY)


def bound_helpers(stack: Stack) -> None:
    """Let the functions that CDK brings along log where it is forgotten; by themselves they would keep it for ever."""
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
