"""Credentials for one job: a role that is taken for it, narrowed to the objects of that job.

The role has the most that any job may do, and with user prefixes what the user may whom the session's tag names. The
session policy leaves of that the job's own inputs to read and its own outputs to write.
"""

import json
import logging
import re
from bisect import bisect_right
from collections.abc import Iterable
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

from elasticrecode.access.prefixes import READ_ACTIONS, TAG, WRITE_ACTIONS, is_tag
from elasticrecode.jobs.job import Job, products, sources
from elasticrecode.jobs.uris import split

_log = logging.getLogger(__name__)

_SECONDS = 3600
"""How long credentials are good that were got by others of a role. A longer job gets new ones when it publishes."""
LIMITS = (2048, 1024)
"""Characters of a session policy: what STS takes, and what to try where it can't pack that into a token."""
_LITERAL = str.maketrans({character: f"${{{character}}}" for character in "*?$"})
_TOO_LARGE = "PackedPolicyTooLarge"
_METHOD = "job-role"


def session_policy(job: Job, partition: str, limit: int = LIMITS[0]) -> str:
    """What a job may do, as an IAM policy of at most `limit` characters.

    Keys are cut where they are too long for that: the policy then covers all that begins so.
    """
    longest = bisect_right(range(limit + 1), limit, key=lambda most: len(_policy(job, partition, most))) - 1
    return _policy(job, partition, longest)


def _policy(job: Job, partition: str, most: int) -> str:
    """The policy with keys of at most so many characters."""
    statements = [
        _allow(READ_ACTIONS, [_objects(uri, partition, most) for uri in sources(job)]),
        _allow(WRITE_ACTIONS, [_objects(uri, partition, most) for uri in products(job)]),
        # Nothing unless the role may use a key: then S3 may, for these objects, where their bucket is encrypted by it.
        _allow(("kms:Decrypt", "kms:GenerateDataKey"), ["*"])
        | {"Condition": {"StringLike": {"kms:ViaService": "s3.*"}}},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _allow(actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(dict.fromkeys(resources))}


def _objects(uri: str, partition: str, most: int) -> str:
    """The ARN of an object, or of those whose keys begin as its key does. What IAM would take for a pattern is none."""
    bucket, key = split(uri)
    cut = key[:most]
    return f"arn:{partition}:s3:::{bucket}/{cut.translate(_LITERAL)}{'' if cut == key else '*'}"


class RoleNotTaken(CredentialRetrievalError):
    """STS's code says why; its own words name accounts and roles, and are for the log alone."""

    def __init__(self, code: str) -> None:
        super().__init__(provider=_METHOD, error_msg=code)
        self.code = code


class JobRole:
    """Takes a role for jobs, with the worker's own credentials."""

    def __init__(self, arn: str, config: Config) -> None:
        self._arn = arn
        self._partition = arn.split(":")[1]
        self._config = config
        self._sts = boto3.client("sts", config=config)
        self._data = get_session().get_component("data_loader")

    def s3(self, job: Job) -> Any:
        """A client of S3 for a job. Its calls raise RoleNotTaken where the role can't be taken."""
        credentials = DeferredRefreshableCredentials(lambda: self._credentials(job), _METHOD)
        session = get_session()
        session.register_component("data_loader", self._data)
        session.register_component("credential_provider", CredentialResolver([_Given(credentials)]))
        return Session(botocore_session=session).client("s3", config=self._config)

    def _credentials(self, job: Job) -> Any:
        """New credentials for a job."""
        tags = [{"Key": TAG, "Value": job.userid}] if is_tag(job.userid) else []
        asked = {
            "RoleArn": self._arn,
            "RoleSessionName": re.sub(r"[^\w+=,.@-]", "-", f"job-{job.jobid}", flags=re.ASCII)[:64],
            "DurationSeconds": _SECONDS,
            "Tags": tags,
        }
        code = ""
        for limit in LIMITS:
            policy = session_policy(job, self._partition, limit)
            try:
                return create_assume_role_refresher(self._sts, {**asked, "Policy": policy})()
            except ClientError as error:
                code = error.response["Error"]["Code"]
                _log.warning("job %s: %s could not be taken: %s", job.jobid, self._arn, error)
                if code != _TOO_LARGE:
                    break
        raise RoleNotTaken(code)


class _Given(CredentialProvider):
    """Provides credentials that are there."""

    METHOD = CANONICAL_NAME = _METHOD

    def __init__(self, credentials: DeferredRefreshableCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> DeferredRefreshableCredentials:
        return self._credentials
