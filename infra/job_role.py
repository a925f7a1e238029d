"""The role that workers assume for each job, with a session policy of that job's own objects.

The role's policy is the most that any job may do. With user prefixes it allows what they allow the user in the
session's tag, so IAM keeps users apart even if a worker does not.
"""

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
        most = _most(options, storage)
        for access, actions in _ACTIONS.items():
            prefixes = {each.prefix.removeprefix("s3://") for each in most if each.allows(access)}
            widest = sorted(
                one for one in prefixes if not any(one != other and one.startswith(other) for other in prefixes)
            )
            if widest:
                objects = [self._objects(prefix) for prefix in widest]
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

    def _objects(self, prefix: str) -> str:
        """The ARN of all objects under a prefix, with the session's user in place of `{userID}`."""
        named = prefix.replace(USER, f"${{aws:PrincipalTag/{TAG}}}")
        return Stack.of(self).format_arn(
            service="s3", region="", account="", resource=f"{named}*", arn_format=ArnFormat.NO_RESOURCE_NAME
        )


def _most(options: Options, storage: Storage) -> list[UserPrefix]:
    """The prefixes that jobs may read and write: those of users, or without any the buckets that other options name."""
    own = storage.media.bucket_name
    if options.userPrefixes:
        return [each.with_bucket(own) for each in options.userPrefixes]
    drops = [drop.with_bucket(own) for drop in options.drops]
    named = [UserPrefix(prefix="")]
    named += [UserPrefix(prefix=f"s3://{name}/", access="read") for name in listed(options.batchBuckets)]
    named += [UserPrefix(prefix=f"s3://{drop.bucket}/{drop.prefix}", access="read") for drop in drops]
    named += [UserPrefix(prefix=drop.output, access="write") for drop in drops]
    return [each.with_bucket(own) for each in named]
