"""S3 URIs of the objects that jobs read and write."""

import re
from collections.abc import Iterator

from elasticrecode.media.codecs import CONTAINERS, container

SCORE_FILES = (".vmaf.json", ".vmaf.html")
"""What a score's report and its page are called, behind the input's name."""

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_OBJECT = re.compile(rf"s3://({_BUCKET})/(.+)", re.ASCII | re.DOTALL)
_PREFIX = re.compile(rf"s3://({_BUCKET})/(?:.+/)?", re.ASCII | re.DOTALL)
KEY_BYTES = 1024
TOO_LONG = f"what is made of it would have a key of more than {KEY_BYTES} bytes: choose a shorter output prefix"
_BEYOND = re.compile("[\0\ufffe\uffff]")
"""What files can't be called, and what SQS takes in no message."""


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key` URI. ValueError when it is not one."""
    match = _OBJECT.fullmatch(uri)
    if not match:
        raise ValueError(uri)
    return match[1], match[2]


def name(uri: str) -> str:
    """The file name of an object."""
    return uri.rsplit("/", 1)[-1]


def output_name(uri: str) -> str:
    """What a transcode of an object is called: the same, with `.mp4` where its container can't hold the codecs."""
    known = name(uri)
    return known if container(known) else f"{known}.mp4"


def output_ends(end: str) -> Iterator[str]:
    """How the outputs of objects may end that end so themselves, if with the dot and all of their last part."""
    if "." in end:
        yield output_name(end)
    else:
        yield f"{end}.mp4"
        yield from (word for word in CONTAINERS if word.endswith(end.lower()))


def end_alike(one: str, other: str) -> bool:
    """Whether something could end with both."""
    return one.endswith(other) or other.endswith(one)


def is_object(uri: str) -> bool:
    """Whether a URI names one object: `s3://bucket/key`, the key at most KEY_BYTES bytes of UTF-8."""
    match = None if _BEYOND.search(uri) else _OBJECT.fullmatch(uri)
    return match is not None and name(uri) not in ("", ".", "..") and len(match[2].encode()) <= KEY_BYTES


def is_prefix(uri: str) -> bool:
    """Whether a URI names a prefix that ends in `/`, or a whole bucket."""
    return not _BEYOND.search(uri) and _PREFIX.fullmatch(uri) is not None and len(uri.encode()) <= KEY_BYTES


def fits(output: str, uri: str, *, scored: bool) -> bool:
    """Whether S3 takes the keys of all that is made of an object."""
    made = [output_name(uri), *(name(uri) + ending for ending in SCORE_FILES if scored)]
    return all(is_object(output + each) for each in made)
