"""Downloads inputs from S3; errors of S3 as errors of the job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from s3transfer.subscribers import BaseSubscriber

from elasticrecode.jobs.uris import split
from worker.aws_faults import ARCHIVES, archived, as_job_errors, replaced
from worker.errors import PermanentError
from worker.sandbox.runner import Runner

_WITHOUT_CAUSE = {"400", "403", "409"}
"""Codes of answers to HEAD, which have no body, that stand for several causes."""
_TRIES = 5
_BROKEN_BODIES = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, ConnectionError, TimeoutError)
"""Errors while the body of an answer is read, after which the SDK itself does not ask again."""
_RESTORED = 'ongoing-request="false"'


class Stored(NamedTuple):
    """An object: its size in bytes, its ETag, and its version, empty in a bucket that keeps none."""

    size: int
    etag: str
    version: str


class Storage:
    """The S3 client of one job, and downloads with it."""

    def __init__(
        self,
        connect: Callable[[], Any],
        versions: Mapping[str, str] | None = None,
        wider: Callable[[Sequence[str]], Any] | None = None,
    ) -> None:
        """`connect` returns the S3 client. It is called at the first use. `versions` are ETags of pinned objects.

        `wider` returns a client that may also read objects whose URIs begin with these; without it, the client may
        read whatever it can.
        """
        self._connect, self._versions, self._wider = connect, versions or {}, wider
        self.known: dict[str, Stored] = {}
        """The objects that were opened, by their URIs."""
        self.sides: dict[str, Any] = {}
        """What `find_side_files` has read, by folder."""

    def pinned(self, uri: str, etag: str) -> "Storage":
        """The same storage, with an object that can be read in that version alone, which a plan has probed."""
        return Storage(lambda: self.s3, {**self._versions, uri: etag}, self._wider)

    @contextmanager
    def widened(self, starts: Sequence[str]) -> Iterator[None]:
        """Entered, it reads also objects of this job's user whose URIs begin so."""
        usual = self.s3
        self.s3 = self._wider(starts) if self._wider else usual
        try:
            yield
        finally:
            self.s3 = usual

    @cached_property
    def s3(self) -> Any:
        """The client."""
        return self._connect()

    def download(self, uri: str, target: Path, runner: Runner, side: str = "input") -> None:
        """Download an object to the file `target`: the bytes of one version, however often it is replaced meanwhile.

        Raises PermanentError, with a code that starts with `side`, if the object is missing, forbidden, archived,
        encrypted with a key that is out of reach, empty or too large; TransientError if S3 cannot serve it now;
        HostError if this host cannot hold it; Interrupted if the runner was stopped.
        """
        bucket, key = split(uri)
        with as_job_errors(side, uri):
            size, etag = self.opened(uri, side)
            runner.limits.check_size(side, size, target.parent)
            source = _Source(uri, size, etag, runner.check)
            with create_transfer_manager(self.s3, TransferConfig()) as transfers:
                transfers.download(bucket, key, str(target), subscribers=[source]).result()
            if target.stat().st_size != size:
                raise replaced(uri)

    def opened(self, uri: str, side: str = "input", *, anew: bool = False) -> tuple[int, str]:
        """Size in bytes and ETag of an object that can be read, which is looked at once, or `anew`.

        Raises JobError as `download`, but for limits.
        """
        if not anew and (known := self.known.get(uri)):
            return known.size, known.etag
        bucket, key = split(uri)
        with as_job_errors(side, uri):
            head = self._head(bucket, key)
        storage_class = head.get("ArchiveStatus") or head.get("StorageClass", "")
        if ("ArchiveStatus" in head or storage_class in ARCHIVES) and _RESTORED not in head.get("Restore", ""):
            raise archived(side, uri, storage_class)
        if head["ContentLength"] == 0:
            raise PermanentError(f"{side}-empty", f"{uri} is empty.")
        if self._versions.get(uri, head["ETag"]) != head["ETag"]:
            raise PermanentError("plan-outdated", f"{uri} is not the version that the plan has probed: plan again.")
        self.known[uri] = Stored(head["ContentLength"], head["ETag"], head.get("VersionId", ""))
        return head["ContentLength"], head["ETag"]

    def read_range(self, uri: str, etag: str, offset: int, size: int, side: str = "input") -> bytes:
        """Bytes of the version of an object that has the ETag. Raises JobError as `download`, but for limits."""
        bucket, key = split(uri)
        wanted = f"bytes={offset}-{offset + size - 1}"
        with as_job_errors(side, uri):
            for tries_left in reversed(range(_TRIES)):
                try:
                    answer = self.s3.get_object(Bucket=bucket, Key=key, Range=wanted, IfMatch=etag)
                    content: bytes = answer["Body"].read()
                except _BROKEN_BODIES:
                    if not tries_left:
                        raise
                    continue
                if len(content) != size or not answer.get("ContentRange", "").startswith(f"bytes {offset}-"):
                    raise replaced(uri)
                return content
        raise AssertionError

    def read_small(self, uri: str, most_bytes: int, unless: str) -> tuple[int, bytes]:
        """Size and content of an object that may be there; content is empty beyond `most_bytes`.

        (0, empty) if it is not there, not shown, or has the metadata field `unless`. Raises TransientError if S3 cannot
        serve it now.
        """
        bucket, key = split(uri)
        with as_job_errors("input", uri):
            try:
                head = self.s3.head_object(Bucket=bucket, Key=key)
                if unless in head["Metadata"]:
                    return 0, b""
                size = head["ContentLength"]
                if size > most_bytes:
                    return size, b""
                return size, self.s3.get_object(Bucket=bucket, Key=key, IfMatch=head["ETag"])["Body"].read()
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403, 404):
                    return 0, b""
                raise

    def write_small(self, uri: str, content: bytes) -> None:
        """Store an object at once. Raises as `read_small`."""
        bucket, key = split(uri)
        with as_job_errors("output", uri):
            self.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def _head(self, bucket: str, key: str) -> Any:
        """The properties of an object. Where HEAD's answer does not name the cause, a GET of one byte does."""
        try:
            return self.s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _WITHOUT_CAUSE:
                raise
        self.s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
        return self.s3.head_object(Bucket=bucket, Key=key)  # the cause has passed


class _Source(BaseSubscriber):
    """Gives the transfer manager the size and ETag of a HEAD, so that it makes none itself and reads no other object.

    `check` is called with the progress of the download. What it raises ends the download.
    """

    def __init__(self, uri: str, size: int, etag: str, check: Callable[[], None]) -> None:
        self._uri, self._size, self._etag, self._check = uri, size, etag, check
        self._left = size

    def on_queued(self, future: Any, **_: Any) -> None:
        future.meta.provide_transfer_size(self._size)
        future.meta.provide_object_etag(self._etag)
        future.meta.call_args.extra_args["IfMatch"] = self._etag  # the manager itself sets it on ranges only

    def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
        self._check()
        self._left -= bytes_transferred
        if self._left < 0:
            raise replaced(self._uri)
