"""S3: the metadata of objects."""

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
