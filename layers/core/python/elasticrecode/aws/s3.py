"""S3: the metadata of objects, and URLs by which others reach them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from botocore.config import Config
from botocore.exceptions import ClientError

from elasticrecode.aws.clients import client, refusals

_MISSING, _FORBIDDEN = "404", "403"
_LOST = ("NoSuchUpload", "InvalidPart")
_JOINING_SECONDS = 12
"""For how long S3 may be silent. It joins the parts of a large upload in minutes, and sends spaces meanwhile."""


class Objects:
    """Reads about objects. Raises Unavailable when AWS refuses."""

    def __init__(self) -> None:
        self._s3 = client("s3")

    def metadata(self, bucket: str, key: str) -> dict[str, str] | None:
        """The metadata that an object was stored with; None when the object does not exist.

        Raises ClientError where reading it is forbidden.
        """
        try:
            with refusals("reading the metadata of a file"):
                metadata: dict[str, str] = self._s3.head_object(Bucket=bucket, Key=key)["Metadata"]
        except ClientError as error:
            if error.response["Error"]["Code"] == _MISSING:
                return None
            raise
        return metadata


class Part(NamedTuple):
    """A part of a multipart upload: its size in bytes, and its ETag."""

    size: int
    etag: str


def reach(url: str) -> Any:
    """A client for S3 at an address that browsers reach, too, with `{bucket}.` where hosts are named by buckets."""
    style: Literal["virtual", "path"] = "virtual" if "{bucket}." in url else "path"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        # S3 checks sums that browsers would have to compute if the upload were begun with an algorithm.
        request_checksum_calculation="when_required",
        retries={"mode": "standard", "total_max_attempts": 2},
        read_timeout=_JOINING_SECONDS,
    )
    return client("s3", url.replace("{bucket}.", ""), config)


class Presigner:
    """Makes URLs by which a browser uses one object with the function's rights, for a while."""

    def __init__(self, s3: Any, seconds: int) -> None:
        self._s3, self._seconds = s3, seconds

    def reading(self, bucket: str, key: str, answered: Mapping[str, str]) -> str:
        """A URL for reading an object or ranges of it; `answered` are headers that S3 answers with."""
        return self._presigned("get_object", Bucket=bucket, Key=key, **answered)

    def sending(self, bucket: str, key: str, token: str, part: int, size: int) -> str:
        """A URL for sending a part, of so many bytes, of a multipart upload."""
        return self._presigned(
            "upload_part", Bucket=bucket, Key=key, UploadId=token, PartNumber=part, ContentLength=size
        )

    def _presigned(self, operation: str, **arguments: object) -> str:
        url: str = self._s3.generate_presigned_url(operation, Params=arguments, ExpiresIn=self._seconds)
        return url


class Multipart:
    """Multipart uploads of objects; `token` is S3's id of one. Raises Unavailable when AWS refuses."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def begin(self, bucket: str, key: str) -> str:
        """Begin an upload; its token. A browser that opens the object saves it."""
        with refusals("beginning the upload"):
            answer = self._s3.create_multipart_upload(
                Bucket=bucket, Key=key, ContentType="application/octet-stream", ContentDisposition="attachment"
            )
        token: str = answer["UploadId"]
        return token

    def parts(self, bucket: str, key: str, token: str) -> dict[int, Part] | None:
        """The parts that S3 has, by their numbers; None when there is no such upload, or no longer."""
        parts: dict[int, Part] = {}
        marker = 0
        with refusals("listing the parts of the upload"), suppress(self._s3.exceptions.NoSuchUpload):
            while True:
                answer = self._s3.list_parts(Bucket=bucket, Key=key, UploadId=token, PartNumberMarker=marker)
                parts |= {each["PartNumber"]: Part(each["Size"], each["ETag"]) for each in answer.get("Parts", ())}
                if not answer.get("IsTruncated"):
                    return parts
                marker = answer["NextPartNumberMarker"]
        return None

    def complete(self, bucket: str, key: str, token: str, parts: Mapping[int, Part]) -> bool:
        """Join parts to the object; False when there is no such upload, or one of the parts was sent anew meanwhile."""
        joined = [{"PartNumber": number, "ETag": part.etag} for number, part in sorted(parts.items())]
        try:
            with refusals("completing the upload"):
                self._s3.complete_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=token, MultipartUpload={"Parts": joined}
                )
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST:
                raise
            return False
        return True

    def abort(self, bucket: str, key: str, token: str) -> bool:
        """Remove an upload with its parts; False when there is no such upload."""
        with refusals("removing the upload"), suppress(self._s3.exceptions.NoSuchUpload):
            self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=token)
            return True
        return False

    def size(self, bucket: str, key: str) -> int | None:
        """The size of an object in bytes; None when it does not exist.

        S3 answers that it is forbidden, where the function may not list the bucket.
        """
        try:
            with refusals("looking for the file"):
                size: int = self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in (_MISSING, _FORBIDDEN):
                raise
            return None
        return size
