"""Drops: where a file that is put becomes a job, what job that is, and what S3 tells of it.

A drop covers the keys of a bucket that begin with its prefix and end with one of its suffixes. What its jobs make must
not be covered by any drop, or it would become jobs again.
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
from elasticrecode.jobs.requests import profile_faults
from elasticrecode.jobs.uris import SCORE_FILES, end_alike, fits, output_ends
from elasticrecode.media.profiles import FfmpegProfile, resolve
from elasticrecode.validation import Body

MARK = "elasticrecode-job"
"""Metadata of every object that a worker publishes: the job that made it."""

NOTIFICATIONS = 100
"""Notifications that S3 takes for one bucket: a drop makes one for each of its suffixes."""

_CREATED = "ObjectCreated:"
_FOLDER = re.compile(r"(?:[\w.-]+/)+", re.ASCII)
_SUFFIX = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""Of what S3's filters would want percent-encoded, prefixes and suffixes have nothing."""
_LONGEST = 512

FORMATS = {
    "drop-bucket": (
        lambda text: not text or formats.FORMATS["s3-prefix"][0](f"s3://{text}/"),
        "the name of a bucket, or empty for the product's own",
    ),
    "drop-prefix": (
        lambda text: not text or _is_folder(text),
        f"a prefix of letters, digits, '.', '-', '_' and '/' that ends in '/', at most {_LONGEST} long, or empty",
    ),
    "drop-suffix": (
        lambda text: _SUFFIX.fullmatch(text) is not None,
        "1 to 64 letters, digits, '.', '-' and '_' that a key ends with",
    ),
    "drop-output": (
        lambda text: _is_folder(text) or formats.FORMATS["s3-prefix"][0](text),
        "an s3://bucket/prefix/ URI, or a prefix like transcoded/ of the product's own bucket, that ends in '/'",
    ),
}


def _is_folder(text: str) -> bool:
    return len(text) <= _LONGEST and _FOLDER.fullmatch(text) is not None


