"""Named formats of request fields: a predicate for each, and the rule that completes the sentence "must be …"."""

from typing import Annotated

from msgspec import Meta

from elasticrecode.access.callers import USER
from elasticrecode.jobs.uris import KEY_BYTES, is_object, is_prefix
from elasticrecode.media import formats
from elasticrecode.media.profiles import PRIORITIES

FORMATS = {
    **formats.FORMATS,
    "user": (
        lambda text: USER.fullmatch(text) is not None,
        "1 to 128 characters without white space, '/', '?', '#' or '%'",
    ),
    "s3-object": (
        is_object,
        f"an s3://bucket/key URI of one object, its key at most {KEY_BYTES} bytes without NUL, U+FFFE and U+FFFF",
    ),
    "s3-prefix": (
        is_prefix,
        "an s3://bucket/prefix/ URI that ends in '/', without NUL, U+FFFE and U+FFFF: "
        "the file name is taken from the input",
    ),
}

UserID = Annotated[str, Meta(extra_json_schema={"format": "user"})]
ObjectURI = Annotated[str, Meta(extra_json_schema={"format": "s3-object"})]
PrefixURI = Annotated[str, Meta(extra_json_schema={"format": "s3-prefix"})]
Priority = Annotated[int, Meta(ge=PRIORITIES[0], le=PRIORITIES[1])]
