"""Uploads from browsers: multipart uploads of S3, whose parts a browser sends by presigned URLs.

S3 keeps the parts until the upload is complete, so after a lost connection an upload goes on with the parts that S3
does not have. Each URL is for one part of one size: nobody sends more bytes than the upload was begun with.
"""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from elasticrecode.access.prefixes import UPLOADS, USER
from elasticrecode.jobs import formats
from elasticrecode.jobs.formats import UserID

UPLOAD_BYTES = 5 * 2**40
"""The largest object of S3."""
PARTS_LIMIT = 10_000
"""Parts of one upload that S3 takes."""
UPLOAD_SECONDS = 2 * 86_400
"""For how long an upload may take. The bucket's rule then removes its parts."""
PART_LINKS_LIMIT = 100
"""Parts of one request for links."""
NAME_BYTES = 255

_NAMESPACE = uuid.UUID("0c9d3c0e-5f0b-5a5d-8f3e-7c2f6f1d9a44")
_PART_BYTES, _MIB = 8 * 2**20, 2**20
_REPLACED = re.compile("[\0-\x1f\x7f-\x9f/\\\\\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
"""Characters that end a line, part a path, or let a name look like another."""
_DOTS = re.compile(r"\.{1,2}")
_SHOWN = 10


def is_file_name(text: str) -> bool:
    """Whether a text may be the name of an upload."""
    return 0 < len(text.encode()) <= NAME_BYTES


Stored = Mapping[int, tuple[int, str]]
"""The parts that S3 has: number → size in bytes, and ETag."""

FORMATS = formats.FORMATS | {"file-name": (is_file_name, f"a name of 1 to {NAME_BYTES} bytes of UTF-8")}


class UploadRequest(Struct, forbid_unknown_fields=True):
    """A file of a user that is to be uploaded, and its size."""

    userID: UserID
    name: Annotated[str, Meta(extra_json_schema={"format": "file-name"})]
    bytes: Annotated[int, Meta(ge=1, le=UPLOAD_BYTES)]


class PartLinksRequest(Struct, forbid_unknown_fields=True):
    """A request for links to send parts of an upload to; parts count from 1."""

    parts: Annotated[list[Annotated[int, Meta(ge=1, le=PARTS_LIMIT)]], Meta(min_length=1, max_length=PART_LINKS_LIMIT)]


class NewUpload(Struct):
    """An upload: the URI of its file, and the size of its parts, of which the last may be smaller."""

    uploadID: str
    uri: str
    bytes: int
    partBytes: int
    parts: int


class UploadRecord(NewUpload):
    """An upload, and the numbers of the parts that S3 has."""

    uploaded: list[int]


class PartLinks(Struct):
    """By the number of a part, a URL to PUT it to, until the Unix second `expiresAt`."""

    expiresAt: int
    urls: dict[str, str]


class Uploaded(Struct):
    """The URI of an uploaded file."""

    uri: str


class Upload(Struct, frozen=True):
    """An upload as it is stored; `token` is S3's own id of it."""

    uploadID: str
    userID: str
    bucket: str
    key: str
    bytes: int
    token: str
    isComplete: bool = False

    @property
    def uri(self) -> str:
        """The URI of its file."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def part_bytes(self) -> int:
        """The size of all parts but the last: 8 MiB, or as many whole MiB as let PARTS_LIMIT parts do."""
        return max(_PART_BYTES, -(-self.bytes // (PARTS_LIMIT * _MIB)) * _MIB)

    @property
    def parts(self) -> int:
        """The number of its parts."""
        return -(-self.bytes // self.part_bytes)

    def size(self, part: int) -> int:
        """The size of a part in bytes."""
        return min(self.part_bytes, self.bytes - (part - 1) * self.part_bytes)

    def whole(self, stored: Stored) -> list[int]:
        """The numbers of the stored parts that are of this upload and have their size."""
        return sorted(part for part, (size, _) in stored.items() if part <= self.parts and size == self.size(part))

    def missing(self, stored: Stored) -> str:
        """Which parts are not stored, in words; empty when all are."""
        numbers = sorted({*range(1, self.parts + 1)}.difference(self.whole(stored)))
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        return ", ".join(map(str, numbers[:_SHOWN])) + more

    def shown(self) -> NewUpload:
        """The upload as its user sees it."""
        return NewUpload(self.uploadID, self.uri, self.bytes, self.part_bytes, self.parts)


def keyed_id(key: str, wanted: UploadRequest) -> str:
    """The id of the upload that a user's request begins under an Idempotency-Key."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps([wanted.userID, key, wanted.name, wanted.bytes])))


def place(user_id: str, upload_id: str, name: str) -> str:
    """The key of an upload's file: it keeps its name, as far as that is one line and no path."""
    # A user's id may be dots, which browsers take out of URLs. It holds no '%', so no other user has this folder.
    folder = user_id.replace(".", "%2E") if _DOTS.fullmatch(user_id) else user_id
    kept = _REPLACED.sub("_", name)
    kept = kept.replace(".", "_") if _DOTS.fullmatch(kept) else kept
    return f"{UPLOADS.prefix.replace(USER, folder)}{upload_id}/{kept}"
