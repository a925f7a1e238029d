"""Files of users as browsers reach them: the function that presigns URLs, and the origins of these URLs."""

from aws_cdk import Stack, Token
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from elasticrecode.access.prefixes import UPLOADS_FOLDER
from infra.functions import Functions
from infra.job_role import objects_below, reachable
from infra.options import Options
from infra.storage import Storage

_SECONDS = 28
"""A little less than API Gateway waits: S3 takes its time to complete a large upload."""
_SENDING = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


class Files:
    """`served` are the functions that answer requests, by name; `origins` are those of files that have links.

    A presigned URL has the rights of the function that made it, so the function may read what jobs may read or write,
    and write uploads.
    """

    def __init__(self, options: Options, functions: Functions, storage: Storage) -> None:
        files = functions.make("files", seconds=_SECONDS)
        storage.jobs.grant(
            files, "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"
        )
        storage.let_count(files)
        prefixes = reachable(options, storage.media.bucket_name)
        objects = objects_below(prefixes, files, "*")
        files.add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=objects))
        uploads = storage.media.arn_for_objects(f"{UPLOADS_FOLDER}*")
        files.add_to_role_policy(iam.PolicyStatement(actions=list(_SENDING), resources=[uploads]))
        self.served: dict[str, lambda_.Function] = {"files": files}
        region = Stack.of(files).region
        buckets = [storage.media.bucket_name, *(prefix.prefix.split("/")[2] for prefix in prefixes)]
        self.origins = list(dict.fromkeys(_origin(options.s3Url.replace("{region}", region), name) for name in buckets))


def _origin(url: str, bucket: str) -> str:
    """The origin of a bucket's objects. No certificate of S3 covers hosts named by buckets with dots."""
    has_host = Token.is_unresolved(bucket) or "." not in bucket
    return url.replace("{bucket}", bucket) if has_host else url.replace("{bucket}.", "")
