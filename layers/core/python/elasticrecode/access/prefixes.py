"""User prefixes: the prefixes of buckets that a user's jobs may read and write.

The API checks a deployment's prefixes at submission, and the role that workers assume for a job holds them too. There
the user is a session tag, so `{userID}` stands for ids that a tag can hold; other users have no prefix of their own.
A deployment without prefixes checks nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, structs

from elasticrecode.errors import Fault

USER = "{userID}"
"""The placeholder for the user's id in a prefix."""
TAG = "userID"
"""The session tag that holds the id of a job's user."""
READ_ACTIONS = ("s3:GetObject",)
WRITE_ACTIONS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetObject")
"""The S3 actions of workers on inputs, and on outputs. They look at an output before and after they publish it, and
complete what another worker has uploaded."""
REMOVE_ACTIONS = ("s3:DeleteObject",)
"""The S3 actions of workers on the old versions of packages."""

Access = Literal["read", "write"]

_LENGTH_LIMIT = 512
_PREFIX = re.compile(r"(?:s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/)?(?:(?:[\w.=@-]|\{userID\})+/)*", re.ASCII)
_DOTS = (".", "..")
_TAG_VALUE = re.compile(r"(?!aws:)[\w.=@+:-]{1,128}", re.ASCII | re.IGNORECASE)
_OWN = "s3:///"
"""The start of prefixes in the product's own bucket while its name is unknown."""


def _is_prefix(text: str) -> bool:
    return len(text) <= _LENGTH_LIMIT and _PREFIX.fullmatch(text) is not None and not has_dots(text)


def has_dots(uri: str) -> bool:
    """Whether a part between slashes is `.` or `..`, which another reader may resolve to another place."""
    return any(part in _DOTS for part in uri.split("/"))


FORMATS = {
    "user-prefix": (
        _is_prefix,
        f"an s3://bucket/prefix/ URI, or a prefix like {USER}/ of the product's own bucket: at most {_LENGTH_LIMIT} "
        f"letters, digits, '.', '-', '_', '=' and '@' that end in '/', with {USER} for the user's id, but not in the "
        "bucket's name",
    ),
}


class UserPrefix(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A prefix and the access that users have below it. Without `s3://` it is in the product's own bucket."""

    prefix: Annotated[str, Meta(extra_json_schema={"format": "user-prefix"})]
    access: Literal["read", "write", "read-write"] = "read-write"

    def with_bucket(self, own: str) -> "UserPrefix":
        """The same as a whole URI; `own` is the name of the product's own bucket."""
        whole = self.prefix.startswith("s3://")
        return self if whole else structs.replace(self, prefix=f"s3://{own}/{self.prefix}")

    def allows(self, access: Access) -> bool:
        """Whether users have this access below the prefix."""
        return access in self.access.split("-")


def is_tag(user_id: str) -> bool:
    """Whether a session tag can hold the id, so that `{userID}` may stand for it."""
    return _TAG_VALUE.fullmatch(user_id) is not None and user_id not in _DOTS


UPLOADS_FOLDER = "uploads/"
"""The prefix of the product's own bucket for files that browsers upload."""
UPLOADS = UserPrefix(prefix=f"{UPLOADS_FOLDER}{USER}/", access="read")
"""Where browsers upload: beside the prefixes of a deployment that has any, users read what they have uploaded."""


class Prefixes:
    """The prefixes of a deployment, as whole URIs."""

    def __init__(self, prefixes: Sequence[UserPrefix] = ()) -> None:
        self._prefixes = prefixes

    def of(self, user_id: str, access: Access) -> list[str]:
        """The prefixes below which a user may read, or write."""
        allowed = [each.prefix for each in self._prefixes if each.allows(access)]
        return [prefix.replace(USER, user_id) for prefix in allowed if USER not in prefix or is_tag(user_id)]

    def fault(self, user_id: str, access: Access, uri: str) -> str:
        """Why a user may not read, or write, an object or a prefix; empty when the user may."""
        if not self._prefixes:
            return ""
        allowed = self.of(user_id, access)
        if uri.startswith(tuple(allowed)):
            return "must not have '.' or '..' between slashes" if has_dots(uri) else ""
        places = ", ".join(prefix.removeprefix(_OWN) or "the product's own bucket" for prefix in allowed)
        detail = f"must be below a prefix that {user_id} may {access}: {places or 'there is none'}"
        if is_tag(user_id) or not any(USER in each.prefix for each in self._prefixes):
            return detail
        return f"{detail}; only ids of letters, digits and _ . = @ + : - have a prefix of their own"

    def faults(self, user_id: object, access: Access, places: Iterable[tuple[str, object]]) -> Iterator[Fault]:
        """The faults of a request; `places` are pointers with their URIs. Values that are not strings are left out."""
        if not (self._prefixes and isinstance(user_id, str)):
            return
        for pointer, uri in places:
            if isinstance(uri, str) and (detail := self.fault(user_id, access, uri)):
                yield Fault(pointer, detail)


UNRESTRICTED = Prefixes()
"""No prefixes: every user may use every file."""


def read(given: object) -> dict[int, UserPrefix]:
    """The valid entries of option `userPrefixes`, by their index."""
    valid: dict[int, UserPrefix] = {}
    for n, entry in enumerate(given if isinstance(given, list) else []):
        with suppress(msgspec.ValidationError):  # the schema reports it
            valid[n] = msgspec.convert(entry, UserPrefix)
    return valid


def faults(given: object) -> Iterator[Fault]:
    """Faults of pairs of prefixes where the id of one user could lead into the files of another prefix.

    One of each pair may be that of uploads.
    """
    prefixes = read(given)
    for n, one in prefixes.items():
        for m, other in {-1: UPLOADS, **prefixes}.items():
            if m < n and _meet(one.with_bucket("").prefix, other.with_bucket("").prefix):
                detail = (
                    f"{one.prefix} and {other.prefix} are the same place for some users' ids: put the users' files "
                    f"into a folder of their own, such as users/{USER}/"
                )
                yield Fault(f"/{n}/prefix", detail)


def _meet(one: str, other: str) -> bool:
    """Whether two prefixes could cover the same object for two different users."""
    named = False
    for mine, theirs in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if mine == theirs:
            if USER in mine:
                return False  # the same user, then
        elif _may_equal(mine, theirs):
            named = True
        else:
            return False
    return named


def _may_equal(one: str, other: str) -> bool:
    """Whether two parts between slashes could be equal for some ids."""
    if USER not in one:
        one, other = other, one
    if USER not in one:
        return False
    head, tail = one.split(USER)[0], one.split(USER)[-1]
    if USER in other:
        start, end = other.split(USER)[0], other.split(USER)[-1]
        return (head.startswith(start) or start.startswith(head)) and (tail.endswith(end) or end.endswith(tail))
    return other.startswith(head) and other.endswith(tail) and len(other) > len(head) + len(tail)
