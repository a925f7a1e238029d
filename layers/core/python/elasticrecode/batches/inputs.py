"""Reads the inputs of batches from S3: the lines of a manifest, or the objects under a prefix."""

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
_CAUSES = {
    "NoSuchKey": "not-found",
    "NoSuchBucket": "not-found",
    "404": "not-found",
    "AccessDenied": "access-denied",
    "AllAccessDisabled": "access-denied",
    "403": "access-denied",
    "InvalidObjectState": "archived",
}
_MESSAGES = {
    "not-found": "{} does not exist.",
    "access-denied": "{} may not be read: name its bucket in the option batchBuckets, and let its policy allow it.",
    "archived": "{} is archived: restore it first.",
    "encrypted": "{} is encrypted with a key that the functions may not use: store it with a key of S3.",
    "refused": "S3 refuses {}.",
}


class InputReader:
    """Reads inputs from S3. Raises Unavailable when AWS refuses, Unreadable when S3 does not give the inputs."""

    def __init__(self) -> None:
        self._s3 = client("s3")

    def manifest_lines(self, uri: str) -> Iterator[Line]:
        """The lines of a manifest that are not blank, without white space around them. They end with LF or CRLF.

        A line that can't be read has a fault. Raises Unreadable for more than MANIFEST_BYTES, or NUL characters.
        """
        bucket, key = split(uri)
        with _readable("manifest", uri):
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            if answer["ContentLength"] > MANIFEST_BYTES:
                raise Unreadable(
                    "manifest-too-large",
                    f"The manifest has {answer['ContentLength']} bytes, and may have {MANIFEST_BYTES}. "
                    "Split it into several batches.",
                )
            number = 0
            rest = b""
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                if b"\0" in chunk:
                    raise Unreadable("manifest-not-text", "The manifest is not UTF-8 text with one s3:// URI a line.")
                whole, newline, tail = chunk.rpartition(b"\n")
                if newline:
                    for line in (rest + whole).split(b"\n"):
                        number += 1
                        if parsed := _line(number, line):
                            yield parsed
                    rest = tail
                else:
                    rest += tail
                rest = rest[: LINE_BYTES + 1]
            if parsed := _line(number + 1, rest):
                yield parsed

    def prefix_lines(self, uri: str) -> Iterator[Line]:
        """The URIs of the objects under a prefix, in the order of their keys."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        request = {"Bucket": bucket, "Prefix": prefix}
        number = 0
        while True:
            with _readable("prefix", uri):
                answer = self._s3.list_objects_v2(**request)
            for entry in answer.get("Contents", ()):
                number += 1
                yield Line(number, f"s3://{bucket}/{entry['Key']}")
            if not answer.get("IsTruncated"):
                return
            request["ContinuationToken"] = answer["NextContinuationToken"]


@contextmanager
def _readable(source: str, uri: str) -> Iterator[None]:
    """Turn S3's refusal of an object or a bucket into Unreadable. `source` is `manifest` or `prefix`."""
    try:
        with refusals(f"reading the {source}"):
            yield
    except ClientError as error:
        cause = _cause(error)
        raise Unreadable(f"{source}-{cause}", _MESSAGES[cause].format(uri)) from error


def _cause(error: ClientError) -> str:
    """Why S3 refuses an object for good."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code.startswith("KMS.") or "kms:" in message or (code == "InvalidRequest" and "Encryption" in message):
        return "encrypted"
    return _CAUSES.get(code, "refused")


def _line(number: int, raw: bytes) -> Line | None:
    """A line of a manifest, with a fault where it can't be read; None where it is blank."""
    if len(raw) > LINE_BYTES:
        return Line(number, "", f"has more than {LINE_BYTES} bytes")
    try:
        text = (raw.removeprefix(_BOM) if number == 1 else raw).decode().strip()
    except UnicodeDecodeError:
        return Line(number, "", "is not UTF-8")
    if _CONTROL.search(text):
        return Line(number, "", "holds a control character; lines end with LF or CRLF")
    return Line(number, text) if text else None
