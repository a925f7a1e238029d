"""S3 URIs of the objects that jobs read and write."""

import re
from collections.abc import Iterator

from elasticrecode.media.codecs import CONTAINERS, container

MARK = "elasticrecode-job"
"""The metadata field of every output: the id of the job that wrote it."""

SCORE_FILES = (".vmaf.json", ".vmaf.html")
"""Suffixes that a score's JSON report and HTML report add to the input's file name."""

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_OBJECT = re.compile(rf"s3://({_BUCKET})/(.+)", re.ASCII | re.DOTALL)
_PREFIX = re.compile(rf"s3://({_BUCKET})/(?:.+/)?", re.ASCII | re.DOTALL)
KEY_BYTES = 1024
TOO_LONG = f"its outputs would have keys of more than {KEY_BYTES} bytes: choose a shorter output prefix"
_UNUSABLE = re.compile("[\0\ufffe\uffff]")
"""Characters that file names cannot hold, or that SQS refuses in a message."""


def split(uri: str) -> tuple[str, str]:
    """The bucket and key of an `s3://bucket/key` URI. Raises ValueError for any other text."""
    match = _OBJECT.fullmatch(uri)
    if not match:
        raise ValueError(uri)
    return match[1], match[2]


def name(uri: str) -> str:
    """The file name of an object: the part of its URI behind the last slash."""
    return uri.rsplit("/", 1)[-1]


def output_name(uri: str) -> str:
    """The file name of a transcode: the input's, with `.mp4` appended unless its extension is in CONTAINERS."""
    file_name = name(uri)
    return file_name if container(file_name) else f"{file_name}.mp4"


def output_suffixes(suffix: str) -> Iterator[str]:
    """Possible suffixes of outputs for inputs that end in `suffix`: it may be an extension, or a part of one."""
    if "." in suffix:
        yield output_name(suffix)
    else:
        yield f"{suffix}.mp4"
        yield from (extension for extension in CONTAINERS if extension.endswith(suffix.lower()))


def suffixes_overlap(one: str, other: str) -> bool:
    """Whether a text could end in both."""
    return one.endswith(other) or other.endswith(one)


def is_object(uri: str) -> bool:
    """Whether a URI names one object: `s3://bucket/key`, the key at most KEY_BYTES bytes of UTF-8."""
    match = None if _UNUSABLE.search(uri) else _OBJECT.fullmatch(uri)
    return match is not None and name(uri) not in ("", ".", "..") and len(match[2].encode()) <= KEY_BYTES


def is_prefix(uri: str) -> bool:
    """Whether a URI names a prefix that ends in `/`, or a whole bucket."""
    return not _UNUSABLE.search(uri) and _PREFIX.fullmatch(uri) is not None and len(uri.encode()) <= KEY_BYTES


def outputs_fit(output: str, uri: str, *, scored: bool) -> bool:
    """Whether the keys of all outputs of an input, below the prefix `output`, are valid in S3."""
    outputs = [output_name(uri), *(name(uri) + suffix for suffix in SCORE_FILES if scored)]
    return all(is_object(output + each) for each in outputs)
