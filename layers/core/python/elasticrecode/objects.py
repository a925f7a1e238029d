"""S3, as far as it is read here: the lines of a manifest, what lies under a prefix, and who has made an object."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from elasticrecode.aws import client, refusals
from elasticrecode.batches import LINE_BYTES, MANIFEST_BYTES
from elasticrecode.errors import Unreadable
from elasticrecode.jobs import split

_CHUNK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_SHOWN = 80
_MISSING = "404"
_CAUSES = {
    "NoSuchKey": "not-found",
    "NoSuchBucket": "not-found",
    "404": "not-found",
    "AccessDenied": "access-denied",
    "AllAccessDisabled": "access-denied",
    "403": "access-denied",
    "InvalidObjectState": "archived",
}
_WORDS = {
    "not-found": "{} is not there.",
    "access-denied": "{} may not be read: name its bucket in the option batchBuckets, and let its policy allow it.",
    "archived": "{} is archived: restore it first.",
}


class Objects:
    """Reads S3. Raises Unavailable when AWS refuses, Unreadable when the inputs of a batch can't be read."""

    def __init__(self) -> None:
        self._s3 = client("s3")

    def lines(self, uri: str) -> Iterator[tuple[int, str]]:
        """The lines of a text, with their numbers from 1. They end with LF or CRLF; a line too long is cut short."""
        bucket, key = split(uri)
        with _readable("manifest", uri):
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            if answer["ContentLength"] > MANIFEST_BYTES:
                said = (
                    f"It has {answer['ContentLength']} bytes; at most {MANIFEST_BYTES} are read. Make several batches."
                )
                raise Unreadable("manifest-too-large", said)
            number = 0
            rest = b""
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                if b"\0" in chunk:
                    raise Unreadable("manifest-not-text", "It is no UTF-8 text with one s3:// URI a line.")
                whole, newline, tail = chunk.rpartition(b"\n")
                if newline:
                    for line in (rest + whole).split(b"\n"):
                        number += 1
                        yield number, _text(line, first=number == 1)
                    rest = tail
                else:
                    rest += tail
                rest = rest[: LINE_BYTES + 1]
            if rest:
                yield number + 1, _text(rest, first=number == 0)

    def listing(self, uri: str) -> Iterator[tuple[int, str]]:
        """The URIs of what lies under a prefix, in the order of their keys, with their numbers from 1."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        asked = {"Bucket": bucket, "Prefix": prefix}
        number = 0
        while True:
            with _readable("prefix", uri):
                answer = self._s3.list_objects_v2(**asked)
            for found in answer.get("Contents", ()):
                number += 1
                yield number, f"s3://{bucket}/{found['Key']}"
            if not answer.get("IsTruncated"):
                return
            asked["ContinuationToken"] = answer["NextContinuationToken"]

    def metadata(self, bucket: str, key: str) -> dict[str, str] | None:
        """The metadata that an object was put with; None when it is gone. ClientError where looking is forbidden."""
        try:
            with refusals("looking at a file"):
                found: dict[str, str] = self._s3.head_object(Bucket=bucket, Key=key)["Metadata"]
        except ClientError as error:
            if error.response["Error"]["Code"] == _MISSING:
                return None
            raise
        return found


@contextmanager
def _readable(what: str, uri: str) -> Iterator[None]:
    """Turn S3's refusal of an object or a bucket into Unreadable."""
    try:
        with refusals(f"reading the {what}"):
            yield
    except ClientError as error:
        cause = _CAUSES.get(error.response["Error"]["Code"])
        if not cause:
            raise
        raise Unreadable(f"{what}-{cause}", _WORDS[cause].format(uri)) from error


def _text(line: bytes, *, first: bool) -> str:
    """A line as text. One that is no UTF-8 or too long becomes text that no URI can be."""
    line = line.removeprefix(_BOM) if first else line
    try:
        if len(line) <= LINE_BYTES:
            return line.decode()
    except UnicodeDecodeError:
        pass
    return "\ufffd" + line[:_SHOWN].decode(errors="replace")
