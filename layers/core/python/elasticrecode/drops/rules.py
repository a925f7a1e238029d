"""Drops: rules that make a job of each object put under a prefix, and the notifications of S3 that trigger them.

A drop covers the keys of a bucket that begin with its prefix and end with one of its suffixes. No drop may cover an
output of a drop's jobs, or the output would become a job again.
"""

import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple
from urllib.parse import unquote_plus

import msgspec
from msgspec import Meta, Struct, structs

from elasticrecode import wire
from elasticrecode.errors import Fault, Malformed
from elasticrecode.jobs import formats
from elasticrecode.jobs.formats import Priority, UserID
from elasticrecode.jobs.job import Job, flaws
from elasticrecode.jobs.requests import transcode_faults
from elasticrecode.jobs.uris import Outputs, suffixes_overlap
from elasticrecode.media.profiles import FfmpegProfile, resolve
from elasticrecode.media.rules import container_fault, key_faults
from elasticrecode.validation import Body

NOTIFICATIONS_LIMIT = 100
"""Notification rules that S3 takes for one bucket. A drop needs one for each of its suffixes."""

_CREATED = "ObjectCreated:"
_FOLDER = re.compile(r"(?:[\w.-]+/)+", re.ASCII)
_SUFFIX = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""Prefixes and suffixes hold no characters that S3's filters require percent-encoded."""
_LENGTH_LIMIT = 512

FORMATS = {
    "drop-bucket": (
        lambda text: not text or formats.FORMATS["s3-prefix"][0](f"s3://{text}/"),
        "the name of a bucket, or empty for the product's own bucket",
    ),
    "drop-prefix": (
        lambda text: not text or _is_folder(text),
        f"a prefix of at most {_LENGTH_LIMIT} letters, digits, '.', '-', '_' and '/' that ends in '/', or empty",
    ),
    "drop-suffix": (
        lambda text: _SUFFIX.fullmatch(text) is not None,
        "the end of a key: 1 to 64 letters, digits, '.', '-' and '_'",
    ),
    "drop-output": (
        lambda text: _is_folder(text) or formats.FORMATS["s3-prefix"][0](text),
        "an s3://bucket/prefix/ URI, or a prefix like transcoded/ of the product's own bucket, that ends in '/'",
    ),
}


def _is_folder(text: str) -> bool:
    return len(text) <= _LENGTH_LIMIT and _FOLDER.fullmatch(text) is not None


class Drop(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A rule that makes a transcode of each object put under a prefix.

    An empty `bucket`, and an `output` without `s3://`, mean the product's own bucket, which `with_bucket` fills in.
    """

    bucket: Annotated[str, Meta(extra_json_schema={"format": "drop-bucket"})] = ""
    prefix: Annotated[str, Meta(extra_json_schema={"format": "drop-prefix"})]
    suffixes: list[Annotated[str, Meta(extra_json_schema={"format": "drop-suffix"})]] = []
    userid: UserID
    output: Annotated[str, Meta(extra_json_schema={"format": "drop-output"})]
    profile: FfmpegProfile
    priority: Priority = 0

    @property
    def ends(self) -> list[str]:
        """Suffixes of the keys that it covers: one empty text where it names none."""
        return self.suffixes or [""]

    def with_bucket(self, own: str) -> "Drop":
        """The drop with the product's own bucket, named `own`, filled in."""
        output = self.output if self.output.startswith("s3://") else f"s3://{own}/{self.output}"
        return structs.replace(self, bucket=self.bucket or own, output=output)

    def covers(self, bucket: str, key: str) -> bool:
        """Whether this drop makes a job of an object."""
        return bucket == self.bucket and key.startswith(self.prefix) and key.endswith(tuple(self.ends))

    def job(self, put: "NewObject") -> Job:
        """The job for an object, with the folders below the drop's prefix kept in its output.

        Raises ValueError with the reason when there can be none.
        """
        folder = put.key.removeprefix(self.prefix).rpartition("/")[:2]
        job = Job(
            userid=self.userid,
            jobid=put.job_id,
            input=put.uri,
            output=self.output + "".join(folder),
            priority=self.priority,
            profile=resolve(self.profile),
        )
        reasons = [
            *flaws(job),
            *filter(None, [container_fault(msgspec.to_builtins(job.profile), put.uri)]),
        ]
        if not reasons and not Outputs.of(job.profile).fit(job.output, put.uri):
            reasons.append(f"an output below {job.output!r:.200} would have a key that S3 does not take")
        if reasons:
            raise ValueError("; ".join(reasons))
        return job


class NewObject(NamedTuple):
    """An object that S3 reports as created. `version` identifies this creation; `size` is in bytes."""

    bucket: str
    key: str
    version: str
    size: int

    @property
    def uri(self) -> str:
        """The object's s3:// URI."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def job_id(self) -> str:
        """The id of the job for this version: the same however often S3 reports it."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.uri}#{self.version}"))


class _Object(Struct):
    key: str
    size: int = 0
    versionId: str = ""
    sequencer: str = ""
    eTag: str = ""


class _Bucket(Struct):
    name: str


class _Place(Struct):
    bucket: _Bucket
    object: _Object


class _Record(Struct):
    eventName: str
    s3: _Place


