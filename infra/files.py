"""Files of users as browsers reach them: the function that presigns URLs, and the origins of these URLs."""

from aws_cdk import Stack, Token
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from infra.functions import Functions
from infra.job_role import objects_below, reachable
from infra.options import Options
from infra.storage import Storage


class Files:
    """`served` are the functions that answer requests, by name; `origins` are those of files that have links.

    A presigned URL has the rights of the function that made it, so the function may read what jobs may read or write.
    """

    def __init__(self, options: Options, functions: Functions, storage: Storage) -> None:
        files = functions.make("files")
        storage.jobs.grant(files, "dynamodb:BatchGetItem")
        storage.let_count(files)
        prefixes = reachable(options, storage.media.bucket_name)
        objects = objects_below(prefixes, files, "*")
        files.add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=objects))
        self.served: dict[str, lambda_.Function] = {"files": files}
        region = Stack.of(files).region
        buckets = [storage.media.bucket_name, *(prefix.prefix.split("/")[2] for prefix in prefixes)]
        self.origins = list(dict.fromkeys(_origin(options.s3Url.replace("{region}", region), name) for name in buckets))


def _origin(url: str, bucket: str) -> str:
    """The origin of a bucket's objects. No certificate of S3 covers hosts named by buckets with dots."""
    has_host = Token.is_unresolved(bucket) or "." not in bucket
    return url.replace("{bucket}", bucket) if has_host else url.replace("{bucket}.", "")
