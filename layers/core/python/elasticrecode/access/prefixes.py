"""Which files a user may use: prefixes of buckets that its jobs may read and write.

A deployment's prefixes are checked where jobs are asked for, and stand in the role that workers take for a job. There
the user is a session tag, so `{userID}` stands only for ids that a tag can hold; others have no prefix of their own.
Without prefixes nothing is checked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, structs

from elasticrecode.errors import Fault

USER = "{userID}"
"""Stands for the user in a prefix."""
TAG = "userID"
"""The session tag that names the user of a job to IAM."""
READ_ACTIONS = ("s3:GetObject",)
WRITE_ACTIONS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject")
"""What workers do with inputs and with outputs."""

Access = Literal["read", "write"]

_LONGEST = 512
_PREFIX = re.compile(r"(?:s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/)?(?:(?:[\w.=@-]|\{userID\})+/)*", re.ASCII)
_DOTS = (".", "..")
_TAG_VALUE = re.compile(r"(?!aws:)[\w.=@+:-]{1,128}", re.ASCII | re.IGNORECASE)
_OWN = "s3:///"
"""How the product's own bucket begins while its name is not known."""


def _is_prefix(text: str) -> bool:
    return len(text) <= _LONGEST and _PREFIX.fullmatch(text) is not None and not _has_dots(text)


def _has_dots(uri: str) -> bool:
    """Whether a part between slashes is `.` or `..`, which may mean another place to who reads it next."""
    return any(part in _DOTS for part in uri.split("/"))


FORMATS = {
    "user-prefix": (
        _is_prefix,
        f"an s3://bucket/prefix/ URI, or a prefix like {USER}/ of the product's own bucket, that ends in '/', of "
        f"letters, digits, '.', '-', '_', '=' and '@', with {USER} for the user in it but not in the bucket's name, at "
        f"most {_LONGEST} long",
    ),
}


class UserPrefix(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files that users may use. One without `s3://` is of the product's own bucket, until `placed` names that."""

    prefix: Annotated[str, Meta(extra_json_schema={"format": "user-prefix"})]
    access: Literal["read", "write", "read-write"] = "read-write"

    def placed(self, own: str) -> "UserPrefix":
        """The same with the name of the product's own bucket in it."""
        whole = self.prefix.startswith("s3://")
        return self if whole else structs.replace(self, prefix=f"s3://{own}/{self.prefix}")

    def allows(self, access: Access) -> bool:
        """Whether it lets its users read, or write."""
        return access in self.access.split("-")


def is_tag(user_id: str) -> bool:
    """Whether a session tag can hold the id, and `{userID}` stand for it."""
    return _TAG_VALUE.fullmatch(user_id) is not None and user_id not in _DOTS


class Prefixes:
    """The prefixes of a deployment, with its own bucket named in them."""

    def __init__(self, prefixes: Sequence[UserPrefix] = ()) -> None:
        self._prefixes = prefixes

    def of(self, user_id: str, access: Access) -> list[str]:
        """Where a user may read, or write."""
        known = [each.prefix for each in self._prefixes if each.allows(access)]
        return [prefix.replace(USER, user_id) for prefix in known if USER not in prefix or is_tag(user_id)]

    def fault(self, user_id: str, access: Access, uri: str) -> str:
        """Why a user may not read an object or a prefix, or write it; empty when it may."""
        if not self._prefixes:
            return ""
        allowed = self.of(user_id, access)
        if uri.startswith(tuple(allowed)):
            return "must not have '.' or '..' between slashes" if _has_dots(uri) else ""
        places = ", ".join(prefix.removeprefix(_OWN) or "the product's own bucket" for prefix in allowed)
        said = f"must lie where {user_id} may {access}: {places or 'nowhere'}"
        if is_tag(user_id) or not any(USER in each.prefix for each in self._prefixes):
            return said
        return f"{said}; only ids of letters, digits and _ . = @ + : - have a prefix of their own"

    def faults(self, user_id: object, access: Access, places: Iterable[tuple[str, object]]) -> Iterator[Fault]:
        """The faults of a request, each by the pointer to its URI; what is no text is told elsewhere."""
        if not (self._prefixes and isinstance(user_id, str)):
            return
        for pointer, uri in places:
            if isinstance(uri, str) and (detail := self.fault(user_id, access, uri)):
                yield Fault(pointer, detail)


EVERYWHERE = Prefixes()


def read(given: object) -> dict[int, UserPrefix]:
    """Prefixes as they were given, by their number; what is none is left out."""
    found: dict[int, UserPrefix] = {}
    for n, entry in enumerate(given if isinstance(given, list) else []):
        with suppress(msgspec.ValidationError):  # told by the schema
            found[n] = msgspec.convert(entry, UserPrefix)
    return found


def faults(given: object) -> Iterator[Fault]:
    """Prefixes by which the id of one user could lead into what another prefix is for."""
    prefixes = read(given)
    for n, one in prefixes.items():
        for other, known in prefixes.items():
            if other < n and _meet(one.placed("").prefix, known.placed("").prefix):
                detail = (
                    f"{one.prefix} and {known.prefix} could be the same place, for users of fitting names: put what is "
                    f"each user's under a folder of its own, such as users/{USER}/"
                )
                yield Fault(f"/{n}/prefix", detail)


def _meet(one: str, other: str) -> bool:
    """Whether two prefixes could cover the same object by the ids of two users."""
    named = False
    for mine, theirs in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if mine == theirs:
            if USER in mine:
                return False  # of the same user, then
        elif _may_equal(mine, theirs):
            named = True
        else:
            return False
    return named


def _may_equal(one: str, other: str) -> bool:
    """Whether two parts between slashes could be the same text."""
    if USER not in one:
        one, other = other, one
    if USER not in one:
        return False
    head, tail = one.split(USER)[0], one.split(USER)[-1]
    if USER in other:
        start, end = other.split(USER)[0], other.split(USER)[-1]
        return (head.startswith(start) or start.startswith(head)) and (tail.endswith(end) or end.endswith(tail))
    return other.startswith(head) and other.endswith(tail) and len(other) > len(head) + len(tail)
