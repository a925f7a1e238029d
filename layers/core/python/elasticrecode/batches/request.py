"""Reads requests for batches.

A batch names its inputs in one of three ways: in the request, in a manifest, or by a prefix that they have in common. A
survey reads them once and cuts them into pages; then each page becomes jobs by itself.
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
from elasticrecode.jobs.requests import output_faults, prefix_faults, transcode_faults
from elasticrecode.jobs.uris import Outputs, suffixes_overlap
from elasticrecode.media.presets import BUILT_IN, ProfileBody, Profiles
from elasticrecode.media.profiles import FfmpegProfile, Profile, resolve
from elasticrecode.validation import Body, Reader

INPUTS_LIMIT = 10_000
"""Inputs that a request may list."""
SUFFIXES_LIMIT = 50
Inputs = Annotated[list[ObjectURI], Meta(min_length=1, max_length=INPUTS_LIMIT)]
PLACE = re.compile(r"\d{14}#[\w-]{1,64}", re.ASCII)
"""The place of a batch among its user's, which is the cursor behind it."""
Suffix = Annotated[str, Meta(extra_json_schema={"format": "suffix"})]
FolderURI = Annotated[str, Meta(extra_json_schema={"format": "s3-folder"})]


class BatchRequest(Struct, forbid_unknown_fields=True):
    """The body of POST /v1/batches: many transcodes with one profile into one output prefix."""

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
    """A batch as its request describes it, with its profile resolved. `listed` counts the inputs in the request."""

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

    @property
    def place(self) -> str:
        """Where the batch is among its user's batches, by time."""
        return f"{self.createdMs:014d}#{self.batchID}"

    def job(self, position: int, uri: str) -> Job:
        """The job of the input at a position, counted from 0."""
        return Job(
            userid=self.userID,
            jobid=ids.job_id(self.batchID, position),
            input=uri,
            output=output_folder(self.output, self.prefix, uri),
            priority=self.priority,
            profile=self.profile,
        )


_SUFFIX = re.compile(r"[^/\x00-\x1f]{1,64}")
FORMATS = formats.FORMATS | {
    "s3-folder": (formats.FORMATS["s3-prefix"][0], "an s3://bucket/prefix/ URI that ends in '/'"),
    "suffix": (
        lambda text: _SUFFIX.fullmatch(text) is not None,
        "1 to 64 characters without '/' and control characters, at the end of a name",
    ),
}


@cache
def _reader() -> Reader[BatchRequest]:
    """Built at the first request, as most functions that import this module never read one."""
    return Reader(BatchRequest, FORMATS)


SOURCES = ("inputs", "batchInputs", "manifest", "prefix")


class Submission(NamedTuple):
    """A batch, and the inputs that its request lists; none where it has a manifest or a prefix."""

    batch: Batch
    inputs: list[str]


def read_batch(
    text: bytes, batch_id: str, now_ms: int, presets: Profiles = BUILT_IN, prefixes: Prefixes = UNRESTRICTED
) -> Submission:
    """The batch that the body of POST /v1/batches asks for. `now_ms` is in Unix milliseconds.

    Raises Malformed when the body is not JSON, and Invalid with all its faults otherwise.
    """
    limits = {"inputs": INPUTS_LIMIT, "batchInputs": INPUTS_LIMIT}
    body = ProfileBody(text, presets, limits, "; list more in a manifest")
    places = list(_input_places(body))
    listed_inputs = [place for place in places if place[0].startswith(("/inputs/", "/batchInputs/"))]
    also = [*transcode_faults(body, listed_inputs), *_source_faults(body), *prefix_faults(body, places, prefixes)]
    request = _reader().read(body, also)
    listed = request.inputs or request.batchInputs or []
    batch = Batch(
        batchID=batch_id,
        userID=request.userid,
        output=request.output,
        priority=request.priority,
        profile=resolve(request.profile),
        manifest=request.manifest or "",
        prefix=request.prefix or "",
        suffixes=tuple(request.suffixes or ()),
        listed=len(listed),
        createdMs=now_ms,
    )
    return Submission(batch, listed)


def _input_places(body: Body) -> Iterator[tuple[str, object]]:
    """The objects and prefixes that a request wants to read, each with its JSON pointer."""
    for name in SOURCES:
        given = body.fields.get(name)
        if isinstance(given, list):
            yield from ((f"/{name}/{n}", uri) for n, uri in enumerate(given))
        else:
            yield f"/{name}", given


def _source_faults(body: Body) -> Iterator[Fault]:
    """Faults in the sources of inputs: not exactly one, or outputs that would overwrite or become inputs."""
    given = [name for name in SOURCES if name in body.fields]
    if len(given) != 1:
        actual = f"not {' and '.join(given)}" if given else "none is given"
        yield Fault("", f"must have one of inputs, manifest and prefix, {actual}")
    for name in ("inputs", "batchInputs"):
        listed = body.fields.get(name)
        if isinstance(listed, list):
            yield from output_faults(body, ((f"/{name}/{n}", uri) for n, uri in enumerate(listed)))
    prefix, output, suffixes = (body.fields.get(name) for name in ("prefix", "output", "suffixes"))
    if suffixes is not None and prefix is None:
        yield Fault("/suffixes", "is only allowed with prefix")
    is_suffix = FORMATS["suffix"][0]
    listed = suffixes[:SUFFIXES_LIMIT] if isinstance(suffixes, list) else ()
    chosen = [text for text in listed if isinstance(text, str) and is_suffix(text)]
    written = Outputs.of(body.part("profile") or {})
    if isinstance(prefix, str) and isinstance(output, str) and outputs_become_inputs(prefix, chosen, output, written):
        yield Fault(
            "/output", "lies under prefix, where the outputs would be inputs of the next batch: choose another output"
        )


def outputs_become_inputs(prefix: str, suffixes: Sequence[str], output: str, written: Outputs) -> bool:
    """Whether an output below `output` could be an input of a batch with this prefix and these suffixes."""
    endings = [end.lower() for suffix in suffixes for end in written.suffixes(suffix)]
    return output.startswith(prefix) and (
        not suffixes or any(suffixes_overlap(end, suffix.lower()) for end in endings for suffix in suffixes)
    )


def output_folder(output: str, prefix: str, uri: str) -> str:
    """The output prefix for one input: its folders below the input prefix are kept."""
    below = uri.removeprefix(prefix) if prefix else ""
    return output + below[: below.rfind("/") + 1]
