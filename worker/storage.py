"""Inputs and outputs on S3."""

import errno
import logging
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.jobs.drops import MARK
from elasticrecode.jobs.uris import split
from worker.errors import Hopeless, Passing
from worker.job_role import RoleNotTaken
from worker.sandbox.runner import Work

_log = logging.getLogger(__name__)

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "InvalidBucketName"}
_FORBIDDEN = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled"}


class Storage:
    """Whole files in and out; S3 shows an object only when all of it is there."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect` makes the S3 client, when it is needed first."""
        self._connect = connect

    @cached_property
    def _s3(self) -> Any:
        return self._connect()

    def download(self, uri: str, target: Path, work: Work, side: str = "input") -> None:
        """Fetch an object. Hopeless when it is not there, may not be read, is empty or too large; Passing otherwise."""
        bucket, key = split(uri)
        with _explained(side, uri):
            told = self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
            work.limits.refuse_bytes(side, told, target.parent)
            left = told

            def came(count: int) -> None:
                nonlocal left
                left -= count
                work.check()
                if left < 0:
                    raise Passing("storage-unavailable", f"{uri} was replaced by a larger object meanwhile.")

            self._s3.download_file(bucket, key, str(target), Callback=came)
        if target.stat().st_size == 0:
            raise Hopeless(f"{side}-empty", f"{uri} has no bytes.")

    def upload(self, source: Path, uri: str, job_id: str) -> None:
        """Publish a file, marked as what a job made. Hopeless when it may not be written, Passing otherwise."""
        bucket, key = split(uri)
        with _explained("output", uri):
            kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
            # Metadata is ASCII, which ids of other origins than the API need not be.
            told = {"ContentType": kind, "Metadata": {MARK: quote(job_id)}}
            self._s3.upload_file(str(source), bucket, key, ExtraArgs=told)

    def remove(self, uris: list[str]) -> None:
        """Take published files back."""
        for uri in uris:
            bucket, key = split(uri)
            with _explained("output", uri):
                self._s3.delete_object(Bucket=bucket, Key=key)


@contextmanager
def _explained(side: str, uri: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, S3UploadFailedError, BotoCoreError) as error:
        code = _code(error)
        if code in _MISSING:
            raise Hopeless(f"{side}-not-found", f"{uri} does not exist.") from error
        _log.warning("no access to %s: %s", uri, error)
        if code in _FORBIDDEN and not isinstance(error, BotoCoreError):
            raise Hopeless(
                f"{side}-access-denied", f"This worker may not {'write' if side == 'output' else 'read'} {uri}."
            ) from error
        told = "could not be reached for" if isinstance(error, BotoCoreError) else "did not serve"
        raise Passing("storage-unavailable", f"S3 {told} {uri}: {code}.") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Passing("disk-full", "The worker's disk is full.") from error


def _code(error: Exception) -> str:
    """The code of an error, or its kind: AWS's words name accounts, roles and addresses, and are for the log alone."""
    cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
    if isinstance(cause, RoleNotTaken):
        return cause.code
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else type(cause).__name__
