"""Batches of any size: what is asked for, the pages its inputs are cut into, and how it stands.

A batch names its inputs in one of three ways: in the request, in an object with one URI a line, or by a prefix that
they lie under. They are looked through once, before any job is made; then each page becomes jobs by itself.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode import ids
from elasticrecode.access.prefixes import UNRESTRICTED, Prefixes
from elasticrecode.errors import Fault
from elasticrecode.jobs import formats
from elasticrecode.jobs.formats import ObjectURI, PrefixURI, Priority, UserID
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.requests import output_faults, prefix_faults, profile_faults
from elasticrecode.jobs.uris import output_suffixes, suffixes_overlap
from elasticrecode.media.presets import BUILT_IN, ProfileBody, Profiles
from elasticrecode.media.profiles import FfmpegProfile, Profile, resolve
from elasticrecode.validation import Body, Reader

INPUTS_LIMIT = 10_000
"""Inputs that a request may list itself."""
SUFFIXES_LIMIT = 50
Inputs = Annotated[list[ObjectURI], Meta(min_length=1, max_length=INPUTS_LIMIT)]
Suffix = Annotated[str, Meta(extra_json_schema={"format": "suffix"})]
FolderURI = Annotated[str, Meta(extra_json_schema={"format": "s3-folder"})]


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Many transcodes with one profile into one output prefix."""

    userid: UserID
    output: PrefixURI
    profile: FfmpegProfile
    priority: Priority = 0
    inputs: Inputs | UnsetType = UNSET
    batchInputs: Inputs | UnsetType = UNSET
    manifest: ObjectURI | UnsetType = UNSET
    prefix: FolderURI | UnsetType = UNSET
    suffixes: Annotated[list[Suffix], Meta(min_length=1, max_length=SUFFIXES_LIMIT)] | UnsetType = UNSET


class Batch(Struct, frozen=True, kw_only=True):
    """A batch as it was asked for, its profile resolved. `listed` says how many inputs its request held."""

    batchID: str
    userID: str
    output: str
    priority: int
    profile: Profile
    manifest: str = ""
    prefix: str = ""
    suffixes: tuple[str, ...] = ()
    listed: int = 0
    createdMs: int

    def job(self, position: int, uri: str) -> Job:
        """The job of one of its inputs."""
        return Job(
            userid=self.userID,
            jobid=ids.job_id(self.batchID, position),
            input=uri,
            output=folder(self.output, self.prefix, uri),
            priority=self.priority,
            profile=self.profile,
        )


_SUFFIX = re.compile(r"[^/\x00-\x1f]{1,64}")
FORMATS = formats.FORMATS | {
    "s3-folder": (formats.FORMATS["s3-prefix"][0], "an s3://bucket/prefix/ URI that ends in '/'"),
    "suffix": (lambda text: _SUFFIX.fullmatch(text) is not None, "1 to 64 characters that names end with, without '/'"),
}


@cache
def _reader() -> Reader[BatchRequest]:
    """Made when a request is read, which few of those that import this ever do."""
    return Reader(BatchRequest, FORMATS)


SOURCES = ("inputs", "batchInputs", "manifest", "prefix")


class Order(NamedTuple):
    """A batch, and the inputs that its request lists."""

    batch: Batch
    listed: list[str]


def read_batch(
    text: bytes, batch_id: str, now_ms: int, presets: Profiles = BUILT_IN, prefixes: Prefixes = UNRESTRICTED
) -> Order:
    """What a POST /v1/batches body asks for. Malformed or Invalid."""
    limits = {"inputs": INPUTS_LIMIT, "batchInputs": INPUTS_LIMIT}
    body = ProfileBody(text, presets, limits, "; list more in a manifest")
    places = prefix_faults(body, _places(body), prefixes)
    asked = _reader().read(body, [*profile_faults(body), *_source_faults(body), *places])
    listed = asked.inputs or asked.batchInputs or []
    batch = Batch(
        batchID=batch_id,
        userID=asked.userid,
        output=asked.output,
        priority=asked.priority,
        profile=resolve(asked.profile),
        manifest=asked.manifest or "",
        prefix=asked.prefix or "",
        suffixes=tuple(asked.suffixes or ()),
        listed=len(listed),
        createdMs=now_ms,
    )
    return Order(batch, listed)


def _places(body: Body) -> Iterator[tuple[str, object]]:
    """What a request names to be read, each with its pointer."""
    for name in SOURCES:
        given = body.fields.get(name)
        if isinstance(given, list):
            yield from ((f"/{name}/{n}", uri) for n, uri in enumerate(given))
        else:
            yield f"/{name}", given


def _source_faults(body: Body) -> Iterator[Fault]:
    """Not one source, or one whose outputs would overwrite an input, one another, or be inputs themselves."""
    given = [name for name in SOURCES if name in body.fields]
    if len(given) != 1:
        said = f"not {' and '.join(given)}" if given else "none is given"
        yield Fault("", f"must have one of inputs, manifest and prefix, {said}")
    for name in ("inputs", "batchInputs"):
        listed = body.fields.get(name)
        if isinstance(listed, list):
            yield from output_faults(body, ((f"/{name}/{n}", uri) for n, uri in enumerate(listed)))
    prefix, output, suffixes = (body.fields.get(name) for name in ("prefix", "output", "suffixes"))
    if suffixes is not None and prefix is None:
        yield Fault("/suffixes", "goes with prefix only")
    is_suffix = FORMATS["suffix"][0]
    listed = suffixes[:SUFFIXES_LIMIT] if isinstance(suffixes, list) else ()
    chosen = [text for text in listed if isinstance(text, str) and is_suffix(text)]
    if isinstance(prefix, str) and isinstance(output, str) and loops(prefix, chosen, output):
        yield Fault("/output", "lies under prefix, where the outputs would be inputs of the next batch: choose another")


def loops(prefix: str, suffixes: Sequence[str], output: str) -> bool:
    """Whether what is written to an output prefix would be found under an input prefix."""
    made = [end.lower() for suffix in suffixes for end in output_suffixes(suffix)]
    return output.startswith(prefix) and (
        not suffixes or any(suffixes_overlap(end, suffix.lower()) for end in made for suffix in suffixes)
    )


def folder(output: str, prefix: str, uri: str) -> str:
    """Where the output of an input goes: the folders that it lies in below the prefix are kept."""
    below = uri.removeprefix(prefix) if prefix else ""
    return output + below[: below.rfind("/") + 1]
