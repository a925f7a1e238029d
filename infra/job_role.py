"""The role that workers assume for each job, with a session policy of that job's own objects.

The role's policy is the most that any job may do. With user prefixes it allows what they allow the user in the
session's tag, so IAM keeps users apart even if a worker does not.
"""

from collections.abc import Iterable

from aws_cdk import ArnFormat, Aws, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from elasticrecode.access.prefixes import READ_ACTIONS, REMOVE_ACTIONS, TAG, USER, WRITE_ACTIONS, Access, UserPrefix
from elasticrecode.media.formats import KEY_PREFIX
from infra.options import Options, listed
from infra.storage import Storage

_ACTIONS: dict[Access, tuple[str, ...]] = {"read": READ_ACTIONS, "write": (*WRITE_ACTIONS, *REMOVE_ACTIONS)}

_RESULT_ACTIONS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:DeleteObject")
"""The S3 actions on results of parts. The worker that uploads one completes it itself, so nobody lists its pieces."""


class JobRole(Construct):
    """`role` is the IAM role."""

    def __init__(self, scope: Construct, id_: str, options: Options, storage: Storage) -> None:
        super().__init__(scope, id_)
        # Workers run anywhere, with roles of this account that are granted sts:AssumeRole on this role.
        self.role = iam.Role(
            self,
            "Role",
            description="What a worker may do for one job; sessions are narrowed to the job's objects",
            assumed_by=iam.AccountPrincipal(Aws.ACCOUNT_ID).with_session_tags(),
        )
        most = reachable(options, storage.media.bucket_name)
        for access, actions in _ACTIONS.items():
            objects = objects_below(
                (each for each in most if each.allows(access)), self, f"${{aws:PrincipalTag/{TAG}}}"
            )
            if objects:
                self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=objects))
        results = storage.parts.arn_for_objects("*")
        self.role.add_to_policy(iam.PolicyStatement(actions=list(_RESULT_ACTIONS), resources=[results]))
        self.role.add_to_policy(iam.PolicyStatement(actions=["kms:Decrypt"], resources=[storage.sealing.key_arn]))
        secrets = Stack.of(self).format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=f"{KEY_PREFIX}*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self.role.add_to_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secrets]))


def objects_below(prefixes: Iterable[UserPrefix], scope: Construct, user: str) -> list[str]:
    """The ARNs of all objects below prefixes, with `user` in place of `{userID}`; none that another covers."""
    starts = {each.prefix.removeprefix("s3://").replace(USER, user) for each in prefixes}
    widest = sorted(one for one in starts if not any(one != other and one.startswith(other) for other in starts))
    return [
        Stack.of(scope).format_arn(
            service="s3", region="", account="", resource=f"{start}*", arn_format=ArnFormat.NO_RESOURCE_NAME
        )
        for start in widest
    ]


def reachable(options: Options, own: str) -> list[UserPrefix]:
    """The prefixes that jobs may read and write: those of users, or without any the buckets that other options name.

    `own` is the name of the product's own bucket.
    """
    if options.userPrefixes:
        return options.prefixes(own)
    drops = [drop.with_bucket(own) for drop in options.drops]
    named = [UserPrefix(prefix="")]
    named += [UserPrefix(prefix=f"s3://{name}/", access="read") for name in listed(options.batchBuckets)]
    named += [UserPrefix(prefix=f"s3://{drop.bucket}/{drop.prefix}", access="read") for drop in drops]
    named += [UserPrefix(prefix=drop.output, access="write") for drop in drops]
    return [each.with_bucket(own) for each in named]
