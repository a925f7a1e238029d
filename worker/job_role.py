"""Credentials for one job: the worker assumes a role with a session policy that covers that job's objects only.

The role itself allows what any job may need; with user prefixes, what the user in the session's tag may access. The
session policy narrows that to reading the job's inputs and writing its outputs.
"""

import json
import logging
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import boto3
from boto3.session import Session
from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
    create_assume_role_refresher,
)
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.session import get_session

from elasticrecode.access.prefixes import READ_ACTIONS, REMOVE_ACTIONS, TAG, WRITE_ACTIONS, is_tag
from elasticrecode.jobs.job import Job, encryption_of, key_context, products, sources
from elasticrecode.jobs.uris import Outputs, package_folder, split, stem
from elasticrecode.parts.part import PartJob

_log = logging.getLogger(__name__)

_SECONDS = 3600
"""Lifetime of credentials: the most that STS grants to a role that assumes a role. A longer job refreshes them."""
LIMITS = (2048, 1024)
"""Characters of a session policy: what STS accepts, and a second try if it cannot pack that into a token."""
_LITERAL = str.maketrans({character: f"${{{character}}}" for character in "*?$"})
_TOO_LARGE = "PackedPolicyTooLarge"
_METHOD = "job-role"


def session_policy(
    job: Job, partition: str, limit: int = LIMITS[0], parts_bucket: str = "", also: Sequence[str] = ()
) -> str:
    """The IAM session policy of a job, as JSON of at most `limit` characters.

    A job that encodes may also use the objects of its parts in `parts_bucket`; a part may write those alone. A plan
    writes nothing. Objects whose URIs begin with one of `also` may be read.

    If keys are too long for that, it cuts them all to the longest prefix that fits, and covers every object below it.
    """
    longest = (
        bisect_right(
            range(limit + 1), limit, key=lambda length: len(_policy(job, partition, length, parts_bucket, also))
        )
        - 1
    )
    return _policy(job, partition, longest, parts_bucket, also)


