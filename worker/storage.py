"""Downloads inputs from S3 and uploads outputs to it."""

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
from worker.errors import PermanentError, TransientError
from worker.job_role import RoleNotAssumed
from worker.sandbox.runner import Runner

_log = logging.getLogger(__name__)

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "InvalidBucketName"}
_FORBIDDEN = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled"}


class Storage:
    """Reads and writes whole objects. S3 shows an object only once it is complete."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect` returns the S3 client. It is called at the first use."""
        self._connect = connect

    @cached_property
    def _s3(self) -> Any:
        return self._connect()

    def download(self, uri: str, target: Path, runner: Runner, side: str = "input") -> None:
        """Download an object to the file `target`.

        Raises PermanentError, with a code that starts with `side`, if the object is missing, forbidden, empty or too
        large; TransientError if S3 cannot serve it now; Interrupted if the runner was stopped.
        """
        bucket, key = split(uri)
        with _as_job_errors(side, uri):
            size = self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
            runner.limits.check_size(side, size, target.parent)
            left = size

            def count_down(count: int) -> None:
                nonlocal left
                left -= count
                runner.check()
                if left < 0:
                    raise TransientError(
                        "storage-unavailable", f"{uri} was replaced by a larger object during the download."
                    )

            self._s3.download_file(bucket, key, str(target), Callback=count_down)
        if target.stat().st_size == 0:
            raise PermanentError(f"{side}-empty", f"{uri} is empty.")

    def upload(self, source: Path, uri: str, job_id: str) -> None:
        """Upload a file with the id of its job as metadata, by which drops ignore it.

        Raises PermanentError if the worker may not write it or the bucket is missing, TransientError otherwise.
        """
        bucket, key = split(uri)
        with _as_job_errors("output", uri):
            content_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
            # Metadata is ASCII; ids that do not come from the API need not be.
            extra = {"ContentType": content_type, "Metadata": {MARK: quote(job_id)}}
            self._s3.upload_file(str(source), bucket, key, ExtraArgs=extra)

    def remove(self, uris: list[str]) -> None:
        """Delete objects. Raises as `upload`."""
        for uri in uris:
            bucket, key = split(uri)
            with _as_job_errors("output", uri):
                self._s3.delete_object(Bucket=bucket, Key=key)


@contextmanager
def _as_job_errors(side: str, uri: str) -> Iterator[None]:
    """Turn errors of AWS and of a full disk into JobErrors."""
    try:
        yield
    except (ClientError, S3UploadFailedError, BotoCoreError) as error:
        code = _code(error)
        if code in _MISSING:
            raise PermanentError(f"{side}-not-found", f"{uri} does not exist.") from error
        _log.warning("cannot access %s: %s", uri, error)
        if code in _FORBIDDEN and not isinstance(error, BotoCoreError):
            verb = "write" if side == "output" else "read"
            raise PermanentError(f"{side}-access-denied", f"This worker may not {verb} {uri}.") from error
        problem = "could not be reached for" if isinstance(error, BotoCoreError) else "did not serve"
        raise TransientError("storage-unavailable", f"S3 {problem} {uri}: {code}.") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TransientError("disk-full", "The worker's disk is full.") from error


def _code(error: Exception) -> str:
    """The code of an error, or its class: AWS's message names accounts and addresses, which only the log may show."""
    cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
    if isinstance(cause, RoleNotAssumed):
        return cause.code
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else type(cause).__name__
