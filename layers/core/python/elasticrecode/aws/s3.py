"""S3: the metadata of objects, and URLs by which others reach them."""

from collections.abc import Mapping
from typing import Literal

from botocore.config import Config
from botocore.exceptions import ClientError

from elasticrecode.aws.clients import client, refusals

_MISSING = "404"


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


class Presigner:
    """Makes URLs by which a browser uses one object with the function's rights, for a while."""

    def __init__(self, url: str, seconds: int) -> None:
        """Presign for `seconds`. `url` is that of S3, with `{bucket}.` where hosts are named by buckets."""
        style: Literal["virtual", "path"] = "virtual" if "{bucket}." in url else "path"
        config = Config(signature_version="s3v4", s3={"addressing_style": style})
        self._s3 = client("s3", url.replace("{bucket}.", ""), config)
        self._seconds = seconds

    def reading(self, bucket: str, key: str, answered: Mapping[str, str]) -> str:
        """A URL for reading an object or ranges of it; `answered` are headers that S3 answers with."""
        return self._presigned("get_object", Bucket=bucket, Key=key, **answered)

    def _presigned(self, operation: str, **arguments: object) -> str:
        url: str = self._s3.generate_presigned_url(operation, Params=arguments, ExpiresIn=self._seconds)
        return url