def _policy(job: Job, partition: str, key_length: int, parts_bucket: str, also: Sequence[str]) -> str:
    """The policy with keys cut to `key_length` characters."""
    side = side_prefix(job)
    results = _results(job, parts_bucket)
    publishes = not isinstance(job, PartJob) and not job.planning
    written = products(job) if publishes else []
    starts = _starts(job) if publishes else []
    package = job.output + package_folder(job.input)
    replaced = [_objects(package, partition, key_length, below=True)]
    has_package = Outputs.of(job.profile).package and publishes
    removal = [_allow(REMOVE_ACTIONS, replaced)] if has_package else []
    changed = [
        *(_objects(uri, partition, key_length) for uri in written),
        *(_objects(start, partition, key_length, below=True) for start in starts),
        *([_objects(results, partition, LIMITS[0], below=True)] if results else []),
    ]
    statements = [
        *removal,
        _allow(
            READ_ACTIONS,
            [
                *(_objects(uri, partition, key_length) for uri in sources(job)),
                *(_objects(start, partition, key_length, below=True) for start in (side, *also) if start),
            ],
        ),
        *([_allow(WRITE_ACTIONS, changed)] if changed else []),
        *([_allow(("s3:DeleteObject",), [_objects(results, partition, LIMITS[0], below=True)])] if results else []),
        # Has no effect unless the role may use a KMS key; then S3 may use the key that encrypts these objects' bucket.
        _allow(("kms:Decrypt", "kms:GenerateDataKey"), ["*"])
        | {"Condition": {"StringLike": {"kms:ViaService": "s3.*"}}},
        *_key_statements(job, partition),
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _results(job: Job, parts_bucket: str) -> str:
    """The start of the URIs of the results of a job's parts; empty for a job that can have none."""
    if isinstance(job, PartJob):
        return job.part.prefix
    is_encoded = (job.profile.package or job.profile.ffmpeg) and not job.planning
    return f"s3://{parts_bucket}/{job.jobid}/" if parts_bucket and is_encoded else ""


def _key_statements(job: Job, partition: str) -> list[dict[str, Any]]:
    """What opens the key of the job's package: KMS in the name of its user, or its one secret."""
    encryption = encryption_of(job.profile)
    if encryption and encryption.sealedKey:
        condition = {
            f"kms:EncryptionContext:{name}": value.translate(_LITERAL)
            for name, value in key_context(job.userid).items()
        }
        return [_allow(["kms:Decrypt"], ["*"]) | {"Condition": {"StringEquals": condition}}]
    if encryption and encryption.secretId:
        # Secrets Manager adds a hyphen and six characters of its own to the name.
        secret = f"arn:{partition}:secretsmanager:*:*:secret:{encryption.secretId}-??????"
        return [_allow(["secretsmanager:GetSecretValue"], [secret])]
    return []


def _starts(job: Job) -> list[str]:
    """The starts of the URIs of sprites, subtitles and files of a package, whose number the source decides."""
    written, start = Outputs.of(job.profile), job.output + stem(job.input)
    beside = [f"{start}."] if written.subtitles else [f"{start}.sprite-"] if written.sprites else []
    return [*beside, *([job.output + package_folder(job.input)] if written.package else [])]


def side_prefix(job: Job) -> str:
    """The start of the URIs of a job's side files, which are beside the input; empty where none are looked for."""
    subtitles = job.profile.subtitles
    is_looked_for = subtitles and (isinstance(subtitles.tracks, list) or subtitles.burn)
    return f"{job.input.rpartition('/')[0]}/{stem(job.input)}." if is_looked_for else ""


def _allow(actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(dict.fromkeys(resources))}


def _objects(uri: str, partition: str, key_length: int, *, below: bool = False) -> str:
    """The ARN of an object, or of all objects with its cut key as a prefix. Escapes the wildcards of IAM.

    With `below`, that of all objects whose keys begin with its key.
    """
    bucket, key = split(uri)
    cut = key[:key_length]
    return f"arn:{partition}:s3:::{bucket}/{cut.translate(_LITERAL)}{'' if cut == key and not below else '*'}"


class RoleNotAssumed(CredentialRetrievalError):
    """STS refused the role. Carries its code and status; its message names accounts, which only the log may show."""

    def __init__(self, code: str, status: int = 0) -> None:
        super().__init__(provider=_METHOD, error_msg=code)
        self.code = code
        self.status = status


class JobRole:
    """Assumes a role for each job, with the worker's own credentials."""

    def __init__(self, arn: str, config: Config, parts_bucket: str = "") -> None:
        self._arn, self._parts_bucket = arn, parts_bucket
        self._partition = arn.split(":")[1]
        self._config = config
        self._sts = boto3.client("sts", config=config)
        self._data = get_session().get_component("data_loader")

    def s3(self, job: Job, also: Sequence[str] = ()) -> Any:
        """A client of S3 for a job, which may also read objects whose URIs begin so. Raises as `client`."""
        return self.client("s3", job, also)

    def client(self, service: str, job: Job, also: Sequence[str] = ()) -> Any:
        """A client of any service for a job. Its calls raise RoleNotAssumed if STS refuses the role."""
        credentials = DeferredRefreshableCredentials(lambda: self._credentials(job, also), _METHOD)
        session = get_session()
        session.register_component("data_loader", self._data)
        session.register_component("credential_provider", CredentialResolver([_FixedProvider(credentials)]))
        return Session(botocore_session=session).client(
            service,  # type: ignore[call-overload]
            config=self._config,
        )

    def check(self) -> None:
        """Assume the role for no job. Raises RoleNotAssumed."""
        try:
            self._sts.assume_role(RoleArn=self._arn, RoleSessionName="check", DurationSeconds=900)
        except ClientError as error:
            raise _not_assumed(error) from error

    def _credentials(self, job: Job, also: Sequence[str]) -> Any:
        """New credentials for a job. Raises RoleNotAssumed."""
        tags = [{"Key": TAG, "Value": job.userid}] if is_tag(job.userid) else []
        request = {
            "RoleArn": self._arn,
            "RoleSessionName": re.sub(r"[^\w+=,.@-]", "-", f"job-{job.jobid}", flags=re.ASCII)[:64],
            "DurationSeconds": _SECONDS,
            "Tags": tags,
        }
        refused = RoleNotAssumed("")
        for limit in LIMITS:
            policy = session_policy(job, self._partition, limit, self._parts_bucket, also)
            try:
                return create_assume_role_refresher(self._sts, {**request, "Policy": policy})()
            except ClientError as error:
                refused = _not_assumed(error)
                _log.warning("job %s: cannot assume %s: %s", job.jobid, self._arn, error)
                if refused.code != _TOO_LARGE:
                    break
        raise refused


def _not_assumed(error: ClientError) -> RoleNotAssumed:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return RoleNotAssumed(error.response["Error"]["Code"], status)


class _FixedProvider(CredentialProvider):
    """Provides credentials that the caller has already."""

    METHOD = CANONICAL_NAME = _METHOD

    def __init__(self, credentials: DeferredRefreshableCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> DeferredRefreshableCredentials:
        return self._credentials
