"""Objects in S3 buckets, looked at from outside."""

from elasticrecode.aws import client, refusals

_MISSING = "404"


class Buckets:
    """Looks at objects. Raises Unavailable when AWS refuses, and botocore's error where it forbids."""

    def __init__(self) -> None:
        self._s3 = client("s3")

    def metadata(self, bucket: str, key: str) -> dict[str, str] | None:
        """The metadata that an object was put with; None when it is not there any more."""
        with refusals("looking at a file"):
            try:
                found: dict[str, str] = self._s3.head_object(Bucket=bucket, Key=key)["Metadata"]
            except self._s3.exceptions.ClientError as error:
                if error.response["Error"]["Code"] == _MISSING:
                    return None
                raise
        return found