class _Notification(Struct):
    """A notification of S3. The test message that S3 sends when notifications are set up has no records."""

    Records: list[_Record] = []
    Event: str = ""


def new_objects(body: str) -> list[NewObject]:
    """The objects that a notification of S3 reports as created; none for S3's test message.

    Raises ValueError for a text that is no notification.
    """
    notification = wire.decode(body, _Notification)  # a DecodeError is a ValueError
    if not notification.Records and not notification.Event:
        raise ValueError("the message has no records")
    return [_new_object(record.s3) for record in notification.Records if record.eventName.startswith(_CREATED)]


def _new_object(place: _Place) -> NewObject:
    created = place.object
    # Where a bucket's versioning is suspended, every object has the version `null`.
    version = created.versionId if created.versionId != "null" else ""
    key = unquote_plus(created.key, errors="strict")
    return NewObject(place.bucket.name, key, version or created.sequencer or created.eTag, created.size)


# Rules between fields, and between drops


def faults(given: object) -> Iterator[Fault]:
    """Faults between the fields of drops, and between drops, of option `drops`. The schema reports all others."""
    entries = given if isinstance(given, list) else []
    drops: list[tuple[int, Drop]] = []
    for n, entry in enumerate(entries):
        yield from (Fault(f"/{n}{fault.pointer}", fault.detail) for fault in _profile_faults(entry))
        try:
            drops.append((n, msgspec.convert(entry, Drop)))
        except msgspec.ValidationError:
            continue  # the schema reports it
    for n, drop in drops:
        yield from _suffix_faults(n, drop)
        for m, other in drops:
            if m < n and _overlap(drop, other):
                detail = f"{_shown(drop)} overlaps drop {m}, {_shown(other)}: both would cover some objects"
                yield Fault(f"/{n}/prefix", detail)
            if _feeds(drop, other):
                target = "this drop" if m == n else f"drop {m}"
                detail = f"would put outputs into {target}, {_shown(other)}, where they become jobs again: {_ADVICE}"
                yield Fault(f"/{n}/output", detail)
    yield from _count_faults(drops)


_ADVICE = "choose an output outside of it, or suffixes that outputs do not end in"


def _profile_faults(entry: object) -> Iterator[Fault]:
    suffixes = entry.get("suffixes") if isinstance(entry, dict) else None
    listed = [
        (f"/suffixes/{n}", suffix)
        for n, suffix in enumerate(suffixes if isinstance(suffixes, list) else ())
        if "." in str(suffix)
    ]
    try:
        body = Body(msgspec.json.encode(entry))
        yield from transcode_faults(body, listed)
        yield from key_faults(body.part("profile") or {})
    except Malformed as error:
        yield Fault("", f"cannot be read: {error}")


def _suffix_faults(n: int, drop: Drop) -> Iterator[Fault]:
    for m, suffix in enumerate(drop.suffixes):
        for other in drop.suffixes[:m]:
            if suffixes_overlap(suffix, other):
                yield Fault(f"/{n}/suffixes/{m}", f"{suffix} and {other} overlap: S3 takes only one of the two")


def _count_faults(drops: Sequence[tuple[int, Drop]]) -> Iterator[Fault]:
    for bucket in sorted({drop.bucket for _, drop in drops}):
        count = sum(len(drop.ends) for _, drop in drops if drop.bucket == bucket)
        if count > NOTIFICATIONS_LIMIT:
            name = bucket or "the product's own bucket"
            detail = f"need {count} notification rules of {name}, one for each suffix; S3 takes {NOTIFICATIONS_LIMIT}"
            yield Fault("", detail)


def _overlap(one: Drop, other: Drop) -> bool:
    """Whether both could cover one key. S3 refuses such rules."""
    return (
        one.bucket == other.bucket
        and _prefixes_overlap(one.prefix, other.prefix)
        and any(suffixes_overlap(mine, theirs) for mine in one.ends for theirs in other.ends)
    )


def _feeds(drop: Drop, target: Drop) -> bool:
    """Whether `target` could cover an output of the drop's jobs."""
    bucket, prefix = _output(drop)
    return (
        bucket == target.bucket
        and _prefixes_overlap(prefix, target.prefix)
        and any(suffixes_overlap(one.lower(), other.lower()) for one in _output_suffixes(drop) for other in target.ends)
    )


def _output(drop: Drop) -> tuple[str, str]:
    """The bucket and prefix of the outputs of a drop's jobs; the bucket is empty for the product's own."""
    if not drop.output.startswith("s3://"):
        return "", drop.output
    bucket, _, prefix = drop.output.removeprefix("s3://").partition("/")
    return bucket, prefix


def _output_suffixes(drop: Drop) -> Iterator[str]:
    """Possible suffixes of the outputs of a drop's jobs."""
    written = Outputs.of(drop.profile)
    for suffix in drop.ends:
        yield from written.suffixes(suffix)


def _prefixes_overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _shown(drop: Drop) -> str:
    """What a drop covers, in words."""
    suffixes = f" with {', '.join(drop.suffixes)}" if drop.suffixes else ""
    prefix = f"s3://{drop.bucket}/{drop.prefix}" if drop.bucket else drop.prefix or "the whole bucket"
    return prefix + suffixes
