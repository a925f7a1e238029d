"""S3, as far as it is read here: the lines of a manifest, what lies under a prefix, and who has made an object."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from elasticrecode.aws.clients import client, refusals
from elasticrecode.batches.survey import LINE_BYTES, MANIFEST_BYTES, Line
from elasticrecode.errors import Unreadable
from elasticrecode.jobs.uris import split

_CHUNK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
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

    def lines(self, uri: str) -> Iterator[Line]:
        """The lines of a text that are not blank, without white space around them. They end with LF or CRLF."""
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
                        if found := _line(number, line):
                            yield found
                    rest = tail
                else:
                    rest += tail
                rest = rest[: LINE_BYTES + 1]
            if found := _line(number + 1, rest):
                yield found

    def listing(self, uri: str) -> Iterator[Line]:
        """The URIs of what lies under a prefix, in the order of their keys."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        asked = {"Bucket": bucket, "Prefix": prefix}
        number = 0
        while True:
            with _readable("prefix", uri):
                answer = self._s3.list_objects_v2(**asked)
            for found in answer.get("Contents", ()):
                number += 1
                yield Line(number, f"s3://{bucket}/{found['Key']}")
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


def _line(number: int, raw: bytes) -> Line | None:
    """A line, with what no line may be; None where it is blank."""
    if len(raw) > LINE_BYTES:
        return Line(number, "", f"has more than {LINE_BYTES} bytes")
    try:
        text = (raw.removeprefix(_BOM) if number == 1 else raw).decode().strip()
    except UnicodeDecodeError:
        return Line(number, "", "is not UTF-8")
    if _CONTROL.search(text):
        return Line(number, "", "holds a control character; lines end with LF or CRLF")
    return Line(number, text) if text else None