class Drop(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Files that become jobs by themselves, and what is made of them.

    `bucket` is empty for the product's own, and so is that of an `output` without `s3://`, until `placed` names it.
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
        """How the keys may end that it covers; everything ends with nothing."""
        return self.suffixes or [""]

    def placed(self, own: str) -> "Drop":
        """The drop with the name of the product's own bucket in it."""
        output = self.output if self.output.startswith("s3://") else f"s3://{own}/{self.output}"
        return structs.replace(self, bucket=self.bucket or own, output=output)

    def covers(self, bucket: str, key: str) -> bool:
        """Whether an object becomes a job by this drop."""
        return bucket == self.bucket and key.startswith(self.prefix) and key.endswith(tuple(self.ends))

    def job(self, put: "Put") -> Job:
        """The job of an object. ValueError, its text finishing "it can't be a job: …", when it can't be one."""
        folder = put.key.removeprefix(self.prefix).rpartition("/")[:2]
        job = Job(
            userid=self.userid,
            jobid=put.job_id,
            input=put.uri,
            output=self.output + "".join(folder),
            priority=self.priority,
            profile=resolve(self.profile),
        )
        wrong = flaws(job)
        if not wrong and not fits(job.output, put.uri, scored=bool(job.profile.vmaf)):
            wrong.append(f"what is made of it in {job.output!r:.200} would have a key that S3 does not take")
        if wrong:
            raise ValueError("; ".join(wrong))
        return job


class Put(NamedTuple):
    """A version of an object that was put. `version` is what S3 knows this putting by, `size` in bytes."""

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
        """The one job of this version: the same however often S3 tells of it."""
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


class _Told(Struct):
    """What S3 tells. The test that it sends when it is told to notify has no records."""

    Records: list[_Record] = []
    Event: str = ""


def puts(body: str) -> list[Put]:
    """The objects that a notification of S3 tells of, none where it is S3's test. ValueError when it is none."""
    told = wire.decode(body, _Told)  # a DecodeError is a ValueError
    if not told.Records and not told.Event:
        raise ValueError("it has no records")
    return [_put(record.s3) for record in told.Records if record.eventName.startswith(_CREATED)]


def _put(place: _Place) -> Put:
    found = place.object
    # A bucket whose versioning is suspended calls all that is put there `null`.
    version = found.versionId if found.versionId != "null" else ""
    key = unquote_plus(found.key, errors="strict")
    return Put(place.bucket.name, key, version or found.sequencer or found.eTag, found.size)


# What no single field can say


def faults(given: object) -> Iterator[Fault]:
    """What is wrong between fields of drops, and between drops, as they were given; what is no drop is passed over."""
    entries = given if isinstance(given, list) else []
    read: list[tuple[int, Drop]] = []
    for n, entry in enumerate(entries):
        yield from (Fault(f"/{n}{fault.pointer}", fault.detail) for fault in _profile_faults(entry))
        try:
            read.append((n, msgspec.convert(entry, Drop)))
        except msgspec.ValidationError:
            continue  # told by the schema
    for n, drop in read:
        yield from _suffix_faults(n, drop)
        for other, known in read:
            if other < n and _overlap(drop, known):
                detail = f"{_shown(drop)} overlaps drop {other}, {_shown(known)}: a file could be put into both"
                yield Fault(f"/{n}/prefix", detail)
            if _lands(drop, known):
                whose = "this drop" if other == n else f"drop {other}"
                detail = (
                    f"would put what is made into {whose}, {_shown(known)}, where it becomes a job again: {_CHANGE}"
                )
                yield Fault(f"/{n}/output", detail)
    yield from _count_faults(read)


_CHANGE = "choose an output outside of it, or suffixes that the output's name does not end with"


def _profile_faults(entry: object) -> Iterator[Fault]:
    try:
        yield from profile_faults(Body(msgspec.json.encode(entry)))
    except Malformed as error:
        yield Fault("", f"can't be read: {error}")


def _suffix_faults(n: int, drop: Drop) -> Iterator[Fault]:
    for m, suffix in enumerate(drop.suffixes):
        for other in drop.suffixes[:m]:
            if suffix.endswith(other) or other.endswith(suffix):
                yield Fault(f"/{n}/suffixes/{m}", f"{suffix} and {other} overlap: S3 takes one of the two")


def _count_faults(read: Sequence[tuple[int, Drop]]) -> Iterator[Fault]:
    for bucket in sorted({drop.bucket for _, drop in read}):
        count = sum(len(drop.ends) for _, drop in read if drop.bucket == bucket)
        if count > NOTIFICATIONS:
            where = bucket or "the product's own bucket"
            detail = f"make {count} notifications of {where}, one for each suffix; S3 takes {NOTIFICATIONS}"
            yield Fault("", detail)


def _overlap(one: Drop, other: Drop) -> bool:
    """Whether one key could be covered by both: S3 refuses such notifications."""
    return (
        one.bucket == other.bucket
        and _begin_alike(one.prefix, other.prefix)
        and any(end_alike(mine, theirs) for mine in one.ends for theirs in other.ends)
    )


def _lands(drop: Drop, target: Drop) -> bool:
    """Whether something that a drop's jobs make could be covered by a drop."""
    bucket, prefix = _output(drop)
    return (
        bucket == target.bucket
        and _begin_alike(prefix, target.prefix)
        and any(end_alike(made.lower(), end.lower()) for made in _made(drop) for end in target.ends)
    )


def _output(drop: Drop) -> tuple[str, str]:
    """Bucket and prefix of what a drop's jobs make."""
    if not drop.output.startswith("s3://"):
        return "", drop.output
    bucket, _, prefix = drop.output.removeprefix("s3://").partition("/")
    return bucket, prefix


def _made(drop: Drop) -> Iterator[str]:
    """How the names of what a drop's jobs make may end, see `output_name`."""
    for end in drop.ends:
        yield from output_ends(end)
        if drop.profile.vmaf:
            yield from (end + made for made in SCORE_FILES)


def _begin_alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _shown(drop: Drop) -> str:
    """What a drop covers, for people."""
    ends = f" with {', '.join(drop.suffixes)}" if drop.suffixes else ""
    where = f"s3://{drop.bucket}/{drop.prefix}" if drop.bucket else drop.prefix or "the whole bucket"
    return where + ends
